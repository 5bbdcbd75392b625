#include "attestation/x509.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

namespace cloister::attestation {
namespace {

constexpr size_t kMaxCertificateSize = 16 << 10;
constexpr size_t kMaxCrlSize = 4 << 20;
constexpr size_t kMaxCertificates = 8;

Error bad(std::string_view what) { return Error(Code::Malformed, "certificate: " + std::string(what)); }

bool is_ecdsa_sha256(int nid) { return nid == NID_ecdsa_with_SHA256; }

Result<ByteArray<65>> p256_point(EVP_PKEY* key) {
  char group[64];
  size_t size = 0;
  if (key == nullptr || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
      EVP_PKEY_get_group_name(key, group, sizeof(group), &size) != 1 ||
      std::string_view(group) != "prime256v1") {
    return bad("the key is not P-256");
  }
  ByteArray<65> point;
  if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &size) != 1 ||
      size != point.size()) {
    return bad("the key is not an uncompressed point");
  }
  return point;
}

// CA:TRUE with keyCertSign, or no CA at all; anything between is refused.
Result<bool> ca_bit(X509* x509) {
  int critical = -1;
  std::unique_ptr<BASIC_CONSTRAINTS, decltype(&BASIC_CONSTRAINTS_free)> constraints(
      static_cast<BASIC_CONSTRAINTS*>(X509_get_ext_d2i(x509, NID_basic_constraints, &critical, nullptr)),
      BASIC_CONSTRAINTS_free);
  if (!constraints) {
    if (critical == -2) return bad("two basic constraints");
    return false;
  }
  if (constraints->ca == 0) return false;
  if ((X509_get_extension_flags(x509) & EXFLAG_KUSAGE) == 0 ||
      (X509_get_key_usage(x509) & KU_KEY_CERT_SIGN) == 0) {
    return bad("a CA that may not sign certificates");
  }
  return true;
}

}  // namespace

Result<int64_t> x509_seconds(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return bad("unreadable time");
  return static_cast<int64_t>(timegm(&parts));
}

std::string x509_common_name(const X509_NAME* name) {
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, index) >= 0) return {};
  const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

Result<PublicKey> PublicKey::from_point(ByteView xy) {
  if (xy.size() != 64) return bad("point size");
  PublicKey out;
  out.point_[0] = 4;
  std::memcpy(out.point_.data() + 1, xy.data(), 64);
  char group[] = "prime256v1";
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, out.point_.data(), out.point_.size()),
      OSSL_PARAM_construct_end(),
  };
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr), EVP_PKEY_CTX_free);
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1) {
    return Error(Code::Integrity, "key: not a point on P-256");
  }
  out.key_ = std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free);
  return out;
}

bool PublicKey::verify(ByteView message, ByteView signature) const {
  if (signature.size() != 64) return false;
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(ECDSA_SIG_new(), ECDSA_SIG_free);
  BIGNUM* r = BN_bin2bn(signature.data(), 32, nullptr);
  BIGNUM* s = BN_bin2bn(signature.data() + 32, 32, nullptr);
  if (!pair || ECDSA_SIG_set0(pair.get(), r, s) != 1) return false;
  uint8_t* der = nullptr;
  const int size = i2d_ECDSA_SIG(pair.get(), &der);
  if (size <= 0) return false;
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const bool ok =
      context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
      EVP_DigestVerify(context.get(), der, static_cast<size_t>(size), message.data(), message.size()) == 1;
  OPENSSL_free(der);
  return ok;
}

Result<Certificate> Certificate::from_der(ByteView der) {
  if (der.size() > kMaxCertificateSize) return bad("too large");
  const uint8_t* at = der.data();
  X509* raw = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
  if (raw == nullptr || at != der.data() + der.size()) {
    X509_free(raw);
    return bad("does not decode");
  }
  Certificate out;
  out.x509_ = std::shared_ptr<X509>(raw, X509_free);
  out.der_.assign(der.begin(), der.end());
  if (!is_ecdsa_sha256(X509_get_signature_nid(raw))) return bad("not signed with ECDSA and SHA-256");
  out.common_name_ = x509_common_name(X509_get_subject_name(raw));
  out.key_.key_ = std::shared_ptr<EVP_PKEY>(X509_get_pubkey(raw), EVP_PKEY_free);
  out.key_.point_ = TRY(p256_point(out.key_.key_.get()));
  out.window_.from = TRY(x509_seconds(X509_get0_notBefore(raw)));
  out.window_.to = TRY(x509_seconds(X509_get0_notAfter(raw)));
  out.window_.what = "certificate " + out.common_name_;
  out.is_ca_ = TRY(ca_bit(raw));
  return out;
}

bool Certificate::self_issued() const {
  return X509_NAME_cmp(X509_get_subject_name(x509_.get()), X509_get_issuer_name(x509_.get())) == 0;
}
bool Certificate::issued_by(const Certificate& issuer) const {
  return X509_NAME_cmp(X509_get_issuer_name(x509_.get()), X509_get_subject_name(issuer.x509_.get())) == 0;
}
bool Certificate::signed_by(const PublicKey& issuer_key) const {
  return X509_verify(x509_.get(), issuer_key.handle()) == 1;
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

Result<Bytes> Certificate::extension(const char* oid) const { return x509_extension(x509_.get(), oid); }

KnownCertificates::Entry* KnownCertificates::entry(ByteView der) {
  for (Entry& entry : entries_) {
    if (std::ranges::equal(entry.certificate.der(), der)) return &entry;
  }
  return nullptr;
}
const Certificate* KnownCertificates::find(ByteView der) const {
  const Entry* found = const_cast<KnownCertificates*>(this)->entry(der);
  return found != nullptr ? &found->certificate : nullptr;
}
bool KnownCertificates::verified(const Certificate& certificate, const PublicKey& issuer_key) const {
  const Entry* found = const_cast<KnownCertificates*>(this)->entry(certificate.der());
  return found != nullptr && std::find(found->issuer_keys.begin(), found->issuer_keys.end(),
                                       issuer_key.point()) != found->issuer_keys.end();
}
void KnownCertificates::add(const Certificate& certificate) {
  if (entry(certificate.der()) == nullptr) entries_.push_back({certificate, {}});
}
void KnownCertificates::add_verified(const Certificate& certificate, const PublicKey& issuer_key) {
  add(certificate);
  entry(certificate.der())->issuer_keys.push_back(issuer_key.point());
}

Result<std::vector<Bytes>> certificate_blocks(std::string_view pem) {
  std::vector<Bytes> out;
  if (pem.size() > kMaxCertificates * kMaxCertificateSize * 2) return bad("chain too large");
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free_all);
  while (bio) {
    char* name = nullptr;
    char* header = nullptr;
    uint8_t* data = nullptr;
    long size = 0;
    if (PEM_read_bio(bio.get(), &name, &header, &data, &size) != 1) break;
    const bool certificate = std::string_view(name) == "CERTIFICATE" && header[0] == '\0';
    const Bytes der(data, data + size);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    if (!certificate) return bad("a PEM block that is no certificate");
    if (out.size() == kMaxCertificates) return bad("chain too long");
    out.push_back(der);
  }
  if (out.empty()) return bad("no certificate in the chain");
  return out;
}

Result<std::vector<Certificate>> certificates_from_pem(std::string_view pem, const KnownCertificates* known) {
  const std::vector<Bytes> blocks = TRY(certificate_blocks(pem));
  std::vector<Certificate> out;
  for (const Bytes& der : blocks) {
    if (const Certificate* same = known != nullptr ? known->find(der) : nullptr) {
      out.push_back(*same);
      continue;
    }
    Certificate decoded = TRY(Certificate::from_der(der));
    out.push_back(std::move(decoded));
  }
  return out;
}

namespace {

Error chain_error(std::string_view what, std::string_view fault) {
  return Error(Code::Integrity, std::string(what) + ": " + std::string(fault));
}

// The one certificate that issued no other; all others must be on its path.
Result<size_t> find_leaf(const std::vector<Certificate>& all, std::string_view what) {
  size_t leaf = all.size();
  for (size_t i = 0; i < all.size(); ++i) {
    bool issues = all[i].self_issued();
    for (size_t j = 0; j < all.size() && !issues; ++j) issues = j != i && all[j].issued_by(all[i]);
    if (issues) continue;
    if (leaf != all.size()) return chain_error(what, "two leaves");
    leaf = i;
  }
  if (leaf == all.size()) return chain_error(what, "no leaf");
  return leaf;
}

}  // namespace

Result<Chain> build_chain(std::vector<Certificate> all, const std::vector<TrustAnchor>& anchors,
                          std::string_view what, const KnownCertificates* known) {
  const auto good = [&](const Certificate& certificate, const PublicKey& key) {
    return (known != nullptr && known->verified(certificate, key)) || certificate.signed_by(key);
  };
  size_t at = TRY(find_leaf(all, what));
  Chain chain;
  std::vector<bool> used(all.size());
  for (;;) {
    used[at] = true;
    chain.certificates.push_back(all[at]);
    const Certificate& current = chain.certificates.back();
    if (chain.certificates.size() > 1 && !current.is_ca()) return chain_error(what, "an issuer is not a CA");
    if (current.self_issued()) {
      if (!good(current, current.key())) return chain_error(what, "root signature");
      break;
    }
    size_t issuer = all.size();
    for (size_t i = 0; i < all.size(); ++i) {
      if (!used[i] && current.issued_by(all[i])) issuer = i;
    }
    if (issuer == all.size()) return chain_error(what, "does not reach a root");
    if (!good(current, all[issuer].key())) return chain_error(what, "signature of " + current.common_name());
    at = issuer;
  }
  if (chain.certificates.size() != all.size())
    return chain_error(what, "certificates that do not belong to it");
  if (chain.certificates.size() < 2 || chain.leaf().is_ca()) return chain_error(what, "no leaf");
  for (const TrustAnchor& anchor : anchors) {
    if (anchor.root_key == chain.root().key().point()) {
      chain.simulation = anchor.simulation;
      return chain;
    }
  }
  return chain_error(what, "its root is not trusted");
}

Result<Bytes> crl_der(std::string_view text) {
  if (text.empty()) return Bytes();
  if (text.size() > 2 * kMaxCrlSize) return bad("revocation list too large");
  if (text.find("-----BEGIN X509 CRL-----") != std::string_view::npos) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(
        BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free_all);
    char* name = nullptr;
    char* header = nullptr;
    uint8_t* data = nullptr;
    long size = 0;
    // Not the reader of lists: that one would ask a terminal for the password of an encrypted block.
    if (!bio || PEM_read_bio(bio.get(), &name, &header, &data, &size) != 1)
      return bad("a revocation list is not PEM");
    const bool plain = std::string_view(name) == "X509 CRL" && header[0] == '\0';
    Bytes out(data, data + size);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    if (!plain) return bad("a revocation list is not plain PEM");
    return out;
  }
  if (text[0] == '\x30') return Bytes(text.begin(), text.end());
  const size_t end = text.find_last_not_of(" \r\n");
  return from_hex(text.substr(0, end == std::string_view::npos ? 0 : end + 1));
}

Result<Crl> Crl::from_der(ByteView der) {
  if (der.size() > kMaxCrlSize) return bad("revocation list too large");
  const uint8_t* at = der.data();
  X509_CRL* raw = d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size()));
  if (raw == nullptr || at != der.data() + der.size()) {
    X509_CRL_free(raw);
    return bad("revocation list does not decode");
  }
  Crl out;
  out.crl_ = std::shared_ptr<X509_CRL>(raw, X509_CRL_free);
  if (!is_ecdsa_sha256(X509_CRL_get_signature_nid(raw)))
    return bad("revocation list not signed with ECDSA, SHA-256");
  out.window_.from = TRY(x509_seconds(X509_CRL_get0_lastUpdate(raw)));
  out.window_.to = TRY(x509_seconds(X509_CRL_get0_nextUpdate(raw)));
  out.window_.what = "revocation list of " + x509_common_name(X509_CRL_get_issuer(raw));
  return out;
}

bool Crl::issued_by(const Certificate& issuer) const {
  return X509_NAME_cmp(X509_CRL_get_issuer(crl_.get()), X509_get_subject_name(issuer.handle())) == 0;
}
bool Crl::signed_by(const PublicKey& key) const { return X509_CRL_verify(crl_.get(), key.handle()) == 1; }
bool Crl::revokes(const Certificate& certificate) const {
  X509_REVOKED* entry = nullptr;
  return X509_CRL_get0_by_cert(crl_.get(), &entry, certificate.handle()) == 1;
}

}  // namespace cloister::attestation
