#include "sgx/measurement.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto summary = cloister::sgx::read_sgxs({data, size});
  static_cast<void>(summary);
  return 0;
}
