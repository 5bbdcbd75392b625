#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

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

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.parent_path().empty() ? "." : path.parent_path();
}

Result<void> replace_file(const std::filesystem::path& path, ByteView content, mode_t mode) {
  StagedFile staged = TRY(StagedFile::write(path, content, mode));
  return staged.replace();
}

}  // namespace

StagedFile::StagedFile(StagedFile&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})) {}

StagedFile::~StagedFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<StagedFile> StagedFile::write(const std::filesystem::path& path, ByteView content, mode_t mode) {
  StagedFile out(path);
  std::string temporary = (folder_of(path) / ("." + path.filename().string() + ".XXXXXX")).string();
  const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));  // 0600 from the start
  if (file.get() < 0) return file_error(path, "create", errno);
  out.temporary_ = temporary;
  TRY(write_all(file.get(), content, path));
  if (mode != 0600 && ::fchmod(file.get(), mode) != 0) return file_error(path, "set the mode of", errno);
  if (::fsync(file.get()) != 0) return file_error(path, "sync", errno);
  return out;
}

Result<void> StagedFile::replace() {
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return file_error(path_, "replace", errno);
  temporary_.clear();
  return sync_folder(folder_of(path_));
}

Result<bool> StagedFile::put() {
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) == 0) {
    temporary_.clear();
  } else if (errno == EEXIST) {
    return false;
  } else if (errno != EINVAL) {
    return file_error(path_, "create", errno);
  } else if (::link(temporary_.c_str(), path_.c_str()) != 0) {  // as on NFS, which has no such rename
    if (errno == EEXIST) return false;
    return file_error(path_, "create", errno);
  }
  TRY(sync_folder(folder_of(path_)));
  return true;
}

Error file_error(const std::filesystem::path& path, std::string_view what, int number) {
  Code code = Code::Unavailable;
  if (number == ENOENT || number == ENOTDIR) code = Code::NotFound;
  if (number == EACCES || number == EPERM || number == EROFS) code = Code::Denied;
  const bool full = number == ENOSPC || number == EDQUOT;
  std::string message = std::string("cannot ").append(what).append(" ").append(path.string());
  message.append(": ").append(::strerror(number));
  return Error(code, std::move(message), full ? std::string(kFullDiskHint) : std::string());
}

namespace {

Error too_large(const std::filesystem::path& path, size_t limit) {
  return Error(Code::Malformed, path.string() + " is larger than " + std::to_string(limit) + " bytes");
}

struct SizedFile {
  Descriptor descriptor;
  size_t size;  // 0 when the system does not say
};
Result<SizedFile> open_sized(const std::filesystem::path& path, size_t limit) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return file_error(path, "open", errno);
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) return file_error(path, "stat", errno);
  if (S_ISDIR(status.st_mode)) return file_error(path, "read", EISDIR);
  const size_t size = status.st_size > 0 ? static_cast<size_t>(status.st_size) : 0;
  if (size > limit && S_ISREG(status.st_mode)) return too_large(path, limit);
  return SizedFile{std::move(file), size};
}

// At most `room` bytes; fewer only at the end of the file.
Result<size_t> read_up_to(const SizedFile& file, const std::filesystem::path& path, uint8_t* out,
                          size_t room) {
  size_t used = 0;
  while (used < room) {
    const ssize_t count = ::read(file.descriptor.get(), out + used, room - used);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error(path, "read", errno);
    if (count == 0) break;
    used += static_cast<size_t>(count);
  }
  return used;
}

}  // namespace

Result<Bytes> read_file(const std::filesystem::path& path, size_t limit) {
  const SizedFile file = TRY(open_sized(path, limit));
  // The size is only a hint for the buffer (it also avoids reallocation, which would leave copies of
  // secrets).
  Bytes content(std::min(file.size != 0 ? file.size : 4096, limit) + 1);
  size_t used = 0;
  for (;;) {
    used += TRY(read_up_to(file, path, content.data() + used, content.size() - used));
    if (used > limit) return too_large(path, limit);
    if (used < content.size()) break;
    Bytes larger(std::min(used * 2, limit + 1));
    std::memcpy(larger.data(), content.data(), used);
    wipe(content.data(), content.size());
    content = std::move(larger);
  }
  content.resize(used);
  return content;
}

Result<FileMemory> FileMemory::read(const std::filesystem::path& path, size_t limit) {
  const SizedFile file = TRY(open_sized(path, limit));
  constexpr size_t kLargePage = size_t{2} << 20;
  FileMemory memory;
  const size_t size = std::min(file.size, limit);
  const size_t room = (size + kLargePage - 1) / kLargePage * kLargePage;
  if (room == 0) return memory;
  void* at = ::mmap(nullptr, room + kLargePage, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return file_error(path, "make room for", errno);
  memory.at_ = static_cast<uint8_t*>(at);
  memory.room_ = room + kLargePage;
  memory.begin_ = memory.at_ + (kLargePage - reinterpret_cast<uintptr_t>(at) % kLargePage) % kLargePage;
  ::madvise(memory.begin_, room, MADV_HUGEPAGE);  // as the system has them
  memory.size_ = TRY(read_up_to(file, path, memory.begin_, size));
  return memory;
}

FileMemory::~FileMemory() {
  if (at_ != nullptr) ::munmap(at_, room_);
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
