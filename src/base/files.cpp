#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/descriptor.h"

namespace cloister {
namespace {

Result<void> write_all(int fd, ByteView content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t count = ::write(fd, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error(path, "write", errno);
    content = content.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<void> replace_file(const std::filesystem::path& path, ByteView content, mode_t mode) {
  std::filesystem::path folder = path.parent_path();
  if (folder.empty()) folder = ".";
  std::string temporary = (folder / ("." + path.filename().string() + ".XXXXXX")).string();
  const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));  // 0600 from the start
  if (file.get() < 0) return file_error(path, "create", errno);

  Result<void> written = write_all(file.get(), content, path);
  if (written.ok() && mode != 0600 && ::fchmod(file.get(), mode) != 0) {
    written = file_error(path, "set the mode of", errno);
  }
  if (written.ok() && ::fsync(file.get()) != 0) written = file_error(path, "sync", errno);
  if (written.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = file_error(path, "replace", errno);
  }
  if (!written.ok()) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_folder(folder);
}

}  // namespace

Error file_error(const std::filesystem::path& path, std::string_view what, int number) {
  Code code = Code::Unavailable;
  if (number == ENOENT || number == ENOTDIR) code = Code::NotFound;
  if (number == EACCES || number == EPERM || number == EROFS) code = Code::Denied;
  const bool full = number == ENOSPC || number == EDQUOT;
  std::string message = std::string("cannot ").append(what).append(" ").append(path.string());
  message.append(": ").append(::strerror(number));
  return Error(code, std::move(message), full ? std::string(kFullDiskHint) : std::string());
}

Result<Bytes> read_file(const std::filesystem::path& path, size_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return file_error(path, "open", errno);
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) return file_error(path, "stat", errno);
  if (S_ISDIR(status.st_mode)) return file_error(path, "read", EISDIR);

  // The size is only a hint for the buffer (it also avoids reallocation, which would leave copies of
  // secrets).
  const size_t expected = status.st_size > 0 ? static_cast<size_t>(status.st_size) : 4096;
  if (expected > limit && S_ISREG(status.st_mode)) {
    return Error(Code::Malformed, path.string() + " is larger than " + std::to_string(limit) + " bytes");
  }
  Bytes content(std::min(expected, limit) + 1);
  size_t used = 0;
  for (;;) {
    const ssize_t count = ::read(file.get(), content.data() + used, content.size() - used);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error(path, "read", errno);
    if (count == 0) break;
    used += static_cast<size_t>(count);
    if (used > limit) {
      return Error(Code::Malformed, path.string() + " is larger than " + std::to_string(limit) + " bytes");
    }
    if (used == content.size()) {
      Bytes larger(std::min(used * 2, limit + 1));
      std::memcpy(larger.data(), content.data(), used);
      wipe(content.data(), content.size());
      content = std::move(larger);
    }
  }
  content.resize(used);
  return content;
}

Result<SecretBytes> read_secret_file(const std::filesystem::path& path, size_t limit) {
  return SecretBytes(TRY(read_file(path, limit)));
}

Result<void> write_private_file(const std::filesystem::path& path, ByteView content) {
  return replace_file(path, content, 0600);
}

Result<void> write_public_file(const std::filesystem::path& path, ByteView content) {
  return replace_file(path, content, 0644);
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) return file_error(folder, "sync", errno);
  return {};
}

Result<void> make_private_folder(const std::filesystem::path& path) {
  std::filesystem::path done;
  for (const std::filesystem::path& component : path) {
    done /= component;
    if (::mkdir(done.c_str(), 0700) != 0 && errno != EEXIST) {
      const int number = errno;
      std::error_code ignored;
      if (!std::filesystem::is_directory(done, ignored)) return file_error(done, "create the folder", number);
    }
  }
  std::error_code failure;
  if (!std::filesystem::is_directory(path, failure)) return file_error(path, "use as a folder", ENOTDIR);
  return {};
}

}  // namespace cloister
