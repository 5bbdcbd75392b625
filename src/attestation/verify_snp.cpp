// The checks of an SNP report, one after the other, each with its own name.
#include "attestation/verify_snp.h"

#include <algorithm>

#include "attestation/amd_x509.h"
#include "attestation/binding.h"
#include "attestation/snp_report.h"

namespace cloister::attestation {
namespace {

constexpr uint8_t kVcek = 0, kVlek = 1;
constexpr uint8_t kTurinFamily = 0x1a;
constexpr size_t kTurinChipIdSize = 8;
constexpr std::string_view kRootPrefix = "ARK-";

Error refused(std::string_view check) { return Error(Code::Integrity, std::string(check)); }

struct AmdChain {
  AmdCertificate leaf, intermediate, root;
  std::string line;  // Milan, Genoa, Turin
  bool vlek = false;
  bool simulation = false;
};

Result<AmdCertificate> single(ByteView bytes, std::string_view what) {
  std::vector<AmdCertificate> all = TRY(amd_certificates(bytes));
  if (all.size() != 1) return Error(Code::Malformed, std::string(what) + ": not exactly one certificate");
  return std::move(all.front());
}

Result<void> find_root(const std::vector<SnpAnchor>& anchors, AmdChain& chain) {
  const std::string& name = chain.root.common_name();
  if (!name.starts_with(kRootPrefix)) return refused("SNP chain: no ARK");
  chain.line = name.substr(kRootPrefix.size());
  for (const SnpAnchor& anchor : anchors) {
    if (anchor.spki_sha256 != chain.root.spki_sha256() || anchor.product_line != chain.line) continue;
    chain.simulation = anchor.simulation;
    return {};
  }
  return refused("SNP chain: its root is not trusted: " + name);
}

Result<void> check_names(AmdChain& chain) {
  const std::string& leaf = chain.leaf.common_name();
  if (leaf != "SEV-VCEK" && leaf != "SEV-VLEK") return refused("SNP chain: wrong leaf name");
  chain.vlek = leaf == "SEV-VLEK";
  const std::string wanted = (chain.vlek ? "SEV-VLEK-" : "SEV-") + chain.line;
  if (chain.intermediate.common_name() != wanted) {
    return refused("SNP chain: " + leaf + " issued by another than " + wanted);
  }
  if (!chain.leaf.has_p384_key()) return refused("SNP chain: the leaf's key is not P-384");
  return {};
}

Result<AmdChain> check_chain(const SnpEvidence& evidence, const std::vector<SnpAnchor>& anchors) {
  std::vector<AmdCertificate> issuers = TRY(amd_certificates(evidence.chain));
  if (issuers.size() != 2) return refused("SNP chain: not ASK and ARK");
  if (issuers[0].issued_by(issuers[0])) std::swap(issuers[0], issuers[1]);
  AmdChain chain;
  chain.leaf = TRY(single(evidence.leaf, "SNP leaf"));
  chain.intermediate = std::move(issuers[0]);
  chain.root = std::move(issuers[1]);
  TRY(find_root(anchors, chain));
  TRY(check_names(chain));
  if (!chain.root.issued_by(chain.root) || !chain.root.signed_by(chain.root)) {
    return refused("SNP chain: root signature");
  }
  if (!chain.root.is_ca() || !chain.intermediate.is_ca()) return refused("SNP chain: an issuer is not a CA");
  if (chain.leaf.is_ca()) return refused("SNP chain: the leaf is a CA");
  if (!chain.intermediate.issued_by(chain.root) || !chain.intermediate.signed_by(chain.root)) {
    return refused("SNP chain: signature of " + chain.intermediate.common_name());
  }
  if (!chain.leaf.issued_by(chain.intermediate) || !chain.leaf.signed_by(chain.intermediate)) {
    return refused("SNP chain: signature of " + chain.leaf.common_name());
  }
  return chain;
}

// AMD revokes intermediates; every VCEK has serial 0, so a list cannot name one.
Result<std::optional<Window>> check_revocation(const SnpEvidence& evidence, const AmdChain& chain,
                                               const VerifyOptions& options) {
  std::optional<Window> none;
  if (evidence.crl.empty()) {
    if (!options.accept_missing_crls) return refused("revocation: the list is missing");
    return none;
  }
  const AmdCrl crl = TRY(AmdCrl::parse(evidence.crl));
  if (!crl.issued_by(chain.root)) return refused("revocation: the list is of another root");
  if (!crl.signed_by(chain.root)) return refused("revocation: signature of the list");
  if (crl.revokes(chain.intermediate)) return refused("revocation: the ASK is revoked");
  return std::optional<Window>(crl.window());
}

Result<int64_t> check_time(const AmdChain& chain, const std::optional<Window>& crl, int64_t now) {
  std::vector<Window> windows = {chain.leaf.window(), chain.intermediate.window(), chain.root.window()};
  if (crl) windows.push_back(*crl);
  return check_windows(windows, now);
}

// The byte order of TCB numbers. Version 2 reports carry no CPUID: there the certificate decides.
Result<bool> turin_layout(const SnpReport& report, const AmdLeafFields& fields, const AmdChain& chain) {
  const bool turin = report.has_cpuid ? report.cpu_family >= kTurinFamily : fields.fmc.has_value();
  if (!chain.simulation && turin != (chain.line == "Turin")) {
    return refused("SNP report: its CPU family is not of the product line " + chain.line);
  }
  if (turin && !fields.fmc) return refused("SNP leaf: no TCB extension for the FMC");
  return turin;
}

// The leaf was made for exactly this firmware: every number must be the reported one.
Result<void> check_tcb(const SnpReport& report, const AmdLeafFields& fields, bool turin) {
  const SnpTcb certified = {turin ? *fields.fmc : uint8_t{0}, fields.boot_loader, fields.tee, fields.snp,
                            fields.microcode};
  if (decode_snp_tcb(report.reported_tcb, turin) != certified) {
    return refused("SNP report: REPORTED_TCB is not the certificate's");
  }
  // Reserved levels 4 to 7 stand in bytes 2 to 5, Turin's 5 to 7 in bytes 4 to 6.
  for (size_t i = turin ? 1 : 0; i < fields.spl4_to_7.size(); ++i) {
    const std::optional<uint8_t>& value = fields.spl4_to_7[i];
    if (value && report.reported_tcb[i + (turin ? 3 : 2)] != *value) {
      return refused("SNP report: a reserved level of REPORTED_TCB is not the certificate's");
    }
  }
  return {};
}

bool is_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

Result<void> check_chip(const SnpReport& report, const AmdLeafFields& fields, bool turin) {
  const ByteView chip = report.facts.chip_id;
  if (fields.hwid.empty()) return refused("SNP leaf: a VCEK without HWID");
  const size_t size = turin ? kTurinChipIdSize : chip.size();
  if (fields.hwid.size() != size && fields.hwid.size() != chip.size()) {
    return refused("SNP leaf: HWID of " + std::to_string(fields.hwid.size()) + " bytes");
  }
  if (report.facts.chip_id_masked) {
    if (!is_zero(chip)) return refused("SNP report: CHIP_ID is masked and not zero");
    return {};
  }
  const ByteView rest = chip.subspan(fields.hwid.size());
  if (!std::equal(fields.hwid.begin(), fields.hwid.end(), chip.begin()) || !is_zero(rest)) {
    return refused("SNP report: CHIP_ID is not the certificate's HWID");
  }
  return {};
}

// Returns whether TCB numbers are in Turin's order.
Result<bool> check_leaf(const SnpReport& report, const AmdLeafFields& fields, const AmdChain& chain) {
  if (report.signing_key != kVcek && report.signing_key != kVlek) {
    return refused("SNP report: signing key " + std::to_string(report.signing_key));
  }
  if ((report.signing_key == kVlek) != chain.vlek) {
    return refused("SNP report: signed by another kind of key than the certificate's");
  }
  if (fields.product != chain.line && !fields.product.starts_with(chain.line + "-")) {
    return refused("SNP leaf: product " + fields.product + " under the root of " + chain.line);
  }
  const bool turin = TRY(turin_layout(report, fields, chain));
  TRY(check_tcb(report, fields, turin));
  if (!chain.vlek) TRY(check_chip(report, fields, turin));
  if (chain.vlek && fields.csp_id.empty()) return refused("SNP leaf: a VLEK without CSP_ID");
  return turin;
}

void fill(const SnpReport& report, const AmdChain& chain, bool turin, Verdict& v) {
  SnpFacts& facts = v.snp.emplace(report.facts);
  facts.product_line = chain.line;
  facts.vlek = chain.vlek;
  facts.current_tcb = decode_snp_tcb(report.current_tcb, turin);
  facts.reported_tcb = decode_snp_tcb(report.reported_tcb, turin);
  facts.committed_tcb = decode_snp_tcb(report.committed_tcb, turin);
  facts.launch_tcb = decode_snp_tcb(report.launch_tcb, turin);
  v.tee = Tee::Snp;
  v.quote_version = static_cast<uint16_t>(report.version);
  v.status = TcbStatus::Unrated;
  v.simulated = chain.simulation;
  v.debug = (facts.policy >> 19 & 1) != 0;
  v.smt_enabled = (facts.platform_info & 1) != 0;
  v.report_data = report.report_data;
}

}  // namespace

Result<Verdict> verify_snp(const SnpEvidence& evidence, const std::vector<SnpAnchor>& anchors, int64_t now,
                           const std::optional<ByteArray<64>>& expected_report_data,
                           const VerifyOptions& options) {
  const SnpReport report = TRY(parse_snp_report(evidence.report));
  const AmdChain chain = TRY(check_chain(evidence, anchors));
  const std::optional<Window> crl = TRY(check_revocation(evidence, chain, options));
  Verdict v;
  v.revocation_checked = crl.has_value();
  v.earliest_expiry = TRY(check_time(chain, crl, now));
  const AmdLeafFields fields = TRY(amd_leaf_fields(chain.leaf));
  const bool turin = TRY(check_leaf(report, fields, chain));
  if (!chain.leaf.verify(report.signed_part, report.r, report.s)) return refused("SNP report signature");
  fill(report, chain, turin, v);
  v.snp->csp_id = fields.csp_id;
  if (expected_report_data && !equal_constant_time(*expected_report_data, v.report_data)) {
    return other_report_data("report", v.report_data);
  }
  return v;
}

std::vector<SnpAnchor> amd_roots() {
  // SHA-256 of the SubjectPublicKeyInfo in https://kdsintf.amd.com/vcek/v1/{Milan,Genoa,Turin}/cert_chain,
  // last certificate.
  static constexpr std::pair<std::string_view, std::string_view> kRoots[] = {
      {"Milan", "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"},
      {"Genoa", "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831"},
      {"Turin", "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08"},
  };
  std::vector<SnpAnchor> out;
  for (const auto& [line, digest] : kRoots) {
    out.push_back({std::string(line), array_from_hex<32>(digest).value(), false});
  }
  return out;
}

Result<SnpAnchor> snp_anchor_from_certificate(ByteView bytes) {
  const AmdCertificate certificate = TRY(single(bytes, "root"));
  const std::string& name = certificate.common_name();
  if (!name.starts_with(kRootPrefix))
    return Error(Code::Malformed, "root: its name is not ARK-<product line>");
  return SnpAnchor{name.substr(kRootPrefix.size()), certificate.spki_sha256(), true};
}

}  // namespace cloister::attestation
