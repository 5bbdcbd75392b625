#include "transfer/client.h"

#include <stdlib.h>

#include <cerrno>
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

Result<void> pull_checked(Remote& remote, const std::string& url, const fs::path& part,
                          const ClientOptions& options) {
  std::error_code absent;
  const bool resumed = fs::file_size(part, absent) > 0 && !absent;
  std::optional<crypto::Digest> expected;
  TRY(with_retries(options, [&] { return remote.pull(url, part, expected, options); }));
  if (!expected) return {};
  crypto::Digest got{};
  {
    const File file = TRY(File::open_to_read(part));
    got = TRY(sha256_of(file));
  }
  if (got == *expected) return {};
  std::error_code ignored;
  fs::remove(part, ignored);
  // What an earlier call left may have been of something else; what came whole in this one was not.
  if (resumed) return pull_checked(remote, url, part, options);
  return Error(Code::Integrity,
               url + " came with SHA-256 " + to_hex(got) + ", the remote says " + to_hex(*expected));
}

// Regular files and folders only, as in an archive.
Result<void> copy_folder(const fs::path& from, const fs::path& to) {
  fs::path target = to.has_filename() ? to : to.parent_path();
  std::error_code failure;
  if (fs::exists(fs::symlink_status(target, failure)) && !fs::is_empty(target, failure)) {
    return Error(Code::InvalidArgument, target.string() + " exists and is not empty",
                 "name a folder that does not exist yet");
  }
  std::string made = (parent_of(target) / ".cloister-XXXXXX").string();
  if (::mkdtemp(made.data()) == nullptr) return system_error(parent_of(target), "create a folder in", errno);
  RemoveOnExit half_made(made);
  fs::recursive_directory_iterator entries(from, failure);
  if (failure) return system_error(from, "read", failure.value());
  for (; entries != fs::recursive_directory_iterator(); entries.increment(failure)) {
    const fs::path place = fs::path(made) / entries->path().lexically_relative(from);
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
  TRY(rename_durably(made, target));
  half_made.keep();
  return {};
}

// Where the archive of a folder is made.
Result<File> scratch_file(const fs::path& folder) {
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

Result<void> delete_upload(const std::string& remote, const Uploaded& upload, const ClientOptions& options) {
  const auto kind = TRY(make_remote(remote));
  return kind->remove(remote, upload, options);
}

Result<Uploaded> upload_folder(const std::string& remote, const std::string& name, const fs::path& folder,
                               const ClientOptions& options) {
  TRY(make_remote(remote));  // said before the work
  const std::string zip_name = name.ends_with(".zip") ? name : name + ".zip";
  TRY(check_name(zip_name));
  const File zip = TRY(scratch_file(folder));
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
