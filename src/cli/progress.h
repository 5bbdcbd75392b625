// A progress bar for work that takes more than a second: on a terminal's standard error only, never in a pipe
// or a log, and gone without a trace when the work is done.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace cloister::cli {

// Not thread-safe. Erases its line when destroyed.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Units are bytes; total 0: not known. Cheap enough for every call of a loop.
  void update(uint64_t done, uint64_t total);
  // For functions that report; the bar must outlive it.
  std::function<void(uint64_t, uint64_t)> callback();

 private:
  using Clock = std::chrono::steady_clock;
  const std::string label_;
  const bool on_terminal_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point next_ = start_ + std::chrono::seconds(1);
  bool drawn_ = false;
};

// One line of at most `width` columns: "label  42%  [####······]  12.3 MiB of 29.1 MiB  4.1 MiB/s  0:04
// left".
std::string progress_line(const std::string& label, uint64_t done, uint64_t total, double seconds,
                          size_t width);

}  // namespace cloister::cli
