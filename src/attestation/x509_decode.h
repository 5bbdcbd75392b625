// What certificates and revocation lists of every PKI have in common: finding them in PEM or DER, decoding,
// names, times, extensions, keys. What a certificate of Intel's or AMD's must be is in x509.h and amd_x509.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"

typedef struct x509_st X509;
typedef struct X509_crl_st X509_CRL;
typedef struct evp_md_st EVP_MD;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct X509_name_st X509_NAME;
typedef struct asn1_string_st ASN1_TIME;

namespace cloister::attestation {

// From when to when something holds, and what it is.
struct Window {
  int64_t from = 0, to = 0;  // seconds since 1970, both included
  std::string what;
};

struct X509End {
  void operator()(X509* certificate) const;
  void operator()(X509_CRL* crl) const;
  void operator()(EVP_PKEY* key) const;
};
using OwnedX509 = std::unique_ptr<X509, X509End>;
using OwnedCrl = std::unique_ptr<X509_CRL, X509End>;
using OwnedKey = std::unique_ptr<EVP_PKEY, X509End>;

// The certificates in PEM blocks, or in DER one after the other; 1 to 8, nothing else beside them.
Result<std::vector<Bytes>> certificate_blocks(std::string_view pem);
Result<std::vector<Bytes>> split_certificates(ByteView pem_or_der);
// A revocation list as DER; it comes as hex digits, PEM or DER. Empty for empty text.
Result<Bytes> crl_der(std::string_view text);

// Exactly one, at most 16 KiB.
Result<OwnedX509> decode_certificate(ByteView der);
// Exactly one, at most 4 MiB.
Result<OwnedCrl> decode_crl(ByteView der);

std::string x509_common_name(const X509_NAME* name);  // empty when there is none or more than one
Result<int64_t> x509_seconds(const ASN1_TIME* time);
Result<Window> x509_window(const X509* certificate);
Result<Window> x509_window(const X509_CRL* crl);
// Names match; signatures are another question.
bool x509_issued_by(const X509* certificate, const X509* issuer);
bool x509_issued_by(const X509_CRL* crl, const X509* issuer);
bool x509_revokes(X509_CRL* crl, X509* certificate);
// Content of an extension that is there exactly once; NotFound, Malformed.
Result<Bytes> x509_extension(const X509* certificate, const char* oid);
// SHA-256 of SubjectPublicKeyInfo.
Result<ByteArray<32>> x509_spki_sha256(const X509* certificate);

// A CA may sign certificates by its key usage. AMD's certificates may leave that extension out.
enum class KeyUsage : uint8_t { Required, Optional };
// CA:TRUE and allowed to sign, or no CA at all; anything between is Malformed.
Result<bool> x509_is_ca(X509* certificate, KeyUsage usage);

// `r`, `s`: big-endian.
bool ecdsa_verify(EVP_PKEY* key, const EVP_MD* hash, ByteView message, ByteView r, ByteView s);

}  // namespace cloister::attestation
