// Certificates and revocation lists as DER, chains as PEM: the whole input as each of them, and together as
// one input: certificate and list, each behind its size (two bytes, big-endian), and the rest as the chain.
#include "attestation/x509.h"

#include "fuzz_end.h"

namespace {

using namespace cloister;
using namespace cloister::attestation;

// Under Intel's root, and under the last certificate of its own: behind the root check there is more.
Result<Chain> chain_of(ByteView input) {
  std::vector<Certificate> certificates = TRY(certificates_from_pem(as_text(input)));
  const TrustAnchor own{certificates.back().key().point(), true};
  return build_chain(std::move(certificates), {intel_sgx_root(), own}, "chain");
}

Result<void> try_parts(ByteView input) {
  ByteReader reader(input);
  const ByteView certificate_der = TRY(reader.take(TRY(reader.be<uint16_t>())));
  const ByteView crl_der = TRY(reader.take(TRY(reader.be<uint16_t>())));
  const Certificate certificate = TRY(Certificate::from_der(certificate_der));
  const Crl crl = TRY(Crl::from_der(crl_der));
  static_cast<void>(crl.revokes(certificate));
  static_cast<void>(crl.issued_by(certificate));
  const Chain chain = TRY(chain_of(reader.rest()));
  static_cast<void>(crl.revokes(chain.leaf()));
  const bool listed = crl.issued_by(chain.issuer()) && crl.signed_by(chain.issuer().key());
  const bool issued = certificate.issued_by(chain.issuer()) && certificate.signed_by(chain.issuer().key());
  if (listed && issued) fuzz::reached_the_end();
  return {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  static_cast<void>(Certificate::from_der(input).ok());
  static_cast<void>(Crl::from_der(input).ok());
  static_cast<void>(chain_of(input).ok());
  static_cast<void>(try_parts(input).ok());
  return 0;
}
