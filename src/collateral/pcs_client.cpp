#include "collateral/pcs_client.h"

#include "attestation/tcb_json.h"
#include "attestation/trusted_collateral.h"
#include "base/text.h"

namespace cloister::collateral {
namespace {

using attestation::Tee;

constexpr size_t kMaxAnswer = 4 << 20;
constexpr size_t kMaxChain = 64 << 10;

std::string url_of(const ArtefactKey& key, const PcsOptions& options) {
  std::string base = options.base_url;
  while (base.ends_with('/')) base.pop_back();
  const std::string sgx = base + "/sgx/certification/v4/";
  const std::string own = key.tee == Tee::Tdx ? base + "/tdx/certification/v4/" : sgx;
  switch (key.kind) {
    case ArtefactKind::TcbInfo:
      return own + "tcb?fmspc=" + key.variant;
    case ArtefactKind::QeIdentity:
      return own + "qe/identity";
    case ArtefactKind::PckCrl:
      return sgx + "pckcrl?ca=" + key.variant + "&encoding=der";
    case ArtefactKind::RootCrl:
      return options.root_crl_url.empty() ? sgx + "rootcacrl" : options.root_crl_url;
  }
  return "";
}

Result<std::string> chain_header(const http::ClientResponse& answer,
                                 std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const std::string_view value = answer.header(name);
    if (value.size() > kMaxChain) return Error(Code::Malformed, std::string(name) + ": too large");
    if (!value.empty()) return percent_decode(value);
  }
  return Error(Code::Malformed, std::string("an answer without the header ") + *names.begin());
}

Result<RawArtefact> signed_json(const http::ClientResponse& answer, std::string_view body_key,
                                std::initializer_list<const char*> headers) {
  RawArtefact out;
  attestation::SignedJson parts = TRY(attestation::split_signed_json(answer.body, body_key));
  if (parts.signature.empty()) return Error(Code::Malformed, std::string(body_key) + " without signature");
  out.body = std::move(parts.text);
  out.signature = std::move(parts.signature);
  out.issuer_chain = TRY(chain_header(answer, headers));
  return out;
}

Result<RawArtefact> read_answer(const ArtefactKey& key, const http::ClientResponse& answer) {
  RawArtefact out;
  switch (key.kind) {
    case ArtefactKind::TcbInfo:
      return signed_json(answer, "tcbInfo", {"tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain"});
    case ArtefactKind::QeIdentity:
      return signed_json(answer, "enclaveIdentity", {"sgx-enclave-identity-issuer-chain"});
    case ArtefactKind::PckCrl:
      out.issuer_chain = TRY(chain_header(answer, {"sgx-pck-crl-issuer-chain"}));
      break;
    case ArtefactKind::RootCrl:
      break;
  }
  const Bytes der = TRY(attestation::crl_der(answer.body));
  out.body = std::string(as_text(der));
  return out;
}

}  // namespace

Result<RawArtefact> fetch_artefact(const ArtefactKey& key, const PcsOptions& options) {
  if (options.base_url.empty()) {
    return Error(Code::Unavailable, key.name() + ": no collateral service is configured",
                 "Give its URL, or import a bundle.");
  }
  const auto answer = TRY(http::fetch("GET", url_of(key, options), "", {}, options.http, kMaxAnswer));
  if (answer.status != 200) {
    const bool later = answer.status >= 500 || answer.status == 429 || answer.status == 408;
    const Code code = later ? Code::Unavailable : answer.status == 404 ? Code::NotFound : Code::Malformed;
    return Error(code, key.name() + ": the collateral service answers " + std::to_string(answer.status));
  }
  auto raw = read_answer(key, answer);
  if (!raw.ok()) return std::move(raw.error()).within(key.name());
  return raw;
}

}  // namespace cloister::collateral
