// Signals on their way to the program: see signal.h for what is pending, here for how it is delivered.
#pragma once

#include "enclave/arch/frame.h"
#include "enclave/arch/signal.h"
#include "enclave/arch/thread.h"

namespace cloister::enclave {

// A fault of the program itself: delivered even when blocked or ignored, then by the default action. The
// thread's frame shows where it happened.
void force_signal(Thread& thread, const SignalInfo& info);

// Before returning to the program: one handler's frame after the other is built on its stack, or the default
// action is taken (which may end the process and not return).
void deliver_signals(Thread& thread, UserFrame& frame);

// Job control (job_control.cpp). Signals that stop a process unless it has a handler for them.
bool stops_by_default(int signal);
// SIGSTOP always; the others only where somebody of the same session could continue the process.
void stop_process(Process& process, int signal);
// The calling thread waits, without the kernel lock, until its process goes on or ends.
void hold_while_stopped();
// What the sending of a signal itself does: SIGCONT continues, SIGKILL lets the threads of a stopped process
// go to their end, and stop signals and SIGCONT cancel each other.
void before_signal(Process& process, int signal);
// A process group that has lost the last one who could continue it: its stopped members get SIGHUP and
// SIGCONT.
void continue_orphans(int32_t group, int32_t session);

// One that ends the process, and leaves no core to be written: it comes through where others wait.
bool ending_signal_pending(const Thread& thread);

// Signals that the host forwards become pending for the user's program.
void take_host_events();

// Interrupted system calls: `frame.rax` holds -RestartSystemCall. No handler runs: start it again.
void restart_system_call(UserFrame& frame);

}  // namespace cloister::enclave
