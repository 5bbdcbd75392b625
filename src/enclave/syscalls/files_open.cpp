// Descriptors: open, close, duplicate, fcntl, ioctl.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "enclave/arch/boot.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/memory/manager.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/locks.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

SysResult<int64_t> open_common(SyscallArgs& args, int32_t folder, uint64_t path, uint32_t flags,
                               uint32_t mode, uint32_t limits = 0) {
  const std::string name = TRY(string_from_user(path));
  Process& process = *args.thread.process;
  const Ref<File> file = TRY(open_at(process, folder, name, flags, mode, limits));
  return TRY(process.files.add(file, (flags & kOpenCloseOnExec) != 0));
}

struct OpenHow {  // struct open_how
  uint64_t flags, mode, resolve;
};

// Larger ones are of a newer Linux: what this one does not know must be zero.
SysResult<OpenHow> load_open_how(uint64_t address, uint64_t size) {
  constexpr uint64_t kMost = 4096;
  if (size < sizeof(OpenHow)) return Errno::Invalid;
  if (size > kMost) return Errno::TooBig;
  Bytes all(size);
  TRY(copy_from_user(all.data(), address, size));
  const auto rest = all.begin() + sizeof(OpenHow);
  if (std::any_of(rest, all.end(), [](uint8_t byte) { return byte != 0; })) return Errno::TooBig;
  OpenHow how{};
  std::memcpy(&how, all.data(), sizeof(how));
  return how;
}

// openat2(2) refuses what open(2) overlooks.
SysResult<void> check_open_how(const OpenHow& how) {
  constexpr uint64_t kControlTerminal = 0400, kAsync = 020000, kLargeFile = 0100000, kCached = 32;
  constexpr uint64_t kKnown = kOpenKept | kOpenCreate | kOpenExclusive | kOpenTruncate | kOpenCloseOnExec |
                              kControlTerminal | kAsync | kLargeFile;
  constexpr uint64_t kOfPath = kOpenPath | kOpenDirectory | kOpenNoFollow | kOpenCloseOnExec;
  constexpr uint64_t kMakes = kOpenCreate | kOpenTemporary;
  TRY(check_flags(how.flags, (how.flags & kOpenPath) != 0 ? kOfPath : kKnown));
  TRY(check_flags(how.resolve, kWithinMount | kNoMagicLinks | kNoLinks | kBeneath | kInRoot | kCached));
  TRY(check_flags(how.mode, (how.flags & kMakes) != 0 ? 07777 : 0));
  if ((how.resolve & kBeneath) != 0 && (how.resolve & kInRoot) != 0) return Errno::Invalid;
  if ((how.flags & kOpenDirectory) != 0 && (how.flags & kOpenCreate) != 0) return Errno::Invalid;
  // There is no cache of names that could have all of a path.
  return (how.resolve & kCached) != 0 ? Errno::Again : SysResult<void>();
}

// struct flock
struct Lock {
  int16_t type, whence;
  int32_t padding;
  int64_t start, length;
  int32_t pid, padding2;
};
enum : int16_t { kReadLock = 0, kWriteLock = 1, kUnlocked = 2 };  // F_RDLCK…

SysResult<FileLock> lock_range(File& file, const Lock& lock) {
  int64_t base = 0;
  if (lock.whence == 1) base = static_cast<int64_t>(TRY(file.seek(0, 1)));
  if (lock.whence == 2) base = static_cast<int64_t>(TRY(file.stat()).size);
  if (lock.start > INT64_MAX - base) return Errno::Overflow;
  int64_t begin = base + lock.start;
  if (begin < 0) return Errno::Invalid;
  if (lock.length > 0 && lock.length - 1 > INT64_MAX - begin) return Errno::Overflow;
  FileLock range;  // to the last byte that can be is to the end
  if (lock.length > 0 && lock.length - 1 < INT64_MAX - begin)
    range.end = static_cast<uint64_t>(begin + lock.length);
  if (lock.length < 0) {
    range.end = static_cast<uint64_t>(begin);
    begin += lock.length;
    if (begin < 0) return Errno::Invalid;
  }
  range.begin = static_cast<uint64_t>(begin);
  range.type = lock.type == kReadLock    ? LockType::Shared
               : lock.type == kWriteLock ? LockType::Exclusive
                                         : LockType::None;
  return range;
}

// A record lock goes when its process closes the file: also one that was granted after that.
SysResult<void> check_still_open(SyscallArgs& args, File& file) {
  const FdTable& files = args.thread.process->files;
  const auto now = files.find(args.i32(0));
  if (now.ok() && now.value().get() == &file) return {};
  release_record_locks(file, &files);
  return Errno::BadFile;
}

enum class LockAction : uint8_t { Ask, Set, SetWait };

SysResult<int64_t> record_lock(SyscallArgs& args, LockAction action, bool description) {
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  auto lock = TRY(load_user<Lock>(args.a[2]));
  if (lock.type < 0 || lock.type > kUnlocked || lock.whence < 0 || lock.whence > 2) return Errno::Invalid;
  if (description && lock.pid != 0) return Errno::Invalid;
  FileLock wanted = TRY(lock_range(*file, lock));
  wanted.owner = description ? static_cast<const void*>(file.get()) : &args.thread.process->files;
  wanted.pid = description ? kDescriptionPid : args.thread.process->pid;
  if (action != LockAction::Ask) {
    if (lock.type == kReadLock && !file->readable()) return Errno::BadFile;
    if (lock.type == kWriteLock && !file->writable()) return Errno::BadFile;
    TRY(set_lock(*file, LockSpace::Record, wanted, action == LockAction::SetWait));
    if (!description && lock.type != kUnlocked) TRY(check_still_open(args, *file));
    return 0;
  }
  if (lock.type == kUnlocked) return Errno::Invalid;
  const FileLock other = TRY(conflicting_lock(*file, LockSpace::Record, wanted));
  if (other.type == LockType::None) {
    lock.type = kUnlocked;
  } else {
    lock.type = other.type == LockType::Shared ? kReadLock : kWriteLock;
    lock.whence = 0;
    lock.start = static_cast<int64_t>(other.begin);
    lock.length = other.end == UINT64_MAX ? 0 : static_cast<int64_t>(other.end - other.begin);
    lock.pid = other.pid;
  }
  TRY(store_user(args.a[2], lock));
  return 0;
}

SysResult<int64_t> duplicate(Process& process, int32_t from, int32_t to, bool close_on_exec) {
  const Ref<File> file = TRY(process.files.find(from));
  if (to < 0 || to >= FdTable::kLimit) return Errno::BadFile;
  TRY(process.files.set(to, file, close_on_exec));
  return to;
}

}  // namespace

SysResult<int64_t> sys_open(SyscallArgs& args) {
  return open_common(args, kAtCwd, args.a[0], args.u32(1), args.u32(2));
}
SysResult<int64_t> sys_openat(SyscallArgs& args) {
  return open_common(args, args.i32(0), args.a[1], args.u32(2), args.u32(3));
}
SysResult<int64_t> sys_openat2(SyscallArgs& args) {
  const OpenHow how = TRY(load_open_how(args.a[2], args.a[3]));
  TRY(check_open_how(how));
  return open_common(args, args.i32(0), args.a[1], static_cast<uint32_t>(how.flags),
                     static_cast<uint32_t>(how.mode), static_cast<uint32_t>(how.resolve));
}
SysResult<int64_t> sys_creat(SyscallArgs& args) {
  return open_common(args, kAtCwd, args.a[0], kOpenWrite | kOpenCreate | kOpenTruncate, args.u32(1));
}

SysResult<int64_t> sys_close(SyscallArgs& args) {
  TRY(args.thread.process->files.close(args.i32(0)));
  return 0;
}

SysResult<int64_t> sys_close_range(SyscallArgs& args) {
  constexpr uint32_t kCloseOnExec = 4, kUnshare = 2;
  const uint32_t first = args.u32(0), last = args.u32(1);
  if (first > last || (args.u32(2) & ~(kCloseOnExec | kUnshare)) != 0) return Errno::Invalid;
  FdTable& files = args.thread.process->files;
  for (int32_t fd : files.open_list()) {
    if (static_cast<uint32_t>(fd) < first || static_cast<uint32_t>(fd) > last) continue;
    if ((args.u32(2) & kCloseOnExec) != 0) {
      TRY(files.set_close_on_exec(fd, true));
    } else {
      static_cast<void>(files.close(fd));  // close_range(2): errors of closing are not reported
    }
  }
  return 0;
}

SysResult<int64_t> sys_dup(SyscallArgs& args) {
  FdTable& files = args.thread.process->files;
  const Ref<File> file = TRY(files.find(args.i32(0)));
  return TRY(files.add(file, false));
}
SysResult<int64_t> sys_dup2(SyscallArgs& args) {
  if (args.i32(0) == args.i32(1)) {
    TRY(args.thread.process->files.find(args.i32(0)));
    return args.i32(1);
  }
  return duplicate(*args.thread.process, args.i32(0), args.i32(1), false);
}
SysResult<int64_t> sys_dup3(SyscallArgs& args) {
  if (args.i32(0) == args.i32(1) || (args.u32(2) & ~kOpenCloseOnExec) != 0) return Errno::Invalid;
  return duplicate(*args.thread.process, args.i32(0), args.i32(1), args.u32(2) != 0);
}

namespace {

// Of most files O_ASYNC means nothing, in Linux, too. Where it would, but what happens is known to the host
// only, it is refused.
SysResult<void> set_async(File& file, bool on) {
  uint32_t handle = 0;
  const bool wanted = on && (file.flags() & kOpenAsync) == 0;
  if (wanted && !file.can_tell_owner() && (file.socket() != nullptr || file.host_handle(handle)))
    return Errno::Invalid;
  if (!on || file.can_tell_owner()) file.set_async(on);
  return {};
}

struct Owner {  // struct f_owner_ex
  enum Type : int32_t { kThread = 0, kProcess = 1, kGroup = 2 } type;
  int32_t id;
};

SysResult<void> set_owner(File& file, int32_t owner) {
  if (owner == INT32_MIN) return Errno::Invalid;
  bool found = owner == 0 || owner == current().process->pid;
  if (Process* root = user_process())
    for_each_process(*root, [&](const Process& process) {
      found = found || process.pid == owner || process.group_id == -owner;
    });
  if (!found) return Errno::NoProcess;
  file.set_owner(owner);
  return {};
}

SysResult<int64_t> set_owner_by_type(File& file, uint64_t address) {
  const auto owner = TRY(load_user<Owner>(address));
  // A thread alone is not served.
  if (owner.id < 0 || (owner.type != Owner::kProcess && owner.type != Owner::kGroup)) return Errno::Invalid;
  TRY(set_owner(file, owner.type == Owner::kGroup ? -owner.id : owner.id));
  return 0;
}

SysResult<int64_t> get_owner_by_type(const File& file, uint64_t address) {
  const int32_t id = file.owner();
  const auto type = id < 0 ? Owner::kGroup : id > 0 ? Owner::kProcess : Owner::kThread;
  TRY(store_user(address, Owner{type, std::abs(id)}));
  return 0;
}

SysResult<void> add_seals(File& file, uint32_t more) {
  constexpr uint32_t kAll = kSealSeal | kSealShrink | kSealGrow | kSealWrite | kSealFutureWrite;
  if (!file.writable()) return Errno::Perm;
  uint32_t* seals = file.inode() == nullptr ? nullptr : file.inode()->seals();
  if (seals == nullptr || (more & ~kAll) != 0) return Errno::Invalid;
  if ((*seals & kSealSeal) != 0) return Errno::Perm;
  if ((more & ~*seals & kSealWrite) != 0 && memory_maps_to_write(*file.inode())) return Errno::Busy;
  *seals |= more;
  return {};
}

// Of fcntl(2), what is about what the file holds.
SysResult<int64_t> control_content(File& file, int32_t command, uint32_t argument) {
  enum : int32_t { kSetPipeSize = 1031, kGetPipeSize = 1032, kAddSeals = 1033, kGetSeals = 1034 };
  switch (command) {
    case kSetPipeSize:
      TRY(file.pipe_size(0));
      if (argument > INT32_MAX) return Errno::Invalid;
      return static_cast<int64_t>(TRY(file.pipe_size(std::max<uint32_t>(argument, 1))));
    case kGetPipeSize:
      return static_cast<int64_t>(TRY(file.pipe_size(0)));
    case kAddSeals:
      TRY(add_seals(file, argument));
      return 0;
    case kGetSeals:
      if (file.inode() == nullptr || file.inode()->seals() == nullptr) return Errno::Invalid;
      return *file.inode()->seals();
    default:
      return Errno::Invalid;
  }
}

}  // namespace

SysResult<int64_t> sys_fcntl(SyscallArgs& args) {
  enum : int32_t {
    kDup = 0,
    kGetFd = 1,
    kSetFd = 2,
    kGetFlags = 3,
    kSetFlags = 4,
    kGetLock = 5,
    kSetLock = 6,
    kSetLockWait = 7,
    kSetOwner = 8,
    kGetOwner = 9,
    kSetOwnerEx = 15,
    kGetOwnerEx = 16,
    kOfdGetLock = 36,
    kOfdSetLock = 37,
    kOfdSetLockWait = 38,
    kDupCloseOnExec = 1030
  };
  constexpr uint32_t kLargeFile = 0100000;
  FdTable& files = args.thread.process->files;
  const bool of_the_descriptor = args.u32(1) <= kGetFlags || args.i32(1) == kDupCloseOnExec;
  const Ref<File> file = TRY(of_the_descriptor ? files.find(args.i32(0)) : files.get(args.i32(0)));
  switch (args.i32(1)) {
    case kDup:
    case kDupCloseOnExec:
      return TRY(files.add(file, args.i32(1) == kDupCloseOnExec, args.i32(2)));
    case kGetFd:
      return TRY(files.close_on_exec(args.i32(0))) ? 1 : 0;
    case kSetFd:
      TRY(files.set_close_on_exec(args.i32(0), (args.a[2] & 1) != 0));
      return 0;
    case kGetFlags:
      return file->flags() | ((file->flags() & kOpenPath) != 0 ? 0 : kLargeFile);
    case kSetFlags:
      TRY(set_async(*file, (args.u32(2) & kOpenAsync) != 0));
      file->set_status_flags(args.u32(2));
      return 0;
    case kGetLock:
    case kOfdGetLock:
      return record_lock(args, LockAction::Ask, args.i32(1) == kOfdGetLock);
    case kSetLock:
    case kOfdSetLock:
      return record_lock(args, LockAction::Set, args.i32(1) == kOfdSetLock);
    case kSetLockWait:
    case kOfdSetLockWait:
      return record_lock(args, LockAction::SetWait, args.i32(1) == kOfdSetLockWait);
    case kSetOwner:
      TRY(set_owner(*file, args.i32(2)));
      return 0;
    case kGetOwner:
      return file->owner();
    case kSetOwnerEx:
      return set_owner_by_type(*file, args.a[2]);
    case kGetOwnerEx:
      return get_owner_by_type(*file, args.a[2]);
    default:
      return control_content(*file, args.i32(1), args.u32(2));
  }
}

SysResult<int64_t> sys_flock(SyscallArgs& args) {
  enum : uint32_t { kShared = 1, kExclusive = 2, kDontWait = 4, kUnlock = 8 };
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  const uint32_t operation = args.u32(1) & ~uint32_t{kDontWait};
  FileLock wanted;
  wanted.owner = file.get();
  wanted.pid = args.thread.process->pid;
  if (operation == kShared)
    wanted.type = LockType::Shared;
  else if (operation == kExclusive)
    wanted.type = LockType::Exclusive;
  else if (operation != kUnlock)
    return Errno::Invalid;
  TRY(set_lock(*file, LockSpace::Flock, wanted, (args.u32(1) & kDontWait) == 0));
  return 0;
}

SysResult<int64_t> sys_ioctl(SyscallArgs& args) {
  constexpr uint64_t kNonBlocking = 0x5421 /* FIONBIO */, kCloseOnExec = 0x5451 /* FIOCLEX */,
                     kNoCloseOnExec = 0x5450 /* FIONCLEX */, kAsync = 0x5452 /* FIOASYNC */;
  FdTable& files = args.thread.process->files;
  const Ref<File> file = TRY(files.get(args.i32(0)));
  const uint64_t request = args.u32(1);
  if (request == kNonBlocking) {
    const bool on = TRY(load_user<int32_t>(args.a[2])) != 0;
    file->set_status_flags(on ? file->flags() | kOpenNonBlock : file->flags() & ~kOpenNonBlock);
    return 0;
  }
  if (request == kCloseOnExec || request == kNoCloseOnExec) {
    TRY(files.set_close_on_exec(args.i32(0), request == kCloseOnExec));
    return 0;
  }
  if (request == kAsync) {
    const bool on = TRY(load_user<int32_t>(args.a[2])) != 0;
    if (on && !file->can_tell_owner()) return Errno::NotTty;
    file->set_async(on);
    return 0;
  }
  return file->ioctl(request, args.a[2]);
}

SysResult<int64_t> sys_umask(SyscallArgs& args) {
  return static_cast<int64_t>(std::exchange(args.thread.process->umask, args.u32(0) & 0777));
}

}  // namespace cloister::enclave
