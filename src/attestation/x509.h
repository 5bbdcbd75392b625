// Certificates and revocation lists of the SGX PKI. OpenSSL decodes and checks signatures; what a certificate
// must be is checked here (RFC 5280; Intel SGX PCK Certificate and CRL profile). P-256 with SHA-256 only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attestation/verifier.h"
#include "attestation/x509_decode.h"

namespace cloister::attestation {

inline constexpr std::string_view kRootName = "Intel SGX Root CA";
inline constexpr std::string_view kPlatformCaName = "Intel SGX PCK Platform CA";
inline constexpr std::string_view kProcessorCaName = "Intel SGX PCK Processor CA";
inline constexpr std::string_view kLeafName = "Intel SGX PCK Certificate";
inline constexpr std::string_view kTcbSigningName = "Intel SGX TCB Signing";

// The earliest end of all; Integrity "time: …" when one of them does not hold at `now`.
Result<int64_t> check_windows(const std::vector<Window>& windows, int64_t now);

// Public keys decode slowly, so they are decoded once.
class PublicKey {
 public:
  static Result<PublicKey> from_point(ByteView xy);  // 64 bytes; Integrity when not on the curve
  // `signature`: r || s, 64 bytes.
  bool verify(ByteView message, ByteView signature) const;
  const ByteArray<65>& point() const { return point_; }
  EVP_PKEY* handle() const { return key_.get(); }

 private:
  friend class Certificate;
  PublicKey() = default;
  std::shared_ptr<EVP_PKEY> key_;  // shared: certificates are copied into chains
  ByteArray<65> point_{};
};

class Certificate {
 public:
  static Result<Certificate> from_der(ByteView der);
  const std::string& common_name() const { return common_name_; }
  const PublicKey& key() const { return key_; }
  const Window& window() const { return window_; }
  const Bytes& der() const { return der_; }
  bool is_ca() const { return is_ca_; }
  bool self_issued() const;
  bool issued_by(const Certificate& issuer) const;    // names match
  bool signed_by(const PublicKey& issuer_key) const;  // and the signature verifies
  Result<Bytes> extension(const char* oid) const;     // content of a non-duplicate extension; NotFound
  X509* handle() const { return x509_.get(); }

 private:
  Certificate() = default;
  std::shared_ptr<X509> x509_;
  Bytes der_;
  std::string common_name_;
  PublicKey key_;
  Window window_;
  bool is_ca_ = false;
};

// Certificates decoded before, and which signatures were found good: decoding a certificate costs more than
// checking a signature, and the same few come again in every chain. Holds only what the caller puts in.
class KnownCertificates {
 public:
  const Certificate* find(ByteView der) const;
  bool verified(const Certificate& certificate, const PublicKey& issuer_key) const;
  void add_verified(const Certificate& certificate, const PublicKey& issuer_key);

 private:
  struct Entry {
    Certificate certificate;
    std::vector<ByteArray<65>> issuer_keys;
  };
  size_t index(ByteView der) const;  // entries_.size(): unknown
  std::vector<Entry> entries_;
};

// Every CERTIFICATE block, at most 8. NULs at the end and CRLF are tolerated.
Result<std::vector<Certificate>> certificates_from_pem(std::string_view pem,
                                                       const KnownCertificates* known = nullptr);

// leaf, (intermediate,) root: ordered by issuer, signatures and CA bits checked, the root's key is an
// anchor's.
struct Chain {
  std::vector<Certificate> certificates;
  bool simulation = false;
  const Certificate& leaf() const { return certificates.front(); }
  const Certificate& issuer() const { return certificates[1]; }
  const Certificate& root() const { return certificates.back(); }
};
Result<Chain> build_chain(std::vector<Certificate> certificates, const std::vector<TrustAnchor>& anchors,
                          std::string_view what, const KnownCertificates* known = nullptr);

class Crl {
 public:
  static Result<Crl> from_der(ByteView der);
  bool issued_by(const Certificate& issuer) const;
  bool signed_by(const PublicKey& key) const;
  bool revokes(const Certificate& certificate) const;
  const Window& window() const { return window_; }

 private:
  Crl() = default;
  OwnedCrl crl_;
  Window window_;
};

}  // namespace cloister::attestation
