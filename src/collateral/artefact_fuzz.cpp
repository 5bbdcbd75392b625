#include "base/text.h"
#include "collateral/artefact.h"

// A file of the cache, verified as every kind; and a header with a percent-encoded chain.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister::collateral;
  const std::string_view text = cloister::as_text({data, size});
  const auto decoded = cloister::percent_decode(text);
  CLOISTER_CHECK(!decoded.ok() || decoded->size() <= size);
  const auto raw = decode_artefact(text);
  if (!raw.ok()) return 0;
  for (const char* name : {"sgx-tcb-00606a000000", "tdx-qe", "pckcrl-platform", "rootcrl"}) {
    const auto verified =
        verify_artefact(*parse_artefact_name(name), *raw, {cloister::attestation::intel_sgx_root()});
    static_cast<void>(verified);
  }
  return 0;
}
