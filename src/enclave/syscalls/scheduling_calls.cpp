// Processors, as far as a program may choose them, and barriers for all of its threads. The host schedules:
// what is said here is kept, and shows.
#include <sched.h>

#include <algorithm>

#include "enclave/arch/host.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/thread_block.h"
#include "enclave/arch/user_copy.h"
#include "enclave/memory/manager.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

uint64_t all_processors() {
  const uint32_t count = std::min<uint32_t>(processor_count(), 64);
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}
uint64_t processors_of(const Thread& thread) {
  return thread.affinity == 0 ? all_processors() : thread.affinity;
}

SysResult<Thread*> any_thread(SyscallArgs& args) {
  Thread* thread = args.i32(0) == 0 ? &args.thread : find_thread(args.i32(0));
  // The agent is not of the program.
  if (thread == nullptr || thread->process->is_agent != args.thread.process->is_agent)
    return Errno::NoProcess;
  return thread;
}

// Every thread of the process that runs the program passes the kernel lock before this returns. The host is
// asked to interrupt them; if it does not, the wait goes on until they come by themselves.
void barrier(const Process& process) {
  constexpr uint64_t kLook = 50000;  // nanoseconds
  Thread& self = current();
  for_each_thread(process, [&](Thread& thread) {
    if (&thread != &self && !thread.parked && !thread.away) wake_thread(thread, true);
    return true;
  });
  for (;;) {
    bool done = true;
    for_each_thread(process, [&](const Thread& thread) {
      // kernel_exit_work clears it, with the lock held.
      const bool running =
          !thread.parked && !thread.away && __atomic_load_n(&thread.block->work, __ATOMIC_SEQ_CST) != 0;
      return done = &thread == &self || !running;
    });
    if (done || self.exiting) return;
    wait_begins();
    host::park(kLook);
    wait_ends();
  }
}

}  // namespace

SysResult<int64_t> sys_membarrier(SyscallArgs& args) {
  enum Command : int32_t { kQuery = 0, kExpedited = 8, kRegister = 16 };  // …PRIVATE_EXPEDITED
  Process& process = *args.thread.process;
  if (args.a[1] != 0) return Errno::Invalid;
  switch (args.i32(0)) {
    case kQuery:
      return kExpedited | kRegister;
    case kRegister:
      process.wants_barriers = true;
      return 0;
    case kExpedited:
      if (!process.wants_barriers) return Errno::Perm;
      barrier(process);
      return 0;
    default:
      return Errno::Invalid;
  }
}

SysResult<int64_t> sys_sched_rr_get_interval(SyscallArgs& args) {
  if (args.i32(0) < 0) return Errno::Invalid;
  TRY(any_thread(args));
  const uint64_t none[2] = {};  // struct timespec
  TRY(store_user(args.a[1], none));
  return 0;
}

SysResult<int64_t> sys_sched_getattr(SyscallArgs& args) {
  struct Attributes {  // struct sched_attr
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t least_use, most_use;
  } out{};
  constexpr uint64_t kFirst = 48;  // bytes of its first version
  static_assert(sizeof(out) == 56);
  const uint64_t size = args.u32(2);
  if (args.a[1] == 0 || args.i32(0) < 0 || size < kFirst || size > kPage || args.u32(3) != 0)
    return Errno::Invalid;
  const Thread* thread = TRY(any_thread(args));
  out.size = static_cast<uint32_t>(std::min<uint64_t>(size, sizeof(out)));
  out.policy = static_cast<uint32_t>(thread->policy & ~SCHED_RESET_ON_FORK);
  out.flags = (thread->policy & SCHED_RESET_ON_FORK) != 0 ? 1 : 0;  // SCHED_FLAG_RESET_ON_FORK
  out.nice = thread->process->priority;
  out.most_use = 1024;
  TRY(copy_to_user(args.a[1], &out, out.size));
  return 0;
}

SysResult<int64_t> sys_sched_yield(SyscallArgs&) {
  const BlockingSection others;
  return 0;
}

SysResult<int64_t> sys_sched_getaffinity(SyscallArgs& args) {
  if (args.a[1] < 8 || args.a[1] % 8 != 0) return Errno::Invalid;
  TRY(store_user(args.a[2], processors_of(*TRY(any_thread(args)))));
  return 8;
}

SysResult<int64_t> sys_sched_setaffinity(SyscallArgs& args) {
  uint64_t mask = 0;
  TRY(copy_from_user(&mask, args.a[2], std::min<uint64_t>(args.a[1], sizeof(mask))));
  Thread* thread = TRY(any_thread(args));
  mask &= all_processors();
  if (mask == 0) return Errno::Invalid;
  thread->affinity = mask;
  return 0;
}

SysResult<int64_t> sys_getcpu(SyscallArgs& args) {
  const auto first = static_cast<uint32_t>(__builtin_ctzll(processors_of(args.thread)));
  if (args.a[0] != 0) TRY(store_user(args.a[0], first));
  if (args.a[1] != 0) TRY(store_user(args.a[1], uint32_t{0}));
  return 0;
}

}  // namespace cloister::enclave
