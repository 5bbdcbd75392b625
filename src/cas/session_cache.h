// Parsed sessions by their hash. A version never changes, so an entry cannot be stale; the whole is
// bounded by the size of the texts.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "policy/session.h"

namespace cloister::cas {

// Thread-safe.
class SessionCache {
 public:
  using Parsed = std::shared_ptr<const policy::Session>;

  Parsed find(const crypto::Digest& hash) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(hash);
    return found == entries_.end() ? nullptr : found->second;
  }
  void add(const crypto::Digest& hash, Parsed session) {
    const std::lock_guard lock(mutex_);
    if (entries_.contains(hash)) return;
    // A parsed session takes several times its text.
    size_ += session->canonical.size();
    if (size_ > kMaxText) {
      entries_.clear();
      size_ = session->canonical.size();
    }
    entries_[hash] = std::move(session);
  }

 private:
  static constexpr size_t kMaxText = size_t{32} << 20;  // bytes
  mutable std::mutex mutex_;
  std::map<crypto::Digest, Parsed> entries_;
  size_t size_ = 0;
};

}  // namespace cloister::cas
