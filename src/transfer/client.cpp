#include "transfer/client.h"

#include <thread>

#include "transfer/names.h"
#include "transfer/remote.h"

namespace cloister::transfer {
namespace {

namespace fs = std::filesystem;

// Repeats what failed because the other side was absent or slow, and only that.
template <class Attempt>
auto with_retries(const ClientOptions& options, Attempt attempt) -> decltype(attempt()) {
  auto pause = options.pause;
  for (int i = 1;; ++i) {
    auto result = attempt();
    if (result.ok() || result.error().code() != Code::Unavailable || i >= options.attempts) return result;
    std::this_thread::sleep_for(pause);
    pause *= 2;
  }
}

// A stable name, so that the next call finds what this one left; another URL never continues it.
fs::path beside(const fs::path& target, const std::string& url, std::string_view ending) {
  const std::string hash = to_hex(crypto::sha256(as_bytes(url))).substr(0, 16);
  return parent_of(target) / std::string(".cloister-").append(hash).append(ending);
}

Result<void> check_name(const std::string& name) {
  if (is_upload_name(name) && name != "sha256") return {};
  return Error(Code::InvalidArgument, "not a name for an upload: 1 to 200 bytes of UTF-8 without '/'");
}

bool holds_bytes(const fs::path& file) {
  std::error_code absent;
  return fs::file_size(file, absent) > 0 && !absent;
}

// What an earlier attempt left is continued, but believed only when a hash says that both parts are of one
// file. Ends: the second round begins without a part, and after an answer without a hash none is continued.
Result<void> pull_checked(Remote& remote, const std::string& url, const fs::path& part,
                          const ClientOptions& options) {
  std::error_code ignored;
  for (bool may_continue = true;;) {
    const bool began_before = may_continue && holds_bytes(part);
    bool continued = false;
    std::optional<crypto::Digest> expected;
    TRY(with_retries(options, [&] {
      if (!may_continue) fs::remove(part, ignored);
      continued = holds_bytes(part);
      return remote.pull(url, part, expected, options);
    }));
    if (!expected && !continued) return {};
    crypto::Digest got{};
    if (expected) {
      const File file = TRY(File::open_to_read(part));
      got = TRY(sha256_of(file));
      if (got == *expected) return {};
    }
    fs::remove(part, ignored);
    if (!expected) {
      may_continue = false;
    } else if (!began_before) {
      return Error(Code::Integrity,
                   url + " came with SHA-256 " + to_hex(got) + ", the remote says " + to_hex(*expected));
    }
  }
}

// Regular files and folders only, as in an archive.
Result<void> copy_folder(const fs::path& from, const fs::path& to) {
  NewFolder made = TRY(NewFolder::beside(to));
  std::error_code failure;
  fs::recursive_directory_iterator entries(from, failure);
  if (failure) return system_error(from, "read", failure.value());
  for (; entries != fs::recursive_directory_iterator(); entries.increment(failure)) {
    const fs::path place = made.path() / entries->path().lexically_relative(from);
    const fs::file_status status = entries->symlink_status(failure);
    if (fs::is_directory(status)) {
      fs::create_directory(place, failure);
    } else if (fs::is_regular_file(status)) {
      fs::copy_file(entries->path(), place, failure);
    } else {
      return Error(Code::Unsupported, entries->path().string() + " is neither a file nor a folder");
    }
    if (failure) return system_error(entries->path(), "copy", failure.value());
  }
  if (failure) return system_error(from, "read", failure.value());
  return made.finish();
}

// Where the archive of a folder is made.
Result<File> scratch_file(const fs::path& folder, const ClientOptions& options) {
  if (!options.scratch.empty()) return File::create_temporary(options.scratch);
  const fs::path inside = folder.has_filename() ? folder : folder.parent_path();
  Result<File> file = File::create_temporary(parent_of(inside));
  if (file.ok()) return file;
  std::error_code failure;
  const fs::path other = fs::temp_directory_path(failure);
  return failure ? std::move(file) : File::create_temporary(other);
}

}  // namespace

Result<std::unique_ptr<Remote>> make_remote(std::string_view url) {
  const std::string scheme = scheme_of(url);
  if (scheme == "http" || scheme == "https") return http_remote();
  if (scheme == "file") return file_remote();
  const std::string kinds = "http://HOST[:PORT], https://HOST[:PORT] and file:///FOLDER are supported";
  if (scheme.empty()) return Error(Code::InvalidArgument, "not an URL: " + std::string(url), kinds);
  return Error(Code::Unsupported, "no remote of the kind " + scheme + "://", kinds);
}

namespace {

Result<Uploaded> upload_file(const std::string& remote, const std::string& name, const fs::path& path,
                             const ClientOptions& options) {
  TRY(check_name(name));
  const auto kind = TRY(make_remote(remote));
  const File file = TRY(File::open_to_read(path));
  const crypto::Digest digest = TRY(sha256_of(file));
  return with_retries(options, [&] { return kind->push(remote, name, file, digest, options); });
}

}  // namespace

Result<std::string> push_file(const std::string& remote, const std::string& name, const fs::path& path,
                              const ClientOptions& options) {
  return TRY(upload_file(remote, name, path, options)).url;
}

Result<void> pull(const std::string& url, const fs::path& file, const ClientOptions& options) {
  const auto kind = TRY(make_remote(url));
  const fs::path part = beside(file, url, ".part");
  Result<void> pulled = pull_checked(*kind, url, part, options);
  if (!pulled.ok()) {
    std::error_code ignored;
    if (fs::is_empty(part, ignored)) fs::remove(part, ignored);  // nothing to resume
    return pulled;
  }
  return rename_durably(part, file);
}

Result<std::string> push_folder(const std::string& remote, const std::string& name, const fs::path& folder,
                                const ClientOptions& options) {
  return TRY(upload_folder(remote, name, folder, options)).url;
}

Result<void> check_remote(const std::string& url, const ClientOptions& options) {
  const auto kind = TRY(make_remote(url));
  return kind->check(url, options);
}

Result<void> delete_upload(const std::string& remote, const Uploaded& upload, const ClientOptions& options) {
  const auto kind = TRY(make_remote(remote));
  return kind->remove(remote, upload, options);
}

Result<Uploaded> upload_folder(const std::string& remote, const std::string& name, const fs::path& folder,
                               const ClientOptions& options) {
  TRY(make_remote(remote));  // said before the work
  const std::string zip_name = name.ends_with(".zip") ? name : name + ".zip";
  TRY(check_name(zip_name));
  const File zip = TRY(scratch_file(folder, options));
  const RemoveOnExit remove(zip.path());
  TRY(zip_folder(folder, zip.path(), options.progress));
  return upload_file(remote, zip_name, zip.path(), options);
}

Result<void> pull_folder(const std::string& source, const fs::path& folder, const ClientOptions& options) {
  std::error_code ignored;
  if (scheme_of(source).empty()) {
    if (fs::is_directory(source, ignored)) return copy_folder(source, folder);
    return unzip(source, folder, options.zip, options.progress);
  }
  const fs::path target = folder.has_filename() ? folder : folder.parent_path();
  const fs::path zip = beside(target, source, ".zip");
  TRY(pull(source, zip, options));
  const RemoveOnExit remove(zip);
  return unzip(zip, folder, options.zip, options.progress);
}

}  // namespace cloister::transfer
