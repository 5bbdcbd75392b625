// What files are: stat in its forms, access, listings, attributes, space.
#include <algorithm>
#include <cstring>
#include <string>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/inotify.h"
#include "enclave/vfs/mounts.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

struct KernelStat {  // struct stat of x86-64
  uint64_t device, inode, links;
  uint32_t mode, uid, gid, padding;
  uint64_t special, size, block_size, blocks;
  TimeSpec accessed, modified, changed;
  uint64_t unused[3];
};
static_assert(sizeof(KernelStat) == 144);

struct StatxTime {
  int64_t seconds;
  uint32_t nanoseconds;
  int32_t padding;
};
struct Statx {  // struct statx
  uint32_t mask, block_size;
  uint64_t attributes;
  uint32_t links, uid, gid;
  uint16_t mode, padding;
  uint64_t inode, size, blocks, attributes_mask;
  StatxTime accessed, born, changed, modified;
  uint32_t special_major, special_minor, device_major, device_minor;
  uint64_t mount, alignment[1];
  uint64_t spare[12];
};
static_assert(sizeof(Statx) == 256);
constexpr uint32_t kBasicStats = 0x7ff;

constexpr uint64_t kBlockSize = 65536;  // what read and write work best with

SysResult<int64_t> store_stat(uint64_t address, const Stat& stat) {
  KernelStat out{};
  out.device = stat.device;
  out.inode = stat.inode;
  out.links = stat.links;
  out.mode = stat.mode;
  out.uid = stat.uid;
  out.gid = stat.gid;
  out.special = stat.special;
  out.size = stat.size;
  out.block_size = kBlockSize;
  out.blocks = stat.blocks;
  out.accessed = stat.accessed;
  out.modified = stat.modified;
  out.changed = stat.changed;
  TRY(store_user(address, out));
  return 0;
}

StatxTime statx_time(const TimeSpec& time) {
  return {time.seconds, static_cast<uint32_t>(time.nanoseconds), 0};
}

SysResult<int64_t> store_statx(uint64_t address, const Stat& stat) {
  Statx out{};
  out.mask = kBasicStats;
  out.block_size = kBlockSize;
  out.links = static_cast<uint32_t>(stat.links);
  out.uid = stat.uid;
  out.gid = stat.gid;
  out.mode = static_cast<uint16_t>(stat.mode);
  out.inode = stat.inode;
  out.size = stat.size;
  out.blocks = stat.blocks;
  out.accessed = statx_time(stat.accessed);
  out.changed = statx_time(stat.changed);
  out.modified = statx_time(stat.modified);
  out.special_major = static_cast<uint32_t>(stat.special >> 8);
  out.special_minor = static_cast<uint32_t>(stat.special & 0xff);
  out.device_minor = static_cast<uint32_t>(stat.device);
  out.mount = stat.device;
  TRY(store_user(address, out));
  return 0;
}

SysResult<Stat> stat_at(SyscallArgs& args, int32_t folder, uint64_t path, uint64_t flags) {
  TRY(check_flags(flags, kAtNoFollow | kAtEmptyPath | kAtNoAutomount | kAtStatxSync));
  Process& process = *args.thread.process;
  std::string name;
  if (path != 0 || (flags & kAtEmptyPath) == 0) name = TRY(string_from_user(path));
  if (name.empty() && (flags & kAtEmptyPath) != 0) {
    if (folder != kAtCwd) return TRY(process.files.find(folder))->stat();
    name = ".";
  }
  const Place place = TRY(resolve_existing(process, folder, name,
                                           (flags & kAtNoFollow) != 0 ? LastLink::Keep : LastLink::Follow));
  return place.open ? place.open->stat() : place.inode->stat();
}

// `inode` is null of what has no place in a file system.
SysResult<int64_t> access_to(const Stat& stat, const Inode* inode, uint32_t mode) {
  constexpr uint32_t kExecute = 1, kWrite = 2;
  if ((mode & kWrite) != 0 && (stat.mode & kTypeMask) != kTypeCharacter && inode != nullptr &&
      mount_read_only(*inode))
    return Errno::ReadOnly;
  if ((mode & kExecute) != 0 && (stat.mode & kTypeMask) == kTypeFile && (stat.mode & 0111) == 0)
    return Errno::Access;
  return 0;
}

// The program is root (uid 0), so only read-only file systems and files that nobody may execute say no.
SysResult<int64_t> access_at(SyscallArgs& args, int32_t folder, uint64_t path, uint32_t mode,
                             uint64_t flags) {
  constexpr uint64_t kEffective = 0x200;  // AT_EACCESS
  if ((mode & ~7u) != 0 || (flags & ~(kEffective | kAtNoFollow | kAtEmptyPath)) != 0) return Errno::Invalid;
  std::string name = TRY(string_from_user(path));
  if (name.empty() && (flags & kAtEmptyPath) != 0) {
    if (folder != kAtCwd) {
      const Ref<File> file = TRY(args.thread.process->files.find(folder));
      const Stat stat = TRY(file->stat());
      return access_to(stat, file->inode(), mode);
    }
    name = ".";
  }
  const Place place = TRY(resolve_existing(*args.thread.process, folder, name,
                                           (flags & kAtNoFollow) != 0 ? LastLink::Keep : LastLink::Follow));
  if (place.open) return access_to(TRY(place.open->stat()), place.open->inode(), mode);
  return access_to(TRY(place.inode->stat()), place.inode.get(), mode);
}

SysResult<int64_t> read_link_at(SyscallArgs& args, int32_t folder, uint64_t path, uint64_t out,
                                uint64_t size) {
  if (static_cast<int64_t>(size) <= 0) return Errno::Invalid;
  const std::string name = TRY(string_from_user(path));
  Ref<Inode> inode;
  if (name.empty() && folder != kAtCwd) {  // a link that was opened with O_PATH
    const Ref<File> file = TRY(args.thread.process->files.find(folder));
    if (file->inode() == nullptr || (TRY(file->stat()).mode & kTypeMask) != kTypeLink) return Errno::NoEntry;
    inode = Ref<Inode>(file->inode());
  } else {
    inode = TRY(resolve_existing(*args.thread.process, folder, name, LastLink::Keep)).inode;
  }
  const std::string target = TRY(inode->read_link());
  const size_t count = std::min<uint64_t>(target.size(), size);
  TRY(copy_to_user(out, target.data(), count));
  return static_cast<int64_t>(count);
}

struct KernelStatfs {  // struct statfs of x86-64
  int64_t type, block_size;
  uint64_t blocks, free, available, files, free_files;
  int32_t id[2];
  int64_t name_length, fragment, flags, spare[4];
};
static_assert(sizeof(KernelStatfs) == 120);

SysResult<int64_t> store_space(uint64_t address, Inode* inode) {
  const SpaceInfo info = inode == nullptr ? SpaceInfo() : inode->space();
  KernelStatfs out{};
  out.type = static_cast<int64_t>(info.type);
  out.block_size = out.fragment = static_cast<int64_t>(info.block);
  out.blocks = info.blocks;
  out.free = out.available = info.free;
  out.files = info.files;
  out.free_files = info.free_files;
  out.name_length = 255;
  out.flags = info.read_only ? 0x21 : 0x20;  // ST_RDONLY, ST_VALID
  TRY(store_user(address, out));
  return 0;
}

}  // namespace

SysResult<int64_t> sys_stat(SyscallArgs& args) {
  return store_stat(args.a[1], TRY(stat_at(args, kAtCwd, args.a[0], 0)));
}
SysResult<int64_t> sys_lstat(SyscallArgs& args) {
  return store_stat(args.a[1], TRY(stat_at(args, kAtCwd, args.a[0], kAtNoFollow)));
}
SysResult<int64_t> sys_fstat(SyscallArgs& args) {
  return store_stat(args.a[1], TRY(TRY(args.thread.process->files.find(args.i32(0)))->stat()));
}
SysResult<int64_t> sys_newfstatat(SyscallArgs& args) {
  return store_stat(args.a[2], TRY(stat_at(args, args.i32(0), args.a[1], args.u32(3))));
}
SysResult<int64_t> sys_statx(SyscallArgs& args) {
  constexpr uint32_t kReserved = uint32_t{1} << 31;
  if ((args.u32(3) & kReserved) != 0 || (args.u32(2) & kAtStatxSync) == kAtStatxSync) return Errno::Invalid;
  return store_statx(args.a[4], TRY(stat_at(args, args.i32(0), args.a[1], args.u32(2))));
}

SysResult<int64_t> sys_access(SyscallArgs& args) {
  return access_at(args, kAtCwd, args.a[0], args.u32(1), 0);
}
SysResult<int64_t> sys_faccessat(SyscallArgs& args) {
  return access_at(args, args.i32(0), args.a[1], args.u32(2), 0);
}
SysResult<int64_t> sys_faccessat2(SyscallArgs& args) {
  return access_at(args, args.i32(0), args.a[1], args.u32(2), args.u32(3));
}

SysResult<int64_t> sys_readlink(SyscallArgs& args) {
  return read_link_at(args, kAtCwd, args.a[0], args.a[1], args.a[2]);
}
SysResult<int64_t> sys_readlinkat(SyscallArgs& args) {
  return read_link_at(args, args.i32(0), args.a[1], args.a[2], args.a[3]);
}

SysResult<int64_t> sys_getdents64(SyscallArgs& args) {
  constexpr uint64_t kMost = 64 << 10;
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  if (file->inode() == nullptr || (TRY(file->stat()).mode & kTypeMask) != kTypeFolder)
    return Errno::NotDirectory;
  Bytes buffer(std::min<uint64_t>(args.u32(2), kMost));
  const size_t count = TRY(static_cast<InodeFile&>(*file).read_folder(buffer));
  file->notify_used(kNotifyAccess);
  TRY(copy_to_user(args.a[1], buffer.data(), count));
  return static_cast<int64_t>(count);
}

SysResult<int64_t> sys_getcwd(SyscallArgs& args) {
  const Process& process = *args.thread.process;
  if (process.folder && process.folder->name_state() != NameState::Kept) return Errno::NoEntry;
  const std::string cwd = working_path(process);
  if (cwd.size() + 1 > args.a[1]) return Errno::Range;
  TRY(copy_to_user(args.a[0], cwd.c_str(), cwd.size() + 1));
  return static_cast<int64_t>(cwd.size() + 1);
}

SysResult<int64_t> sys_statfs(SyscallArgs& args) {
  const std::string name = TRY(string_from_user(args.a[0]));
  const Place place = TRY(resolve_existing(*args.thread.process, kAtCwd, name, LastLink::Follow));
  return store_space(args.a[1], place.open ? place.open->inode() : place.inode.get());
}
SysResult<int64_t> sys_fstatfs(SyscallArgs& args) {
  const Ref<File> file = TRY(args.thread.process->files.find(args.i32(0)));
  return store_space(args.a[1], file->inode());
}

}  // namespace cloister::enclave
