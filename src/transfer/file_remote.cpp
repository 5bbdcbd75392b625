// file:///FOLDER: each upload is FOLDER/ID/NAME beside FOLDER/ID/sha256.
#include <sys/stat.h>

#include <cerrno>

#include "base/files.h"
#include "crypto/encoding.h"
#include "crypto/random.h"
#include "transfer/names.h"
#include "transfer/remote.h"

namespace cloister::transfer {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kScheme = "file://";

Result<fs::path> path_in(std::string_view url) {
  const Error bad(Code::InvalidArgument, "not an URL of a local folder: " + std::string(url),
                  "write file:///FOLDER");
  if (!url.starts_with("file:///")) return Error(bad);
  std::string path = TRY(percent_decode(url.substr(kScheme.size())));
  if (path.find('\0') != std::string::npos) return Error(bad);
  return fs::path(std::move(path));
}

std::string url_of(const fs::path& path) {
  std::string out(kScheme);
  for (const fs::path& part : path) {
    if (part != "/" && !part.empty()) out.append("/").append(percent_encode(part.string()));
  }
  return out;
}

Result<void> copy(const File& from, const File& to, const Progress& progress) {
  const uint64_t total = TRY(from.size());
  Bytes part(1 << 20);
  for (uint64_t at = 0;;) {
    const size_t count = TRY(from.read_at(at, part));
    if (count == 0) break;
    TRY(to.write_at(at, ByteView(part).first(count)));
    at += count;
    if (progress) progress(at, std::max(at, total));
  }
  return to.sync();
}

class FileRemote : public Remote {
 public:
  Result<void> check(const std::string& url, const ClientOptions&) override {
    const fs::path path = TRY(path_in(url));
    std::error_code absent;
    if (!fs::exists(path, absent)) return Error(Code::NotFound, "there is no " + path.string());
    return {};
  }

  Result<Uploaded> push(const std::string& remote, const std::string& name, const File& file,
                        const crypto::Digest& sha256, const ClientOptions& options) override {
    const fs::path root = TRY(path_in(remote));
    std::error_code ignored;
    if (!fs::is_directory(root, ignored)) return Error(Code::NotFound, "there is no folder " + root.string());
    const std::string id = crypto::base64url_encode(crypto::random_array<16>());
    const fs::path partial = root / ("." + id + ".partial");
    if (::mkdir(partial.c_str(), 0700) != 0) return system_error(partial, "create", errno);
    RemoveOnExit half_made(partial);
    {
      const File to = TRY(File::create(partial / name));
      TRY(copy(file, to, options.progress));
      if (TRY(sha256_of(to)) != sha256)
        return Error(Code::Integrity, file.path().string() + " changed while it was read");
    }
    TRY(write_public_file(partial / "sha256", as_bytes(to_hex(sha256) + "\n")));
    TRY(rename_durably(partial, root / id));
    half_made.keep();
    return Uploaded{url_of(root / id / name), ""};
  }

  // Whoever may write into the folder may delete there.
  Result<void> remove(const std::string& remote, const Uploaded& upload, const ClientOptions&) override {
    const fs::path root = TRY(path_in(remote));
    const fs::path path = TRY(path_in(upload.url));
    std::error_code failure;
    if (!fs::equivalent(path.parent_path().parent_path(), root, failure))
      return Error(Code::InvalidArgument, upload.url + " is not an upload of " + remote);
    fs::remove_all(path.parent_path(), failure);
    if (failure) return system_error(path, "delete", failure.value());
    return {};
  }

  Result<void> pull(const std::string& url, const fs::path& part, std::optional<crypto::Digest>& sha256,
                    const ClientOptions& options) override {
    const fs::path path = TRY(path_in(url));
    const File from = TRY(File::open_to_read(path));
    if (TRY(from.size()) > options.max_file_size)
      return Error(Code::Malformed, path.string() + " is too large");
    std::error_code ignored;
    fs::remove(part, ignored);
    const File to = TRY(File::create(part));
    TRY(copy(from, to, options.progress));
    const Result<Bytes> known = read_file(path.parent_path() / "sha256", 65);
    if (!known.ok()) return {};  // not one of ours: nothing to compare with
    std::string_view text = as_text(*known);
    if (text.ends_with('\n')) text.remove_suffix(1);
    const crypto::Digest digest = TRY(array_from_hex<32>(text));
    sha256 = digest;
    return {};
  }
};

}  // namespace

std::unique_ptr<Remote> file_remote() { return std::make_unique<FileRemote>(); }

}  // namespace cloister::transfer
