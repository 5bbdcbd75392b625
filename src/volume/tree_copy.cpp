// Two walkers over one buffer. Everything of the host is reached through descriptors of folders that are
// already open (openat), so replacing a folder by a link while we work leads nowhere.
#include "volume/tree_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/descriptor.h"
#include "volume/errors.h"

namespace cloister::volume {
namespace {

constexpr size_t kBuffer = 1u << 20;
constexpr uint64_t kProgressStep = 8u << 20;
constexpr unsigned kMaxDepth = 256;  // of folders: one descriptor each

Error host_error(std::string_view what, const std::string& path) {
  const int number = errno;
  std::string message = std::string(what) + " " + path + ": " + std::strerror(number);
  switch (number) {
    case ENOENT:
      return {Code::NotFound, std::move(message)};
    case EEXIST:
      return {Code::InvalidArgument, std::move(message), "give a folder that does not hold it yet"};
    case EACCES:
    case EPERM:
      return {Code::Denied, std::move(message)};
    case ENOSPC:
      return {Code::Unavailable, std::move(message), "free some space"};
    default:
      return {Code::Unavailable, std::move(message)};
  }
}

template <class T>
Result<T> at_path(VolumeResult<T> result, const std::string& path) {
  if (result.ok()) return lower(std::move(result));
  return static_cast<Error>(result.error()).within(path);
}

class Copier {
 public:
  Copier(Volume& volume, const CopyOptions& options) : volume_(volume), options_(options), buffer_(kBuffer) {}

  CopyTotals totals;

 protected:
  void report(const std::string& path, bool always) {
    if (!always && totals.bytes - reported_ < kProgressStep) return;
    reported_ = totals.bytes;
    if (options_.progress) options_.progress(path, totals);
  }

  Volume& volume_;
  const CopyOptions& options_;
  Bytes buffer_;
  uint64_t reported_ = 0;
};

class CopierIn : public Copier {
 public:
  using Copier::Copier;

  Result<void> folder(int fd, InodeId directory, const std::string& path, unsigned depth) {
    if (depth > kMaxDepth) return Error(Code::Unsupported, path + ": folders are nested too deeply");
    const std::vector<std::string> names = TRY(list(fd, path));
    for (const std::string& name : names) {
      std::string below = path;
      if (!below.empty()) below += '/';
      below += name;
      struct stat status {};
      if (::fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
        return host_error("cannot stat", below);
      if (S_ISREG(status.st_mode)) {
        TRY(file(fd, name, directory, below));
      } else if (S_ISDIR(status.st_mode)) {
        TRY(subfolder(fd, name, directory, below, depth));
      } else if (S_ISLNK(status.st_mode)) {
        TRY(symlink(fd, name, directory, below, status));
      } else {
        ++totals.skipped;
      }
    }
    return {};
  }

 private:
  // Sorted, because the order of readdir(3) is the file system's.
  static Result<std::vector<std::string>> list(int fd, const std::string& path) {
    const int copy = ::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* stream = copy < 0 ? nullptr : ::fdopendir(copy);
    if (stream == nullptr) {
      if (copy >= 0) ::close(copy);
      return host_error("cannot list", path);
    }
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    ::closedir(stream);
    std::sort(names.begin(), names.end());
    return names;
  }

  Timestamp time_of(const struct stat& status) const {
    if (options_.plain_times) return options_.now;
    return {status.st_mtim.tv_sec, static_cast<uint32_t>(status.st_mtim.tv_nsec)};
  }
  Timestamp changed_now(const struct stat& status) const {
    return options_.now.seconds != 0 || options_.plain_times ? options_.now : time_of(status);
  }
  uint32_t owner(uint32_t id) const { return options_.keep_owner ? id : 0; }

  Result<void> finish(InodeId inode, const struct stat& status, const std::string& path) {
    AttributeChange change;
    change.permissions = static_cast<uint16_t>(status.st_mode & 07777);
    change.modified = time_of(status);
    return at_path(volume_.set_attributes(inode, change, changed_now(status)), path);
  }

  Result<void> subfolder(int fd, const std::string& name, InodeId directory, const std::string& path,
                         unsigned depth) {
    const Descriptor below(::openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!below.valid() || ::fstat(below.get(), &status) != 0) return host_error("cannot open", path);
    const InodeId inode = TRY(at_path(volume_.make_directory(directory, name, 0700, owner(status.st_uid),
                                                             owner(status.st_gid), changed_now(status)),
                                      path));
    ++totals.folders;
    TRY(folder(below.get(), inode, path, depth + 1));
    return finish(inode, status, path);
  }

  Result<void> symlink(int fd, const std::string& name, InodeId directory, const std::string& path,
                       const struct stat& status) {
    char target[4096];
    const ssize_t size = ::readlinkat(fd, name.c_str(), target, sizeof(target));
    if (size < 0) return host_error("cannot read the link", path);
    const InodeId inode =
        TRY(at_path(volume_.make_symlink(directory, name, {target, static_cast<size_t>(size)},
                                         owner(status.st_uid), owner(status.st_gid), changed_now(status)),
                    path));
    ++totals.symlinks;
    AttributeChange change;
    change.modified = time_of(status);
    return at_path(volume_.set_attributes(inode, change, changed_now(status)), path);
  }

  Result<void> file(int fd, const std::string& name, InodeId directory, const std::string& path) {
    const Descriptor in(::openat(fd, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!in.valid() || ::fstat(in.get(), &status) != 0) return host_error("cannot open", path);
    if (!S_ISREG(status.st_mode)) return Error(Code::InvalidArgument, path + " changed while it was copied");
    const Timestamp now = changed_now(status);
    const InodeId inode = TRY(at_path(
        volume_.create_file(directory, name, 0600, owner(status.st_uid), owner(status.st_gid), now), path));
    uint64_t offset = 0;
    while (true) {
      const off_t data = ::lseek(in.get(), static_cast<off_t>(offset), SEEK_DATA);
      if (data < 0 && errno == ENXIO) break;
      if (data > 0) offset = std::max(offset, static_cast<uint64_t>(data));
      const ssize_t got = ::pread(in.get(), buffer_.data(), buffer_.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return host_error("cannot read", path);
      if (got == 0) break;
      const ByteView content = ByteView(buffer_).first(static_cast<size_t>(got));
      TRY(at_path(volume_.write(inode, offset, content, now), path));
      offset += static_cast<uint64_t>(got);
      totals.bytes += static_cast<uint64_t>(got);
      report(path, false);
    }
    if (offset < static_cast<uint64_t>(status.st_size)) {
      TRY(at_path(volume_.truncate(inode, static_cast<uint64_t>(status.st_size), now), path));
    }
    ++totals.files;
    report(path, true);
    return finish(inode, status, path);
  }
};

class CopierOut : public Copier {
 public:
  using Copier::Copier;

  Result<void> folder(int fd, InodeId directory, const std::string& path, unsigned depth) {
    if (depth > kMaxDepth) return Error(Code::Unsupported, path + ": folders are nested too deeply");
    uint64_t cookie = 0;
    do {
      std::vector<DirectoryEntry> entries;
      cookie = TRY(at_path(volume_.read_directory(directory, cookie, 256, entries), path));
      for (const DirectoryEntry& entry : entries) {
        const std::string below = path.empty() ? entry.name : path + "/" + entry.name;
        if (!safe(entry.name))
          return Error(Code::Integrity, "the volume holds the name " + below + ", which would escape");
        const Attributes attributes = TRY(at_path(volume_.attributes(entry.inode), below));
        if (attributes.type == FileType::Directory) {
          TRY(subfolder(fd, entry, attributes, below, depth));
        } else if (attributes.type == FileType::Symlink) {
          TRY(symlink(fd, entry, attributes, below));
        } else {
          TRY(file(fd, entry, attributes, below));
        }
      }
    } while (cookie != 0);
    return {};
  }

 private:
  static bool safe(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
           name.find('\0') == name.npos;
  }

  static timespec time_of(const Timestamp& time) {
    return {static_cast<time_t>(time.seconds), static_cast<long>(time.nanoseconds)};
  }

  // Set-id bits are not restored: nobody should become another user by decrypting a folder.
  Result<void> finish(int fd, const Attributes& attributes, const std::string& path) {
    if (options_.keep_owner && ::fchown(fd, attributes.uid, attributes.gid) != 0) {
      return host_error("cannot change the owner of", path);
    }
    if (::fchmod(fd, attributes.permissions & 0777) != 0)
      return host_error("cannot set permissions of", path);
    const timespec times[2] = {time_of(attributes.modified), time_of(attributes.modified)};
    if (::futimens(fd, times) != 0) return host_error("cannot set the time of", path);
    return {};
  }

  Result<void> subfolder(int fd, const DirectoryEntry& entry, const Attributes& attributes,
                         const std::string& path, unsigned depth) {
    if (::mkdirat(fd, entry.name.c_str(), 0700) != 0) return host_error("cannot create", path);
    const Descriptor below(::openat(fd, entry.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!below.valid()) return host_error("cannot open", path);
    ++totals.folders;
    TRY(folder(below.get(), entry.inode, path, depth + 1));
    return finish(below.get(), attributes, path);
  }

  Result<void> symlink(int fd, const DirectoryEntry& entry, const Attributes& attributes,
                       const std::string& path) {
    const std::string target = TRY(at_path(volume_.read_symlink(entry.inode), path));
    if (::symlinkat(target.c_str(), fd, entry.name.c_str()) != 0) return host_error("cannot create", path);
    ++totals.symlinks;
    const timespec times[2] = {time_of(attributes.modified), time_of(attributes.modified)};
    (void)!::utimensat(fd, entry.name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    return {};
  }

  Result<void> file(int fd, const DirectoryEntry& entry, const Attributes& attributes,
                    const std::string& path) {
    const Descriptor out(
        ::openat(fd, entry.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!out.valid()) return host_error("cannot create", path);
    uint64_t offset = 0;
    while (offset < attributes.size) {
      const VolumeResult<uint64_t> data = volume_.seek_data(entry.inode, offset);
      if (!data.ok() && data.error().reason == Reason::NotFound) break;
      offset = TRY(at_path(volume_.seek_data(entry.inode, offset), path));
      const size_t got = TRY(at_path(volume_.read(entry.inode, offset, buffer_), path));
      if (got == 0) break;
      for (size_t done = 0; done < got;) {
        const ssize_t put =
            ::pwrite(out.get(), buffer_.data() + done, got - done, static_cast<off_t>(offset + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return host_error("cannot write", path);
        done += static_cast<size_t>(put);
      }
      offset += got;
      totals.bytes += got;
      report(path, false);
    }
    if (::ftruncate(out.get(), static_cast<off_t>(attributes.size)) != 0)
      return host_error("cannot resize", path);
    ++totals.files;
    report(path, true);
    return finish(out.get(), attributes, path);
  }
};

}  // namespace

Result<CopyTotals> copy_folder_in(Volume& volume, const std::filesystem::path& folder,
                                  const CopyOptions& options) {
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return host_error("cannot open", folder.native());
  CopierIn copier(volume, options);
  TRY(copier.folder(fd.get(), options.directory, "", 0));
  return copier.totals;
}

Result<CopyTotals> copy_folder_out(Volume& volume, const std::filesystem::path& folder,
                                   const CopyOptions& options) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return host_error("cannot create", folder.native());
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return host_error("cannot open", folder.native());
  CopierOut copier(volume, options);
  TRY(copier.folder(fd.get(), options.directory, "", 0));
  return copier.totals;
}

}  // namespace cloister::volume
