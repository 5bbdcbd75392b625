#include "attestation/verifier.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister::attestation;
  const auto bundle = parse_collateral_bundle(cloister::as_text({data, size}));
  if (bundle.ok()) {
    const auto trusted = trust_collateral(*bundle, {intel_sgx_root()});
    static_cast<void>(trusted);
  }
  return 0;
}
