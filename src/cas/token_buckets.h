// How much of something each subject may cause: a token bucket per name. What does not fit is only counted,
// and the next that fits is told how many there were. Used for what strangers can cause: refusals that are
// written down for a session's owner, and requests from one address.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace cloister::cas {

// Thread-safe.
class TokenBuckets {
 public:
  TokenBuckets(double burst, double per_second) : burst_(burst), per_second_(per_second) {}

  // Empty: too much. Otherwise how many were too much since the last that was not.
  std::optional<uint64_t> take(const std::string& subject) {
    const Clock::time_point now = Clock::now();
    const std::lock_guard lock(mutex_);
    // Forgetting all is cheap for us, and gains an attacker with thousands of names one burst each.
    if (buckets_.size() >= kMaxSubjects && !buckets_.contains(subject)) buckets_.clear();
    Bucket& bucket = buckets_.try_emplace(subject, Bucket{burst_, now, 0}).first->second;
    const std::chrono::duration<double> passed = now - bucket.at;
    bucket.tokens = std::min(burst_, bucket.tokens + passed.count() * per_second_);
    bucket.at = now;
    if (bucket.tokens < 1) {
      ++bucket.left_out;
      return std::nullopt;
    }
    bucket.tokens -= 1;
    return std::exchange(bucket.left_out, 0);
  }

 private:
  using Clock = std::chrono::steady_clock;  // nobody can set it back
  static constexpr size_t kMaxSubjects = 4096;
  struct Bucket {
    double tokens = 0;
    Clock::time_point at;
    uint64_t left_out = 0;
  };
  const double burst_, per_second_;
  std::mutex mutex_;
  std::map<std::string, Bucket> buckets_;
};

}  // namespace cloister::cas
