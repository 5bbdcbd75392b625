#include "enclave/arch/timers.h"

#include <algorithm>
#include <vector>

#include "enclave/arch/clock.h"
#include "enclave/arch/host.h"
#include "enclave/arch/thread.h"

namespace cloister::enclave {
namespace {

std::vector<Timer*> g_running;
uint64_t g_rings = kNoDeadline;  // when the host was asked to ring

void ask_host() {
  uint64_t next = kNoDeadline;
  for (const Timer* timer : g_running) next = std::min(next, timer->deadline());
  const uint64_t now = monotonic_ns();
  if (next == kNoDeadline || (next >= g_rings && g_rings > now)) return;
  g_rings = next;
  host::alarm(current().index, next > now ? next - now : 1);
}

}  // namespace

void Timer::start(uint64_t deadline_ns, uint64_t interval_ns) {
  stop();
  deadline_ = deadline_ns;
  interval_ = interval_ns;
  running_ = true;
  g_running.push_back(this);
  ask_host();
}

void Timer::stop() {
  if (!running_) return;
  running_ = false;
  std::erase(g_running, this);
}

void alarm_rang() { g_rings = kNoDeadline; }

void run_timers() {
  if (g_running.empty()) return;
  const uint64_t now = monotonic_ns();
  std::vector<Timer*> due;
  for (Timer* timer : g_running) {
    if (timer->deadline_ <= now) due.push_back(timer);
  }
  for (Timer* timer : due) {
    if (std::find(g_running.begin(), g_running.end(), timer) == g_running.end()) continue;
    uint64_t times = 1;
    if (timer->interval_ == 0) {
      timer->stop();
    } else {
      times += (now - timer->deadline_) / timer->interval_;
      timer->deadline_ = next_beat(timer->deadline_, timer->interval_, now);
    }
    timer->expired(times);
  }
  ask_host();
}

}  // namespace cloister::enclave
