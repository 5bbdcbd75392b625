#include "attestation/tcb_json.h"

// Both parsers over one input: they share a signer, so each sees what was meant for the other.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = cloister::as_text({data, size});
  const auto info = cloister::attestation::parse_tcb_info(text);
  const auto identity = cloister::attestation::parse_qe_identity(text);
  CLOISTER_CHECK(!info.ok() || !identity.ok());
  return 0;
}
