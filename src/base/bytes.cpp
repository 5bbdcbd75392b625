#include "base/bytes.h"

namespace cloister {

bool equal_constant_time(ByteView a, ByteView b) {
  if (a.size() != b.size()) return false;
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = static_cast<uint8_t>(difference | (a[i] ^ b[i]));
  return difference == 0;
}

Error ByteReader::truncated(uint64_t wanted) const {
  return Error(Code::Malformed, std::string(what_) + " ends early: " + std::to_string(wanted) +
                                    " bytes wanted, " + std::to_string(rest_.size()) + " left");
}

Result<ByteView> ByteReader::field(uint32_t limit) {
  const uint32_t size = TRY(le<uint32_t>());
  if (size > limit) {
    return Error(Code::Malformed, std::string(what_) + ": field of " + std::to_string(size) +
                                      " bytes, the limit is " + std::to_string(limit));
  }
  return take(size);
}

Result<void> ByteReader::expect_end() const {
  if (rest_.empty()) return {};
  return Error(Code::Malformed, std::string(what_) + ": " + std::to_string(rest_.size()) + " bytes too many");
}

std::string to_hex(ByteView bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return Error(Code::Malformed, "odd number of hex digits");
  Bytes out;
  out.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_value(text[i]);
    const int low = hex_value(text[i + 1]);
    if (high < 0 || low < 0)
      return Error(Code::Malformed, "not a hex digit at position " + std::to_string(i));
    out.push_back(static_cast<uint8_t>(high * 16 + low));
  }
  return out;
}

}  // namespace cloister
