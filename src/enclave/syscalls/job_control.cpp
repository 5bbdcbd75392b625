// Stopping and continuing whole processes: see signal_delivery.h.
//
// A stopped process has its threads held, each at the border to the program or where it was waiting: what it
// waits for may come meanwhile, but the wait ends only when the process goes on. So no system call sees a
// stop (on Linux a few do, with EINTR: signal(7)). The parent is told when all are held. The host can
// continue the program (it forwards SIGCONT), but stop nothing.
#include <algorithm>

#include "enclave/arch/boot.h"
#include "enclave/arch/host.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/timers.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/signal_delivery.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kNoChildStop = 1;  // SA_NOCLDSTOP

// SIGCHLD, unless the parent wants to hear of ends only; and whoever waits for the child looks again.
void tell_parent(Process& process) {
  if (process.parent == nullptr || process.unwanted) return;
  Process& parent = *process.parent;
  const SignalAction& action = parent.signals.actions[kSigChild - 1];
  if ((action.flags & kNoChildStop) == 0) send_signal(parent, change_info(process));
  parent.child_changed.wake_all();
}

// When the last thread is held, or sleeps in the kernel, which comes to the same.
void tell_of_stop(Process& process) {
  bool all = true;
  for_each_thread(process, [&](const Thread& thread) {
    return all = &thread == &current() || thread.parked || thread.away;
  });
  if (!all) return;
  process.stop_told = true;
  process.change = ChildChange::Stopped;
  tell_parent(process);
}

void release_threads(Process& process) {
  process.stopped = false;
  for_each_thread(process, [&](Thread& thread) {
    wake_thread(thread, false);
    return true;
  });
}

// Nobody of the group has a parent in another group of the session, who could continue it.
bool group_is_orphaned(int32_t group, int32_t session) {
  bool orphaned = true;
  for_each_process(*user_process(), [&](Process& member) {
    const Process* parent = member.parent;
    if (member.group_id == group && parent != nullptr && !member.unwanted && parent->group_id != group &&
        parent->session == session)
      orphaned = false;
  });
  return orphaned;
}

void forget_everywhere(Process& process, int signal) {
  process.signals.pending.forget(signal);
  for_each_thread(process, [&](Thread& thread) {
    thread.pending.forget(signal);
    return true;
  });
}

}  // namespace

bool stops_by_default(int signal) {
  return signal == kSigStop || signal == kSigTerminalStop || signal == kSigTtyIn || signal == kSigTtyOut;
}

void stop_process(Process& process, int signal) {
  if (process.stopped || process.exiting || process.is_agent) return;
  if (signal != kSigStop && group_is_orphaned(process.group_id, process.session)) return;
  process.stopped = true;
  process.stop_told = false;
  process.stop_signal = signal;
  for_each_thread(process, [&](Thread& thread) {
    wake_thread(thread, true);
    return true;
  });
}

void before_signal(Process& process, int signal) {
  if (signal == kSigKill && process.stopped) release_threads(process);
  if (stops_by_default(signal)) forget_everywhere(process, kSigContinue);
  if (signal != kSigContinue) return;
  for (const int stop : {kSigStop, kSigTerminalStop, kSigTtyIn, kSigTtyOut}) forget_everywhere(process, stop);
  if (!process.stopped) return;
  release_threads(process);
  process.change = ChildChange::Continued;
  tell_parent(process);
}

void hold_while_stopped() {
  constexpr uint64_t kLook = 200000;  // nanoseconds
  Thread& self = current();
  while (self.process->stopped && !self.exiting) {
    // Nobody else may be left to hear of the signal that ends this.
    take_host_events();
    run_timers();
    if (!self.process->stopped || self.exiting) return;
    if (!self.process->stop_told) tell_of_stop(*self.process);
    self.parked = true;
    wait_begins();
    host::park(self.process->stop_told ? kNoDeadline : kLook);
    wait_ends();
    self.parked = false;
  }
}

void continue_orphans(int32_t group, int32_t session) {
  bool stopped = false;
  const auto each = [&](auto visit) {
    for_each_process(*user_process(), [&](Process& member) {
      if (member.group_id == group && member.session == session) visit(member);
    });
  };
  each([&](const Process& member) { stopped = stopped || member.stopped; });
  if (!stopped || !group_is_orphaned(group, session)) return;
  for (const int signal : {kSigHup, kSigContinue}) {
    SignalInfo info;
    info.signal = signal;
    info.code = 0x80;  // SI_KERNEL
    each([&](Process& member) { send_signal(member, info); });
  }
}

}  // namespace cloister::enclave
