#include "enclave/vfs/timer_file.h"

#include <algorithm>
#include <cstring>

namespace cloister::enclave {

uint64_t TimerFile::expirations() const {
  if (next_ == kNoDeadline) return 0;
  const uint64_t now = monotonic_ns();
  if (now < next_) return 0;
  return interval_ == 0 ? 1 : 1 + (now - next_) / interval_;
}

uint64_t TimerFile::next_change() {
  // One that has expired, and whose watchers know it, changes only by being read. The others are to be told
  // even if the time has passed already.
  return told_ && expirations() > 0 ? kNoDeadline : next_;
}

void TimerFile::time_passed() {
  if (told_ || expirations() == 0) return;
  told_ = true;
  edge(kPollIn);
}

TimerSetting TimerFile::get() {
  const uint64_t now = monotonic_ns();
  uint64_t left = 0;
  if (next_ != kNoDeadline) {
    const uint64_t next = interval_ != 0 && now >= next_ ? next_beat(next_, interval_, now) : next_;
    left = next > now ? next - now : 0;
  }
  return {to_timespec(interval_), to_timespec(left)};
}

TimerSetting TimerFile::set(const TimerSetting& setting, bool absolute) {
  const TimerSetting old = get();
  const uint64_t value = from_timespec(setting.value);
  interval_ = from_timespec(setting.interval);
  if (value == 0) {
    next_ = kNoDeadline;
  } else if (!absolute) {
    next_ = deadline_after(value);
  } else if (realtime_) {
    const uint64_t now = realtime_ns();
    next_ = value > now ? deadline_after(value - now) : monotonic_ns();
  } else {
    next_ = value;
  }
  changed_.wake_all();
  told_ = false;
  retimed();
  return old;
}

SysResult<size_t> TimerFile::read(MutableByteView out) {
  uint64_t count = 0;
  if (out.size() < sizeof(count)) return Errno::Invalid;
  while ((count = expirations()) == 0) {
    if (non_blocking()) return Errno::Again;
    if (changed_.wait(next_) == WaitEnd::Interrupted) return kInterruptedRestartable;
  }
  next_ = interval_ == 0 ? kNoDeadline : next_beat(next_, interval_, next_ + (count - 1) * interval_);
  told_ = false;
  retimed();
  std::memcpy(out.data(), &count, sizeof(count));
  return sizeof(count);
}

}  // namespace cloister::enclave
