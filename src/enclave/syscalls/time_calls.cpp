// Clocks and sleeping.
#include "enclave/arch/clock.h"

#include "enclave/arch/signal.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/wait.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

enum ClockId : int32_t {
  kRealtime = 0,
  kMonotonic = 1,
  kProcessCpu = 2,
  kThreadCpu = 3,
  kMonotonicRaw = 4,
  kRealtimeCoarse = 5,
  kMonotonicCoarse = 6,
  kBoot = 7,
  kTai = 11
};

// Negative ids are CPU clocks by number: of any process, or of a thread of the caller's process.
SysResult<uint64_t> read_other_clock(int32_t id) {
  constexpr int32_t kPerThread = 4, kKind = 3, kDescriptor = 3;
  if (id >= 0 || (id & kKind) == kDescriptor) return Errno::Invalid;
  const int32_t number = ~(id >> 3);
  Process& self = *current().process;
  if ((id & kPerThread) != 0) {
    Thread* thread = number == 0 ? &current() : find_thread(number);
    if (thread == nullptr || thread->process != &self) return Errno::Invalid;
    return thread_cpu_ns(*thread);
  }
  Process* process = number == 0 || number == self.pid || number == current().tid ? &self
                     : self.is_agent                                              ? nullptr
                                                                                  : find_process(number);
  if (process == nullptr) return Errno::Invalid;
  return process_cpu_ns(*process);
}

SysResult<uint64_t> read_clock(int32_t id) {
  switch (id) {
    case kRealtime:
    case kRealtimeCoarse:
    case kTai:
      return realtime_ns();
    case kMonotonic:
    case kMonotonicRaw:
    case kMonotonicCoarse:
    case kBoot:
      return monotonic_ns();
    case kProcessCpu:
      return process_cpu_ns(*current().process);
    case kThreadCpu:
      return thread_cpu_ns(current());
    default:
      return read_other_clock(id);
  }
}

SysResult<int64_t> sleep_until(uint64_t deadline, uint64_t remaining_out) {
  WaitQueue nobody;
  const WaitEnd end = nobody.wait(deadline);
  if (end == WaitEnd::TimedOut) return 0;
  if (remaining_out != 0) {
    const uint64_t now = monotonic_ns();
    TRY(store_user(remaining_out, to_timespec(deadline > now ? deadline - now : 0)));
  }
  return Errno::Interrupted;
}

}  // namespace

SysResult<int64_t> sys_clock_gettime(SyscallArgs& args) {
  const uint64_t now = TRY(read_clock(args.i32(0)));
  TRY(store_user(args.a[1], to_timespec(now)));
  return 0;
}

SysResult<int64_t> sys_clock_getres(SyscallArgs& args) {
  (void)TRY(read_clock(args.i32(0)));
  if (args.a[1] != 0) TRY(store_user(args.a[1], TimeSpec{0, 1}));
  return 0;
}

SysResult<int64_t> sys_gettimeofday(SyscallArgs& args) {
  const TimeSpec now = to_timespec(realtime_ns());
  if (args.a[0] != 0) TRY(store_user(args.a[0], TimeSpec{now.seconds, now.nanoseconds / 1000}));
  if (args.a[1] != 0) TRY(store_user(args.a[1], uint64_t{0}));
  return 0;
}

SysResult<int64_t> sys_time(SyscallArgs& args) {
  const int64_t now = to_timespec(realtime_ns()).seconds;
  if (args.a[0] != 0) TRY(store_user(args.a[0], now));
  return now;
}

SysResult<int64_t> sys_nanosleep(SyscallArgs& args) {
  const TimeSpec time = TRY(load_user<TimeSpec>(args.a[0]));
  if (!timespec_valid(time)) return Errno::Invalid;
  return sleep_until(deadline_after(from_timespec(time)), args.a[1]);
}

SysResult<int64_t> sys_clock_nanosleep(SyscallArgs& args) {
  const int32_t id = args.i32(0);
  if (id != kRealtime && id != kMonotonic && id != kBoot) return Errno::Invalid;
  const TimeSpec time = TRY(load_user<TimeSpec>(args.a[2]));
  if (!timespec_valid(time)) return Errno::Invalid;
  const bool absolute = (args.a[1] & 1) != 0;
  if (!absolute) return sleep_until(deadline_after(from_timespec(time)), args.a[3]);
  const uint64_t target = from_timespec(time);
  const uint64_t now = TRY(read_clock(id));
  if (target <= now) return 0;
  return sleep_until(deadline_after(target - now), 0);
}

}  // namespace cloister::enclave
