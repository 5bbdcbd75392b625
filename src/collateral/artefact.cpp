#include "collateral/artefact.h"

#include <algorithm>

#include "attestation/json.h"
#include "attestation/trusted_collateral.h"

namespace cloister::collateral {
namespace {

using namespace attestation;

constexpr size_t kMaxFile = 8 << 20;

Error refused(const ArtefactKey& key, std::string_view fault) {
  return Error(Code::Integrity, key.name() + ": " + std::string(fault));
}

Result<void> verify_signed_json(const ArtefactKey& key, const std::vector<TrustAnchor>& anchors,
                                Artefact& out) {
  KnownCertificates known;
  const Chain signer = TRY(tcb_signer_chain(out.raw.issuer_chain, anchors, key.name(), known));
  if (!signer.leaf().key().verify(as_bytes(out.raw.body), out.raw.signature))
    return refused(key, "signature");
  Tee tee = Tee::Sgx;
  if (key.kind == ArtefactKind::TcbInfo) {
    const TcbInfo info = TRY(parse_tcb_info(out.raw.body));
    if (to_hex(info.fmspc) != key.variant) return refused(key, "is for another FMSPC");
    tee = info.tee;
    out.issued = info.issued;
    out.expires = info.next_update;
    out.evaluation_number = info.evaluation_number;
  } else {
    const QeIdentity identity = TRY(parse_qe_identity(out.raw.body));
    tee = identity.tee;
    out.issued = identity.issued;
    out.expires = identity.next_update;
    out.evaluation_number = identity.evaluation_number;
  }
  if (tee != key.tee) return refused(key, "is for another TEE");
  for (const Certificate& certificate : signer.certificates) {
    out.expires = std::min(out.expires, certificate.window().to);
  }
  return {};
}

Result<void> verify_root_crl(const ArtefactKey& key, const std::vector<TrustAnchor>& anchors, Artefact& out) {
  const Crl crl = TRY(Crl::from_der(as_bytes(out.raw.body)));
  out.issued = crl.window().from;
  out.expires = crl.window().to;
  for (const TrustAnchor& anchor : anchors) {
    const PublicKey root = TRY(PublicKey::from_point(ByteView(anchor.root_key).subspan(1)));
    if (crl.signed_by(root)) return {};
  }
  return refused(key, "signature");
}

// The chain of a PCK CA's list is that CA and a trusted root.
Result<void> verify_pck_crl(const ArtefactKey& key, const std::vector<TrustAnchor>& anchors, Artefact& out) {
  std::vector<Certificate> chain = TRY(certificates_from_pem(out.raw.issuer_chain));
  if (chain.size() != 2) return refused(key, "its chain is not CA and root");
  if (chain[0].self_issued()) std::swap(chain[0], chain[1]);
  const bool trusted = std::any_of(anchors.begin(), anchors.end(), [&](const TrustAnchor& anchor) {
    return anchor.root_key == chain[1].key().point();
  });
  if (!trusted) return refused(key, "its root is not trusted");
  const bool platform = key.variant == "platform";
  if (chain[0].common_name() != (platform ? kPlatformCaName : kProcessorCaName)) {
    return refused(key, "is of another CA");
  }
  if (!chain[0].is_ca() || !chain[0].issued_by(chain[1]) || !chain[0].signed_by(chain[1].key())) {
    return refused(key, "signature of its CA");
  }
  const Crl crl = TRY(Crl::from_der(as_bytes(out.raw.body)));
  if (!crl.issued_by(chain[0]) || !crl.signed_by(chain[0].key())) return refused(key, "signature");
  out.issued = crl.window().from;
  out.expires = std::min({crl.window().to, chain[0].window().to, chain[1].window().to});
  return {};
}

std::string_view ca_of_chain(const std::string& pem) {
  const auto chain = certificates_from_pem(pem);
  if (!chain.ok()) return "";
  for (const Certificate& certificate : *chain) {
    if (certificate.common_name() == kPlatformCaName) return "platform";
    if (certificate.common_name() == kProcessorCaName) return "processor";
  }
  return "";
}

}  // namespace

std::string ArtefactKey::name() const {
  const std::string prefix = tee == Tee::Tdx ? "tdx-" : "sgx-";
  switch (kind) {
    case ArtefactKind::TcbInfo:
      return prefix + "tcb-" + variant;
    case ArtefactKind::QeIdentity:
      return prefix + "qe";
    case ArtefactKind::PckCrl:
      return "pckcrl-" + variant;
    case ArtefactKind::RootCrl:
      return "rootcrl";
  }
  return "";
}

std::optional<ArtefactKey> parse_artefact_name(std::string_view name) {
  if (name == "rootcrl") return ArtefactKey{};
  for (const char* ca : {"platform", "processor"}) {
    if (name == "pckcrl-" + std::string(ca)) return ArtefactKey{ArtefactKind::PckCrl, Tee::Sgx, ca};
  }
  if (!name.starts_with("sgx-") && !name.starts_with("tdx-")) return std::nullopt;
  const Tee tee = name.starts_with("tdx-") ? Tee::Tdx : Tee::Sgx;
  name.remove_prefix(4);
  if (name == "qe") return ArtefactKey{ArtefactKind::QeIdentity, tee, ""};
  if (!name.starts_with("tcb-")) return std::nullopt;
  const auto fmspc = array_from_hex<6>(name.substr(4));
  if (!fmspc.ok() || to_hex(*fmspc) != name.substr(4)) return std::nullopt;
  return ArtefactKey{ArtefactKind::TcbInfo, tee, to_hex(*fmspc)};
}

Result<Artefact> verify_artefact(const ArtefactKey& key, RawArtefact raw,
                                 const std::vector<TrustAnchor>& anchors) {
  Artefact out;
  out.key = key;
  out.raw = std::move(raw);
  switch (key.kind) {
    case ArtefactKind::TcbInfo:
    case ArtefactKind::QeIdentity:
      TRY(verify_signed_json(key, anchors, out));
      break;
    case ArtefactKind::PckCrl:
      TRY(verify_pck_crl(key, anchors, out));
      break;
    case ArtefactKind::RootCrl:
      TRY(verify_root_crl(key, anchors, out));
      break;
  }
  return out;
}

Result<std::vector<Artefact>> artefacts_of(const CollateralBundle& bundle,
                                           const std::vector<TrustAnchor>& anchors) {
  const TcbInfo info = TRY(parse_tcb_info(bundle.tcb_info));
  const QeIdentity identity = TRY(parse_qe_identity(bundle.qe_identity));
  std::vector<std::pair<ArtefactKey, RawArtefact>> parts;
  parts.push_back({{ArtefactKind::TcbInfo, info.tee, to_hex(info.fmspc)},
                   {bundle.tcb_info, bundle.tcb_info_signature, bundle.tcb_info_issuer_chain}});
  parts.push_back({{ArtefactKind::QeIdentity, identity.tee, ""},
                   {bundle.qe_identity, bundle.qe_identity_signature, bundle.qe_identity_issuer_chain}});
  if (!bundle.pck_crl.empty()) {
    const std::string ca(ca_of_chain(bundle.pck_crl_issuer_chain));
    if (ca.empty()) return Error(Code::Malformed, "the bundle's PCK list has no chain of a PCK CA");
    parts.push_back({{ArtefactKind::PckCrl, Tee::Sgx, ca},
                     {std::string(as_text(bundle.pck_crl)), {}, bundle.pck_crl_issuer_chain}});
  }
  if (!bundle.root_ca_crl.empty()) parts.push_back({{}, {std::string(as_text(bundle.root_ca_crl)), {}, ""}});
  std::vector<Artefact> out;
  out.reserve(parts.size());
  for (auto& [key, raw] : parts) out.push_back(TRY(verify_artefact(key, std::move(raw), anchors)));
  return out;
}

std::string encode_artefact(const Artefact& artefact) {
  const Json json = {{"name", artefact.key.name()},
                     {"body", to_hex(as_bytes(artefact.raw.body))},
                     {"signature", to_hex(artefact.raw.signature)},
                     {"issuer_chain", artefact.raw.issuer_chain}};
  return json.dump(1);
}

Result<RawArtefact> decode_artefact(std::string_view text) {
  const Json json = TRY(parse_json_object(text, kMaxFile, "collateral file"));
  const std::string body = TRY(json_string(json, "body"));
  const std::string signature = TRY(json_string(json, "signature"));
  const Bytes body_bytes = TRY(from_hex(body));
  RawArtefact out;
  out.body = std::string(as_text(body_bytes));
  out.signature = TRY(from_hex(signature));
  out.issuer_chain = TRY(json_string(json, "issuer_chain"));
  return out;
}

}  // namespace cloister::collateral
