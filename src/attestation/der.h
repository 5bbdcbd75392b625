// A bounded reader for DER (X.690): definite lengths, minimal encoding, no recursion of its own.
#pragma once

#include "base/bytes.h"

namespace cloister::attestation {

class DerReader {
 public:
  static constexpr uint8_t kBoolean = 0x01, kInteger = 0x02, kOctetString = 0x04, kOid = 0x06,
                           kEnumerated = 0x0a, kSequence = 0x30;
  explicit DerReader(ByteView bytes) : rest_(bytes) {}

  bool at_end() const { return rest_.empty(); }
  // The content of the next element, which must have this tag.
  Result<ByteView> next(uint8_t tag);
  Result<ByteView> next_whole(uint8_t tag);  // with its header
  // A non-negative INTEGER or ENUMERATED that fits 32 bits, minimally encoded.
  Result<uint32_t> next_unsigned(uint8_t tag);
  Result<bool> next_boolean();

 private:
  ByteView rest_;
};

}  // namespace cloister::attestation
