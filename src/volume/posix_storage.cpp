#include "volume/posix_storage.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "base/descriptor.h"
#include "base/writer_lock.h"
#include "volume/format.h"

namespace cloister::volume {
namespace {

constexpr std::string_view kLockedHint = "wait until it ends, or open the volume read-only";

Error system_error(std::string_view what, std::string_view name) {
  const int number = errno;
  std::string message = std::string(what) + " " + std::string(name) + ": " + std::strerror(number);
  switch (number) {
    case ENOENT:
      return {Code::NotFound, std::move(message)};
    case EEXIST:
    case ENOTDIR:
      return {Code::InvalidArgument, std::move(message)};
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
      return {Code::Denied, std::move(message)};
    case ENOSPC:
    case EDQUOT:
      return {Code::Unavailable, std::move(message), std::string(kNoSpaceHint)};
    default:
      return {Code::Unavailable, std::move(message)};
  }
}

// Somebody put something else there: a link, a pipe, a folder. No volume has such a name.
Error not_a_file(std::string_view name) {
  return {Code::Integrity, std::string(name) + " is not a regular file"};
}
bool tells_another_kind(int number) {
  return number == ELOOP || number == ENOTDIR || number == EISDIR || number == ENXIO || number == ENODEV;
}

class PosixFile final : public StorageFile {
 public:
  PosixFile(Descriptor fd, std::string name, bool must_stay)
      : fd_(std::move(fd)), name_(std::move(name)), must_stay_(must_stay) {}

  Result<size_t> read_at(uint64_t offset, MutableByteView out) override {
    while (true) {
      const ssize_t got = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) return system_error("cannot read", name_);
    }
  }
  Result<void> write_at(uint64_t offset, ByteView data) override {
    while (!data.empty()) {
      const ssize_t put = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return system_error("cannot write", name_);
      data = data.subspan(static_cast<size_t>(put));
      offset += static_cast<uint64_t>(put);
    }
    return {};
  }
  Result<void> truncate(uint64_t size) override {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return system_error("cannot resize", name_);
    return {};
  }
  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return system_error("cannot sync", name_);
    struct stat status {};
    if (!must_stay_ || ::fstat(fd_.get(), &status) != 0 || status.st_nlink != 0) return {};
    return Error(Code::Unavailable, name_ + " was removed or replaced while it was open for writing");
  }
  Result<uint64_t> size() override {
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0) return system_error("cannot stat", name_);
    return static_cast<uint64_t>(status.st_size);
  }

 private:
  Descriptor fd_;
  std::string name_;
  const bool must_stay_;  // what is written to a file without a name is lost
};

class PosixStorage final : public Storage {
 public:
  explicit PosixStorage(Descriptor folder) : folder_(std::move(folder)) {}
  ~PosixStorage() override {
    if (lock_.valid()) (void)!::ftruncate(lock_.get(), 0);
  }

  Result<std::unique_ptr<StorageFile>> open(std::string_view name, OpenMode mode) override {
    const bool create = mode == OpenMode::CreateNew;
    std::string last;
    const Descriptor parent = TRY(walk(name, create, last));
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    flags |= mode == OpenMode::Read ? O_RDONLY : O_RDWR;
    if (create) flags |= O_CREAT | O_EXCL;
    Descriptor fd(::openat(parent.get(), last.c_str(), flags, 0600));
    if (!fd.valid() && !create && tells_another_kind(errno)) return not_a_file(name);
    if (!fd.valid()) return system_error(create ? "cannot create" : "cannot open", name);
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return system_error("cannot stat", name);
    if (!S_ISREG(status.st_mode)) return not_a_file(name);
    const bool written = name == kMainName && mode != OpenMode::Read;
    if (written && lock_.valid()) TRY(lock_main(fd.get()));
    if (create) unsynced_.insert(std::string(name.substr(0, name.size() - last.size())));
    // Some file systems never count links.
    const bool must_stay = written && status.st_nlink != 0;
    return std::unique_ptr<StorageFile>(
        std::make_unique<PosixFile>(std::move(fd), std::string(name), must_stay));
  }

  Result<void> remove(std::string_view name) override {
    std::string last;
    Result<Descriptor> parent = walk(name, false, last);
    if (!parent.ok()) {
      if (parent.error().code() == Code::NotFound) return {};
      return std::move(parent).error();
    }
    if (::unlinkat(parent->get(), last.c_str(), 0) != 0 && errno != ENOENT)
      return system_error("cannot remove", name);
    return {};
  }

  Result<void> sync_names() override {
    for (const std::string& folder : unsynced_) {
      std::string last;
      const Descriptor fd = TRY(walk(folder + "x", false, last));
      if (::fsync(fd.get()) != 0) return system_error("cannot sync", folder);
    }
    unsynced_.clear();
    return {};
  }

  Result<void> lock_for_writing(std::string_view owner) override {
    if (lock_.valid()) return {};
    Descriptor fd(
        ::openat(folder_.get(), kLockName, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (!fd.valid()) return system_error("cannot create", kLockName);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return system_error("cannot lock", kLockName);
      return Error(Code::Unavailable, "the volume is open for writing by " + holder(fd.get()),
                   std::string(kLockedHint));
    }
    const std::string text =
        std::string(owner.substr(0, 200)) + " (process " + std::to_string(::getpid()) + ")\n";
    // The lock holds without its text: on a full disk, a volume must open for making room on it.
    const bool written =
        ::ftruncate(fd.get(), 0) == 0 && ::pwrite(fd.get(), text.data(), text.size(), 0) >= 0;
    if (!written && errno != ENOSPC && errno != EDQUOT) return system_error("cannot write", kLockName);
    lock_ = std::move(fd);
    return {};
  }

 private:
  static std::string holder(int fd) {
    char text[256];
    const ssize_t got = ::pread(fd, text, sizeof(text), 0);
    std::string out;
    for (ssize_t i = 0; i < got && text[i] != '\n'; ++i) {
      if (text[i] >= ' ' && text[i] <= '~') out.push_back(text[i]);
    }
    return out.empty() ? "another process" : out;
  }

  // volume.lock is no part of the volume, and a clean-up takes it away while its writer lives; this file
  // stays.
  Result<void> lock_main(int fd) {
    if (main_.take(fd)) return {};
    if (errno != EAGAIN) return system_error("cannot lock", kMainName);
    return Error(Code::Unavailable,
                 "the volume is open for writing by another process, whose volume.lock was removed",
                 std::string(kLockedHint));
  }

  // The folder that holds `name`, and its last component.
  Result<Descriptor> walk(std::string_view name, bool create, std::string& last) {
    Descriptor at(::fcntl(folder_.get(), F_DUPFD_CLOEXEC, 0));
    if (!at.valid()) return system_error("cannot open", name);
    std::string below;
    for (size_t slash = name.find('/'); slash != name.npos; slash = name.find('/')) {
      const std::string part(name.substr(0, slash));
      if (create && ::mkdirat(at.get(), part.c_str(), 0700) == 0) unsynced_.insert(below);
      below += part + "/";
      Descriptor next(::openat(at.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!next.valid() && !create && tells_another_kind(errno))
        return Error(Code::Integrity, part + " is not a folder");
      if (!next.valid()) return system_error("cannot open", part);
      at = std::move(next);
      name.remove_prefix(slash + 1);
    }
    last = std::string(name);
    return at;
  }

  Descriptor folder_;
  Descriptor lock_;                 // volume.lock
  WriterLock main_;                 // volume.fspf, locked as well
  std::set<std::string> unsynced_;  // folders with new names: "" or ending in '/'
};

}  // namespace

Result<std::unique_ptr<Storage>> open_posix_storage(const std::filesystem::path& folder, bool create_folder) {
  if (create_folder && ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return system_error("cannot create", folder.native());
  }
  Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return system_error("cannot open", folder.native());
  return std::unique_ptr<Storage>(std::make_unique<PosixStorage>(std::move(fd)));
}

}  // namespace cloister::volume
