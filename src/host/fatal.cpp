#include "host/fatal.h"

#include <unistd.h>

#include <cstring>

namespace cloister::host {
namespace {

class Line {
 public:
  Line(char* out, size_t size) : out_(out), size_(size) { out_[0] = 0; }
  Line& text(const char* text) {
    for (; *text != 0 && used_ + 1 < size_; ++text) out_[used_++] = *text;
    out_[used_] = 0;
    return *this;
  }
  Line& hex(uint64_t value) {
    char digits[19] = "0x0000000000000000";
    for (int i = 17; i >= 2; --i, value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
    return text(digits);
  }

 private:
  char* out_;
  size_t size_;
  size_t used_ = 0;
};

}  // namespace

void fatal(const char* text) {
  const char prefix[] = "cloister: ";
  [[maybe_unused]] ssize_t written = write(2, prefix, sizeof(prefix) - 1);
  written = write(2, text, std::strlen(text));
  written = write(2, "\n", 1);
  _exit(70);
}

void format_fault(char* out, size_t size, int signal, uint64_t address, uint64_t rip, uint64_t reference) {
  const char name[] = {static_cast<char>('0' + signal / 10), static_cast<char>('0' + signal % 10), 0};
  Line(out, size)
      .text("signal ")
      .text(name)
      .text(" in the host part at ")
      .hex(rip)
      .text(" (exit point ")
      .hex(reference)
      .text("), address ")
      .hex(address);
}

}  // namespace cloister::host
