#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/text.h"

namespace cloister::cli {
namespace {

constexpr size_t kBarWidth = 24;

size_t terminal_width() {
  winsize size = {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string progress_line(const std::string& label, uint64_t done, uint64_t total, double seconds,
                          size_t width) {
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  std::string out = label;
  if (total > 0) {
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const auto filled = static_cast<size_t>(share * kBarWidth);
    char percent[16];
    std::snprintf(percent, sizeof(percent), "  %3d%%  [", static_cast<int>(share * 100));
    out += percent + std::string(filled, '#') + std::string(kBarWidth - filled, '.') + "]";
  }
  out += "  " + format_size(done);
  if (total > 0) out += " of " + format_size(total);
  out += "  " + format_size(static_cast<uint64_t>(rate)) + "/s";
  if (total > done && rate > 0) {
    const double left = std::min(static_cast<double>(total - done) / rate, 359999.0);
    const auto whole = static_cast<unsigned>(std::lround(left));
    char text[32];
    std::snprintf(text, sizeof(text), "  %u:%02u left", whole / 60, whole % 60);
    out += text;
  }
  return out.substr(0, width);
}

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)), on_terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void ProgressBar::update(uint64_t done, uint64_t total) {
  if (!on_terminal_) return;
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const std::string line = progress_line(label_, done, total, seconds, terminal_width() - 1);
  std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
  std::fflush(stderr);
}

std::function<void(uint64_t, uint64_t)> ProgressBar::callback() {
  return [this](uint64_t done, uint64_t total) { update(done, total); };
}

}  // namespace cloister::cli
