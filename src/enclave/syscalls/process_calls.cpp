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
#include "enclave/syscalls/pidfd_calls.h"
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

SysResult<int64_t> sys_getrandom(SyscallArgs& args) {
  constexpr uint32_t kRandom = 2, kInsecure = 4, kKnown = 7;
  const uint32_t flags = args.u32(2);
  if ((flags & ~kKnown) != 0 || (flags & (kRandom | kInsecure)) == (kRandom | kInsecure))
    return Errno::Invalid;
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

SysResult<int64_t> sys_set_tid_address(SyscallArgs& args) {
  args.thread.clear_child_tid = args.a[0];
  return args.thread.tid;
}

namespace {

constexpr uint64_t kPidfd = 0x1000, kVfork = 0x4000, kVm = 0x100, kFs = 0x200, kFiles = 0x400,
                   kSighand = 0x800, kThread = 0x10000, kSetTls = 0x80000, kParentSetTid = 0x100000,
                   kChildClearTid = 0x200000, kChildSetTid = 0x1000000;
constexpr uint64_t kThreadFlags = kVm | kFs | kFiles | kSighand | kThread;
constexpr uint64_t kSemaphores = 0x40000, kDetached = 0x400000, kClearHandlers = 0x100000000;
constexpr uint64_t kSignalBits = 0xff;  // CSIGNAL
constexpr uint64_t kTidFlags = kSetTls | kParentSetTid | kChildClearTid | kChildSetTid;
constexpr uint64_t kThreadKnown = kThreadFlags | kTidFlags | kSemaphores | kDetached;
constexpr uint64_t kForkKnown = kPidfd | kTidFlags | kDetached | kClearHandlers;
constexpr uint64_t kBorrowKnown = kPidfd | kVm | kVfork | kTidFlags | kDetached | kClearHandlers;

struct CloneArgs {  // struct clone_args
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
      cgroup;
};
constexpr uint64_t kFirstCloneArgs = offsetof(CloneArgs, set_tid);  // what the first version of clone3 had

SysResult<int64_t> clone_any(SyscallArgs& args, const CloneArgs& wanted) {
  const bool is_thread = (wanted.flags & kThreadFlags) == kThreadFlags;
  const bool borrows = (wanted.flags & (kVm | kVfork)) == (kVm | kVfork) && (wanted.flags & kThread) == 0;
  // A child that shares memory and runs, descriptors or the working folder, namespaces: not known here, so
  // not taken for something else.
  const uint64_t known = is_thread ? kThreadKnown : borrows ? kBorrowKnown : kForkKnown;
  if ((wanted.flags & ~known) != 0) return Errno::Invalid;
  if (!may_start_task(*args.thread.process)) return Errno::Again;
  ChildHandle handle;
  if ((wanted.flags & kPidfd) != 0) TRY(handle.make(*args.thread.process, wanted.pidfd));
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
    if (!is_thread) handle.attach(*thread.process);
    if (!is_thread) thread.process->exit_signal = static_cast<int32_t>(wanted.exit_signal);
    if ((wanted.flags & kClearHandlers) != 0) thread.process->signals.reset_for_exec();
    if ((wanted.flags & kParentSetTid) != 0) (void)store_user(wanted.parent_tid, thread.tid);
    if ((wanted.flags & kChildSetTid) != 0) thread.set_child_tid = wanted.child_tid;
    if ((wanted.flags & kChildClearTid) != 0) thread.clear_child_tid = wanted.child_tid;
  };
  if (!is_thread) {
    auto child = borrows ? borrow_memory(args.thread, frame, fs, prepare)
                         : fork_process(args.thread, frame, fs, prepare);
    if (!child.ok()) handle.drop(*args.thread.process);
    return child;
  }
  if (only_thread(*args.thread.process)) TRY(memory_settle(args.thread.process->memory->id));
  Thread* thread = TRY(start_thread(*args.thread.process, frame, fs));
  prepare(*thread);
  return thread->tid;
}

}  // namespace

SysResult<int64_t> sys_clone(SyscallArgs& args) {
  const uint32_t flags = args.u32(0);
  if ((flags & kPidfd) != 0 && (flags & (kParentSetTid | kDetached)) != 0) return Errno::Invalid;
  return clone_any(args, {.flags = flags & ~uint32_t{kSignalBits},
                          .pidfd = args.a[2],
                          .child_tid = args.a[3],
                          .parent_tid = args.a[2],
                          .exit_signal = args.a[0] & kSignalBits,
                          .stack = args.a[1],
                          .tls = args.a[4]});
}

SysResult<int64_t> sys_vfork(SyscallArgs& args) {
  return clone_any(args, {.flags = kVm | kVfork, .exit_signal = kSigChild});
}

SysResult<int64_t> sys_fork(SyscallArgs& args) { return clone_any(args, {.exit_signal = kSigChild}); }

namespace {

// What a newer program says beyond what is known here must be zero.
SysResult<CloneArgs> load_clone_args(uint64_t address, uint64_t size) {
  if (size > kPage) return Errno::TooBig;
  if (size < kFirstCloneArgs) return Errno::Invalid;
  CloneArgs wanted{};
  TRY(copy_from_user(&wanted, address, std::min<uint64_t>(size, sizeof(wanted))));
  for (uint64_t at = sizeof(wanted); at < size; ++at) {
    if (TRY(load_user<uint8_t>(address + at)) != 0) return Errno::TooBig;
  }
  return wanted;
}

SysResult<void> check_clone_args(const CloneArgs& wanted) {
  constexpr uint64_t kDeepest = 32;
  if (wanted.set_tid_size > kDeepest || (wanted.set_tid == 0) != (wanted.set_tid_size == 0))
    return Errno::Invalid;
  if (wanted.exit_signal > kSignalCount || (wanted.flags & (kDetached | kSignalBits)) != 0)
    return Errno::Invalid;
  if ((wanted.flags & (kSighand | kClearHandlers)) == (kSighand | kClearHandlers)) return Errno::Invalid;
  if ((wanted.flags & kThread) != 0 && wanted.exit_signal != 0) return Errno::Invalid;
  if ((wanted.stack == 0) != (wanted.stack_size == 0)) return Errno::Invalid;
  constexpr uint64_t kBoth = kPidfd | kParentSetTid;
  if ((wanted.flags & kBoth) == kBoth && wanted.pidfd == wanted.parent_tid) return Errno::Invalid;
  return wanted.set_tid != 0 ? SysResult<void>(Errno::Perm) : SysResult<void>();  // numbers are the kernel's
}

}  // namespace

SysResult<int64_t> sys_clone3(SyscallArgs& args) {
  const CloneArgs wanted = TRY(load_clone_args(args.a[0], args.a[1]));
  TRY(check_clone_args(wanted));
  return clone_any(args, wanted);
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
