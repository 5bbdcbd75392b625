// Changing names and what inodes carry: folders, links, renames, modes, owners, times, sizes, durability.
#include <algorithm>
#include <string>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/memory/manager.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/inotify.h"
#include "enclave/vfs/mounts.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

Process& process_of(SyscallArgs& args) { return *args.thread.process; }

// A link with a slash behind it: resolution follows it, but what it leads to is neither to vanish nor to be
// replaced or made.
SysResult<bool> link_with_slash(Process& process, int32_t folder, std::string_view name) {
  if (!name.ends_with('/')) return false;
  while (name.size() > 1 && name.ends_with('/')) name.remove_suffix(1);
  const Place named = TRY(resolve(process, folder, name, LastLink::Keep));
  return named.inode && (TRY(named.inode->stat()).mode & kTypeMask) == kTypeLink;
}

// The place of a name that does not exist yet.
SysResult<Place> new_place(SyscallArgs& args, int32_t folder, uint64_t path, bool folder_wanted) {
  const std::string name = TRY(string_from_user(path));
  if (TRY(link_with_slash(process_of(args), folder, name))) return Errno::Exists;
  Place place = TRY(resolve(process_of(args), folder, name, LastLink::Keep));
  if (place.inode) return Errno::Exists;
  if (place.must_be_folder && !folder_wanted) return Errno::NoEntry;
  if (mount_read_only(place.path)) return Errno::ReadOnly;
  return place;
}

enum class Vanish : uint8_t { File, Folder, Renamed };

// What a path that ends with "." or ".." or is "/" is refused with.
Errno no_name(std::string_view path, Vanish how) {
  while (path.ends_with('/')) path.remove_suffix(1);
  if (how == Vanish::File) return Errno::IsDirectory;
  if (how == Vanish::Renamed || path.empty()) return Errno::Busy;
  return path.ends_with("..") ? Errno::NotEmpty : Errno::Invalid;
}

// The place of a name that is to vanish: it exists and is neither "." nor a mount point, nor on the way to
// one.
SysResult<Place> old_place(SyscallArgs& args, int32_t folder, uint64_t path, Vanish how) {
  const std::string name = TRY(string_from_user(path));
  if (TRY(link_with_slash(process_of(args), folder, name))) return Errno::NotDirectory;
  Place place = TRY(resolve_existing(process_of(args), folder, name, LastLink::Keep));
  if (place.open) return Errno::NotDirectory;  // a magic link's name, with a slash after it
  if (place.name == ".") return no_name(name, how);
  if (mount_read_only(place.path)) return Errno::ReadOnly;
  if (mount_at(place.path)) return Errno::Busy;
  if (mount_below(place.path)) return how == Vanish::Folder ? Errno::NotEmpty : Errno::Busy;
  return place;
}

SysResult<int64_t> make_folder(SyscallArgs& args, int32_t folder, uint64_t path, uint32_t mode) {
  const Place place = TRY(new_place(args, folder, path, true));
  TRY(place.parent->create(place.name, kTypeFolder | (mode & 01777 & ~process_of(args).umask)));
  notify_created(*place.parent, place.name, true);
  return 0;
}

SysResult<int64_t> remove(SyscallArgs& args, int32_t folder, uint64_t path, bool is_folder) {
  const Place place = TRY(old_place(args, folder, path, is_folder ? Vanish::Folder : Vanish::File));
  if (is_folder) {
    TRY(place.parent->remove_folder(place.name));
  } else {
    if (place.must_be_folder) return Errno::IsDirectory;
    TRY(place.parent->unlink(place.name));
  }
  InodeFile::name_removed(place.path, is_folder);
  notify_unlinked(place, is_folder);
  return 0;
}

// The new name is a folder on the way to the old one.
bool on_the_way(const Place& to, const Place& from) {
  return from.path.size() > to.path.size() && from.path.starts_with(to.path) &&
         from.path[to.path.size()] == '/';
}

SysResult<void> check_rename(const Place& from, const Place& to, bool folder, uint32_t flags) {
  if (to.name == "." || mount_at(to.path) || mount_below(to.path)) return Errno::Busy;
  if (mount_read_only(to.path)) return Errno::ReadOnly;
  if (from.parent->file_system() != to.parent->file_system()) return Errno::CrossDevice;
  if (flags == kExchange && !to.inode) return Errno::NoEntry;
  if (on_the_way(to, from)) return flags == kExchange ? Errno::Invalid : Errno::NotEmpty;
  if (flags == kExchange) folder = (TRY(to.inode->stat()).mode & kTypeMask) == kTypeFolder;
  return to.must_be_folder && !folder ? Errno::NotDirectory : SysResult<void>();
}

// What open files and watchers know of it.
void exchanged(const Place& from, const Place& to, bool from_folder, bool to_folder) {
  const std::string nowhere = "//exchanged";  // no path has two slashes
  InodeFile::name_moved(from.path, nowhere, from.parent, from_folder);
  InodeFile::name_moved(to.path, from.path, from.parent, to_folder);
  InodeFile::name_moved(nowhere, to.path, to.parent, from_folder);
  Place from_here = from, to_there = to;
  from_here.inode = to_there.inode = nullptr;  // nothing is replaced
  notify_moved(from, to_there, from_folder);
  notify_moved(to, from_here, to_folder);
}

SysResult<int64_t> rename_at(SyscallArgs& args, int32_t from_folder, uint64_t from_path, int32_t to_folder,
                             uint64_t to_path, uint32_t flags) {
  if (flags != 0 && flags != kNoReplace && flags != kExchange) return Errno::Invalid;
  const Place from = TRY(old_place(args, from_folder, from_path, Vanish::Renamed));
  const std::string name = TRY(string_from_user(to_path));
  if (TRY(link_with_slash(process_of(args), to_folder, name)))
    return flags == kNoReplace ? Errno::Exists : Errno::NotDirectory;
  const Place to = TRY(resolve(process_of(args), to_folder, name, LastLink::Keep));
  const Stat moved = TRY(from.inode->stat());
  const bool folder = (moved.mode & kTypeMask) == kTypeFolder;
  TRY(check_rename(from, to, folder, flags));
  const Stat old = to.inode ? TRY(to.inode->stat()) : Stat{};
  TRY(from.parent->rename(from.name, *to.parent, to.name, flags));
  if (to.inode && old.inode == moved.inode) return 0;
  if (flags == kExchange) {
    exchanged(from, to, folder, (old.mode & kTypeMask) == kTypeFolder);
    return 0;
  }
  if (to.inode) InodeFile::name_removed(to.path, folder);
  InodeFile::name_moved(from.path, to.path, to.parent, folder);
  notify_moved(from, to, folder);
  return 0;
}

// What gets another name, or its first one. Errors: NoEntry, it has lost its last one.
SysResult<Ref<Inode>> linkable(File& file) {
  if (file.inode() == nullptr) return Errno::CrossDevice;
  const auto& open = static_cast<InodeFile&>(file);
  if (TRY(file.stat()).links == 0 && open.name_state() != NameState::Unnamed) return Errno::NoEntry;
  return Ref<Inode>(file.inode());
}
SysResult<Ref<Inode>> linkable(SyscallArgs& args, int32_t folder, uint64_t path, uint64_t flags) {
  const std::string name = TRY(string_from_user(path));
  if (name.empty() && (flags & kAtEmptyPath) != 0 && folder != kAtCwd)
    return linkable(*TRY(process_of(args).files.find(folder)));
  const LastLink last = (flags & kAtFollow) != 0 ? LastLink::Follow : LastLink::Keep;
  const Place place = TRY(resolve_existing(process_of(args), folder, name, last));
  return place.open ? linkable(*place.open) : place.inode;
}

SysResult<int64_t> link_at(SyscallArgs& args, int32_t from_folder, uint64_t from_path, int32_t to_folder,
                           uint64_t to_path, uint64_t flags) {
  TRY(check_flags(flags, kAtFollow | kAtEmptyPath));
  const Ref<Inode> inode = TRY(linkable(args, from_folder, from_path, flags));
  const Place to = TRY(new_place(args, to_folder, to_path, false));
  if (inode->file_system() != to.parent->file_system()) return Errno::CrossDevice;
  if ((TRY(inode->stat()).mode & kTypeMask) == kTypeFolder) return Errno::Perm;
  TRY(to.parent->link(to.name, *inode));
  InodeFile::name_given(*inode);
  notify_linked(*inode, *to.parent, to.name);
  return 0;
}

SysResult<int64_t> symlink_at(SyscallArgs& args, uint64_t target, int32_t folder, uint64_t path) {
  const std::string text = TRY(string_from_user(target));
  if (text.empty()) return Errno::NoEntry;
  const Place place = TRY(new_place(args, folder, path, false));
  TRY(place.parent->symlink(place.name, text));
  notify_created(*place.parent, place.name, false);
  return 0;
}

SysResult<Found> changeable(File& file) {
  if (file.inode() == nullptr) return Errno::Invalid;
  if (mount_read_only(*file.inode())) return Errno::ReadOnly;
  return found_by(file);
}

SysResult<int64_t> make_node(SyscallArgs& args, int32_t folder, uint64_t path, uint32_t mode) {
  const uint32_t type = mode & kTypeMask;
  if (type != kTypeFile && type != 0 && type != kTypeFifo && type != kTypeSocket) return Errno::Perm;
  const Place place = TRY(new_place(args, folder, path, false));
  TRY(place.parent->create(place.name,
                           (type == 0 ? kTypeFile : type) | (mode & 07777 & ~process_of(args).umask)));
  notify_created(*place.parent, place.name, false);
  return 0;
}

// An inode for a change, by path or, with an empty path that may be, by descriptor.
SysResult<Found> changeable(SyscallArgs& args, int32_t folder, uint64_t path, uint64_t flags) {
  std::string name;
  if (path != 0 || folder == kAtCwd) name = TRY(string_from_user(path));
  if (name.empty() && (path == 0 || (flags & kAtEmptyPath) != 0)) {
    const FdTable& files = process_of(args).files;
    const Ref<File> file = TRY(path == 0 ? files.get(folder) : files.find(folder));
    return changeable(*file);
  }
  const LastLink last = (flags & kAtNoFollow) != 0 ? LastLink::Keep : LastLink::Follow;
  const Place place = TRY(resolve_existing(process_of(args), folder, name, last));
  // /proc/self/fd/N: how glibc changes the mode of what must not be a link.
  if (place.open) return changeable(*place.open);
  if (mount_read_only(place.path)) return Errno::ReadOnly;
  return Found(place);
}

SysResult<int64_t> change_attributes(const Found& found, const AttributeChange& change) {
  TRY(found.inode->change(change));
  notify_changed(found, change);
  return 0;
}

SysResult<int64_t> change_mode(SyscallArgs& args, int32_t folder, uint64_t path, uint32_t mode,
                               uint64_t flags) {
  TRY(check_flags(flags, kAtNoFollow | kAtEmptyPath));
  const Found found = TRY(changeable(args, folder, path, flags));
  if ((TRY(found.inode->stat()).mode & kTypeMask) == kTypeLink) return Errno::NotSupported;
  AttributeChange change;
  change.mode = &mode;
  return change_attributes(found, change);
}

SysResult<int64_t> change_owner(SyscallArgs& args, int32_t folder, uint64_t path, uint32_t uid, uint32_t gid,
                                uint64_t flags) {
  TRY(check_flags(flags, kAtNoFollow | kAtEmptyPath));
  AttributeChange change;
  if (uid != UINT32_MAX) change.uid = &uid;
  if (gid != UINT32_MAX) change.gid = &gid;
  const Found found = TRY(changeable(args, folder, path, flags));
  // chown(2): a program of somebody else's must not run with the new owner's rights.
  constexpr uint32_t kSetUser = 04000, kSetGroup = 02000, kGroupExecute = 010;
  const uint32_t old_mode = TRY(found.inode->stat()).mode;
  uint32_t mode = old_mode & ~kSetUser;
  if ((mode & kGroupExecute) != 0) mode &= ~kSetGroup;
  if (mode != old_mode && (mode & kTypeMask) != kTypeFolder) change.mode = &mode;
  return change_attributes(found, change);
}

// times: {access, modification}; null: both are now.
SysResult<int64_t> change_times(SyscallArgs& args, int32_t folder, uint64_t path, const TimeSpec* times,
                                uint64_t flags) {
  constexpr int64_t kNow = 0x3fffffff, kOmit = 0x3ffffffe;  // UTIME_NOW, UTIME_OMIT
  const TimeSpec now = to_timespec(realtime_ns());
  TimeSpec set[2] = {now, now};
  bool change_it[2] = {true, true};
  for (int i = 0; times != nullptr && i < 2; ++i) {
    const int64_t nanoseconds = times[i].nanoseconds;
    change_it[i] = nanoseconds != kOmit;
    if (nanoseconds == kNow || nanoseconds == kOmit) continue;
    if (nanoseconds < 0 || nanoseconds >= static_cast<int64_t>(kSecond)) return Errno::Invalid;
    set[i] = times[i];
  }
  if (!change_it[0] && !change_it[1]) return 0;
  TRY(check_flags(flags, path == 0 ? 0 : kAtNoFollow | kAtEmptyPath));
  AttributeChange change;
  if (change_it[0]) change.accessed = &set[0];
  if (change_it[1]) change.modified = &set[1];
  return change_attributes(TRY(changeable(args, folder, path, flags)), change);
}

struct MicroTime {  // struct timeval
  int64_t seconds, microseconds;
};
SysResult<int64_t> change_micro_times(SyscallArgs& args, int32_t folder, uint64_t path, uint64_t times) {
  if (times == 0) return change_times(args, folder, path, nullptr, 0);
  struct Pair {
    MicroTime both[2];
  };
  const auto pair = TRY(load_user<Pair>(times));
  TimeSpec out[2];
  for (int i = 0; i < 2; ++i) {
    if (pair.both[i].microseconds < 0 || pair.both[i].microseconds >= 1000000) return Errno::Invalid;
    out[i] = {pair.both[i].seconds, pair.both[i].microseconds * 1000};
  }
  return change_times(args, folder, path, out, 0);
}

SysResult<Ref<File>> writable_file(SyscallArgs& args) {
  Ref<File> file = TRY(process_of(args).files.get(args.i32(0)));
  if (!file->writable()) return Errno::Invalid;
  if (file->inode() == nullptr) return Errno::Invalid;
  return file;
}

SysResult<void> zero_fill(File& file, uint64_t begin, uint64_t end) {
  const Bytes zeros(64 << 10);
  while (begin < end) {
    const size_t count =
        TRY(file.pwrite_kernel(begin, ByteView(zeros).first(std::min<uint64_t>(zeros.size(), end - begin))));
    if (count == 0) return Errno::NoSpace;
    begin += count;
  }
  return {};
}

SysResult<int64_t> sync_file(SyscallArgs& args) {
  const Ref<File> file = TRY(process_of(args).files.get(args.i32(0)));
  if (file->inode() == nullptr) return Errno::Invalid;
  TRY(memory_write_back_file(*file->inode()));
  TRY(file->inode()->sync());
  return 0;
}

}  // namespace

SysResult<int64_t> sys_mkdir(SyscallArgs& args) { return make_folder(args, kAtCwd, args.a[0], args.u32(1)); }
SysResult<int64_t> sys_mkdirat(SyscallArgs& args) {
  return make_folder(args, args.i32(0), args.a[1], args.u32(2));
}
SysResult<int64_t> sys_rmdir(SyscallArgs& args) { return remove(args, kAtCwd, args.a[0], true); }
SysResult<int64_t> sys_unlink(SyscallArgs& args) { return remove(args, kAtCwd, args.a[0], false); }
SysResult<int64_t> sys_unlinkat(SyscallArgs& args) {
  TRY(check_flags(args.u32(2), kAtRemoveFolder));
  return remove(args, args.i32(0), args.a[1], args.u32(2) != 0);
}
SysResult<int64_t> sys_rename(SyscallArgs& args) {
  return rename_at(args, kAtCwd, args.a[0], kAtCwd, args.a[1], 0);
}
SysResult<int64_t> sys_renameat(SyscallArgs& args) {
  return rename_at(args, args.i32(0), args.a[1], args.i32(2), args.a[3], 0);
}
SysResult<int64_t> sys_renameat2(SyscallArgs& args) {
  return rename_at(args, args.i32(0), args.a[1], args.i32(2), args.a[3], args.u32(4));
}
SysResult<int64_t> sys_link(SyscallArgs& args) {
  return link_at(args, kAtCwd, args.a[0], kAtCwd, args.a[1], 0);
}
SysResult<int64_t> sys_linkat(SyscallArgs& args) {
  return link_at(args, args.i32(0), args.a[1], args.i32(2), args.a[3], args.u32(4));
}
SysResult<int64_t> sys_symlink(SyscallArgs& args) { return symlink_at(args, args.a[0], kAtCwd, args.a[1]); }
SysResult<int64_t> sys_symlinkat(SyscallArgs& args) {
  return symlink_at(args, args.a[0], args.i32(1), args.a[2]);
}

SysResult<int64_t> sys_mknod(SyscallArgs& args) { return make_node(args, kAtCwd, args.a[0], args.u32(1)); }
SysResult<int64_t> sys_mknodat(SyscallArgs& args) {
  return make_node(args, args.i32(0), args.a[1], args.u32(2));
}

SysResult<int64_t> sys_chdir(SyscallArgs& args) {
  TRY(change_folder(process_of(args), TRY(string_from_user(args.a[0]))));
  return 0;
}
SysResult<int64_t> sys_fchdir(SyscallArgs& args) {
  const Ref<File> file = TRY(process_of(args).files.find(args.i32(0)));
  if (file->inode() == nullptr || (TRY(file->stat()).mode & kTypeMask) != kTypeFolder)
    return Errno::NotDirectory;
  process_of(args).folder = static_cast<InodeFile&>(*file).again(kOpenPath);
  return 0;
}

SysResult<int64_t> sys_chmod(SyscallArgs& args) {
  return change_mode(args, kAtCwd, args.a[0], args.u32(1), 0);
}
SysResult<int64_t> sys_fchmod(SyscallArgs& args) { return change_mode(args, args.i32(0), 0, args.u32(1), 0); }
SysResult<int64_t> sys_fchmodat(SyscallArgs& args) {
  return change_mode(args, args.i32(0), args.a[1], args.u32(2), 0);
}
SysResult<int64_t> sys_fchmodat2(SyscallArgs& args) {
  return change_mode(args, args.i32(0), args.a[1], args.u32(2), args.u32(3));
}
SysResult<int64_t> sys_chown(SyscallArgs& args) {
  return change_owner(args, kAtCwd, args.a[0], args.u32(1), args.u32(2), 0);
}
SysResult<int64_t> sys_lchown(SyscallArgs& args) {
  return change_owner(args, kAtCwd, args.a[0], args.u32(1), args.u32(2), kAtNoFollow);
}
SysResult<int64_t> sys_fchown(SyscallArgs& args) {
  return change_owner(args, args.i32(0), 0, args.u32(1), args.u32(2), 0);
}
SysResult<int64_t> sys_fchownat(SyscallArgs& args) {
  return change_owner(args, args.i32(0), args.a[1], args.u32(2), args.u32(3), args.u32(4));
}

SysResult<int64_t> sys_utimensat(SyscallArgs& args) {
  if (args.a[2] == 0) return change_times(args, args.i32(0), args.a[1], nullptr, args.u32(3));
  struct Pair {
    TimeSpec both[2];
  };
  const auto pair = TRY(load_user<Pair>(args.a[2]));
  return change_times(args, args.i32(0), args.a[1], pair.both, args.u32(3));
}
SysResult<int64_t> sys_utimes(SyscallArgs& args) {
  return change_micro_times(args, kAtCwd, args.a[0], args.a[1]);
}
SysResult<int64_t> sys_futimesat(SyscallArgs& args) {
  return change_micro_times(args, args.i32(0), args.a[1], args.a[2]);
}

SysResult<int64_t> sys_utime(SyscallArgs& args) {
  if (args.a[1] == 0) return change_times(args, kAtCwd, args.a[0], nullptr, 0);
  struct Pair {
    int64_t both[2];
  };
  const auto pair = TRY(load_user<Pair>(args.a[1]));
  const TimeSpec times[2] = {{pair.both[0], 0}, {pair.both[1], 0}};
  return change_times(args, kAtCwd, args.a[0], times, 0);
}

SysResult<int64_t> sys_truncate(SyscallArgs& args) {
  if (args.i64(1) < 0) return Errno::Invalid;
  const Found found = TRY(changeable(args, kAtCwd, args.a[0], 0));
  TRY(check_file_size(TRY(found.inode->stat()), args.a[1]));
  TRY(found.inode->truncate(args.a[1]));
  memory_file_resized(*found.inode);
  notify(found, kNotifyModify);
  return 0;
}
SysResult<int64_t> sys_ftruncate(SyscallArgs& args) {
  if (args.i64(1) < 0) return Errno::Invalid;
  const Ref<File> file = TRY(writable_file(args));
  TRY(check_file_size(TRY(file->stat()), args.a[1]));
  TRY(file->inode()->truncate(args.a[1]));
  memory_file_resized(*file->inode());
  file->notify_used(kNotifyModify);
  return 0;
}

SysResult<int64_t> sys_fallocate(SyscallArgs& args) {
  constexpr uint32_t kKeepSize = 1, kPunchHole = 2, kZeroRange = 16;
  const uint32_t mode = args.u32(1);
  const bool zero = (mode & (kPunchHole | kZeroRange)) != 0;
  if (args.i64(2) < 0 || args.i64(3) <= 0) return Errno::Invalid;
  if ((mode & ~(kKeepSize | kPunchHole | kZeroRange)) != 0) return Errno::NotSupported;
  if ((mode & kPunchHole) != 0 && ((mode & kKeepSize) == 0 || (mode & kZeroRange) != 0))
    return Errno::NotSupported;
  const Ref<File> file = TRY(process_of(args).files.get(args.i32(0)));
  if (!file->writable()) return Errno::BadFile;
  if (file->inode() == nullptr) return Errno::NoDevice;
  const uint64_t end = args.a[2] + args.a[3];
  if (static_cast<int64_t>(end) < 0) return Errno::FileTooBig;
  const Stat stat = TRY(file->stat());
  const uint64_t size = stat.size;
  if ((mode & kKeepSize) == 0) TRY(check_file_size(stat, end));
  if (zero) TRY(zero_fill(*file, args.a[2], std::min(end, size)));
  if ((mode & kKeepSize) == 0 && size < end) {
    TRY(file->inode()->truncate(end));
    memory_file_resized(*file->inode());
  }
  file->notify_used(kNotifyModify);
  return 0;
}

SysResult<int64_t> sys_fsync(SyscallArgs& args) { return sync_file(args); }
SysResult<int64_t> sys_fdatasync(SyscallArgs& args) { return sync_file(args); }
SysResult<int64_t> sys_syncfs(SyscallArgs& args) {
  if (TRY(process_of(args).files.get(args.i32(0)))->inode() == nullptr) return 0;  // pipes: in memory
  return sync_file(args);
}
SysResult<int64_t> sys_sync_file_range(SyscallArgs& args) {
  constexpr uint32_t kAll = 7;  // SYNC_FILE_RANGE_…
  const Ref<File> file = TRY(process_of(args).files.get(args.i32(0)));
  TRY(check_flags(args.u32(3), kAll));
  if (args.i64(1) < 0 || args.i64(2) < 0 || args.i64(1) > INT64_MAX - args.i64(2)) return Errno::Invalid;
  if (file->inode() == nullptr) return Errno::IllegalSeek;
  return sync_file(args);
}
SysResult<int64_t> sys_sync(SyscallArgs&) {
  memory_write_back_all();
  static_cast<void>(vfs_sync());  // sync(2) reports nothing
  return 0;
}
SysResult<int64_t> sys_fadvise64(SyscallArgs& args) {
  constexpr uint32_t kLast = 5;  // POSIX_FADV_NOREUSE
  const Ref<File> file = TRY(process_of(args).files.get(args.i32(0)));
  if ((TRY(file->stat()).mode & kTypeMask) == kTypeFifo) return Errno::IllegalSeek;
  return args.i64(2) < 0 || args.u32(3) > kLast ? SysResult<int64_t>(Errno::Invalid) : 0;
}
SysResult<int64_t> sys_readahead(SyscallArgs& args) {
  const Ref<File> file = TRY(process_of(args).files.get(args.i32(0)));
  if (!file->readable()) return Errno::BadFile;
  return (TRY(file->stat()).mode & kTypeMask) == kTypeFile ? 0 : SysResult<int64_t>(Errno::Invalid);
}

}  // namespace cloister::enclave
