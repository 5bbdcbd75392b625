#include "attestation/pck.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto extension = cloister::attestation::parse_pck_extension({data, size});
  static_cast<void>(extension);
  return 0;
}
