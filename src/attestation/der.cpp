#include "attestation/der.h"

namespace cloister::attestation {
namespace {

Error bad(std::string_view what) { return Error(Code::Malformed, "DER: " + std::string(what)); }

}  // namespace

Result<ByteView> DerReader::next(uint8_t tag) {
  if (rest_.size() < 2) return bad("ends early");
  if (rest_[0] != tag) return bad("unexpected tag");
  size_t header = 2;
  size_t size = rest_[1];
  if (size >= 0x80) {
    const size_t bytes = size & 0x7f;
    if (bytes == 0 || bytes > 3 || rest_.size() < 2 + bytes) return bad("length");
    size = 0;
    for (size_t i = 0; i < bytes; ++i) size = size << 8 | rest_[2 + i];
    header += bytes;
    const size_t minimum = bytes == 1 ? 0x80 : size_t{1} << (8 * (bytes - 1));
    if (size < minimum) return bad("length is not minimal");
  }
  if (size > rest_.size() - header) return bad("ends early");
  const ByteView content = rest_.subspan(header, size);
  rest_ = rest_.subspan(header + size);
  return content;
}

Result<ByteView> DerReader::next_whole(uint8_t tag) {
  const ByteView before = rest_;
  static_cast<void>(TRY(next(tag)));
  return before.first(before.size() - rest_.size());
}

Result<uint32_t> DerReader::next_unsigned(uint8_t tag) {
  ByteView content = TRY(next(tag));
  if (content.empty() || (content[0] & 0x80) != 0) return bad("negative or empty integer");
  if (content.size() > 1 && content[0] == 0) {
    content = content.subspan(1);
    if ((content[0] & 0x80) == 0) return bad("integer is not minimal");
  }
  if (content.size() > 4) return bad("integer too large");
  uint32_t value = 0;
  for (const uint8_t byte : content) value = value << 8 | byte;
  return value;
}

Result<bool> DerReader::next_boolean() {
  const ByteView content = TRY(next(kBoolean));
  if (content.size() != 1 || (content[0] != 0 && content[0] != 0xff)) return bad("boolean");
  return content[0] != 0;
}

}  // namespace cloister::attestation
