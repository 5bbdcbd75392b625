// Whatever decodes must encode to the same bytes: one encoding per value.
#include "boundary/config.h"

#include <algorithm>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  const ByteView input(data, size);
  if (const auto config = boundary::decode_config(input); config.ok()) {
    CLOISTER_CHECK(std::ranges::equal(boundary::encode_config(*config).expose(), input));
  }
  if (const auto event = boundary::decode_event(input); event.ok()) {
    CLOISTER_CHECK(std::ranges::equal(boundary::encode_event(*event), input));
  }
  return 0;
}
