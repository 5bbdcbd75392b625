// Certificates and the revocation list of AMD's SEV PKI: ARK (root) -> ASK or ASVK -> VCEK or VLEK. RSA-PSS
// with SHA-384 and 48 bytes of salt everywhere, nothing else; the leaf's key is P-384. Sources: AMD "VCEK
// Certificate and KDS Interface Specification"; RFC 4055.
#pragma once

#include "attestation/verifier.h"
#include "attestation/x509.h"

namespace cloister::attestation {

class AmdCertificate {
 public:
  static Result<AmdCertificate> from_der(ByteView der);
  const std::string& common_name() const { return common_name_; }
  const Window& window() const { return window_; }
  bool is_ca() const { return is_ca_; }
  const ByteArray<32>& spki_sha256() const { return spki_sha256_; }
  bool issued_by(const AmdCertificate& issuer) const;  // names match
  bool signed_by(const AmdCertificate& issuer) const;
  Result<Bytes> extension(const char* oid) const { return x509_extension(x509_.get(), oid); }
  bool has_p384_key() const;
  // ECDSA with SHA-384 under a P-384 key; `r`, `s` big-endian.
  bool verify(ByteView message, ByteView r, ByteView s) const;
  X509* handle() const { return x509_.get(); }

 private:
  OwnedX509 x509_;
  OwnedKey key_;
  std::string common_name_;
  Window window_;
  ByteArray<32> spki_sha256_{};
  bool is_ca_ = false;
};

// PEM blocks or one DER certificate after the other, at most 8.
Result<std::vector<AmdCertificate>> amd_certificates(ByteView pem_or_der);

class AmdCrl {
 public:
  static Result<AmdCrl> parse(ByteView pem_or_der);
  bool issued_by(const AmdCertificate& issuer) const;
  bool signed_by(const AmdCertificate& issuer) const;
  bool revokes(const AmdCertificate& certificate) const;
  const Window& window() const { return window_; }

 private:
  OwnedCrl crl_;
  Window window_;
};

// The extensions of a VCEK or VLEK under 1.3.6.1.4.1.3704.1.
struct AmdLeafFields {
  std::string product;  // "Milan-B0", "Genoa", …
  uint8_t boot_loader = 0, tee = 0, snp = 0, microcode = 0;
  std::optional<uint8_t> fmc;  // Turin and later
  std::array<std::optional<uint8_t>, 4> spl4_to_7;
  Bytes hwid;          // 64 bytes, Turin 8; empty for a VLEK
  std::string csp_id;  // VLEK only
};
// The four numbers of every product and the product itself must be there; each at most once.
Result<AmdLeafFields> amd_leaf_fields(const AmdCertificate& leaf);

}  // namespace cloister::attestation
