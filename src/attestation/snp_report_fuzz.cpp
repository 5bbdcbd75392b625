#include "attestation/snp_report.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister::attestation;
  const auto report = parse_snp_report({data, size});
  if (report.ok()) {
    CLOISTER_CHECK(report->version >= 2 && report->version <= 5);
    CLOISTER_CHECK(report->signed_part.size() == kSnpSignedSize);
  }
  return 0;
}
