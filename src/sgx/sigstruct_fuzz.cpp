#include "sgx/sigstruct.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = cloister::sgx::parse_sigstruct({data, size});
  if (parsed.ok()) {
    const auto verified = cloister::sgx::verify_sigstruct(*parsed);
    static_cast<void>(verified);
  }
  return 0;
}
