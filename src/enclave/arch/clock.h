// Time. It comes from the host and is therefore only a hint; the kernel guarantees that monotonic time never
// goes back, whatever the host says. Between host readings it is interpolated with the time-stamp counter.
#pragma once

#include <cstdint>

namespace cloister::enclave {

inline constexpr uint64_t kSecond = 1'000'000'000;

struct TimeSpec {  // struct timespec
  int64_t seconds;
  int64_t nanoseconds;
};

uint64_t monotonic_ns();
uint64_t realtime_ns();  // since 1970
inline TimeSpec to_timespec(uint64_t ns) {
  return {static_cast<int64_t>(ns / kSecond), static_cast<int64_t>(ns % kSecond)};
}
inline bool timespec_valid(const TimeSpec& t) {
  return t.seconds >= 0 && t.nanoseconds >= 0 && t.nanoseconds < 1'000'000'000;
}
// Saturates.
inline uint64_t from_timespec(const TimeSpec& t) {
  if (static_cast<uint64_t>(t.seconds) >= UINT64_MAX / kSecond - 1) return UINT64_MAX;
  return static_cast<uint64_t>(t.seconds) * kSecond + static_cast<uint64_t>(t.nanoseconds);
}
// Deadline for "after `ns`"; UINT64_MAX stays "never".
inline uint64_t deadline_after(uint64_t ns) {
  const uint64_t now = monotonic_ns();
  return ns >= UINT64_MAX - now ? UINT64_MAX : now + ns;
}
// The first of `beat`, `beat` + `interval`, … after `now`; saturates below "never". `beat` <= `now`.
inline uint64_t next_beat(uint64_t beat, uint64_t interval, uint64_t now) {
  const uint64_t last = beat + (now - beat) / interval * interval;
  return interval >= UINT64_MAX - last ? UINT64_MAX - 1 : last + interval;
}

}  // namespace cloister::enclave
