// Path resolution (path_resolution(7)) over the mount table. A position is an inode and its absolute path;
// ".." walks the shortened path again, which costs little because trees are shallow and lookups cached. The
// folders that are walked from, open or worked in, are files whose paths every rename keeps right (file.h).
#include <algorithm>

#include "enclave/memory/manager.h"
#include "enclave/process.h"
#include "enclave/vfs/inotify.h"
#include "enclave/vfs/mounts.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr size_t kMaxName = 255, kMaxPath = 4095;
constexpr int kMaxLinks = 40;

std::string child_path(const std::string& folder, std::string_view name) {
  std::string path = folder;
  if (path.back() != '/') path += '/';
  return path.append(name);
}

bool is_type(const Stat& stat, uint32_t type) { return (stat.mode & kTypeMask) == type; }

class Walk {
 public:
  Walk(LastLink last, uint32_t limits = 0) : last_(last), limits_(limits) {}

  // `lost`: the folder is in none any more.
  SysResult<Place> run(Ref<Inode> start, std::string start_path, std::string_view path, bool lost = false) {
    lost_ = lost;
    base_ = inode_ = std::move(start);
    base_path_ = path_ = std::move(start_path);
    std::string rest(path);
    Place place;
    while (!TRY(step(rest, place))) {
    }
    return place;
  }

 private:
  // Consumes one component; true when `place` is filled in.
  SysResult<bool> step(std::string& rest, Place& place) {
    rest.erase(0, std::min(rest.find_first_not_of('/'), rest.size()));
    if (rest.empty()) {
      place = Place{inode_, ".", path_, inode_, true};
      return true;
    }
    const std::string name = rest.substr(0, rest.find('/'));
    if (name.size() > kMaxName) return Errno::NameTooLong;
    rest.erase(0, name.size());
    const bool last = rest.find_first_not_of('/') == std::string::npos;
    const bool slash = last && !rest.empty();
    if (!is_type(TRY(inode_->stat()), kTypeFolder)) return Errno::NotDirectory;
    if (name == ".") return false;
    if (name == "..") {
      TRY(go_up());
      return false;
    }
    const std::string full = child_path(path_, name);
    auto found = mount_at(full);
    if (found && (limits_ & kWithinMount) != 0) return Errno::CrossDevice;
    if (!found) {
      auto looked = inode_->lookup(name);
      if (!looked.ok()) {
        if (looked.error() != Errno::NoEntry || !last) return looked.error();
        place = Place{inode_, name, full, nullptr, slash};
        return true;
      }
      found = std::move(looked).value();
    }
    if (is_type(TRY(found->stat()), kTypeLink) && (!last || slash || last_ == LastLink::Follow)) {
      if (++links_ > kMaxLinks) return Errno::Loop;
      TRY(check_link(*found));
      if (const Ref<File> open = found->magic_target()) {
        if (last) place = place_of(open, found, slash);
        return last ? true : go_into(*open);
      }
      const std::string target = TRY(found->read_link());
      if (target.empty()) return Errno::NoEntry;
      if (target[0] == '/') TRY(go_to_root());
      rest = target + rest;
      if (rest.size() > 2 * kMaxPath) return Errno::NameTooLong;
      return false;
    }
    if (last) {
      place = Place{inode_, name, full, found, slash};
      return true;
    }
    inode_ = found;
    path_ = full;
    return false;
  }

  static Place place_of(const Ref<File>& open, const Ref<Inode>& link, bool slash) {
    const Ref<Inode> inode = open->inode() == nullptr ? link : Ref<Inode>(open->inode());
    return Place{inode, ".", open->path(), inode, slash, open};
  }
  // On from an open file, wherever its name may be by now.
  SysResult<bool> go_into(File& open) {
    if (open.inode() == nullptr) return Errno::NotDirectory;
    const auto& file = static_cast<InodeFile&>(open);
    lost_ = file.name_state() == NameState::Lost;
    inode_ = Ref<Inode>(open.inode());
    path_ = open.path();
    return false;
  }

  SysResult<void> check_link(Inode& link) const {
    if ((limits_ & kNoLinks) != 0) return Errno::Loop;
    if (!link.magic_target()) return {};
    if ((limits_ & kNoMagicLinks) != 0) return Errno::Loop;
    return (limits_ & (kBeneath | kInRoot | kWithinMount)) != 0 ? Errno::CrossDevice : SysResult<void>();
  }
  SysResult<void> go_to_root() {
    if ((limits_ & kBeneath) != 0) return Errno::CrossDevice;
    const bool inside = (limits_ & kInRoot) != 0;
    if (!inside && (limits_ & kWithinMount) != 0 && inode_->file_system() != root_inode()->file_system())
      return Errno::CrossDevice;
    if (!inside) lost_ = false;
    inode_ = inside ? base_ : root_inode();
    path_ = inside ? base_path_ : "/";
    return {};
  }
  SysResult<void> go_up() {
    if (path_ == base_path_ && (limits_ & kBeneath) != 0) return Errno::CrossDevice;
    if (path_ == base_path_ && (limits_ & kInRoot) != 0) return {};
    if (path_ != "/" && mount_at(path_) && (limits_ & kWithinMount) != 0) return Errno::CrossDevice;
    if (lost_) return Errno::NoEntry;
    path_ = parent_path(path_);
    inode_ = TRY(folder_at(path_));
    return {};
  }

  LastLink last_;
  uint32_t limits_;
  Ref<Inode> base_;
  std::string base_path_;
  bool lost_ = false;
  int links_ = 0;
  Ref<Inode> inode_;
  std::string path_;
};

// Walks from an open folder, which may have lost its name.
SysResult<Place> walk_from(const Ref<InodeFile>& folder, std::string_view path, LastLink last,
                           uint32_t limits) {
  Walk walk(last, limits);
  return walk.run(Ref<Inode>(folder->inode()), folder->path(), path, folder->name_state() == NameState::Lost);
}

}  // namespace

std::string parent_path(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

SysResult<Ref<Inode>> folder_at(const std::string& path) {
  Walk walk(LastLink::Keep);
  const Place place = TRY(walk.run(root_inode(), "/", path));
  if (!place.inode) return Errno::NoEntry;
  return place.inode;
}

std::string working_path(const Process& process) { return process.folder ? process.folder->path() : "/"; }

SysResult<void> change_folder(Process& process, std::string_view path) {
  const Place place = TRY(resolve_existing(process, kAtCwd, path, LastLink::Follow));
  if (!is_type(TRY(place.inode->stat()), kTypeFolder)) return Errno::NotDirectory;
  process.folder = place.open ? static_cast<InodeFile&>(*place.open).again(kOpenPath)
                              : make_ref<InodeFile>(place.inode, place.path, kOpenPath);
  return {};
}

SysResult<Place> resolve(Process& process, int32_t folder_fd, std::string_view path, LastLink last,
                         uint32_t limits) {
  if (path.empty()) return Errno::NoEntry;
  if (path.size() > kMaxPath) return Errno::NameTooLong;
  const bool relative = path[0] != '/' || (limits & kInRoot) != 0;
  if (!relative && (limits & kBeneath) != 0) return Errno::CrossDevice;
  if (relative && folder_fd != kAtCwd) {
    const Ref<File> folder = TRY(process.files.find(folder_fd));
    if (folder->inode() == nullptr) return Errno::NotDirectory;
    return walk_from(Ref<InodeFile>(static_cast<InodeFile*>(folder.get())), path, last, limits);
  }
  if (relative && process.folder) return walk_from(process.folder, path, last, limits);
  Walk walk(last, limits);
  return walk.run(root_inode(), "/", path);
}

SysResult<Place> resolve_existing(Process& process, int32_t folder_fd, std::string_view path, LastLink last,
                                  uint32_t limits) {
  Place place = TRY(resolve(process, folder_fd, path, last, limits));
  if (!place.inode) return Errno::NoEntry;
  if (place.must_be_folder && !is_type(TRY(place.inode->stat()), kTypeFolder)) return Errno::NotDirectory;
  return place;
}

namespace {

SysResult<Ref<Inode>> create_at(const Process& process, const Place& place, uint32_t mode) {
  if (place.must_be_folder) return Errno::IsDirectory;
  if (mount_read_only(place.path)) return Errno::ReadOnly;
  return place.parent->create(place.name, kTypeFile | (mode & 07777 & ~process.umask));
}

// O_TMPFILE: a file without a name. Both kinds of file system keep an open file that has none.
SysResult<Ref<File>> open_unnamed(Process& process, int32_t folder_fd, std::string_view path, uint32_t flags,
                                  uint32_t mode, uint32_t limits) {
  static uint64_t number = 0;
  if ((flags & kOpenAccess) == 0 || (flags & kOpenDirectory) == 0) return Errno::Invalid;
  Place place = TRY(resolve_existing(process, folder_fd, path, LastLink::Follow, limits));
  if (!is_type(TRY(place.inode->stat()), kTypeFolder)) return Errno::NotDirectory;
  if (mount_read_only(place.path)) return Errno::ReadOnly;
  std::string name;
  auto created = SysResult<Ref<Inode>>(Errno::Exists);
  while (!created.ok() && created.error() == Errno::Exists) {  // somebody else's name
    name = ".unnamed-" + std::to_string(++number);
    created = place.inode->create(name, kTypeFile | (mode & 07777 & ~process.umask));
  }
  const Ref<Inode> inode = TRY(std::move(created));
  const auto file = make_ref<InodeFile>(inode, child_path(place.path, name), flags & kOpenKept);
  TRY(place.inode->unlink(name));
  file->set_name_state((flags & kOpenExclusive) != 0 ? NameState::Gone : NameState::Unnamed);
  return Ref<File>(file);
}

// O_PATH of what has no inode.
class NamedFile final : public File {
 public:
  explicit NamedFile(const Stat& stat) : File(kOpenPath), stat_(stat) {}
  SysResult<Stat> stat() override { return stat_; }

 private:
  Stat stat_;
};

SysResult<Ref<File>> open_without_inode(File& original, uint32_t flags) {
  if ((flags & kOpenPath) == 0) return original.open_again(flags);
  return Ref<File>(make_ref<NamedFile>(TRY(original.stat())));
}

}  // namespace

SysResult<Ref<File>> open_at(Process& process, int32_t folder_fd, std::string_view path, uint32_t flags,
                             uint32_t mode, uint32_t limits) {
  if ((flags & kOpenPath) != 0) flags &= kOpenPath | kOpenDirectory | kOpenNoFollow | kOpenCloseOnExec;
  if ((flags & kOpenTemporary) != 0) return open_unnamed(process, folder_fd, path, flags, mode, limits);
  const bool no_follow = (flags & kOpenNoFollow) != 0 ||
                         (flags & (kOpenCreate | kOpenExclusive)) == (kOpenCreate | kOpenExclusive);
  Place place = TRY(resolve(process, folder_fd, path, no_follow ? LastLink::Keep : LastLink::Follow, limits));
  const bool path_only = (flags & kOpenPath) != 0;
  const bool truncate_wanted = (flags & kOpenTruncate) != 0 && !path_only;  // by open(2), also of a reader
  const bool writing = truncate_wanted || ((flags & kOpenAccess) != 0 && !path_only);
  bool created = false;
  if (!place.inode) {
    if ((flags & kOpenCreate) == 0 || path_only) return Errno::NoEntry;
    place.inode = TRY(create_at(process, place, mode));
    created = true;
    notify_created(*place.parent, place.name, false);
  } else if ((flags & kOpenCreate) != 0 && (flags & kOpenExclusive) != 0 && !path_only) {
    return Errno::Exists;
  }
  // Of /proc/self/fd/N: opened anew like any other name, unless it has no inode.
  const Ref<File> original = place.open;
  const bool no_inode = original && original->inode() == nullptr;
  if (no_inode && (flags & kOpenDirectory) == 0 && !place.must_be_folder)
    return open_without_inode(*original, flags);
  const Stat stat = TRY(place.inode->stat());
  const bool folder = is_type(stat, kTypeFolder);
  if (is_type(stat, kTypeLink) && !path_only && !no_inode) return Errno::Loop;
  if (is_type(stat, kTypeSocket) && !path_only) return Errno::NoDeviceAddress;
  if (((flags & kOpenDirectory) != 0 || place.must_be_folder) && !folder) return Errno::NotDirectory;
  if (folder && (writing || (flags & kOpenCreate) != 0) && !path_only) return Errno::IsDirectory;
  const bool truncate = truncate_wanted && !created;
  if (!path_only) {
    Ref<File> special = TRY(place.inode->open_special(flags));
    if (special) return special;
    if (writing && mount_read_only(*place.inode) && !place.inode->is_order()) return Errno::ReadOnly;
    if (truncate && stat.size != 0) {
      TRY(place.inode->truncate(0));
      memory_file_resized(*place.inode);
    }
  }
  const auto file = original ? static_cast<InodeFile&>(*original).again(flags)
                             : make_ref<InodeFile>(place.inode, place.path, flags & kOpenKept);
  if (place.name != "." && !original) file->set_parent(place.parent);
  file->notify_used(kNotifyOpen);
  if (truncate) file->notify_used(kNotifyModify);
  return Ref<File>(file);
}

}  // namespace cloister::enclave
