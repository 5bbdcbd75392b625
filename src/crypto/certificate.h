// X.509 certificates as Cloister uses them: self-signed wrappers around a P-256 key, trusted only by the hash
// of their key. (Chains under Intel's or the simulation's root are the verifier's business, src/attestation.)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "crypto/keypair.h"

struct x509_st;  // OpenSSL's X509

namespace cloister::crypto {

struct CertificateOptions {
  std::string common_name = "cloister";   // 1..64 bytes
  std::vector<std::string> dns_names;     // subject alternative names
  std::vector<std::string> ip_addresses;  // numeric
  // Seconds since 1970. not_before 0: ten minutes ago. not_after 0: 9999-12-31 (RFC 5280, 4.1.2.5).
  int64_t not_before = 0;
  int64_t not_after = 0;
};

// Thread-safe once made; copies share.
class Certificate {
 public:
  static Result<Certificate> self_signed(const KeyPair& key, const CertificateOptions& options);
  static Result<Certificate> from_der(ByteView der);
  static Result<Certificate> from_pem(std::string_view pem);  // exactly one CERTIFICATE block

  const Bytes& der() const { return der_; }
  std::string pem() const;
  const Bytes& spki_der() const { return spki_; }           // any algorithm
  const Digest& spki_sha256() const { return spki_hash_; }  // the peer's identity
  Result<PublicKey> public_key() const;                     // Malformed unless P-256
  std::string subject() const;                              // "CN=…", RFC 2253
  int64_t not_before() const;                               // seconds since 1970
  int64_t not_after() const;
  x509_st* native() const { return certificate_.get(); }

 private:
  static Result<Certificate> from_native(std::shared_ptr<x509_st> certificate);

  std::shared_ptr<x509_st> certificate_;
  Bytes der_;
  Bytes spki_;
  Digest spki_hash_{};
};

}  // namespace cloister::crypto
