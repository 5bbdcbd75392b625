// Identity, threads, limits and the end of a process.
#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstring>

#include "crypto/random.h"
#include "enclave/arch/boot.h"
#include "enclave/arch/clock.h"
#include "enclave/arch/entry.h"
#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/thread_block.h"
#include "enclave/arch/user_copy.h"
#include "enclave/memory/manager.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {

SysResult<int64_t> sys_getpid(SyscallArgs& args) { return args.thread.process->pid; }
SysResult<int64_t> sys_gettid(SyscallArgs& args) { return args.thread.tid; }
SysResult<int64_t> sys_getppid(SyscallArgs& args) { return parent_pid(*args.thread.process); }

SysResult<int64_t> sys_uname(SyscallArgs& args) {
  utsname name{};
  const auto set = [](char* field, std::string_view text) { std::memcpy(field, text.data(), text.size()); };
  set(name.sysname, "Linux");
  set(name.nodename, "enclave");
  set(name.release, "6.1.0-cloister");
  set(name.version, "#1 SMP");
  set(name.machine, "x86_64");
  set(name.domainname, "(none)");
  TRY(store_user(args.a[0], name));
  return 0;
}

SysResult<int64_t> sys_sysinfo(SyscallArgs& args) {
  struct Info {
    int64_t uptime;
    uint64_t loads[3], total, free, shared, buffer, swap_total, swap_free;
    uint16_t processes, pad;
    uint32_t pad2;
    uint64_t high_total, high_free;
    uint32_t unit, pad3;
  } info{};
  static_assert(sizeof(Info) == 112);
  info.uptime = static_cast<int64_t>(monotonic_ns() / kSecond);
  info.total = memory_heap_limit();
  info.free = memory_heap_limit() - memory_heap_used();
  info.processes = 1;
  info.unit = 1;
  TRY(store_user(args.a[0], info));
  return 0;
}

namespace {

struct Limit {
  uint64_t soft, hard;
};
constexpr uint64_t kInfinity = ~uint64_t{0};

SysResult<Limit> limit_of(uint32_t resource) {
  switch (resource) {
    case 3:  // RLIMIT_STACK
      return Limit{manifest().stack_size, manifest().stack_size};
    case 4:  // RLIMIT_CORE: never
      return Limit{0, 0};
    case 6:  // RLIMIT_NPROC
      return Limit{thread_limit(), thread_limit()};
    case 7:  // RLIMIT_NOFILE
      return Limit{1024, 65536};
    default:
      if (resource > 15) return Errno::Invalid;
      return Limit{kInfinity, kInfinity};
  }
}

}  // namespace

SysResult<int64_t> sys_prlimit64(SyscallArgs& args) {
  if (args.i32(0) != 0 && args.i32(0) != args.thread.process->pid) return Errno::NoProcess;
  const Limit limit = TRY(limit_of(args.u32(1)));
  if (args.a[2] != 0) {
    const Limit wanted = TRY(load_user<Limit>(args.a[2]));
    if (wanted.soft > wanted.hard) return Errno::Invalid;
    if (wanted.hard > limit.hard) return Errno::Perm;
  }
  if (args.a[3] != 0) TRY(store_user(args.a[3], limit));
  return 0;
}

SysResult<int64_t> sys_getrlimit(SyscallArgs& args) {
  TRY(store_user(args.a[1], TRY(limit_of(args.u32(0)))));
  return 0;
}

SysResult<int64_t> sys_setrlimit(SyscallArgs& args) {
  const Limit limit = TRY(limit_of(args.u32(0)));
  const Limit wanted = TRY(load_user<Limit>(args.a[1]));
  if (wanted.soft > wanted.hard) return Errno::Invalid;
  return wanted.hard > limit.hard ? SysResult<int64_t>(Errno::Perm) : 0;
}

SysResult<int64_t> sys_getrusage(SyscallArgs& args) {
  constexpr int32_t kSelf = 0, kChildren = -1, kThread = 1;
  uint64_t usage[18] = {};
  const int32_t who = args.i32(0);
  if (who != kSelf && who != kChildren && who != kThread) return Errno::Invalid;
  const host::CpuTime cpu = host::cpu_time();
  const uint64_t now = who == kSelf ? cpu.process_ns : who == kThread ? cpu.thread_ns : 0;
  usage[0] = now / kSecond;
  usage[1] = now % kSecond / 1000;
  usage[4] = memory_heap_used() >> 10;
  TRY(store_user(args.a[1], usage));
  return 0;
}

SysResult<int64_t> sys_times(SyscallArgs& args) {
  constexpr uint64_t kTick = kSecond / 100;
  const auto ticks = static_cast<int64_t>(monotonic_ns() / kTick);
  const int64_t out[4] = {static_cast<int64_t>(host::cpu_time().process_ns / kTick), 0, 0, 0};
  if (args.a[0] != 0) TRY(store_user(args.a[0], out));
  return ticks;
}

SysResult<int64_t> sys_sched_yield(SyscallArgs&) {
  const BlockingSection others;
  return 0;
}

SysResult<int64_t> sys_sched_getaffinity(SyscallArgs& args) {
  if (args.a[1] < 8 || args.a[1] % 8 != 0) return Errno::Invalid;
  if (args.i32(0) != 0 && find_thread(args.i32(0)) == nullptr) return Errno::NoProcess;
  const uint32_t cpus = std::min<uint32_t>(processor_count(), 64);
  const uint64_t mask = cpus >= 64 ? ~uint64_t{0} : (uint64_t{1} << cpus) - 1;
  TRY(store_user(args.a[2], mask));
  return 8;
}
SysResult<int64_t> sys_sched_setaffinity(SyscallArgs& args) {
  uint64_t mask = 0;
  TRY(copy_from_user(&mask, args.a[2], std::min<uint64_t>(args.a[1], sizeof(mask))));
  const Thread* thread = args.i32(0) == 0 ? &args.thread : find_thread(args.i32(0));
  if (thread == nullptr) return Errno::NoProcess;
  return mask == 0 ? SysResult<int64_t>(Errno::Invalid) : 0;
}

SysResult<int64_t> sys_getcpu(SyscallArgs& args) {
  if (args.a[0] != 0) TRY(store_user(args.a[0], uint32_t{0}));
  if (args.a[1] != 0) TRY(store_user(args.a[1], uint32_t{0}));
  return 0;
}

SysResult<int64_t> sys_getrandom(SyscallArgs& args) {
  if ((args.a[2] & ~uint64_t{7}) != 0) return Errno::Invalid;
  const uint64_t size = std::min<uint64_t>(args.a[1], 32 << 20);
  if (size != 0 && !user_range_ok(args.a[0], size)) return Errno::Fault;
  uint8_t part[1024];
  for (uint64_t done = 0; done < size;) {
    const uint64_t count = std::min<uint64_t>(sizeof(part), size - done);
    crypto::random_bytes({part, count});
    TRY(copy_to_user(args.a[0] + done, part, count));
    done += count;
  }
  return static_cast<int64_t>(size);
}

SysResult<int64_t> sys_arch_prctl(SyscallArgs& args) {
  constexpr uint64_t kSetFs = 0x1002, kGetFs = 0x1003;
  uint64_t base = 0;
  switch (args.a[0]) {
    case kSetFs:
      if (!user_range_ok(args.a[1], 0)) return Errno::Perm;
      set_fs_base(args.a[1]);
      args.thread.fs_base = args.a[1];
      return 0;
    case kGetFs:
      __asm__ volatile("rdfsbase %0" : "=r"(base));
      TRY(store_user(args.a[1], base));
      return 0;
    default:
      return Errno::Invalid;
  }
}

SysResult<int64_t> sys_prctl(SyscallArgs& args) {
  switch (args.i32(0)) {
    case 15: {  // PR_SET_NAME
      const std::string name = TRY(string_from_user(args.a[1], 4095));
      args.thread.name = {};
      std::memcpy(args.thread.name.data(), name.data(), std::min<size_t>(name.size(), 15));
      return 0;
    }
    case 16:  // PR_GET_NAME
      TRY(copy_to_user(args.a[1], args.thread.name.data(), args.thread.name.size()));
      return 0;
    case 1:   // PR_SET_PDEATHSIG: the parent is the host, whose end is ours
    case 4:   // PR_SET_DUMPABLE: an enclave is never dumped
    case 38:  // PR_SET_NO_NEW_PRIVS
      return 0;
    case 3:  // PR_GET_DUMPABLE
      return 0;
    case 39:  // PR_GET_NO_NEW_PRIVS
      return 1;
    default:
      return Errno::Invalid;
  }
}

SysResult<int64_t> sys_set_tid_address(SyscallArgs& args) {
  args.thread.clear_child_tid = args.a[0];
  return args.thread.tid;
}

namespace {

constexpr uint64_t kVfork = 0x4000, kVm = 0x100, kFs = 0x200, kFiles = 0x400, kSighand = 0x800,
                   kThread = 0x10000, kSetTls = 0x80000, kParentSetTid = 0x100000, kChildClearTid = 0x200000,
                   kChildSetTid = 0x1000000;
constexpr uint64_t kThreadFlags = kVm | kFs | kFiles | kSighand | kThread;
constexpr uint64_t kSemaphores = 0x40000, kDetached = 0x400000, kClearHandlers = 0x100000000;
constexpr uint64_t kTidFlags = kSetTls | kParentSetTid | kChildClearTid | kChildSetTid;
constexpr uint64_t kThreadKnown = kThreadFlags | kTidFlags | kSemaphores | kDetached;
constexpr uint64_t kForkKnown = kTidFlags | kDetached | kClearHandlers;
constexpr uint64_t kBorrowKnown = kVm | kVfork | kTidFlags | kDetached | kClearHandlers;

struct CloneArgs {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

SysResult<int64_t> clone_any(SyscallArgs& args, const CloneArgs& wanted) {
  const bool is_thread = (wanted.flags & kThreadFlags) == kThreadFlags;
  const bool borrows = (wanted.flags & (kVm | kVfork)) == (kVm | kVfork) && (wanted.flags & kThread) == 0;
  // A child that shares memory and runs, descriptors or the working folder, a pidfd, namespaces: not known
  // here, so not taken for something else.
  const uint64_t known = is_thread ? kThreadKnown : borrows ? kBorrowKnown : kForkKnown;
  if ((wanted.flags & ~known) != 0) return Errno::Invalid;
  UserFrame frame = args.frame;
  frame.rax = 0;
  frame.rcx = frame.rip;
  frame.r11 = frame.rflags;
  frame.full_restore = 1;
  frame.original_rax = ~uint64_t{0};
  if (wanted.stack != 0) frame.rsp = wanted.stack + wanted.stack_size;
  const uint64_t fs = (wanted.flags & kSetTls) != 0 ? wanted.tls : args.thread.fs_base;
  // The new thread cannot run before this call waits or ends: it needs the kernel lock for its first entry.
  const auto prepare = [&](Thread& thread) {
    thread.name = args.thread.name;
    if ((thread.policy & SCHED_RESET_ON_FORK) != 0) {
      thread.policy &= ~SCHED_RESET_ON_FORK;
      if (!is_thread) thread.process->priority = std::max(thread.process->priority, 0);
    }
    if ((wanted.flags & kParentSetTid) != 0) (void)store_user(wanted.parent_tid, thread.tid);
    if ((wanted.flags & kChildSetTid) != 0) thread.set_child_tid = wanted.child_tid;
    if ((wanted.flags & kChildClearTid) != 0) thread.clear_child_tid = wanted.child_tid;
  };
  if (borrows) return borrow_memory(args.thread, frame, fs, prepare);
  if (!is_thread) return fork_process(args.thread, frame, fs, prepare);
  if (only_thread(*args.thread.process)) TRY(memory_settle(args.thread.process->memory->id));
  Thread* thread = TRY(start_thread(*args.thread.process, frame, fs));
  prepare(*thread);
  return thread->tid;
}

}  // namespace

SysResult<int64_t> sys_clone(SyscallArgs& args) {
  return clone_any(args, {args.a[0] & ~uint64_t{0xff}, 0, args.a[3], args.a[2], args.a[0] & 0xff, args.a[1],
                          0, args.a[4]});
}

SysResult<int64_t> sys_vfork(SyscallArgs& args) { return clone_any(args, {.flags = kVm | kVfork}); }

SysResult<int64_t> sys_fork(SyscallArgs& args) { return clone_any(args, {}); }

SysResult<int64_t> sys_clone3(SyscallArgs& args) {
  if (args.a[1] < sizeof(CloneArgs) || args.a[1] > kPage) return Errno::Invalid;
  return clone_any(args, TRY(load_user<CloneArgs>(args.a[0])));
}

SysResult<int64_t> sys_exit(SyscallArgs& args) {
  Thread& self = args.thread;
  bool last = true;
  for_each_thread(*self.process, [&](Thread& other) { return last = &other == &self; });
  if (last) end_process((args.u32(0) & 0xff) << 8);
  end_current_thread();
}

SysResult<int64_t> sys_exit_group(SyscallArgs& args) { end_process((args.u32(0) & 0xff) << 8); }

}  // namespace cloister::enclave
