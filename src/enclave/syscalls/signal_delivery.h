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

// Signals that the host forwards become pending for the user's program.
void take_host_events();

// Interrupted system calls: `frame.rax` holds -RestartSystemCall. No handler runs: start it again.
void restart_system_call(UserFrame& frame);

}  // namespace cloister::enclave
