#include "attestation/amd_x509.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

namespace cloister::attestation {
namespace {

constexpr size_t kMaxCrlSize = 1 << 20;
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

}  // namespace

Result<AmdCertificate> AmdCertificate::from_der(ByteView der) {
  AmdCertificate out;
  out.x509_ = TRY(decode_certificate(der));
  X509* raw = out.x509_.get();
  const X509_ALGOR* algorithm = nullptr;
  X509_get0_signature(nullptr, &algorithm, raw);
  if (!is_pss_sha384(algorithm)) return bad("not signed with RSA-PSS, SHA-384 and 48 bytes of salt");
  out.key_.reset(X509_get_pubkey(raw));
  if (!out.key_) return bad("unknown kind of public key");
  out.common_name_ = x509_common_name(X509_get_subject_name(raw));
  out.window_ = TRY(x509_window(raw));
  out.spki_sha256_ = TRY(x509_spki_sha256(raw));
  out.is_ca_ = TRY(x509_is_ca(raw, KeyUsage::Optional));
  return out;
}

bool AmdCertificate::issued_by(const AmdCertificate& issuer) const {
  return x509_issued_by(x509_.get(), issuer.x509_.get());
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
  return has_p384_key() && ecdsa_verify(key_.get(), EVP_sha384(), message, r, s);
}

Result<std::vector<AmdCertificate>> amd_certificates(ByteView pem_or_der) {
  std::vector<AmdCertificate> out;
  const std::vector<Bytes> blocks = TRY(split_certificates(pem_or_der));
  for (const Bytes& block : blocks) {
    AmdCertificate certificate = TRY(AmdCertificate::from_der(block));
    out.push_back(std::move(certificate));
  }
  return out;
}

Result<AmdCrl> AmdCrl::parse(ByteView pem_or_der) {
  if (pem_or_der.size() > kMaxCrlSize) return bad("revocation list too large");
  const Bytes der = TRY(crl_der(as_text(pem_or_der)));
  AmdCrl out;
  out.crl_ = TRY(decode_crl(der));
  const X509_ALGOR* algorithm = nullptr;
  X509_CRL_get0_signature(out.crl_.get(), nullptr, &algorithm);
  if (!is_pss_sha384(algorithm)) return bad("revocation list not signed with RSA-PSS and SHA-384");
  out.window_ = TRY(x509_window(out.crl_.get()));
  return out;
}

bool AmdCrl::issued_by(const AmdCertificate& issuer) const {
  return x509_issued_by(crl_.get(), issuer.handle());
}
bool AmdCrl::signed_by(const AmdCertificate& issuer) const {
  return X509_CRL_verify(crl_.get(), X509_get0_pubkey(issuer.handle())) == 1;
}
bool AmdCrl::revokes(const AmdCertificate& certificate) const {
  return x509_revokes(crl_.get(), certificate.handle());
}

}  // namespace cloister::attestation
