#include "attestation/amd_x509.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "attestation/der.h"
#include "crypto/sha256.h"

namespace cloister::attestation {
namespace {

constexpr size_t kMaxCertificateSize = 16 << 10;
constexpr size_t kMaxCrlSize = 1 << 20;
constexpr size_t kMaxCertificates = 8;
constexpr long kSaltSize = 48;

Error bad(std::string_view what) { return Error(Code::Malformed, "AMD certificate: " + std::string(what)); }

bool is_algorithm(const X509_ALGOR* algorithm, int nid) {
  return algorithm != nullptr && OBJ_obj2nid(algorithm->algorithm) == nid;
}

// Every field is looked at: OpenSSL would follow whatever hash or salt a certificate asks for.
bool is_pss_sha384(const X509_ALGOR* algorithm) {
  if (!is_algorithm(algorithm, NID_rsassaPss)) return false;
  const std::unique_ptr<RSA_PSS_PARAMS, decltype(&RSA_PSS_PARAMS_free)> pss(
      static_cast<RSA_PSS_PARAMS*>(
          ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm->parameter)),
      RSA_PSS_PARAMS_free);
  if (!pss || !is_algorithm(pss->hashAlgorithm, NID_sha384)) return false;
  if (!is_algorithm(pss->maskGenAlgorithm, NID_mgf1)) return false;
  const std::unique_ptr<X509_ALGOR, decltype(&X509_ALGOR_free)> mask(
      static_cast<X509_ALGOR*>(
          ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR), pss->maskGenAlgorithm->parameter)),
      X509_ALGOR_free);
  if (!is_algorithm(mask.get(), NID_sha384)) return false;
  if (pss->saltLength == nullptr || ASN1_INTEGER_get(pss->saltLength) != kSaltSize) return false;
  return pss->trailerField == nullptr || ASN1_INTEGER_get(pss->trailerField) == 1;
}

Result<bool> ca_bit(X509* x509) {
  int critical = -1;
  const std::unique_ptr<BASIC_CONSTRAINTS, decltype(&BASIC_CONSTRAINTS_free)> constraints(
      static_cast<BASIC_CONSTRAINTS*>(X509_get_ext_d2i(x509, NID_basic_constraints, &critical, nullptr)),
      BASIC_CONSTRAINTS_free);
  if (!constraints) {
    if (critical == -2) return bad("two basic constraints");
    return false;
  }
  if (constraints->ca == 0) return false;
  const bool limited = (X509_get_extension_flags(x509) & EXFLAG_KUSAGE) != 0;
  if (limited && (X509_get_key_usage(x509) & KU_KEY_CERT_SIGN) == 0) {
    return bad("a CA that may not sign certificates");
  }
  return true;
}

Result<ByteArray<32>> spki_digest(X509* x509) {
  uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
  if (size <= 0) return bad("no public key");
  const crypto::Digest digest = crypto::sha256(ByteView(der, static_cast<size_t>(size)));
  OPENSSL_free(der);
  return digest;
}

}  // namespace

Result<AmdCertificate> AmdCertificate::from_der(ByteView der) {
  if (der.size() > kMaxCertificateSize) return bad("too large");
  const uint8_t* at = der.data();
  AmdCertificate out;
  out.x509_ = std::shared_ptr<X509>(d2i_X509(nullptr, &at, static_cast<long>(der.size())), X509_free);
  X509* raw = out.x509_.get();
  if (raw == nullptr || at != der.data() + der.size()) return bad("does not decode");
  const X509_ALGOR* algorithm = nullptr;
  X509_get0_signature(nullptr, &algorithm, raw);
  if (!is_pss_sha384(algorithm)) return bad("not signed with RSA-PSS, SHA-384 and 48 bytes of salt");
  out.key_ = std::shared_ptr<EVP_PKEY>(X509_get_pubkey(raw), EVP_PKEY_free);
  if (!out.key_) return bad("unknown kind of public key");
  out.common_name_ = x509_common_name(X509_get_subject_name(raw));
  out.window_.from = TRY(x509_seconds(X509_get0_notBefore(raw)));
  out.window_.to = TRY(x509_seconds(X509_get0_notAfter(raw)));
  out.window_.what = "certificate " + out.common_name_;
  out.spki_sha256_ = TRY(spki_digest(raw));
  out.is_ca_ = TRY(ca_bit(raw));
  return out;
}

bool AmdCertificate::issued_by(const AmdCertificate& issuer) const {
  return X509_NAME_cmp(X509_get_issuer_name(x509_.get()), X509_get_subject_name(issuer.x509_.get())) == 0;
}

bool AmdCertificate::signed_by(const AmdCertificate& issuer) const {
  return EVP_PKEY_get_base_id(issuer.key_.get()) == EVP_PKEY_RSA &&
         X509_verify(x509_.get(), issuer.key_.get()) == 1;
}

bool AmdCertificate::has_p384_key() const {
  char group[64];
  size_t size = 0;
  return EVP_PKEY_get_base_id(key_.get()) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key_.get(), group, sizeof(group), &size) == 1 &&
         std::string_view(group) == "secp384r1";
}

bool AmdCertificate::verify(ByteView message, ByteView r, ByteView s) const {
  if (!has_p384_key()) return false;
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(ECDSA_SIG_new(), ECDSA_SIG_free);
  BIGNUM* r_number = BN_bin2bn(r.data(), static_cast<int>(r.size()), nullptr);
  BIGNUM* s_number = BN_bin2bn(s.data(), static_cast<int>(s.size()), nullptr);
  if (!pair || ECDSA_SIG_set0(pair.get(), r_number, s_number) != 1) {
    BN_free(r_number);
    BN_free(s_number);
    return false;
  }
  uint8_t* der = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &der);
  if (size <= 0) return false;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const bool ok =
      context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha384(), nullptr, key_.get()) == 1 &&
      EVP_DigestVerify(context.get(), der, static_cast<size_t>(size), message.data(), message.size()) == 1;
  OPENSSL_free(der);
  return ok;
}

Result<std::vector<AmdCertificate>> amd_certificates(ByteView input) {
  std::vector<Bytes> blocks;
  if (as_text(input).find("-----BEGIN") != std::string_view::npos) {
    blocks = TRY(certificate_blocks(as_text(input)));
  } else {
    if (input.size() > kMaxCertificates * kMaxCertificateSize) return bad("too many");
    DerReader reader(input);
    while (!reader.at_end()) {
      const ByteView element = TRY(reader.next_whole(DerReader::kSequence));
      if (blocks.size() == kMaxCertificates) return bad("too many");
      blocks.emplace_back(element.begin(), element.end());
    }
    if (blocks.empty()) return bad("empty");
  }
  std::vector<AmdCertificate> out;
  for (const Bytes& block : blocks) {
    AmdCertificate certificate = TRY(AmdCertificate::from_der(block));
    out.push_back(std::move(certificate));
  }
  return out;
}

Result<AmdCrl> AmdCrl::parse(ByteView input) {
  if (input.size() > kMaxCrlSize) return bad("revocation list too large");
  const Bytes der = TRY(crl_der(as_text(input)));
  const uint8_t* at = der.data();
  AmdCrl out;
  out.crl_ =
      std::shared_ptr<X509_CRL>(d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size())), X509_CRL_free);
  if (at != der.data() + der.size()) return bad("revocation list does not decode");
  X509_CRL* raw = out.crl_.get();
  if (raw == nullptr) return bad("revocation list does not decode");
  const X509_ALGOR* algorithm = nullptr;
  X509_CRL_get0_signature(raw, nullptr, &algorithm);
  if (!is_pss_sha384(algorithm)) return bad("revocation list not signed with RSA-PSS and SHA-384");
  out.window_.from = TRY(x509_seconds(X509_CRL_get0_lastUpdate(raw)));
  out.window_.to = TRY(x509_seconds(X509_CRL_get0_nextUpdate(raw)));
  out.window_.what = "revocation list of " + x509_common_name(X509_CRL_get_issuer(raw));
  return out;
}

bool AmdCrl::issued_by(const AmdCertificate& issuer) const {
  return X509_NAME_cmp(X509_CRL_get_issuer(crl_.get()), X509_get_subject_name(issuer.handle())) == 0;
}
bool AmdCrl::signed_by(const AmdCertificate& issuer) const {
  return X509_CRL_verify(crl_.get(), X509_get0_pubkey(issuer.handle())) == 1;
}
bool AmdCrl::revokes(const AmdCertificate& certificate) const {
  X509_REVOKED* entry = nullptr;
  return X509_CRL_get0_by_cert(crl_.get(), &entry, certificate.handle()) == 1;
}

}  // namespace cloister::attestation
