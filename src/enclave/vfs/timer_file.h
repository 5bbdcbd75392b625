// timerfd: a timer that is read. It needs no alarm: whoever reads, polls or waits compares with the clock.
// Kernel lock held.
#pragma once

#include "enclave/vfs/file.h"

namespace cloister::enclave {

struct TimerSetting {  // struct itimerspec
  TimeSpec interval, value;
};

class TimerFile final : public WaitFile {
 public:
  TimerFile(bool realtime, uint32_t flags) : WaitFile(flags | kOpenReadWrite), realtime_(realtime) {}
  // Returns the old setting.
  TimerSetting set(const TimerSetting& setting, bool absolute);
  TimerSetting get();

  SysResult<size_t> read(MutableByteView out) override;
  uint16_t ready() override { return expirations() > 0 ? kPollIn : uint16_t{0}; }
  void poll_queues(std::vector<WaitQueue*>& queues) override { queues.push_back(&changed_); }
  uint64_t next_change() override;
  void time_passed() override;
  TimerFile* timer() override { return this; }

 private:
  uint64_t expirations() const;  // since the last read

  bool realtime_;
  uint64_t next_ = kNoDeadline;  // monotonic; of the first expiration that has not been read
  uint64_t interval_ = 0;
  bool told_ = false;  // watchers, of an expiration that has not been read: more of them are one arrival
  WaitQueue changed_;
};

}  // namespace cloister::enclave
