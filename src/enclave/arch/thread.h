// Threads: one per TCS. A Thread belongs to one Process (the hidden agent or the user's program); its system
// calls run on its own kernel stack. The assembly part of a thread's state is ThreadBlock (thread_block.h),
// at GS.
#pragma once

#include <array>
#include <cstdint>

#include "enclave/arch/frame.h"
#include "enclave/arch/signal.h"
#include "enclave/arch/wait.h"

namespace cloister::enclave {

struct Process;
struct ThreadBlock;

struct Thread {
  uint32_t index = 0;  // of its TCS
  int32_t tid = 0;
  Process* process = nullptr;
  ThreadBlock* block = nullptr;
  UserFrame* frame = nullptr;  // the program's registers; valid inside a system call or exception

  uint64_t fs_base = 0;
  uint64_t clear_child_tid = 0, set_child_tid = 0;
  uint64_t robust_list = 0;
  uint64_t signal_mask = 0;
  uint64_t saved_mask = 0;  // to be restored after the next handler (sigsuspend, ppoll, pselect)
  bool restore_saved_mask = false;
  PendingSignals pending;
  uint64_t alternate_stack = 0, alternate_stack_size = 0;
  uint32_t alternate_stack_flags = 2;  // SS_DISABLE
  std::array<char, 16> name{};
  int32_t policy = 0;     // SCHED_…, kept; the host schedules
  uint64_t affinity = 0;  // mask of processors, kept, too; 0: all
  uint64_t timer_slack_ns = 50000;
  bool no_new_privileges = false;
  uint64_t cpu_ns = 0;  // CPU time that it was told last
  // Of the last exception, for ucontext: vector, error code, CR2.
  uint64_t trap_number = 0, trap_error = 0, trap_address = 0;

  bool parked = false;   // sleeping in the host or about to: needs an Unpark
  bool away = false;     // in a host call that may block, and takes the kernel lock after it
  bool exiting = false;  // leaves instead of returning to the program
  bool wait_woken = false;
};

// The calling thread.
Thread& current();

// Every live thread of a process; `visit` returns false to stop. Kernel lock held.
template <class Visit>
void for_each_thread(const Process& process, Visit visit);
Thread* thread_slot(uint32_t index);  // nullptr when not in use
uint32_t thread_limit();              // number of TCSs
// How many processors programs see: those of the host, but no more than there can be threads. Kernel lock
// held.
uint32_t processor_count();
Thread* find_thread(int32_t tid);

template <class Visit>
void for_each_thread(const Process& process, Visit visit) {
  for (uint32_t i = 0; i < thread_limit(); ++i) {
    Thread* thread = thread_slot(i);
    if (thread != nullptr && thread->process == &process && !visit(*thread)) return;
  }
}

// A mask for the duration of one call (ppoll, epoll_pwait, pselect): the old mask comes back after the call,
// or, when a handler runs, after it.
void set_temporary_mask(uint64_t mask);
void end_temporary_mask(bool interrupted);

// Wakes `thread` from wait_any if it sleeps; if `interrupt`, also forces it out of the program into the
// kernel.
void wake_thread(Thread& thread, bool interrupt);

int32_t next_thread_id();
// Starts a thread of `process` at `frame` (copied). Errors: Again when every TCS is in use.
SysResult<Thread*> start_thread(Process& process, const UserFrame& frame, uint64_t fs_base);

// Makes every other thread of the calling process leave, and waits until they have (execve). Interrupted:
// this thread itself is to leave.
SysResult<void> end_other_threads();

// Ends the calling process with a wait status (exit code << 8, or signal): all its threads leave, files
// close. Does not return.
[[noreturn]] void end_process(uint32_t wait_status);

}  // namespace cloister::enclave
