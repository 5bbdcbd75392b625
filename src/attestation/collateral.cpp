// Collateral: from text to what was signed under a trusted root.
#include "attestation/json.h"
#include "attestation/trusted_collateral.h"

namespace cloister::attestation {
namespace {

constexpr size_t kMaxBundleSize = 8 << 20;

Error bad(std::string_view what) { return Error(Code::Malformed, "collateral: " + std::string(what)); }
Error refused(std::string_view what) { return Error(Code::Integrity, "collateral: " + std::string(what)); }

Result<std::string> optional_string(const Json& json, const char* key) {
  if (!json.contains(key) || json.at(key).is_null()) return std::string();
  return json_string(json, key);
}

Result<void> read_signed(const Json& json, const char* key, const char* signature_key,
                         std::string_view body_key, std::string& text, Bytes& signature) {
  text = TRY(json_string(json, key));
  if (json.contains(signature_key)) {
    const std::string hex = TRY(json_string(json, signature_key));
    signature = TRY(from_hex(hex));
    return {};
  }
  SignedJson parts = TRY(split_signed_json(text, body_key));
  if (parts.signature.empty()) return bad(std::string(key) + " without signature");
  text = std::move(parts.text);
  signature = std::move(parts.signature);
  return {};
}

void add_windows(const Chain& chain, TrustedCollateral& out) {
  for (const Certificate& certificate : chain.certificates) out.windows.push_back(certificate.window());
}

Result<void> trust_root_crl(const CollateralBundle& bundle, const Chain& signer, TrustedCollateral& out) {
  if (bundle.root_ca_crl.empty()) return {};
  Crl crl = TRY(Crl::from_der(bundle.root_ca_crl));
  if (!crl.issued_by(signer.root())) return refused("root revocation list: another issuer");
  if (!crl.signed_by(signer.root().key())) return refused("root revocation list: signature");
  out.windows.push_back(crl.window());
  out.root_crl = std::move(crl);
  return {};
}

Result<void> trust_pck_crl(const CollateralBundle& bundle, TrustedCollateral& out) {
  if (bundle.pck_crl.empty()) return {};
  Crl crl = TRY(Crl::from_der(bundle.pck_crl));
  out.windows.push_back(crl.window());
  // The chain that came with it saves a signature check per quote; a quote under another CA key checks anew.
  auto certificates = certificates_from_pem(bundle.pck_crl_issuer_chain, &out.known);
  if (certificates.ok()) {
    for (const Certificate& certificate : *certificates) {
      if (certificate.issued_by(out.root) && !certificate.self_issued() &&
          certificate.signed_by(out.root.key())) {
        out.known.add_verified(certificate, out.root.key());
      }
      if (crl.issued_by(certificate) && crl.signed_by(certificate.key())) out.pck_crl_key = certificate.key();
    }
  }
  out.pck_crl = std::move(crl);
  return {};
}

Result<void> check_signature(const Chain& signer, std::string_view text, ByteView signature,
                             std::string_view what) {
  if (signer.leaf().key().verify(as_bytes(text), signature)) return {};
  return refused(std::string(what) + ": signature");
}

}  // namespace

// Chain of a TCB signer: leaf "… TCB Signing" issued by the root, not revoked.
Result<Chain> tcb_signer_chain(const std::string& pem, const std::vector<TrustAnchor>& anchors,
                               std::string_view what, KnownCertificates& known) {
  std::vector<Certificate> certificates = TRY(certificates_from_pem(pem, &known));
  Chain chain = TRY(build_chain(std::move(certificates), anchors, what, &known));
  for (size_t i = 0; i < chain.certificates.size(); ++i) {
    const size_t issuer = std::min(i + 1, chain.certificates.size() - 1);
    known.add_verified(chain.certificates[i], chain.certificates[issuer].key());
  }
  if (chain.certificates.size() != 2) return refused(std::string(what) + ": not signer and root");
  if (chain.leaf().common_name() != kTcbSigningName)
    return refused(std::string(what) + ": wrong signer name");
  if (chain.root().common_name() != kRootName) return refused(std::string(what) + ": wrong root name");
  return chain;
}

Result<CollateralBundle> parse_collateral_bundle(std::string_view text) {
  const Json json = TRY(parse_json_object(text, kMaxBundleSize, "collateral"));
  CollateralBundle out;
  out.pck_crl_issuer_chain = TRY(optional_string(json, "pck_crl_issuer_chain"));
  out.tcb_info_issuer_chain = TRY(json_string(json, "tcb_info_issuer_chain"));
  out.qe_identity_issuer_chain = TRY(json_string(json, "qe_identity_issuer_chain"));
  out.pck_certificate_chain = TRY(optional_string(json, "pck_certificate_chain"));
  const std::string root_crl = TRY(optional_string(json, "root_ca_crl"));
  const std::string pck_crl = TRY(optional_string(json, "pck_crl"));
  out.root_ca_crl = TRY(crl_der(root_crl));
  out.pck_crl = TRY(crl_der(pck_crl));
  TRY(read_signed(json, "tcb_info", "tcb_info_signature", "tcbInfo", out.tcb_info, out.tcb_info_signature));
  TRY(read_signed(json, "qe_identity", "qe_identity_signature", "enclaveIdentity", out.qe_identity,
                  out.qe_identity_signature));
  return out;
}

std::string collateral_bundle_json(const CollateralBundle& bundle) {
  const Json json = {{"pck_crl_issuer_chain", bundle.pck_crl_issuer_chain},
                     {"root_ca_crl", to_hex(bundle.root_ca_crl)},
                     {"pck_crl", to_hex(bundle.pck_crl)},
                     {"tcb_info_issuer_chain", bundle.tcb_info_issuer_chain},
                     {"tcb_info", bundle.tcb_info},
                     {"tcb_info_signature", to_hex(bundle.tcb_info_signature)},
                     {"qe_identity_issuer_chain", bundle.qe_identity_issuer_chain},
                     {"qe_identity", bundle.qe_identity},
                     {"qe_identity_signature", to_hex(bundle.qe_identity_signature)},
                     {"pck_certificate_chain", bundle.pck_certificate_chain}};
  return json.dump();
}

Result<std::shared_ptr<const TrustedCollateral>> trust_collateral(const CollateralBundle& bundle,
                                                                  const std::vector<TrustAnchor>& anchors) {
  KnownCertificates known;
  const Chain tcb_signer =
      TRY(tcb_signer_chain(bundle.tcb_info_issuer_chain, anchors, "TCB info chain", known));
  const Chain qe_signer =
      TRY(tcb_signer_chain(bundle.qe_identity_issuer_chain, anchors, "QE identity chain", known));
  if (tcb_signer.root().key().point() != qe_signer.root().key().point())
    return refused("chains under two roots");
  TRY(check_signature(tcb_signer, bundle.tcb_info, bundle.tcb_info_signature, "TCB info"));
  TRY(check_signature(qe_signer, bundle.qe_identity, bundle.qe_identity_signature, "QE identity"));
  TcbInfo tcb_info = TRY(parse_tcb_info(bundle.tcb_info));
  QeIdentity qe_identity = TRY(parse_qe_identity(bundle.qe_identity));
  auto out = std::make_shared<TrustedCollateral>(anchors, tcb_signer.simulation, tcb_signer.root(),
                                                 std::move(tcb_info), std::move(qe_identity));
  out->known = std::move(known);
  add_windows(tcb_signer, *out);
  add_windows(qe_signer, *out);
  out->windows.push_back({out->tcb_info.issued, out->tcb_info.next_update, "TCB info"});
  out->windows.push_back({out->qe_identity.issued, out->qe_identity.next_update, "QE identity"});
  TRY(trust_root_crl(bundle, tcb_signer, *out));
  if (out->root_crl &&
      (out->root_crl->revokes(tcb_signer.leaf()) || out->root_crl->revokes(qe_signer.leaf()))) {
    return refused("the TCB signer is revoked");
  }
  TRY(trust_pck_crl(bundle, *out));
  if (!bundle.pck_certificate_chain.empty())
    out->pck_chain = TRY(certificates_from_pem(bundle.pck_certificate_chain, &out->known));
  return std::shared_ptr<const TrustedCollateral>(std::move(out));
}

}  // namespace cloister::attestation
