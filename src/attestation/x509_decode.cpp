#include "attestation/x509_decode.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <optional>

#include "attestation/der.h"
#include "crypto/sha256.h"

namespace cloister::attestation {
namespace {

constexpr size_t kMaxCertificateSize = 16 << 10;
constexpr size_t kMaxCrlSize = 4 << 20;
constexpr size_t kMaxCertificates = 8;

Error bad(std::string_view what) { return Error(Code::Malformed, "certificate: " + std::string(what)); }

using OwnedBio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
OwnedBio bio_of(std::string_view text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free_all};
}

struct PemBlock {
  std::string name;
  bool plain = false;  // no headers: not encrypted
  Bytes content;
};

// The next block. OpenSSL's readers of one kind would ask a terminal for the password of an encrypted one.
std::optional<PemBlock> next_block(BIO* bio) {
  char* name = nullptr;
  char* header = nullptr;
  uint8_t* data = nullptr;
  long size = 0;
  if (bio == nullptr || PEM_read_bio(bio, &name, &header, &data, &size) != 1) return std::nullopt;
  PemBlock out{name, header[0] == '\0', Bytes(data, data + size)};
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  return out;
}

Result<Window> window(const ASN1_TIME* from, const ASN1_TIME* to, std::string what) {
  Window out{0, 0, std::move(what)};
  out.from = TRY(x509_seconds(from));
  out.to = TRY(x509_seconds(to));
  return out;
}

}  // namespace

void X509End::operator()(X509* certificate) const { X509_free(certificate); }
void X509End::operator()(X509_CRL* crl) const { X509_CRL_free(crl); }
void X509End::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }

Result<std::vector<Bytes>> certificate_blocks(std::string_view pem) {
  std::vector<Bytes> out;
  if (pem.size() > kMaxCertificates * kMaxCertificateSize * 2) return bad("chain too large");
  const OwnedBio bio = bio_of(pem);
  while (std::optional<PemBlock> block = next_block(bio.get())) {
    if (block->name != "CERTIFICATE" || !block->plain) return bad("a PEM block that is no certificate");
    if (out.size() == kMaxCertificates) return bad("chain too long");
    out.push_back(std::move(block->content));
  }
  if (out.empty()) return bad("no certificate in the chain");
  return out;
}

Result<std::vector<Bytes>> split_certificates(ByteView input) {
  if (as_text(input).find("-----BEGIN") != std::string_view::npos) return certificate_blocks(as_text(input));
  if (input.size() > kMaxCertificates * kMaxCertificateSize) return bad("chain too large");
  std::vector<Bytes> out;
  DerReader reader(input);
  while (!reader.at_end()) {
    const ByteView element = TRY(reader.next_whole(DerReader::kSequence));
    if (out.size() == kMaxCertificates) return bad("chain too long");
    out.emplace_back(element.begin(), element.end());
  }
  if (out.empty()) return bad("empty");
  return out;
}

Result<Bytes> crl_der(std::string_view text) {
  if (text.empty()) return Bytes();
  if (text.size() > 2 * kMaxCrlSize) return bad("revocation list too large");
  if (text.find("-----BEGIN X509 CRL-----") != std::string_view::npos) {
    const OwnedBio bio = bio_of(text);
    std::optional<PemBlock> block = next_block(bio.get());
    if (!block) return bad("a revocation list is not PEM");
    if (block->name != "X509 CRL" || !block->plain) return bad("a revocation list is not plain PEM");
    return std::move(block->content);
  }
  if (text[0] == '\x30') return Bytes(text.begin(), text.end());
  const size_t end = text.find_last_not_of(" \r\n");
  return from_hex(text.substr(0, end == std::string_view::npos ? 0 : end + 1));
}

Result<OwnedX509> decode_certificate(ByteView der) {
  if (der.size() > kMaxCertificateSize) return bad("too large");
  const uint8_t* at = der.data();
  OwnedX509 out(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!out || at != der.data() + der.size()) return bad("does not decode");
  return out;
}

Result<OwnedCrl> decode_crl(ByteView der) {
  if (der.size() > kMaxCrlSize) return bad("revocation list too large");
  const uint8_t* at = der.data();
  OwnedCrl out(d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size())));
  if (!out || at != der.data() + der.size()) return bad("revocation list does not decode");
  return out;
}

std::string x509_common_name(const X509_NAME* name) {
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, index) >= 0) return {};
  const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

Result<int64_t> x509_seconds(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return bad("unreadable time");
  return static_cast<int64_t>(timegm(&parts));
}

Result<Window> x509_window(const X509* certificate) {
  return window(X509_get0_notBefore(certificate), X509_get0_notAfter(certificate),
                "certificate " + x509_common_name(X509_get_subject_name(certificate)));
}
Result<Window> x509_window(const X509_CRL* crl) {
  return window(X509_CRL_get0_lastUpdate(crl), X509_CRL_get0_nextUpdate(crl),
                "revocation list of " + x509_common_name(X509_CRL_get_issuer(crl)));
}

bool x509_issued_by(const X509* certificate, const X509* issuer) {
  return X509_NAME_cmp(X509_get_issuer_name(certificate), X509_get_subject_name(issuer)) == 0;
}
bool x509_issued_by(const X509_CRL* crl, const X509* issuer) {
  return X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuer)) == 0;
}
bool x509_revokes(X509_CRL* crl, X509* certificate) {
  X509_REVOKED* entry = nullptr;
  return X509_CRL_get0_by_cert(crl, &entry, certificate) == 1;
}

Result<Bytes> x509_extension(const X509* certificate, const char* oid) {
  const std::unique_ptr<ASN1_OBJECT, decltype(&ASN1_OBJECT_free)> object(OBJ_txt2obj(oid, 1),
                                                                         ASN1_OBJECT_free);
  const int index = X509_get_ext_by_OBJ(certificate, object.get(), -1);
  if (index < 0) return Error(Code::NotFound, "certificate: extension missing");
  if (X509_get_ext_by_OBJ(certificate, object.get(), index) >= 0) return bad("extension given twice");
  const ASN1_OCTET_STRING* content = X509_EXTENSION_get_data(X509_get_ext(certificate, index));
  const uint8_t* data = ASN1_STRING_get0_data(content);
  return Bytes(data, data + ASN1_STRING_length(content));
}

Result<ByteArray<32>> x509_spki_sha256(const X509* certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return bad("no public key");
  const crypto::Digest digest = crypto::sha256(ByteView(der, static_cast<size_t>(size)));
  OPENSSL_free(der);
  return digest;
}

Result<bool> x509_is_ca(X509* certificate, KeyUsage usage) {
  int critical = -1;
  const std::unique_ptr<BASIC_CONSTRAINTS, decltype(&BASIC_CONSTRAINTS_free)> constraints(
      static_cast<BASIC_CONSTRAINTS*>(
          X509_get_ext_d2i(certificate, NID_basic_constraints, &critical, nullptr)),
      BASIC_CONSTRAINTS_free);
  if (!constraints) {
    if (critical == -2) return bad("two basic constraints");
    return false;
  }
  if (constraints->ca == 0) return false;
  const bool limited = (X509_get_extension_flags(certificate) & EXFLAG_KUSAGE) != 0;
  const bool may_sign =
      limited ? (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) != 0 : usage == KeyUsage::Optional;
  if (!may_sign) return bad("a CA that may not sign certificates");
  return true;
}

bool ecdsa_verify(EVP_PKEY* key, const EVP_MD* hash, ByteView message, ByteView r, ByteView s) {
  using Number = std::unique_ptr<BIGNUM, decltype(&BN_free)>;
  Number first(BN_bin2bn(r.data(), static_cast<int>(r.size()), nullptr), BN_free);
  Number second(BN_bin2bn(s.data(), static_cast<int>(s.size()), nullptr), BN_free);
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(ECDSA_SIG_new(), ECDSA_SIG_free);
  if (!pair || ECDSA_SIG_set0(pair.get(), first.get(), second.get()) != 1) return false;
  (void)first.release();  // they are the pair's now
  (void)second.release();
  uint8_t* der = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &der);
  if (size <= 0) return false;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const bool ok =
      context && EVP_DigestVerifyInit(context.get(), nullptr, hash, nullptr, key) == 1 &&
      EVP_DigestVerify(context.get(), der, static_cast<size_t>(size), message.data(), message.size()) == 1;
  OPENSSL_free(der);
  return ok;
}

}  // namespace cloister::attestation
