// A spin lock for a few instructions: the heap, the wake-up flags. The holder may be interrupted by an
// asynchronous exit, but nothing that runs then takes a lock. No host call is made with one held, except by
// the heap when it grows.
#pragma once

#include <cstdint>

#include "enclave/arch/lock_order.h"

namespace cloister::enclave {

template <bool kChecked>
class BasicSpinLock {
 public:
  constexpr explicit BasicSpinLock(LockRank rank) : rank_(rank) {}
  void lock() {
    if constexpr (kChecked) lock_taken(rank_);
    while (__atomic_exchange_n(&held_, 1, __ATOMIC_ACQUIRE) != 0) {
      while (__atomic_load_n(&held_, __ATOMIC_RELAXED) != 0) __builtin_ia32_pause();
    }
  }
  bool try_lock() {
    if (__atomic_exchange_n(&held_, 1, __ATOMIC_ACQUIRE) != 0) return false;
    if constexpr (kChecked) lock_taken(rank_, true);
    return true;
  }
  void unlock() {
    if constexpr (kChecked) lock_released(rank_);
    __atomic_store_n(&held_, 0, __ATOMIC_RELEASE);
  }

 private:
  uint32_t held_ = 0;
  LockRank rank_;
};
using SpinLock = BasicSpinLock<kLockChecks>;

class SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) : lock_(lock) { lock_.lock(); }
  ~SpinGuard() { lock_.unlock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace cloister::enclave
