// Host readings are taken at most once per kRefresh and after long parks; in between the time-stamp counter
// carries on, at a rate learned from the first and the latest reading. See clock.h for what is promised.
#include "enclave/arch/clock.h"

#include "enclave/arch/host.h"
#include "enclave/arch/spin.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kRefresh = 1 * kSecond;
constexpr uint64_t kLearnAfter = 20'000'000;  // ns between readings that give a useful rate
constexpr int kShift = 32;                    // rate is ns per tick, 32.32 fixed point
// Counters between 50 MHz and 20 GHz. At another rate the clock would stand still or run away until the next
// reading, so there is none: the host is asked every time.
constexpr uint64_t kFastest = (uint64_t{1} << kShift) / 20, kSlowest = (uint64_t{1} << kShift) * 20;

struct Clock {
  SpinLock lock{LockRank::Clock};
  bool started = false;
  host::HostTime first{}, latest{};
  uint64_t rate = 0;            // 0: not learned yet
  uint64_t last_monotonic = 0;  // what was handed out: never goes below
};
Clock g_clock;

uint64_t read_tsc() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (static_cast<uint64_t>(high) << 32) | low;
}

uint64_t elapsed(uint64_t ticks, uint64_t rate) {
  const unsigned __int128 ns = (static_cast<unsigned __int128>(ticks) * rate) >> kShift;
  return ns > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(ns);
}

// Call with the lock held; the host call inside may take long, others spin: rare.
void refresh() {
  g_clock.latest = host::clock();
  if (!g_clock.started) {
    g_clock.first = g_clock.latest;
    g_clock.started = true;
  }
  const uint64_t ns = g_clock.latest.monotonic_ns - g_clock.first.monotonic_ns;
  const uint64_t ticks = g_clock.latest.tsc - g_clock.first.tsc;
  const bool sane =
      g_clock.latest.monotonic_ns > g_clock.first.monotonic_ns && g_clock.latest.tsc > g_clock.first.tsc;
  g_clock.rate = 0;
  if (!sane || ns < kLearnAfter) return;
  const unsigned __int128 rate = (static_cast<unsigned __int128>(ns) << kShift) / ticks;
  if (rate >= kFastest && rate <= kSlowest) g_clock.rate = static_cast<uint64_t>(rate);
}

// Nanoseconds since the latest host reading.
uint64_t since_reading() {
  if (!g_clock.started || g_clock.rate == 0) {
    refresh();
    return 0;
  }
  const uint64_t now = read_tsc();
  if (now >= g_clock.latest.tsc) {
    const uint64_t ns = elapsed(now - g_clock.latest.tsc, g_clock.rate);
    if (ns <= kRefresh) return ns;
  }
  refresh();  // also when the host's counter is ahead of ours
  return 0;
}

}  // namespace

uint64_t monotonic_ns() {
  SpinGuard guard(g_clock.lock);
  const uint64_t ns = since_reading();
  const uint64_t now = g_clock.latest.monotonic_ns + ns;
  if (now > g_clock.last_monotonic) g_clock.last_monotonic = now;
  return g_clock.last_monotonic;
}

uint64_t realtime_ns() {
  SpinGuard guard(g_clock.lock);
  const uint64_t ns = since_reading();
  return g_clock.latest.realtime_ns + ns;
}

}  // namespace cloister::enclave
