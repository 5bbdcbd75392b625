// The kernel lock and waiting. One lock covers all kernel state; it is held from the entry of a system call
// to its end, except inside WaitQueue::wait and BlockingSection, and in what uses them: pending_interrupt()
// holds the threads of a stopped process, membarrier waits for others. So between two waits, a system call is
// atomic.
#pragma once

#include <cstdint>

#include "enclave/sys_result.h"

namespace cloister::enclave {

struct Thread;

// Taken and released by entry code; other code only asserts.
void kernel_lock();
void kernel_unlock();
// The same around a host call that may block: others may use the lock, and the program's addresses (turns.h).
void wait_begins();
void wait_ends();
bool kernel_lock_held();  // by the calling thread
// Unparks the thread of this index as soon as the lock, which the caller holds, is released; at once when
// there are many already.
void unpark_after_unlock(uint32_t index);

// Releases the kernel lock around a host call that may block. Anything read before it may have changed after
// it.
class BlockingSection {
 public:
  BlockingSection() { wait_begins(); }
  ~BlockingSection() { wait_ends(); }
  BlockingSection(const BlockingSection&) = delete;
  BlockingSection& operator=(const BlockingSection&) = delete;
};

inline constexpr uint64_t kNoDeadline = UINT64_MAX;

enum class WaitEnd : uint8_t {
  Woken,        // by wake() or wake_all()
  TimedOut,     // the deadline has passed
  Interrupted,  // a signal that must be handled is pending, or the process ends
};

class WaitQueue;

// One thread's place in a queue; lives on the waiting thread's stack. A thread may be in many queues at once.
struct WaitNode {
  Thread* thread = nullptr;
  WaitQueue* queue = nullptr;
  WaitNode* next = nullptr;
  WaitNode* previous = nullptr;
  bool woken = false;
  uint64_t key = 0;  // for the owner's use (futex address, bitset)
  uint64_t mask = ~uint64_t{0};
};

// FIFO of waiting threads. Constant-initialised; must be empty when destroyed. All calls with the kernel lock
// held.
class WaitQueue {
 public:
  constexpr WaitQueue() = default;
  ~WaitQueue() { wake_all(); }
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  // Sleeps, without the lock, until woken, until `deadline_ns` (monotonic_ns() clock) or, if `interruptible`,
  // until pending_interrupt(). The caller checks its condition again after Woken: another thread may have
  // been faster.
  WaitEnd wait(uint64_t deadline_ns = kNoDeadline, bool interruptible = true);

  // Wakes up to `count` threads; returns how many.
  int wake(int count);
  int wake_all() { return wake(INT32_MAX); }
  bool empty() const { return first_ == nullptr; }

  // For poll and epoll: enter several queues, then wait_any, then leave all. A node is woken at most once.
  void enter(WaitNode& node);         // sets thread and queue
  static void leave(WaitNode& node);  // no effect if it was woken
  WaitNode* first() { return first_; }
  static void wake_node(WaitNode& node);  // takes it out of its queue and wakes its thread

 private:
  friend struct Futex;
  WaitNode* first_ = nullptr;
  WaitNode* last_ = nullptr;
};

// Sleeps until one of the nodes is woken (see WaitQueue::wait). The nodes must have been entered by this
// thread.
WaitEnd wait_any(WaitNode* const* nodes, uint32_t count, uint64_t deadline_ns, bool interruptible = true);

// True when the calling thread has to go back to the program to run a signal handler or to end. Passes on
// what the host has noted in its block. Kernel lock held.
bool pending_interrupt();

// What an interrupted call returns: RestartSystemCall, which becomes Interrupted unless the handler has
// SA_RESTART. Calls that never restart (poll, nanosleep, epoll_wait…) return Errno::Interrupted themselves.
inline constexpr Errno kInterruptedRestartable = Errno::RestartSystemCall;

}  // namespace cloister::enclave
