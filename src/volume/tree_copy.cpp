// Two walkers over one buffer. Everything of the host is reached through descriptors of folders that are
// already open (openat), so replacing a folder by a link while we work leads nowhere.
#include "volume/tree_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <unordered_map>

#include "base/descriptor.h"
#include "base/text.h"
#include "volume/directories_met.h"
#include "volume/errors.h"

namespace cloister::volume {
namespace {

constexpr size_t kBuffer = 1u << 20;
constexpr uint64_t kProgressStep = 8u << 20;
constexpr size_t kMostOpen = 128;  // folders at a time

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

// Right after open(2): where that failed, errno says why.
Result<struct stat> status_of(const Descriptor& fd, const std::string& path) {
  struct stat status {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) return host_error("cannot open", path);
  return status;
}

// Attributes of others (security, trusted, system) say who may do what on the machine they come from.
bool for_users(std::string_view name) {
  return name.starts_with("user.") && name.size() > 5 && name.find('\0') == name.npos;
}

template <class T>
Result<T> at_path(VolumeResult<T> result, const std::string& path) {
  if (result.ok()) return lower(std::move(result));
  return static_cast<Error>(result.error()).within(path);
}

// The folders from the copied one down to where we are, which may be any number. Only the deepest ones stay
// open; one above them is opened again as the folder above one that is open, and must be the same then.
class Way {
 public:
  void enter(Descriptor fd, const struct stat& status) {
    if (folders_.size() >= kMostOpen) folders_[folders_.size() - kMostOpen].fd = Descriptor();
    folders_.push_back({std::move(fd), status.st_dev, status.st_ino});
  }
  // Back to the one above. What was left is returned, still open.
  Result<Descriptor> leave(const std::string& path) {
    Descriptor left = std::move(folders_.back().fd);
    folders_.pop_back();
    if (folders_.empty() || folders_.back().fd.valid()) return left;
    Descriptor above(::openat(left.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    if (!above.valid() || ::fstat(above.get(), &status) != 0)
      return host_error("cannot open the folder of", path);
    if (status.st_dev != folders_.back().device || status.st_ino != folders_.back().inode)
      return Error(Code::InvalidArgument, path + " was moved while it was copied");
    folders_.back().fd = std::move(above);
    return left;
  }
  int here() const { return folders_.back().fd.get(); }

 private:
  struct Folder {
    Descriptor fd;
    dev_t device;
    ino_t inode;
  };
  std::vector<Folder> folders_;
};

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
  // No failure: a copy without it is worth having.
  void leave_out(const std::string& path, const std::string& attribute, std::string_view why) {
    if (totals.lost_attributes++ == 0)
      totals.first_lost.append(path).append(": ").append(attribute).append(": ").append(why);
  }

  // The path of an entry of the folder whose own one is the first `folder_size` bytes.
  void point_at(size_t folder_size, std::string_view name) {
    path_.resize(folder_size);
    if (folder_size != 0) path_ += '/';
    path_ += name;
  }

  Volume& volume_;
  const CopyOptions& options_;
  Bytes buffer_;
  Way way_;
  std::string path_;  // of what is being copied
  uint64_t reported_ = 0;
};

class CopierIn : public Copier {
 public:
  using Copier::Copier;

  Result<void> copy(Descriptor fd, InodeId directory) {
    const struct stat status = TRY(status_of(fd, path_));
    TRY(enter(std::move(fd), directory, status));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.next == level.names.size()) {
        TRY(leave());
        continue;
      }
      const std::string& name = level.names[level.next++];
      point_at(level.path_size, name);
      TRY(entry(way_.here(), name, level.inode, path_));
    }
    return {};
  }

 private:
  struct Level {
    std::vector<std::string> names;
    size_t next;
    InodeId inode;
    struct stat status;
    size_t path_size;
  };

  Result<void> enter(Descriptor fd, InodeId inode, const struct stat& status) {
    std::vector<std::string> names = TRY(list(fd.get(), path_));
    way_.enter(std::move(fd), status);
    levels_.push_back({std::move(names), 0, inode, status, path_.size()});
    return {};
  }

  Result<void> leave() {
    const Level level = std::move(levels_.back());
    levels_.pop_back();
    path_.resize(level.path_size);
    const Descriptor fd = TRY(way_.leave(path_));
    if (levels_.empty()) return {};
    TRY(attributes(fd.get(), level.inode, path_, changed_now(level.status)));
    return finish(level.inode, level.status, path_);
  }

  Result<void> entry(int fd, const std::string& name, InodeId directory, const std::string& path) {
    struct stat status {};
    if (::fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return host_error("cannot stat", path);
    if (!S_ISDIR(status.st_mode) && status.st_nlink > 1 && TRY(link(status, name, directory, path)))
      return {};
    if (S_ISREG(status.st_mode)) return file(fd, name, directory, path);
    if (S_ISDIR(status.st_mode)) return subfolder(fd, name, directory, path);
    if (S_ISLNK(status.st_mode)) return symlink(fd, name, directory, path, status);
    ++totals.skipped;
    return {};
  }

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

  // A file with several names, after its first one was copied. Gone from the list after its last one.
  void remember(const struct stat& status, InodeId inode) {
    if (status.st_nlink > 1) linked_[{status.st_dev, status.st_ino}] = {inode, status.st_nlink - 1};
  }
  // False: this is the first name, or one more than the volume can give the file.
  Result<bool> link(const struct stat& status, const std::string& name, InodeId directory,
                    const std::string& path) {
    const auto known = linked_.find({status.st_dev, status.st_ino});
    if (known == linked_.end()) return false;
    VolumeResult<void> made = volume_.link(known->second.inode, directory, name, changed_now(status));
    if (!made.ok() && made.error().reason == Reason::TooManyLinks) return false;
    TRY(at_path(std::move(made), path));
    ++totals.links;
    if (--known->second.names_left == 0) linked_.erase(known);
    return true;
  }

  Result<void> attributes(int fd, InodeId inode, const std::string& path, Timestamp now) {
    char* const text = reinterpret_cast<char*>(buffer_.data());  // the system's limits are far below its size
    const ssize_t listed = ::flistxattr(fd, text, buffer_.size());
    if (listed < 0 && (errno == ENOTSUP || errno == ENOSYS)) return {};
    if (listed < 0) return host_error("cannot list the extended attributes of", path);
    // Sorted, as names of files: the order decides the numbers of large values.
    std::set<std::string> names;
    for (std::string_view rest(text, static_cast<size_t>(listed)); !rest.empty();) {
      const std::string_view name = rest.substr(0, rest.find('\0'));
      names.emplace(name);
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    }
    for (const std::string& name : names) {
      if (!for_users(name)) continue;
      const ssize_t size = ::fgetxattr(fd, name.c_str(), buffer_.data(), buffer_.size());
      if (size < 0 && errno == ENODATA) continue;
      if (size < 0) return host_error("cannot read the extended attribute " + name + " of", path);
      const ByteView value = ByteView(buffer_).first(static_cast<size_t>(size));
      TRY(at_path(volume_.set_xattr(inode, name, value, false, false, now), path));
    }
    return {};
  }

  Result<void> finish(InodeId inode, const struct stat& status, const std::string& path) {
    AttributeChange change;
    change.permissions = static_cast<uint16_t>(status.st_mode & 07777);
    change.modified = time_of(status);
    return at_path(volume_.set_attributes(inode, change, changed_now(status)), path);
  }

  Result<void> subfolder(int fd, const std::string& name, InodeId directory, const std::string& path) {
    Descriptor below(::openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    const struct stat status = TRY(status_of(below, path));
    const InodeId inode = TRY(at_path(volume_.make_directory(directory, name, 0700, owner(status.st_uid),
                                                             owner(status.st_gid), changed_now(status)),
                                      path));
    ++totals.folders;
    return enter(std::move(below), inode, status);
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
    remember(status, inode);
    AttributeChange change;
    change.modified = time_of(status);
    return at_path(volume_.set_attributes(inode, change, changed_now(status)), path);
  }

  Result<void> file(int fd, const std::string& name, InodeId directory, const std::string& path) {
    const Descriptor in(::openat(fd, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    const struct stat status = TRY(status_of(in, path));
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
    TRY(attributes(in.get(), inode, path, now));
    remember(status, inode);
    ++totals.files;
    report(path, true);
    return finish(inode, status, path);
  }

  std::vector<Level> levels_;
  struct Linked {
    InodeId inode;
    uint64_t names_left;
  };
  std::map<std::pair<dev_t, ino_t>, Linked> linked_;
};

class CopierOut : public Copier {
 public:
  CopierOut(Volume& volume, const CopyOptions& options, int target)
      : Copier(volume, options), target_(target) {}

  Result<void> copy(Descriptor fd, InodeId directory) {
    TRY(enter(std::move(fd), directory, {}));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.next == level.entries.size() && level.cookie == 0) {
        TRY(leave());
      } else if (level.next == level.entries.size()) {
        path_.resize(level.path_size);
        TRY(read(level));
      } else {
        const DirectoryEntry& entry = level.entries[level.next++];
        point_at(level.path_size, entry.name);
        TRY(copy_entry(way_.here(), entry, path_));
      }
    }
    return {};
  }

 private:
  struct Level {
    InodeId inode;
    Attributes attributes;
    size_t path_size;
    std::vector<DirectoryEntry> entries;
    size_t next = 0;
    uint64_t cookie = 0;  // of the entries after these; 0: there are none
  };

  Result<void> enter(Descriptor fd, InodeId inode, const Attributes& attributes) {
    TRY(met_.enter(inode));
    Level level{inode, attributes, path_.size(), {}};
    TRY(read(level));
    const struct stat status = TRY(status_of(fd, path_));
    way_.enter(std::move(fd), status);
    levels_.push_back(std::move(level));
    return {};
  }

  Result<void> read(Level& level) {
    level.entries.clear();
    level.next = 0;
    level.cookie = TRY(at_path(volume_.read_directory(level.inode, level.cookie, 256, level.entries), path_));
    return {};
  }

  Result<void> leave() {
    const Level level = std::move(levels_.back());
    levels_.pop_back();
    path_.resize(level.path_size);
    const Descriptor fd = TRY(way_.leave(path_));
    return levels_.empty() ? Result<void>() : finish(fd.get(), level.inode, level.attributes, path_);
  }

  Result<void> copy_entry(int fd, const DirectoryEntry& entry, const std::string& path) {
    if (!safe(entry.name))
      return Error(Code::Integrity, "the volume holds the name " + path + ", which would escape");
    const Attributes attributes = TRY(at_path(volume_.attributes(entry.inode), path));
    if (attributes.type == FileType::Directory) return subfolder(fd, entry, attributes, path);
    if (TRY(link(fd, entry, path))) return {};
    return attributes.type == FileType::Symlink ? symlink(fd, entry, attributes, path)
                                                : file(fd, entry, attributes, path);
  }

  static bool safe(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
           name.find('\0') == name.npos;
  }

  static timespec time_of(const Timestamp& time) {
    return {static_cast<time_t>(time.seconds), static_cast<long>(time.nanoseconds)};
  }

  // --- files with several names

  // By its descriptor, or a symbolic link by its name.
  void remember(int fd, const char* name, const DirectoryEntry& entry, const Attributes& attributes,
                const std::string& path) {
    struct stat status {};
    if (attributes.links < 2 || ::fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0)
      return;
    linked_[entry.inode] = {path, status.st_dev, status.st_ino, attributes.links - 1};
  }

  // The folder that `path` lies in: from the target down, through folders only.
  static Descriptor open_parent(int target, std::string_view path) {
    Descriptor at(::openat(target, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (size_t slash; at.valid() && (slash = path.find('/')) != path.npos; path.remove_prefix(slash + 1)) {
      const std::string name(path.substr(0, slash));
      at = Descriptor(::openat(at.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    }
    return at;
  }

  // False: it has to be copied, as the first of its names or because the target cannot link.
  Result<bool> link(int fd, const DirectoryEntry& entry, const std::string& path) {
    const auto known = linked_.find(entry.inode);
    if (known == linked_.end()) return false;
    Linked& first = known->second;
    const Descriptor folder = open_parent(target_, first.path);
    const std::string name =
        first.path.substr(first.path.rfind('/') + 1);  // all of it where there is no slash
    struct stat status {};
    const bool there = folder.valid() &&
                       ::fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                       status.st_dev == first.device && status.st_ino == first.inode;
    if (!there || ::linkat(folder.get(), name.c_str(), fd, entry.name.c_str(), 0) != 0) {
      if (there && errno == EEXIST) return host_error("cannot create", path);
      ++totals.copied_links;
      return false;
    }
    ++totals.links;
    if (--first.names_left == 0) linked_.erase(known);
    return true;
  }

  // --- attributes

  Result<void> attributes_of_users(int fd, InodeId inode, const std::string& path) {
    const std::vector<std::string> names = TRY(at_path(volume_.list_xattrs(inode), path));
    for (const std::string& name : names) {
      if (!for_users(name)) continue;
      const Bytes value = TRY(at_path(volume_.get_xattr(inode, name), path));
      if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0) continue;
      switch (errno) {
        case ENOTSUP:
        case ENOSPC:  // also: no room for more of them in this file
        case E2BIG:
        case ERANGE:
        case EPERM:
          leave_out(path, name, std::strerror(errno));
          break;
        default:
          return host_error("cannot set the extended attribute " + name + " of", path);
      }
    }
    return {};
  }

  // Set-id bits are not restored: nobody should become another user by decrypting a folder.
  Result<void> finish(int fd, InodeId inode, const Attributes& attributes, const std::string& path) {
    TRY(attributes_of_users(fd, inode, path));
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
                         const std::string& path) {
    if (::mkdirat(fd, entry.name.c_str(), 0700) != 0) return host_error("cannot create", path);
    Descriptor below(::openat(fd, entry.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!below.valid()) return host_error("cannot open", path);
    ++totals.folders;
    return enter(std::move(below), entry.inode, attributes);
  }

  Result<void> symlink(int fd, const DirectoryEntry& entry, const Attributes& attributes,
                       const std::string& path) {
    const std::string target = TRY(at_path(volume_.read_symlink(entry.inode), path));
    if (::symlinkat(target.c_str(), fd, entry.name.c_str()) != 0) return host_error("cannot create", path);
    ++totals.symlinks;
    remember(fd, entry.name.c_str(), entry, attributes, path);
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
    remember(out.get(), "", entry, attributes, path);
    report(path, true);
    return finish(out.get(), entry.inode, attributes, path);
  }

  struct Linked {
    std::string path;  // of the first one, from the target
    dev_t device;
    ino_t inode;
    uint64_t names_left;  // as the volume says
  };
  std::vector<Level> levels_;
  const int target_;
  std::unordered_map<InodeId, Linked> linked_;
  DirectoriesMet met_;
};

}  // namespace

std::string CopyTotals::left_out() const {
  std::string text;
  const auto tell = [&text](uint64_t count, const std::string& what) {
    if (count == 0) return;
    if (!text.empty()) text += "; ";
    text += std::to_string(count) + what;
  };
  tell(skipped, " devices, pipes and sockets skipped");
  tell(copied_links, " hard links became copies: the folder cannot hold them");
  tell(lost_attributes, " extended attributes are not kept, the first is " + printable(first_lost));
  return text;
}

Result<CopyTotals> copy_folder_in(Volume& volume, const std::filesystem::path& folder,
                                  const CopyOptions& options) {
  Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return host_error("cannot open", folder.native());
  CopierIn copier(volume, options);
  TRY(copier.copy(std::move(fd), options.directory));
  return copier.totals;
}

Result<CopyTotals> copy_folder_out(Volume& volume, const std::filesystem::path& folder,
                                   const CopyOptions& options) {
  TRY(volume.verify_tree());
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return host_error("cannot create", folder.native());
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return host_error("cannot open", folder.native());
  CopierOut copier(volume, options, fd.get());
  Descriptor top(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!top.valid()) return host_error("cannot open", folder.native());
  TRY(copier.copy(std::move(top), options.directory));
  return copier.totals;
}

}  // namespace cloister::volume
