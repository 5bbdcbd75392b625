// One kind of remote. A new kind is a class here, a file, and a row in make_remote().
#pragma once

#include <memory>

#include "transfer/client.h"
#include "transfer/file.h"

namespace cloister::transfer {

class Remote {
 public:
  virtual ~Remote() = default;
  virtual Result<void> check(const std::string& url, const ClientOptions& options) = 0;
  // One attempt; whoever calls repeats it. `sha256` is the file's.
  virtual Result<Uploaded> push(const std::string& remote, const std::string& name, const File& file,
                                const crypto::Digest& sha256, const ClientOptions& options) = 0;
  virtual Result<void> remove(const std::string& remote, const Uploaded& upload,
                              const ClientOptions& options) = 0;
  // One attempt, into `part`, which may hold the beginning from an earlier one. When the remote knows the
  // file's hash, `sha256` gets it.
  virtual Result<void> pull(const std::string& url, const std::filesystem::path& part,
                            std::optional<crypto::Digest>& sha256, const ClientOptions& options) = 0;
};

std::unique_ptr<Remote> http_remote();
std::unique_ptr<Remote> file_remote();

// By the URL's scheme. Unsupported, InvalidArgument when there is none.
Result<std::unique_ptr<Remote>> make_remote(std::string_view url);

}  // namespace cloister::transfer
