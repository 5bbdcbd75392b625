#include "attestation/x509.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>

#include <algorithm>

namespace cloister::attestation {
namespace {

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

}  // namespace

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
  return signature.size() == 64 &&
         ecdsa_verify(key_.get(), EVP_sha256(), message, signature.first(32), signature.last(32));
}

Result<int64_t> check_windows(const std::vector<Window>& windows, int64_t now) {
  int64_t earliest = INT64_MAX;
  for (const Window& window : windows) {
    if (now < window.from) return Error(Code::Integrity, "time: " + window.what + " is not valid yet");
    if (now > window.to) return Error(Code::Integrity, "time: " + window.what + " has expired");
    earliest = std::min(earliest, window.to);
  }
  return earliest;
}

Result<Certificate> Certificate::from_der(ByteView der) {
  Certificate out;
  out.x509_ = TRY(decode_certificate(der));
  X509* raw = out.x509_.get();
  out.der_.assign(der.begin(), der.end());
  if (!is_ecdsa_sha256(X509_get_signature_nid(raw))) return bad("not signed with ECDSA and SHA-256");
  out.common_name_ = x509_common_name(X509_get_subject_name(raw));
  out.key_.key_ = OwnedKey(X509_get_pubkey(raw));
  out.key_.point_ = TRY(p256_point(out.key_.key_.get()));
  out.window_ = TRY(x509_window(raw));
  out.is_ca_ = TRY(x509_is_ca(raw, KeyUsage::Required));
  return out;
}

bool Certificate::self_issued() const { return x509_issued_by(x509_.get(), x509_.get()); }
bool Certificate::issued_by(const Certificate& issuer) const {
  return x509_issued_by(x509_.get(), issuer.x509_.get());
}
bool Certificate::signed_by(const PublicKey& issuer_key) const {
  return X509_verify(x509_.get(), issuer_key.handle()) == 1;
}

Result<Bytes> Certificate::extension(const char* oid) const { return x509_extension(x509_.get(), oid); }

size_t KnownCertificates::index(ByteView der) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return std::ranges::equal(entry.certificate.der(), der);
  });
  return static_cast<size_t>(found - entries_.begin());
}
const Certificate* KnownCertificates::find(ByteView der) const {
  const size_t at = index(der);
  return at < entries_.size() ? &entries_[at].certificate : nullptr;
}
bool KnownCertificates::verified(const Certificate& certificate, const PublicKey& issuer_key) const {
  const size_t at = index(certificate.der());
  if (at == entries_.size()) return false;
  const std::vector<ByteArray<65>>& keys = entries_[at].issuer_keys;
  return std::find(keys.begin(), keys.end(), issuer_key.point()) != keys.end();
}
void KnownCertificates::add_verified(const Certificate& certificate, const PublicKey& issuer_key) {
  const size_t at = index(certificate.der());
  if (at == entries_.size()) entries_.push_back({certificate, {}});
  entries_[at].issuer_keys.push_back(issuer_key.point());
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

Result<Crl> Crl::from_der(ByteView der) {
  Crl out;
  out.crl_ = TRY(decode_crl(der));
  if (!is_ecdsa_sha256(X509_CRL_get_signature_nid(out.crl_.get())))
    return bad("revocation list not signed with ECDSA, SHA-256");
  out.window_ = TRY(x509_window(out.crl_.get()));
  return out;
}

bool Crl::issued_by(const Certificate& issuer) const { return x509_issued_by(crl_.get(), issuer.handle()); }
bool Crl::signed_by(const PublicKey& key) const { return X509_CRL_verify(crl_.get(), key.handle()) == 1; }
bool Crl::revokes(const Certificate& certificate) const {
  return x509_revokes(crl_.get(), certificate.handle());
}

}  // namespace cloister::attestation
