// Arbitrary bytes as a launch record: decoding must end, and what it accepts must encode to the same bytes.
#include <cstdlib>

#include "boundary/launch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto record = cloister::boundary::decode_launch({data, size});
  if (record.ok()) {
    const cloister::Bytes again = cloister::boundary::encode_launch(record.value());
    if (again.size() != size || !std::equal(again.begin(), again.end(), data)) std::abort();
  }
  return 0;
}
