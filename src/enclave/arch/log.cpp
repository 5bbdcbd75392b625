#include "enclave/arch/log.h"

#include "base/result.h"
#include "enclave/arch/host.h"
#include "enclave/arch/log_level.h"

namespace cloister::enclave {
namespace {

LogLevel g_level = LogLevel::Warning;

class Line {
 public:
  void put(char c) {
    if (used_ < sizeof(text_)) text_[used_++] = c;
  }
  void put(std::string_view text) {
    for (const char c : text) put(c);
  }
  void number(uint64_t value, unsigned base) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    while (count > 0) put(digits[--count]);
  }
  std::string_view view() const { return {text_, used_}; }

 private:
  char text_[480];
  size_t used_ = 0;
};

void put_argument(Line& line, const LogArgument& argument, bool hex) {
  if (argument.kind == LogArgument::Text) return line.put(argument.text);
  uint64_t value = argument.number;
  if (!hex && argument.kind == LogArgument::Signed && static_cast<int64_t>(value) < 0) {
    line.put('-');
    value = -value;
  }
  line.number(value, hex ? 16 : 10);
}

}  // namespace

void set_log_level(uint32_t level) { g_level = static_cast<LogLevel>(level > 6 ? 6 : level); }

bool log_enabled(LogLevel level) { return level <= g_level; }

void log_line(LogLevel level, const char* format, const LogArgument* arguments, uint32_t count) {
  Line line;
  uint32_t next = 0;
  for (const char* p = format; *p != 0; ++p) {
    const bool plain = p[0] == '{' && p[1] == '}';
    const bool hex = p[0] == '{' && p[1] == 'x' && p[2] == '}';
    if ((plain || hex) && next < count) {
      put_argument(line, arguments[next++], hex);
      p += hex ? 2 : 1;
    } else {
      line.put(*p);
    }
  }
  host::log_text(static_cast<uint32_t>(level), line.view());
}

void end_enclave(int kind, std::string_view text) {
  host::log_text(static_cast<uint32_t>(LogLevel::Fatal), text);
  host::exit(kind, static_cast<uint32_t>(kind));
}

}  // namespace cloister::enclave

namespace cloister {

void panic(const char* file, int line, const char* what) {
  // A panic while printing a panic ends without words.
  static bool panicking = false;
  if (!__atomic_exchange_n(&panicking, true, __ATOMIC_RELAXED)) {
    enclave::log(enclave::LogLevel::Fatal, "kernel bug at {}:{}: {}", file, line, what);
  }
  enclave::host::exit(70, 70);
}

}  // namespace cloister
