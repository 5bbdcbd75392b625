#include "attestation/x509.h"

// Certificates and revocation lists as DER, chains as PEM.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister::attestation;
  const cloister::ByteView input(data, size);
  const auto certificate = Certificate::from_der(input);
  const auto crl = Crl::from_der(input);
  if (crl.ok() && certificate.ok()) static_cast<void>(crl->revokes(*certificate));
  auto chain = certificates_from_pem(cloister::as_text(input));
  if (chain.ok()) {
    const auto built = build_chain(std::move(chain).value(), {intel_sgx_root()}, "chain");
    static_cast<void>(built);
  }
  return 0;
}
