// Nonces that this server gave out and that nobody has used yet. A nonce is good once and for a short time;
// the store is bounded, because whoever connects gets one before proving anything.
#pragma once

#include <chrono>
#include <map>
#include <mutex>

#include "attestation/binding.h"

namespace cloister::attestation {

// Thread-safe.
class NonceStore {
 public:
  using Clock = std::chrono::steady_clock;

  explicit NonceStore(std::chrono::milliseconds lifetime, size_t capacity = 65536)
      : lifetime_(lifetime), capacity_(capacity) {}

  // Random and never given out before. When the store is full the oldest nonce is forgotten.
  Nonce issue(Clock::time_point now = Clock::now());
  // Ok exactly once for each issued nonce, and only within its lifetime; otherwise Denied.
  Result<void> consume(const Nonce& nonce, Clock::time_point now = Clock::now());
  // Forgets a nonce whose connection has ended.
  void forget(const Nonce& nonce);

  size_t size() const;
  std::chrono::milliseconds lifetime() const { return lifetime_; }

 private:
  const std::chrono::milliseconds lifetime_;
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::map<Nonce, Clock::time_point> issued_;  // nonce -> when
  std::multimap<Clock::time_point, Nonce> by_time_;
};

}  // namespace cloister::attestation
