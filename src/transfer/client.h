// Moves files and folders to a remote and back. A remote is an URL; what it can be:
//
//   http://HOST[:PORT], https://…   the transfer service, or another one that follows transfer.sh
//   file:///FOLDER                  a folder of this machine (a mounted share, tests)
//
// Every move is checked end to end by SHA-256 where the other side knows it, is resumed where it can be, and
// is tried again with growing pauses when the other side was Unavailable.
#pragma once

#include "http/client.h"
#include "transfer/zip.h"

namespace cloister::transfer {

struct ClientOptions {
  http::ClientOptions http;  // its `progress` is not used
  int attempts = 3;
  std::chrono::milliseconds pause{500};  // after the first failure; doubled after each
  uint64_t max_file_size = uint64_t{1} << 42;
  ZipLimits zip;
  std::filesystem::path scratch;  // where push_folder makes its archive; empty: see there
  Progress progress;              // of each step: packing, moving, unpacking
};

// Is there anything at `url`, a remote or what was uploaded to one? One attempt, no longer than the timeouts
// of `options.http`; any answer will do, because services differ in what they say. Unavailable, Denied (its
// certificate), NotFound (a folder of this machine); errors of push_file for what is no remote.
Result<void> check_remote(const std::string& url, const ClientOptions& options);

// `name` is what the file is called there. Returns its URL. Unsupported for a remote of another kind (the
// message lists the kinds), Integrity when what arrived is not what was sent, InvalidArgument when it is too
// large for the remote.
Result<std::string> push_file(const std::string& remote, const std::string& name,
                              const std::filesystem::path& path, const ClientOptions& options);

// What an upload is called and, where the remote gives one, the token that may delete it.
struct Uploaded {
  std::string url;
  std::string delete_token;
};

// Into `file`, which appears whole or not at all; what came before a failure is kept beside it and resumed by
// the next call, when the remote knows a hash; else it begins again. NotFound, Integrity, Unavailable.
Result<void> pull(const std::string& url, const std::filesystem::path& file, const ClientOptions& options);

// The folder as one zip, `name` with ".zip" added when it lacks that. The archive is made in `scratch`, else
// beside the folder (or in the system's temporary folder, when that is not writable) and removed afterwards.
Result<std::string> push_folder(const std::string& remote, const std::string& name,
                                const std::filesystem::path& folder, const ClientOptions& options);
// The same for those who may have to take it back.
Result<Uploaded> upload_folder(const std::string& remote, const std::string& name,
                               const std::filesystem::path& folder, const ClientOptions& options);
// Only `remote` is asked, whatever the upload's URL says. Denied: without a token or with another one.
Result<void> delete_upload(const std::string& remote, const Uploaded& upload, const ClientOptions& options);

// `source`: an URL of a zip, a zip file, or a folder. `folder` must not exist or be empty, and appears whole
// or not at all.
Result<void> pull_folder(const std::string& source, const std::filesystem::path& folder,
                         const ClientOptions& options);

}  // namespace cloister::transfer
