// Timers that must act while nobody waits for them (alarm, setitimer, timer_create). The host rings: it can
// ring late, never early, because the clock is looked at here. Kernel lock held.
#pragma once

#include <cstdint>

namespace cloister::enclave {

class Timer {
 public:
  virtual ~Timer() { stop(); }
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void start(uint64_t deadline_ns, uint64_t interval_ns);  // monotonic clock
  void stop();
  bool running() const { return running_; }
  uint64_t deadline() const { return deadline_; }
  uint64_t interval() const { return interval_; }

 protected:
  virtual void expired(uint64_t times) = 0;  // at least 1; may start and stop this timer

 private:
  friend void run_timers();
  bool running_ = false;
  uint64_t deadline_ = 0, interval_ = 0;
};

void run_timers();  // those that are due
void alarm_rang();  // the host says so: it has to be asked again

}  // namespace cloister::enclave
