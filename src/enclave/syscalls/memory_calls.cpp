// mmap and its relatives. A file's bytes are copied at mmap (decrypted and verified on the way), so a mapping
// of a volume's file is ordinary enclave memory. What is written to a shared one goes back to the file
// (memory/manager.h).
#include <algorithm>

#include "enclave/arch/boot.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/loader/patcher.h"
#include "enclave/memory/manager.h"
#include "enclave/memory/space.h"
#include "enclave/memory/texts.h"
#include "enclave/memory/turns.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kShared = 1, kPrivate = 2, kSharedValidate = 3, kMapType = 15, kFixed = 0x10,
                   kAnonymous = 0x20, kGrowsDown = 0x100, kNoReserve = 0x4000, kStack = 0x20000,
                   kFixedNoReplace = 0x100000, k32Bit = 0x40, kHugePages = 0x40000;
// What MAP_SHARED_VALIDATE knows of every file: all flags that are older than it, with the size of huge
// pages.
constexpr uint64_t kLegacyFlags = kMapType | kFixed | kAnonymous | k32Bit | kGrowsDown |
                                  0x800 /* DENYWRITE */ | 0x1000 /* EXECUTABLE */ | 0x2000 /* LOCKED */ |
                                  kNoReserve | 0x8000 /* POPULATE */ | 0x10000 /* NONBLOCK */ | kStack |
                                  kHugePages | 0x3f << 26;
constexpr uint32_t kReadOnly = 0;  // O_RDONLY
constexpr uint64_t kProtMask = kProtRead | kProtWrite | kProtExecute;

constexpr uint64_t round_up(uint64_t size) { return (size + kPage - 1) & ~(kPage - 1); }

bool own(const SyscallArgs& args, uint64_t size) {
  return memory_belongs(args.thread.process->memory->id, args.a[0], round_up(size));
}

// What was patched there is gone, unless a relative still runs the code.
void forget_patches(uint64_t address, uint64_t size) {
  if (absent_area_in(address, address + size) == 0) patches_unmapped(address, size);
}

SysResult<int64_t> map_file(SyscallArgs& args, uint64_t size, AreaInfo info, bool fixed, bool no_replace) {
  const uint64_t offset = args.a[5];
  if (offset % kPage != 0 || offset > (uint64_t{1} << 62)) return Errno::Invalid;
  Ref<File> file = TRY(args.thread.process->files.get(args.i32(4)));
  if (!file->readable()) return Errno::Access;
  if (info.shared && (info.protection & kProtWrite) != 0 && !file->writable()) return Errno::Access;
  if (file->inode() == nullptr || !file->inode()->can_map()) return Errno::NoDevice;
  if ((TRY(file->stat()).mode & kTypeMask) == kTypeFolder) return Errno::NoDevice;
  auto& named = static_cast<InodeFile&>(*file);
  if (info.shared && named.write_sealed()) {
    if ((info.protection & kProtWrite) != 0) return Errno::Perm;
    file = named.again(kReadOnly);  // mprotect asks whether it could be written
  }
  const std::string name = file->path();
  const uint32_t protection = info.protection;
  info.file = true;
  info.name = name;
  info.file_offset = offset;
  info.source = file;
  const bool execute = (protection & kProtExecute) != 0 && !info.shared;
  info.ends_with_file = !execute;
  const bool alone = !args.thread.process->memory->relative;
  if (fixed && execute && alone && texts_adopt(args.a[0], size, info)) return static_cast<int64_t>(args.a[0]);
  // Of a large file the pages come when they are touched; but code is patched as a whole, and a second thread
  // could see pages that have no content yet.
  constexpr uint64_t kSmall = 64 << 10;
  info.lazy = !info.shared && !execute && size > kSmall && !args.thread.process->borrowing &&
              only_thread(*args.thread.process);
  if (!info.lazy) info.protection = kProtRead | kProtWrite;
  info.pristine = execute && (protection & kProtWrite) == 0;
  const bool anywhere = info.lazy && alone && !info.low && args.a[0] == 0 && !fixed && !no_replace;
  const uint64_t parked = anywhere ? texts_place(*file->inode(), offset, size) : 0;
  const uint64_t address = TRY(memory_map(parked != 0 ? parked : args.a[0], size, info, fixed, no_replace));
  if (fixed) forget_patches(address, size);
  // What is shared may be written back, so it stays as it is, and its system calls trap.
  if (execute) patch_code(file->inode(), address, offset, size);
  if (protection != info.protection) TRY(memory_protect(address, size, protection));
  return static_cast<int64_t>(address);
}

}  // namespace

SysResult<int64_t> sys_mmap(SyscallArgs& args) {
  const uint64_t flags = args.a[3];
  if (args.a[1] == 0 || args.a[1] > boot_info().user_end)
    return args.a[1] == 0 ? Errno::Invalid : Errno::NoMemory;
  const uint64_t size = round_up(args.a[1]);
  const uint64_t type = flags & kMapType;
  if (type != kShared && type != kPrivate && type != kSharedValidate) return Errno::Invalid;
  if ((args.a[2] & ~kProtMask) != 0 || (flags & kGrowsDown) != 0) return Errno::Invalid;
  const bool anonymous = (flags & kAnonymous) != 0;
  if (type == kSharedValidate && anonymous) return Errno::Invalid;
  if (type == kSharedValidate && (flags & ~kLegacyFlags) != 0) return Errno::NotSupported;
  if ((flags & kHugePages) != 0) return anonymous ? Errno::NoMemory : Errno::Invalid;
  const uint64_t replaced = (flags & kFixed) != 0 && (flags & kFixedNoReplace) == 0 ? size : 0;
  if (!address_space_left(*args.thread.process, size, args.a[0], args.a[0] + replaced))
    return Errno::NoMemory;
  if (type == kPrivate && (args.a[2] & kProtWrite) != 0 &&
      !data_left(*args.thread.process, size, args.a[0], args.a[0] + replaced))
    return Errno::NoMemory;
  AreaInfo info;
  info.protection = args.u32(2);
  info.agent = args.thread.process->is_agent;
  info.owner = args.thread.process->memory->id;
  info.lazy = (flags & (kNoReserve | kStack)) != 0;
  info.shared = type != kPrivate;
  info.low = (flags & k32Bit) != 0;
  const bool fixed = (flags & kFixed) != 0;
  const bool no_replace = (flags & kFixedNoReplace) != 0;
  if (!anonymous) return map_file(args, size, info, fixed && !no_replace, no_replace);
  const uint64_t address = TRY(memory_map(args.a[0], size, info, fixed && !no_replace, no_replace));
  if (fixed && !no_replace) forget_patches(address, size);
  return static_cast<int64_t>(address);
}

SysResult<int64_t> sys_munmap(SyscallArgs& args) {
  if (args.a[0] % kPage != 0 || args.a[1] == 0 || args.a[1] > boot_info().user_end) return Errno::Invalid;
  if (!own(args, args.a[1])) return Errno::Invalid;
  TRY(memory_unmap(args.a[0], args.a[1]));
  forget_patches(args.a[0], args.a[1]);
  return 0;
}

SysResult<int64_t> sys_mprotect(SyscallArgs& args) {
  constexpr uint64_t kFromStart = 0x1000000, kToEnd = 0x2000000;  // PROT_GROWSDOWN, PROT_GROWSUP
  const uint64_t grows = args.a[2] & (kFromStart | kToEnd);
  if (grows == (kFromStart | kToEnd) || args.a[0] % kPage != 0) return Errno::Invalid;
  if (args.a[1] == 0) return 0;
  if (args.a[1] > boot_info().user_end) return Errno::NoMemory;
  if ((args.a[2] & ~(kProtMask | grows)) != 0) return Errno::Invalid;
  uint64_t begin = args.a[0];
  if (grows != 0) {
    // From where the stack begins; nothing grows up here, as on any x86.
    if (!memory_mapped(begin, kPage)) return Errno::NoMemory;
    const uint64_t start = memory_stack_begin(begin);
    if (grows == kToEnd || start == 0) return Errno::Invalid;
    begin = start;
  }
  const uint64_t size = args.a[0] + round_up(args.a[1]) - begin;
  const int32_t owner = args.thread.process->memory->id;
  if (!memory_belongs(owner, begin, size)) return Errno::NoMemory;
  // What is counted is at most the range: without a limit nothing has to be.
  if ((args.a[2] & kProtWrite) != 0 && !data_left(*args.thread.process, size) &&
      !data_left(*args.thread.process, memory_data_of(owner, begin, begin + size, false)))
    return Errno::NoMemory;
  TRY(memory_protect(begin, size, static_cast<uint32_t>(args.a[2] & kProtMask)));
  return 0;
}

// The break belongs to the program. The agent gets none and uses mmap.
SysResult<int64_t> sys_brk(SyscallArgs& args) {
  if (args.thread.process->is_agent) return 0;
  Process& process = *args.thread.process;
  const uint64_t now = memory_break(process.memory->id, 0);
  if (args.a[0] > now &&
      (!address_space_left(process, args.a[0] - now) || !data_left(process, args.a[0] - now)))
    return static_cast<int64_t>(now);
  return static_cast<int64_t>(memory_break(process.memory->id, args.a[0]));
}

SysResult<int64_t> sys_mremap(SyscallArgs& args) {
  if (args.a[1] > boot_info().user_end || !own(args, args.a[1])) return Errno::Fault;
  Process& process = *args.thread.process;
  const uint64_t grows = args.a[2] > args.a[1] ? args.a[2] - args.a[1] : 0;
  if (grows != 0 && !address_space_left(process, grows)) return Errno::NoMemory;
  if (grows != 0 && !data_left(process, grows) &&
      memory_data_of(process.memory->id, args.a[0], args.a[0] + args.a[1]) != 0)
    return Errno::NoMemory;
  return static_cast<int64_t>(TRY(memory_remap(args.a[0], args.a[1], args.a[2], args.a[3], args.a[4])));
}

SysResult<int64_t> sys_madvise(SyscallArgs& args) {
  enum Advice : uint32_t {
    kDontNeed = 4,
    kFree = 8,
    kRemove = 9,
    kDontFork = 10,
    kDoFork = 11,
    kWipeOnFork = 18,
    kKeepOnFork = 19,
    kDontNeedLocked = 24
  };
  if (args.a[0] % kPage != 0 || args.a[1] > boot_info().user_end) return Errno::Invalid;
  if (args.a[1] == 0) return 0;
  if (!memory_mapped(args.a[0], round_up(args.a[1]))) return Errno::NoMemory;
  constexpr uint32_t kLastAdvice = 25, kUnused[] = {5, 6, 7};
  if (args.u32(2) > kLastAdvice ||
      std::find(std::begin(kUnused), std::end(kUnused), args.u32(2)) != std::end(kUnused))
    return Errno::Invalid;
  if (!own(args, args.a[1])) return Errno::NoMemory;
  const uint64_t begin = args.a[0], size = round_up(args.a[1]);
  const auto done = [](const SysResult<void>& result) {
    return result.ok() ? SysResult<int64_t>(0) : result.error();
  };
  switch (args.u32(2)) {
    case kDontNeed:
    case kDontNeedLocked:
      return done(memory_discard(begin, size));
    case kFree:
      return memory_private_anonymous(begin, size) ? SysResult<int64_t>(0) : Errno::Invalid;
    case kRemove:
      return done(memory_erase_shared(begin, size));
    case kDontFork:
      return done(memory_set_fork_rule(begin, size, ForkRule::Skip));
    case kDoFork:
      return done(memory_set_fork_rule(begin, size, ForkRule::DoNotSkip));
    case kWipeOnFork:
      return done(memory_set_fork_rule(begin, size, ForkRule::Wipe));
    case kKeepOnFork:
      return done(memory_set_fork_rule(begin, size, ForkRule::Keep));
    default:
      return 0;  // hints
  }
}

SysResult<int64_t> sys_msync(SyscallArgs& args) {
  constexpr uint32_t kAsync = 1, kInvalidate = 2, kSync = 4;
  const uint32_t flags = args.u32(2);
  if (args.a[0] % kPage != 0 || (flags & ~(kAsync | kInvalidate | kSync)) != 0) return Errno::Invalid;
  if ((flags & kAsync) != 0 && (flags & kSync) != 0) return Errno::Invalid;
  if (args.a[1] == 0) return 0;
  if (args.a[1] > boot_info().user_end || !memory_mapped(args.a[0], round_up(args.a[1])))
    return Errno::NoMemory;
  TRY(memory_write_back(args.a[0], round_up(args.a[1])));
  if ((flags & kSync) != 0) TRY(memory_sync_files(args.a[0], round_up(args.a[1])));
  return 0;
}

SysResult<int64_t> sys_mincore(SyscallArgs& args) {
  if (args.a[0] % kPage != 0) return Errno::Invalid;
  const uint64_t size = round_up(args.a[1]);
  if (!memory_mapped(args.a[0], size)) return Errno::NoMemory;
  for (uint64_t i = 0; i < size / kPage; ++i) TRY(store_user(args.a[2] + i, uint8_t{1}));
  return 0;
}

// Enclave memory is never swapped in the clear: there is nothing to do but to look at the arguments.
namespace {
SysResult<int64_t> lockable(const SyscallArgs& args) {
  const uint64_t begin = args.a[0] & ~(kPage - 1);
  if (args.a[1] > boot_info().user_end) return Errno::NoMemory;
  const uint64_t size = round_up(args.a[0] - begin + args.a[1]);
  return size == 0 || memory_mapped(begin, size) ? SysResult<int64_t>(0) : Errno::NoMemory;
}
}  // namespace
SysResult<int64_t> sys_mlock(SyscallArgs& args) { return lockable(args); }
SysResult<int64_t> sys_munlock(SyscallArgs& args) { return lockable(args); }
SysResult<int64_t> sys_mlock2(SyscallArgs& args) {
  return (args.u32(2) & ~1u) != 0 ? SysResult<int64_t>(Errno::Invalid) : lockable(args);
}
SysResult<int64_t> sys_mlockall(SyscallArgs& args) {
  constexpr uint32_t kOnFaultOnly = 4, kMost = 7;
  const uint32_t flags = args.u32(0);
  return flags == 0 || flags == kOnFaultOnly || flags > kMost ? SysResult<int64_t>(Errno::Invalid) : 0;
}
SysResult<int64_t> sys_munlockall(SyscallArgs&) { return 0; }

}  // namespace cloister::enclave
