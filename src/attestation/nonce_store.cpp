#include "attestation/nonce_store.h"

#include "crypto/random.h"

namespace cloister::attestation {

Nonce NonceStore::issue(Clock::time_point now) {
  const Nonce nonce = crypto::random_array<32>();
  const std::lock_guard lock(mutex_);
  while (!by_time_.empty() && (by_time_.size() >= capacity_ || by_time_.begin()->first + lifetime_ < now)) {
    issued_.erase(by_time_.begin()->second);
    by_time_.erase(by_time_.begin());
  }
  issued_.emplace(nonce, now);
  by_time_.emplace(now, nonce);
  return nonce;
}

Result<void> NonceStore::consume(const Nonce& nonce, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = issued_.find(nonce);
  if (found == issued_.end()) return Error(Code::Denied, "the nonce is unknown or was used before");
  const Clock::time_point when = found->second;
  const auto [begin, end] = by_time_.equal_range(when);
  for (auto entry = begin; entry != end; ++entry) {
    if (entry->second == nonce) {
      by_time_.erase(entry);
      break;
    }
  }
  issued_.erase(found);
  if (now < when || now - when > lifetime_) return Error(Code::Denied, "the nonce has expired");
  return {};
}

void NonceStore::forget(const Nonce& nonce) {
  // Whether it was still good does not matter: either way it is gone afterwards.
  const Result<void> ignored = consume(nonce);
  static_cast<void>(ignored);
}

size_t NonceStore::size() const {
  const std::lock_guard lock(mutex_);
  return issued_.size();
}

}  // namespace cloister::attestation
