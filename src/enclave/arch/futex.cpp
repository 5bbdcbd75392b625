#include "enclave/arch/futex.h"

#include "enclave/arch/clock.h"
#include "enclave/arch/entry.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/memory/manager.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

constexpr uint32_t kBuckets = 128;
constexpr int kRobustLimit = 2048;
constexpr uint32_t kWaiters = 0x80000000, kOwnerDied = 0x40000000, kTidMask = 0x3fffffff;
enum Operation : uint32_t {
  kWait = 0,
  kWake = 1,
  kRequeue = 3,
  kCompareRequeue = 4,
  kWakeOperation = 5,
  kWaitBitset = 9,
  kWakeBitset = 10
};
constexpr uint32_t kPrivateFlag = 128, kRealtimeFlag = 256;

WaitQueue g_buckets[kBuckets];

// A word's place: memories that take turns have different words at one address, unless they share it.
uint64_t key_of(uint64_t address) {
  static_assert(sgx::kUserEnd <= uint64_t{1} << 36);
  return address | uint64_t{memory_word_owner(address)} << 36;
}

WaitQueue& bucket(uint64_t key) { return g_buckets[(key >> 2) * 0x9e3779b97f4a7c15 >> 57]; }

bool word_ok(uint64_t address) { return address % 4 == 0 && user_range_ok(address, 4); }

// Atomically replaces the word by change(old); returns the old value.
template <class Change>
SysResult<uint32_t> update_word(uint64_t address, Change change) {
  uint32_t old = TRY(load_user<uint32_t>(address));
  for (;;) {
    const uint32_t expected = old;
    if (compare_exchange_catching(reinterpret_cast<uint32_t*>(address), expected, change(expected), &old) ==
        0) {
      return Errno::Fault;
    }
    if (old == expected) return old;
  }
}

// Deadline on the monotonic clock; kNoDeadline without a timeout.
SysResult<uint64_t> deadline_of(uint64_t timeout, bool absolute, bool realtime) {
  if (timeout == 0) return kNoDeadline;
  const TimeSpec time = TRY(load_user<TimeSpec>(timeout));
  if (!timespec_valid(time)) return Errno::Invalid;
  const uint64_t ns = from_timespec(time);
  if (!absolute) return deadline_after(ns);
  if (!realtime) return ns;
  const uint64_t now = realtime_ns();
  return ns <= now ? uint64_t{0} : deadline_after(ns - now);
}

SysResult<int64_t> futex_wait(uint64_t address, uint32_t expected, uint64_t deadline, uint32_t bitset) {
  if (bitset == 0) return Errno::Invalid;
  if (TRY(load_user<uint32_t>(address)) != expected) return Errno::Again;
  WaitNode node;
  node.key = key_of(address);
  node.mask = bitset;
  bucket(node.key).enter(node);
  WaitNode* const nodes[] = {&node};
  const WaitEnd end = wait_any(nodes, 1, deadline);
  WaitQueue::leave(node);
  if (end == WaitEnd::Woken) return 0;
  if (end == WaitEnd::TimedOut) return Errno::TimedOut;
  // A relative timeout would start anew on restart, so only endless waits restart (as Linux, in effect).
  return deadline == kNoDeadline ? kInterruptedRestartable : Errno::Interrupted;
}

int move_waiters(uint64_t from_address, uint64_t to_address, int wake_count, int move_count) {
  const uint64_t from = key_of(from_address), to = key_of(to_address);
  int touched = 0;
  for (WaitNode* node = bucket(from).first(); node != nullptr;) {
    WaitNode* next = node->next;
    if (node->key == from) {
      if (wake_count > 0) {
        --wake_count;
        WaitQueue::wake_node(*node);
      } else if (move_count > 0) {
        --move_count;
        Thread* owner = node->thread;
        WaitQueue::leave(*node);
        bucket(to).enter(*node);
        node->thread = owner;
        node->key = to;
      } else {
        break;
      }
      ++touched;
    }
    node = next;
  }
  return touched;
}

bool compare_holds(uint32_t operation, uint32_t old, uint32_t argument) {
  const auto a = static_cast<int32_t>(old);
  const auto b = static_cast<int32_t>(argument);
  switch (operation) {
    case 0:
      return a == b;
    case 1:
      return a != b;
    case 2:
      return a < b;
    case 3:
      return a <= b;
    case 4:
      return a > b;
    default:
      return a >= b;
  }
}

SysResult<int64_t> wake_operation(uint64_t first, int first_count, uint64_t second, int second_count,
                                  uint32_t code) {
  const uint32_t operation = code >> 28 & 7;
  const uint32_t compare = code >> 24 & 15;
  uint32_t argument = static_cast<uint32_t>(static_cast<int32_t>(code << 8) >> 20);
  const uint32_t compare_argument = static_cast<uint32_t>(static_cast<int32_t>(code << 20) >> 20);
  if ((code >> 28 & 8) != 0) argument = uint32_t{1} << (argument & 31);
  if (operation > 4 || compare > 5) return Errno::NoSys;
  const uint32_t old = TRY(update_word(second, [&](uint32_t value) -> uint32_t {
    switch (operation) {
      case 0:
        return argument;
      case 1:
        return value + argument;
      case 2:
        return value | argument;
      case 3:
        return value & ~argument;
      default:
        return value ^ argument;
    }
  }));
  int woken = futex_wake(first, first_count);
  if (compare_holds(compare, old, compare_argument)) woken += futex_wake(second, second_count);
  return woken;
}

void release_robust(uint64_t address, int32_t tid) {
  if (!word_ok(address)) return;
  const auto value = load_user<uint32_t>(address);
  if (!value.ok() || (value.value() & kTidMask) != static_cast<uint32_t>(tid)) return;
  const auto old = update_word(address, [&](uint32_t word) {
    return (word & kTidMask) == static_cast<uint32_t>(tid) ? (word & kWaiters) | kOwnerDied : word;
  });
  if (old.ok() && (old.value() & kWaiters) != 0) futex_wake(address, 1);
}

}  // namespace

int futex_wake(uint64_t address, int count, uint32_t bitset) {
  int woken = 0;
  const uint64_t key = key_of(address);
  for (WaitNode* node = bucket(key).first(); node != nullptr && woken < count;) {
    WaitNode* next = node->next;
    if (node->key == key && (node->mask & bitset) != 0) {
      WaitQueue::wake_node(*node);
      ++woken;
    }
    node = next;
  }
  return woken;
}

void robust_list_release(Thread& thread) {
  struct Head {
    uint64_t next;
    int64_t offset;
    uint64_t pending;
  };
  if (thread.robust_list == 0) return;
  const auto head = load_user<Head>(thread.robust_list);
  if (!head.ok()) return;
  uint64_t entry = head.value().next;
  for (int i = 0; i < kRobustLimit && (entry & ~uint64_t{1}) != thread.robust_list; ++i) {
    const uint64_t node = entry & ~uint64_t{1};
    const auto next = load_user<uint64_t>(node);
    if (!next.ok()) return;
    if (node != (head.value().pending & ~uint64_t{1})) {
      release_robust(node + static_cast<uint64_t>(head.value().offset), thread.tid);
    }
    entry = next.value();
  }
  if (head.value().pending != 0) {
    release_robust((head.value().pending & ~uint64_t{1}) + static_cast<uint64_t>(head.value().offset),
                   thread.tid);
  }
}

SysResult<int64_t> sys_futex(SyscallArgs& args) {
  const uint64_t address = args.a[0];
  const uint32_t operation = args.u32(1) & ~(kPrivateFlag | kRealtimeFlag);
  const bool realtime = (args.u32(1) & kRealtimeFlag) != 0;
  const uint32_t value = args.u32(2);
  if (!word_ok(address)) return address % 4 != 0 ? Errno::Invalid : Errno::Fault;
  switch (operation) {
    case kWait:
      return futex_wait(address, value, TRY(deadline_of(args.a[3], false, realtime)), ~uint32_t{0});
    case kWaitBitset:
      return futex_wait(address, value, TRY(deadline_of(args.a[3], true, realtime)), args.u32(5));
    case kWake:
      return futex_wake(address, std::max(args.i32(2), 1));
    case kWakeBitset:
      if (args.u32(5) == 0) return Errno::Invalid;
      return futex_wake(address, std::max(args.i32(2), 1), args.u32(5));
    case kRequeue:
    case kCompareRequeue: {
      if (!word_ok(args.a[4])) return Errno::Fault;
      if (args.i32(2) < 0 || args.i32(3) < 0) return Errno::Invalid;
      if (operation == kCompareRequeue && TRY(load_user<uint32_t>(address)) != args.u32(5))
        return Errno::Again;
      return move_waiters(address, args.a[4], args.i32(2), args.i32(3));
    }
    case kWakeOperation:
      if (!word_ok(args.a[4])) return Errno::Fault;
      return wake_operation(address, std::max(args.i32(2), 1), args.a[4], std::max(args.i32(3), 1),
                            args.u32(5));
    default:
      return Errno::NoSys;
  }
}

SysResult<int64_t> sys_set_robust_list(SyscallArgs& args) {
  if (args.a[1] != 24) return Errno::Invalid;
  args.thread.robust_list = args.a[0];
  return 0;
}

SysResult<int64_t> sys_get_robust_list(SyscallArgs& args) {
  Thread* thread = args.i32(0) == 0 ? &args.thread : find_thread(args.i32(0));
  if (thread == nullptr || thread->process != args.thread.process) return Errno::NoProcess;
  TRY(store_user(args.a[1], thread->robust_list));
  TRY(store_user(args.a[2], uint64_t{24}));
  return 0;
}

}  // namespace cloister::enclave
