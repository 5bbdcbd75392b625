#include "attestation/amd_x509.h"

// Certificates (PEM or DER, one or a chain) with their leaf extensions, and revocation lists.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister::attestation;
  const cloister::ByteView input(data, size);
  const auto certificates = amd_certificates(input);
  const auto crl = AmdCrl::parse(input);
  if (!certificates.ok()) return 0;
  for (const AmdCertificate& certificate : *certificates) {
    const auto fields = amd_leaf_fields(certificate);
    static_cast<void>(fields);
    static_cast<void>(certificate.signed_by(certificates->front()));
    if (crl.ok()) static_cast<void>(crl->revokes(certificate));
  }
  return 0;
}
