// The kernel lock and the wait queues: see wait.h. The lock lets a newcomer in front of a thread that is just
// waking (no hand-over): with a lock that every system call takes, handing it to a sleeper would make all
// others wait for the host's scheduler.
#include <algorithm>
#include <utility>

#include "base/result.h"
#include "enclave/arch/clock.h"
#include "enclave/arch/host.h"
#include "enclave/arch/spin.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/thread_block.h"
#include "enclave/arch/wait.h"
#include "enclave/memory/turns.h"

namespace cloister::enclave {
namespace {

constexpr int kSpins = 400;
constexpr uint32_t kMostUnparks = 16;

struct Sleeper {
  uint32_t index;
  bool retry = false;
  Sleeper* next = nullptr;
};

struct KernelLock {
  uint32_t held = 0;
  Thread* owner = nullptr;
  SpinLock guard{LockRank::Sleepers};  // of the list
  Sleeper* first = nullptr;
  // Whom the holder has woken: told after the release, because a thread that starts to run asks for the lock
  // first. By index, because they may have woken by themselves and be gone by then.
  uint16_t unparks[kMostUnparks] = {};
  uint32_t unpark_count = 0;
};
KernelLock g_lock;

bool try_take() {
  if (__atomic_load_n(&g_lock.held, __ATOMIC_RELAXED) != 0) return false;
  return __atomic_exchange_n(&g_lock.held, 1, __ATOMIC_ACQUIRE) == 0;
}

bool spin_for_lock() {
  for (int i = 0; i < kSpins; ++i) {
    if (try_take()) return true;
    __builtin_ia32_pause();
  }
  return false;
}

void sleep_until_retry(Sleeper& me) {
  while (!__atomic_load_n(&me.retry, __ATOMIC_ACQUIRE)) host::park(kNoDeadline);
}

}  // namespace

void kernel_lock() {
  if constexpr (kLockChecks) lock_taken(LockRank::Kernel);
  while (!spin_for_lock()) {
    Sleeper me{current().index};
    g_lock.guard.lock();
    if (try_take()) {
      g_lock.guard.unlock();
      break;
    }
    me.next = g_lock.first;
    g_lock.first = &me;
    g_lock.guard.unlock();
    sleep_until_retry(me);
  }
  g_lock.owner = this_block()->thread;
}

void kernel_unlock() {
  CLOISTER_CHECK(kernel_lock_held());
  if constexpr (kLockChecks) lock_released(LockRank::Kernel);
  g_lock.owner = nullptr;
  uint16_t unparks[kMostUnparks];
  const uint32_t count = std::exchange(g_lock.unpark_count, 0);
  std::copy_n(g_lock.unparks, count, unparks);
  g_lock.guard.lock();
  __atomic_store_n(&g_lock.held, 0, __ATOMIC_RELEASE);
  Sleeper* sleeper = g_lock.first;
  uint32_t index = 0;
  if (sleeper != nullptr) {
    g_lock.first = sleeper->next;
    index = sleeper->index;  // `sleeper` is gone as soon as retry is set
    __atomic_store_n(&sleeper->retry, true, __ATOMIC_RELEASE);
  }
  g_lock.guard.unlock();
  if (sleeper != nullptr) host::unpark(index, false);
  for (uint32_t i = 0; i < count; ++i) host::unpark(unparks[i], false);
}

void unpark_after_unlock(uint32_t index) {
  CLOISTER_CHECK(kernel_lock_held());
  if (g_lock.unpark_count == kMostUnparks) return host::unpark(index, false);
  g_lock.unparks[g_lock.unpark_count++] = static_cast<uint16_t>(index);
}

void wait_begins() {
  current().away = true;
  turn_give();
  kernel_unlock();
}

void wait_ends() {
  kernel_lock();
  turn_take();
  current().away = false;
}

bool kernel_lock_held() { return __atomic_load_n(&g_lock.owner, __ATOMIC_RELAXED) == this_block()->thread; }

void WaitQueue::enter(WaitNode& node) {
  node.thread = &current();
  node.queue = this;
  node.woken = false;
  node.next = nullptr;
  node.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &node;
  last_ = &node;
}

void WaitQueue::leave(WaitNode& node) {
  WaitQueue* queue = node.queue;
  if (queue == nullptr) return;
  (node.previous != nullptr ? node.previous->next : queue->first_) = node.next;
  (node.next != nullptr ? node.next->previous : queue->last_) = node.previous;
  node.queue = nullptr;
}

void WaitQueue::wake_node(WaitNode& node) {
  leave(node);
  node.woken = true;
  wake_thread(*node.thread, false);
}

int WaitQueue::wake(int count) {
  int woken = 0;
  while (first_ != nullptr && woken < count) {
    wake_node(*first_);
    ++woken;
  }
  return woken;
}

WaitEnd WaitQueue::wait(uint64_t deadline_ns, bool interruptible) {
  WaitNode node;
  enter(node);
  WaitNode* const nodes[] = {&node};
  const WaitEnd end = wait_any(nodes, 1, deadline_ns, interruptible);
  leave(node);
  return end;
}

WaitEnd wait_any(WaitNode* const* nodes, uint32_t count, uint64_t deadline_ns, bool interruptible) {
  Thread& self = current();
  for (;;) {
    // First, because a signal that the host left with this thread may be what one of the nodes waits for.
    const bool interrupted = interruptible && pending_interrupt();
    for (uint32_t i = 0; i < count; ++i) {
      if (nodes[i]->woken) return WaitEnd::Woken;
    }
    if (interrupted) return WaitEnd::Interrupted;
    uint64_t left = kNoDeadline;
    if (deadline_ns != kNoDeadline) {
      const uint64_t now = monotonic_ns();
      if (now >= deadline_ns) return WaitEnd::TimedOut;
      left = deadline_ns - now;
    }
    self.parked = true;
    wait_begins();
    host::park(left);
    wait_ends();
    self.parked = false;
  }
}

}  // namespace cloister::enclave
