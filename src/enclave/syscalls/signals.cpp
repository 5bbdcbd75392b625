// Sending signals, and the calls about them. Delivery is in signal_delivery.cpp.
#include "enclave/arch/signal.h"

#include "enclave/arch/boot.h"
#include "enclave/arch/clock.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/thread_block.h"
#include "enclave/arch/timers.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/signal_delivery.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/pidfd.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kSetSize = 8;
constexpr uint64_t kUnblockable = signal_bit(kSigKill) | signal_bit(kSigStop);
constexpr uint64_t kIgnoredByDefault =
    signal_bit(kSigChild) | signal_bit(kSigContinue) | signal_bit(kSigUrgent) | signal_bit(kSigWindow);

bool valid(int signal) { return signal >= 1 && signal <= kSignalCount; }

bool ignored(const Process& process, int signal) {
  const uint64_t handler = process.signals.actions[static_cast<size_t>(signal - 1)].handler;
  return handler == 1 || (handler == 0 && (signal_bit(signal) & kIgnoredByDefault) != 0);
}

SignalInfo from_self(const Thread& thread, int signal, int code) {
  SignalInfo info;
  info.signal = signal;
  info.code = code;
  info.pid = thread.process->pid;
  return info;
}

WaitQueue g_waiters;  // sigtimedwait, sigsuspend, pause, signalfd: everyone looks again

// `queued`: one that was pending already is none.
void tell_waiters(bool queued) {
  g_waiters.wake_all();
  if (!queued) return;
  for (File* file : signal_files()) file->edge(0);
}

// What ends a process ends its wait in vfork.
void wake_vfork(Process& process, int signal) {
  const bool by_default = process.signals.actions[static_cast<size_t>(signal - 1)].handler == 0;
  if (signal == kSigKill || by_default) process.child_changed.wake_all();
}

// One more of a real-time signal that is pending is lost when the queue is full; senders that would mind have
// asked before (room_for).
bool add_within_limit(Process& process, PendingSignals& pending, const SignalInfo& info) {
  const bool one_more = (pending.set & signal_bit(info.signal)) != 0;
  if (one_more && !may_queue_signal(process, pending)) return false;
  return pending.add(info);
}

}  // namespace

WaitQueue& signal_waiters() { return g_waiters; }
std::vector<File*>& signal_files() {
  static std::vector<File*> files;
  return files;
}

bool PendingSignals::add(const SignalInfo& more) {
  if ((set & signal_bit(more.signal)) == 0) {
    set |= signal_bit(more.signal);
    info[static_cast<size_t>(more.signal - 1)] = more;
    return true;
  }
  if (more.signal < kFirstRealtime || queued.size() >= kMost) return false;
  queued.push_back(more);
  return true;
}

bool PendingSignals::take_queued(int signal) {
  for (size_t i = 0; i < queued.size(); ++i) {
    if (queued[i].signal != signal) continue;
    info[static_cast<size_t>(signal - 1)] = queued[i];
    queued.erase(queued.begin() + static_cast<ptrdiff_t>(i));
    return true;
  }
  return false;
}

void PendingSignals::forget(int signal) {
  set &= ~signal_bit(signal);
  std::erase_if(queued, [&](const SignalInfo& other) { return other.signal == signal; });
}

void SignalState::reset_for_exec() {
  for (SignalAction& action : actions) {
    if (action.handler != 1) action = SignalAction{};
  }
}

void send_signal(Process& process, const SignalInfo& info) {
  if (process.exiting) return;
  before_signal(process, info.signal);
  // One that somebody may wait for with sigtimedwait stays, even if it would be ignored.
  const bool blocked_somewhere = [&] {
    bool found = false;
    for_each_thread(process, [&](Thread& t) {
      found = found || (t.signal_mask & signal_bit(info.signal)) != 0;
      return true;
    });
    return found;
  }();
  if (ignored(process, info.signal) && !blocked_somewhere) return;
  const bool queued = add_within_limit(process, process.signals.pending, info);
  Thread* target = nullptr;
  for_each_thread(process, [&](Thread& t) {
    if ((t.signal_mask & signal_bit(info.signal)) != 0) return true;
    target = &t;
    return t.parked;  // prefer one that runs: it needs no wake-up
  });
  if (target != nullptr) wake_thread(*target, true);
  wake_vfork(process, info.signal);
  tell_waiters(queued);
}

void send_signal(Thread& thread, const SignalInfo& info) {
  before_signal(*thread.process, info.signal);
  const bool blocked = (thread.signal_mask & signal_bit(info.signal)) != 0;
  if (ignored(*thread.process, info.signal) && !blocked) return;
  const bool queued = add_within_limit(*thread.process, thread.pending, info);
  if (!blocked) wake_thread(thread, true);
  wake_vfork(*thread.process, info.signal);
  tell_waiters(queued);
}

void raise_signal(int signal) { send_signal(current(), from_self(current(), signal, 0)); }

namespace {

// Of the signals that are ready: true when one has to be handled at the border to the program. `stop` becomes
// one that stops the process.
bool look_at_ready(Thread& self, int& stop) {
  bool handled = false;
  uint64_t ready = (self.pending.set | self.process->signals.pending.set) & ~self.signal_mask;
  for (; ready != 0; ready &= ready - 1) {
    const int signal = __builtin_ctzll(ready) + 1;
    const bool by_default = self.process->signals.actions[static_cast<size_t>(signal - 1)].handler == 0;
    if (by_default && stops_by_default(signal)) {
      stop = signal;
      continue;
    }
    if (!ignored(*self.process, signal)) {
      handled = true;
      continue;
    }
    // It came while it was blocked, and is ignored now: a handler that is installed later must not get it.
    self.pending.forget(signal);
    self.process->signals.pending.forget(signal);
  }
  return handled;
}

}  // namespace

void send_io_signal(int32_t owner) {
  SignalInfo info;
  info.signal = kSigIo;
  info.code = 0x80;  // SI_KERNEL
  if (owner == 0 || user_process() == nullptr) return;
  for_each_process(*user_process(), [&](Process& process) {
    if (process.pid == owner || process.group_id == -owner) send_signal(process, info);
  });
}

bool pending_interrupt() {
  Thread& self = current();
  for (;;) {
    // What the host noted for this thread while it slept may be for another one: SIGTERM can come to the
    // agent's.
    take_host_events();
    run_timers();
    hold_while_stopped();
    if (self.exiting) return true;
    int stop = 0;
    if (look_at_ready(self, stop)) return true;
    if (stop == 0) return false;
    // Here, so that the call that waits does not hear of it.
    self.pending.forget(stop);
    self.process->signals.pending.forget(stop);
    stop_process(*self.process, stop);
  }
}

SysResult<int64_t> sys_rt_sigaction(SyscallArgs& args) {
  const int signal = args.i32(0);
  if (!valid(signal) || args.a[3] != kSetSize) return Errno::Invalid;
  SignalAction& action = args.thread.process->signals.actions[static_cast<size_t>(signal - 1)];
  const SignalAction old = action;
  if (args.a[1] != 0) {
    if (signal == kSigKill || signal == kSigStop) return Errno::Invalid;
    action = TRY(load_user<SignalAction>(args.a[1]));
    action.mask &= ~kUnblockable;
    if (ignored(*args.thread.process, signal)) {
      args.thread.process->signals.pending.forget(signal);
      args.thread.pending.forget(signal);
    }
  }
  if (args.a[2] != 0) TRY(store_user(args.a[2], old));
  return 0;
}

SysResult<int64_t> sys_rt_sigprocmask(SyscallArgs& args) {
  if (args.a[3] != kSetSize) return Errno::Invalid;
  Thread& thread = args.thread;
  const uint64_t old = thread.signal_mask;
  if (args.a[1] != 0) {
    const uint64_t set = TRY(load_user<uint64_t>(args.a[1])) & ~kUnblockable;
    switch (args.i32(0)) {
      case 0:
        thread.signal_mask |= set;
        break;
      case 1:
        thread.signal_mask &= ~set;
        break;
      case 2:
        thread.signal_mask = set;
        break;
      default:
        return Errno::Invalid;
    }
    if (pending_interrupt()) __atomic_store_n(&thread.block->work, 1, __ATOMIC_SEQ_CST);
  }
  if (args.a[2] != 0) TRY(store_user(args.a[2], old));
  return 0;
}

SysResult<int64_t> sys_rt_sigpending(SyscallArgs& args) {
  if (args.a[1] > kSetSize) return Errno::Invalid;
  const uint64_t set =
      (args.thread.pending.set | args.thread.process->signals.pending.set) & args.thread.signal_mask;
  TRY(copy_to_user(args.a[0], &set, args.a[1]));
  return 0;
}

SysResult<int64_t> sys_rt_sigtimedwait(SyscallArgs& args) {
  if (args.a[3] != kSetSize) return Errno::Invalid;
  const uint64_t set = TRY(load_user<uint64_t>(args.a[0])) & ~kUnblockable;
  uint64_t deadline = kNoDeadline;
  if (args.a[2] != 0) {
    const TimeSpec timeout = TRY(load_user<TimeSpec>(args.a[2]));
    if (!timespec_valid(timeout)) return Errno::Invalid;
    deadline = deadline_after(from_timespec(timeout));
  }
  Thread& self = args.thread;
  for (;;) {
    SignalInfo info;
    if (take_signal(self, set, info)) {
      uint8_t out[128];
      store_signal_info(out, info);
      if (args.a[1] != 0) TRY(copy_to_user(args.a[1], out, sizeof(out)));
      return info.signal;
    }
    const WaitEnd end = g_waiters.wait(deadline);
    if (end == WaitEnd::TimedOut) return Errno::Again;
    if (end == WaitEnd::Interrupted) return Errno::Interrupted;
  }
}

SysResult<int64_t> sys_rt_sigsuspend(SyscallArgs& args) {
  if (args.a[1] != kSetSize) return Errno::Invalid;
  set_temporary_mask(TRY(load_user<uint64_t>(args.a[0])));
  while (!pending_interrupt()) g_waiters.wait();
  end_temporary_mask(true);
  return Errno::Interrupted;
}

SysResult<int64_t> sys_pause(SyscallArgs&) {
  while (!pending_interrupt()) g_waiters.wait();
  return Errno::Interrupted;
}

SysResult<int64_t> sys_sigaltstack(SyscallArgs& args) {
  struct Stack {
    uint64_t address;
    uint32_t flags, pad;
    uint64_t size;
  };
  Thread& thread = args.thread;
  const bool inside = (thread.alternate_stack_flags & 2) == 0 && args.frame.rsp > thread.alternate_stack &&
                      args.frame.rsp - thread.alternate_stack <= thread.alternate_stack_size;
  const Stack old{thread.alternate_stack, inside ? 1 : thread.alternate_stack_flags, 0,
                  thread.alternate_stack_size};
  if (args.a[0] != 0) {
    const Stack wanted = TRY(load_user<Stack>(args.a[0]));
    if (inside) return Errno::Perm;
    const uint32_t mode = wanted.flags & ~uint32_t{1u << 31};
    if (mode > 2) return Errno::Invalid;
    if (mode == 2) {
      thread.alternate_stack = thread.alternate_stack_size = 0;
      thread.alternate_stack_flags = 2;
    } else {
      if (wanted.size < 2048) return Errno::NoMemory;
      if (!user_range_ok(wanted.address, wanted.size)) return Errno::Fault;
      thread.alternate_stack = wanted.address;
      thread.alternate_stack_size = wanted.size;
      thread.alternate_stack_flags = 0;
    }
  }
  if (args.a[1] != 0) TRY(store_user(args.a[1], old));
  return 0;
}

namespace {
// The program and its descendants reach each other, and the agent itself.
Process* reachable_process(SyscallArgs& args, int32_t pid) {
  Process& self = *args.thread.process;
  if (pid == self.pid) return &self;
  return self.is_agent ? nullptr : find_process(pid);
}
Thread* reachable_thread(SyscallArgs& args, int32_t tid) {
  Thread* thread = find_thread(tid);
  if (thread == nullptr || thread->process->is_agent != args.thread.process->is_agent) return nullptr;
  return thread;
}
}  // namespace

SysResult<int64_t> sys_kill(SyscallArgs& args) {
  const int signal = args.i32(1);
  if (signal < 0 || signal > kSignalCount) return Errno::Invalid;
  Process& self = *args.thread.process;
  const int32_t pid = args.i32(0);
  const SignalInfo info = from_self(args.thread, signal, 0);
  if (pid == INT32_MIN) return Errno::NoProcess;
  if (pid > 0) {
    Process* target = reachable_process(args, pid);
    if (target == nullptr) return Errno::NoProcess;
    if (signal != 0) send_signal(*target, info);
    return 0;
  }
  // A group; -1 means "everybody else". The host has no part in it.
  const int32_t group = pid == 0 ? self.group_id : -pid;
  bool any = false;
  if (self.is_agent || user_process() == nullptr) return Errno::NoProcess;
  for_each_process(*user_process(), [&](Process& other) {
    if (pid == -1 ? &other == &self : other.group_id != group) return;
    any = true;
    if (signal != 0) send_signal(other, info);
  });
  return any ? SysResult<int64_t>(0) : Errno::NoProcess;
}

namespace {
SysResult<int64_t> signal_thread(SyscallArgs& args, int32_t tid, int signal) {
  if (signal < 0 || signal > kSignalCount || tid <= 0) return Errno::Invalid;
  Thread* target = reachable_thread(args, tid);
  if (target == nullptr) return Errno::NoProcess;
  if (signal != 0) send_signal(*target, from_self(args.thread, signal, -6));
  return 0;
}
}  // namespace

namespace {
// siginfo_t of rt_sigqueueinfo: a program may not claim to be the kernel or kill(2), except to itself.
SysResult<SignalInfo> queued_info(uint64_t address, int signal, bool to_self) {
  struct Raw {
    int32_t number, error, code, padding;
    int32_t pid;
    uint32_t uid;
    uint64_t value;
  };
  if (signal < 0 || signal > kSignalCount) return Errno::Invalid;
  const auto raw = TRY(load_user<Raw>(address));
  if ((raw.code >= 0 || raw.code == -6) && !to_self) return Errno::Perm;
  SignalInfo info;
  info.signal = signal;
  info.code = raw.code;
  info.pid = raw.pid;
  info.uid = raw.uid;
  info.value = raw.value;
  return info;
}
}  // namespace

namespace {
// Real-time signals that are queued are not lost: there is room for them, or the sender hears that there is
// not.
bool room_for(Process& process, const PendingSignals& pending, int signal) {
  return signal < PendingSignals::kFirstRealtime || may_queue_signal(process, pending);
}
}  // namespace

SysResult<int64_t> sys_rt_sigqueueinfo(SyscallArgs& args) {
  const bool to_self = args.i32(0) == args.thread.process->pid;
  const SignalInfo info = TRY(queued_info(args.a[2], args.i32(1), to_self));
  Process* target = reachable_process(args, args.i32(0));
  if (target == nullptr) return Errno::NoProcess;
  if (!room_for(*target, target->signals.pending, info.signal)) return Errno::Again;
  if (info.signal != 0) send_signal(*target, info);
  return 0;
}
SysResult<int64_t> sys_rt_tgsigqueueinfo(SyscallArgs& args) {
  if (args.i32(0) <= 0 || args.i32(1) <= 0) return Errno::Invalid;
  const bool to_self = args.i32(0) == args.thread.process->pid;
  const SignalInfo info = TRY(queued_info(args.a[3], args.i32(2), to_self));
  Thread* target = reachable_thread(args, args.i32(1));
  if (target == nullptr || target->process->pid != args.i32(0)) return Errno::NoProcess;
  if (!room_for(*target->process, target->pending, info.signal)) return Errno::Again;
  if (info.signal != 0) send_signal(*target, info);
  return 0;
}

SysResult<int64_t> sys_pidfd_send_signal(SyscallArgs& args) {
  const int signal = args.i32(1);
  if (args.u32(3) != 0) return Errno::Invalid;
  Process& self = *args.thread.process;
  const Ref<File> file = TRY(self.files.get(args.i32(0)));
  const PidFile* named = file->pidfd();
  if (named == nullptr) return Errno::BadFile;
  SignalInfo info = from_self(args.thread, signal, 0);
  if (args.a[2] != 0) {
    if (TRY(load_user<int32_t>(args.a[2])) != signal) return Errno::Invalid;
    info = TRY(queued_info(args.a[2], signal, named->process() == &self));
  }
  if (signal < 0 || signal > kSignalCount) return Errno::Invalid;
  Process* target = named->process();
  if (target == nullptr) return Errno::NoProcess;
  if (args.a[2] != 0 && !room_for(*target, target->signals.pending, signal)) return Errno::Again;
  if (signal != 0) send_signal(*target, info);
  return 0;
}

SysResult<int64_t> sys_tkill(SyscallArgs& args) { return signal_thread(args, args.i32(0), args.i32(1)); }
SysResult<int64_t> sys_tgkill(SyscallArgs& args) {
  if (args.i32(0) <= 0 || args.i32(1) <= 0) return Errno::Invalid;
  const Thread* target = reachable_thread(args, args.i32(1));
  if (target == nullptr || target->process->pid != args.i32(0)) return Errno::NoProcess;
  return signal_thread(args, args.i32(1), args.i32(2));
}

}  // namespace cloister::enclave
