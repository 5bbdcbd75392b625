// Bundles under the root that they bring themselves as well as under Intel's, whose signatures no input has:
// what comes after the root check is reached too.
#include "attestation/verifier.h"
#include "attestation/x509.h"
#include "fuzz_end.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  using namespace cloister::attestation;
  const auto bundle = parse_collateral_bundle(as_text({data, size}));
  if (!bundle.ok()) return 0;
  std::vector<TrustAnchor> anchors = {intel_sgx_root()};
  const auto signers = certificates_from_pem(bundle->tcb_info_issuer_chain);
  if (signers.ok()) anchors.push_back({signers->back().key().point(), true});
  if (trust_collateral(*bundle, anchors).ok()) fuzz::reached_the_end();
  return 0;
}
