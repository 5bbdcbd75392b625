// Processors, as far as a program may choose them. The host schedules: what is said here is kept, and shows.
#include <algorithm>

#include "enclave/arch/clock.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
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
  return thread == nullptr ? SysResult<Thread*>(Errno::NoProcess) : thread;
}

}  // namespace

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
