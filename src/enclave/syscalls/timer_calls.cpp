// Timers that send signals: alarm, setitimer and POSIX timers.
#include <algorithm>
#include <map>
#include <memory>

#include "enclave/arch/clock.h"
#include "enclave/arch/signal.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/timers.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/timer_file.h"

namespace cloister::enclave {
namespace {

constexpr size_t kMostTimers = 1024;

struct MicroSetting {  // struct itimerval
  int64_t interval_seconds, interval_microseconds, seconds, microseconds;
};

class IntervalTimer final : public Timer {
 public:
  explicit IntervalTimer(Process& process) : process_(process) {}
  void expired(uint64_t) override {
    SignalInfo info;
    info.signal = kSigAlarm;
    info.code = 0x80;  // SI_KERNEL
    send_signal(process_, info);
  }

 private:
  Process& process_;
};

struct SignalEvent {  // struct sigevent
  uint64_t value;
  int32_t signal, notify, thread;
  int32_t padding[11];
};
static_assert(sizeof(SignalEvent) == 64);
enum Notify : int32_t { kSignal = 0, kNone = 1, kThread = 2, kThreadId = 4 };

class PosixTimer final : public Timer {
 public:
  PosixTimer(Process& process, int32_t id, int32_t clock, const SignalEvent& event)
      : process_(process), id_(id), clock_(clock), event_(event) {}
  void expired(uint64_t times) override {
    overrun_ = static_cast<int32_t>(std::min<uint64_t>(times - 1, INT32_MAX));
    if (event_.notify == kNone) return;
    SignalInfo info;
    info.signal = event_.signal;
    info.code = -2;  // SI_TIMER
    info.pid = id_;
    info.uid = static_cast<uint32_t>(overrun_);
    info.value = event_.value;
    if ((event_.notify & kThreadId) == 0) return send_signal(process_, info);
    Thread* target = find_thread(event_.thread);
    if (target != nullptr && target->process == &process_) send_signal(*target, info);
  }
  int32_t overrun() const { return overrun_; }
  int32_t clock() const { return clock_; }

 private:
  Process& process_;
  int32_t id_, clock_, overrun_ = 0;
  SignalEvent event_;
};

struct ProcessTimers final : Counted {
  explicit ProcessTimers(Process& process) : real(process) {}
  IntervalTimer real;
  std::map<int32_t, std::unique_ptr<PosixTimer>> posix;
  int32_t next_id = 0;
};

ProcessTimers& timers_of(SyscallArgs& args) {
  Process& process = *args.thread.process;
  if (!process.timers) process.timers = make_ref<ProcessTimers>(process);
  return static_cast<ProcessTimers&>(*process.timers);
}

uint64_t left_of(const Timer& timer) {
  if (!timer.running()) return 0;
  const uint64_t now = monotonic_ns();
  return timer.deadline() > now ? timer.deadline() - now : 1;
}

MicroSetting micro_setting(const Timer& timer) {
  if (!timer.running()) return {};
  const TimeSpec left = to_timespec(left_of(timer) + 999), interval = to_timespec(timer.interval());
  return {interval.seconds, interval.nanoseconds / 1000, left.seconds, left.nanoseconds / 1000};
}

SysResult<void> check_kind(uint32_t kind) {
  // ITIMER_VIRTUAL and ITIMER_PROF count CPU time, which is not known while the program runs.
  return kind == 0 ? SysResult<void>() : Errno::Invalid;
}

SysResult<PosixTimer*> timer_of(SyscallArgs& args) {
  auto& list = timers_of(args).posix;
  const auto found = list.find(args.i32(0));
  if (found == list.end()) return Errno::Invalid;
  return found->second.get();
}

TimerSetting setting_of(const Timer& timer) {
  if (!timer.running()) return {};
  return {to_timespec(timer.interval()), to_timespec(left_of(timer))};
}

}  // namespace

void end_posix_timers(Process& process) {
  if (process.timers) static_cast<ProcessTimers&>(*process.timers).posix.clear();
}

SysResult<int64_t> sys_getitimer(SyscallArgs& args) {
  TRY(check_kind(args.u32(0)));
  TRY(store_user(args.a[1], micro_setting(timers_of(args).real)));
  return 0;
}

SysResult<int64_t> sys_setitimer(SyscallArgs& args) {
  TRY(check_kind(args.u32(0)));
  Timer& timer = timers_of(args).real;
  const MicroSetting old = micro_setting(timer);
  MicroSetting wanted{};
  if (args.a[1] != 0) wanted = TRY(load_user<MicroSetting>(args.a[1]));
  const TimeSpec interval{wanted.interval_seconds, wanted.interval_microseconds * 1000},
      value{wanted.seconds, wanted.microseconds * 1000};
  if (!timespec_valid(interval) || !timespec_valid(value)) return Errno::Invalid;
  timer.stop();
  if (from_timespec(value) != 0) timer.start(deadline_after(from_timespec(value)), from_timespec(interval));
  if (args.a[2] != 0) TRY(store_user(args.a[2], old));
  return 0;
}

SysResult<int64_t> sys_alarm(SyscallArgs& args) {
  Timer& timer = timers_of(args).real;
  const uint64_t left = left_of(timer);
  timer.stop();
  if (args.u32(0) != 0) timer.start(deadline_after(args.u32(0) * kSecond), 0);
  // alarm(2): rounded, but never to 0 while one is running.
  return static_cast<int64_t>(left == 0 ? 0 : std::max<uint64_t>(1, (left + kSecond / 2) / kSecond));
}

SysResult<int64_t> sys_timer_create(SyscallArgs& args) {
  const int32_t clock = args.i32(0);
  if (clock != 0 && clock != 1 && clock != 7) return Errno::Invalid;
  ProcessTimers& timers = timers_of(args);
  SignalEvent event{};
  event.signal = kSigAlarm;
  event.value = static_cast<uint64_t>(timers.next_id);
  if (args.a[1] != 0) event = TRY(load_user<SignalEvent>(args.a[1]));
  const bool known = event.notify == kSignal || event.notify == kNone || event.notify == kThread ||
                     event.notify == (kSignal | kThreadId);
  if (!known || (event.notify != kNone && (event.signal < 1 || event.signal > kSignalCount)))
    return Errno::Invalid;
  if (event.notify == (kSignal | kThreadId)) {
    const Thread* target = find_thread(event.thread);
    if (target == nullptr || target->process != args.thread.process) return Errno::Invalid;
  }
  if (timers.posix.size() >= kMostTimers) return Errno::Again;
  TRY(store_user(args.a[2], timers.next_id));
  const int32_t id = timers.next_id++;
  timers.posix[id] = std::make_unique<PosixTimer>(*args.thread.process, id, clock, event);
  return 0;
}

SysResult<int64_t> sys_timer_settime(SyscallArgs& args) {
  constexpr uint32_t kAbsolute = 1;
  const auto wanted = TRY(load_user<TimerSetting>(args.a[2]));
  PosixTimer* timer = TRY(timer_of(args));
  if (!timespec_valid(wanted.interval) || !timespec_valid(wanted.value)) return Errno::Invalid;
  const TimerSetting old = setting_of(*timer);
  timer->stop();
  const uint64_t value = from_timespec(wanted.value), interval = from_timespec(wanted.interval);
  if (value != 0 && (args.u32(1) & kAbsolute) != 0) {
    const uint64_t now = timer->clock() == 0 ? realtime_ns() : monotonic_ns();
    timer->start(deadline_after(value > now ? value - now : 0), interval);
  } else if (value != 0) {
    timer->start(deadline_after(value), interval);
  }
  if (args.a[3] != 0) TRY(store_user(args.a[3], old));
  return 0;
}

SysResult<int64_t> sys_timer_gettime(SyscallArgs& args) {
  const PosixTimer* timer = TRY(timer_of(args));
  TRY(store_user(args.a[1], setting_of(*timer)));
  return 0;
}
SysResult<int64_t> sys_timer_getoverrun(SyscallArgs& args) { return TRY(timer_of(args))->overrun(); }
SysResult<int64_t> sys_timer_delete(SyscallArgs& args) {
  TRY(timer_of(args));
  timers_of(args).posix.erase(args.i32(0));
  return 0;
}

}  // namespace cloister::enclave
