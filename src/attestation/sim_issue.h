// Issuing for the simulated Intel: certificates and revocation lists with the names, extensions and
// algorithms of the real PKI (Intel SGX PCK Certificate and CRL profile), under keys of our own. Host only.
#pragma once

#include <optional>
#include <string>

#include "attestation/x509_decode.h"
#include "crypto/keypair.h"

namespace cloister::attestation {

struct IssuedCertificate {
  OwnedX509 handle;
  std::string pem;
};

struct CertificateRequest {
  std::string common_name;
  bool is_ca = false;
  int path_length = -1;  // CA only; negative: no limit
  Bytes sgx_extension;   // PCK only: content of 1.2.840.113741.1.13.1
  // Fixed, so that certificates do not depend on when they were made: simulated time may be any in between.
  std::string not_before = "20200101000000Z", not_after = "20491231235959Z";
};

// Signs `subject_key` for `request` with `issuer_key`; without `issuer` the certificate is self-signed.
Result<IssuedCertificate> issue_certificate(const CertificateRequest& request,
                                            const crypto::PublicKey& subject_key,
                                            const crypto::KeyPair& issuer_key,
                                            const IssuedCertificate* issuer);
// Malformed when `pem` is not exactly one certificate.
Result<IssuedCertificate> certificate_from_pem(std::string_view pem);
// The content of its extension `oid`, empty when it has none.
Bytes extension_of(const IssuedCertificate& certificate, const char* oid);
bool has_key(const IssuedCertificate& certificate, const crypto::KeyPair& key);

// A revocation list in DER, valid from `from` to `to` (seconds since 1970), naming `revoked` when given.
Result<Bytes> issue_crl(const IssuedCertificate& issuer, const crypto::KeyPair& issuer_key, int64_t from,
                        int64_t to, const IssuedCertificate* revoked);

// The simulated platform as its PCK certificate describes it.
struct SimPckFields {
  ByteArray<16> ppid{}, platform_instance{}, components{};
  uint16_t pce_svn = 0;
  ByteArray<2> pce_id{};
  ByteArray<6> fmspc{};
};
Bytes encode_sgx_extension(const SimPckFields& fields);

}  // namespace cloister::attestation
