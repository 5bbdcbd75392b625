#include "attestation/inspect.h"

#include "attestation/inspect_x509.h"
#include "attestation/json.h"
#include "attestation/pck.h"
#include "attestation/quote.h"
#include "attestation/snp_report.h"
#include "attestation/tcb_json.h"

namespace cloister::attestation {
namespace {

constexpr size_t kMaxSize = 8 << 20;
constexpr size_t kTd15Ex = 885;

constexpr std::pair<StructureKind, std::string_view> kNames[kStructureKinds] = {
    {StructureKind::Quote, "quote"},
    {StructureKind::SnpReport, "snp-report"},
    {StructureKind::Certificate, "certificate"},
    {StructureKind::Crl, "crl"},
    {StructureKind::TcbInfo, "tcb-info"},
    {StructureKind::QeIdentity, "qe-identity"},
    {StructureKind::Collateral, "collateral"},
    {StructureKind::PckExtension, "pck-extension"},
};

std::string hex_number(uint64_t value) {
  uint8_t bytes[8];
  store_be(bytes, value);
  return "0x" + to_hex(bytes);
}

std::string flag_names(uint64_t flags, std::initializer_list<std::pair<int, const char*>> names) {
  std::string out;
  for (const auto& [bit, name] : names) {
    if ((flags >> bit & 1) != 0) out += (out.empty() ? "" : " ") + std::string(name);
  }
  return out;
}

// Numbers are copied first: the structure is packed, so references to its members may be misaligned.
OrderedJson sgx_body(const sgx::ReportBody& body) {
  OrderedJson out;
  out["cpu_svn"] = to_hex(body.cpu_svn);
  out["misc_select"] = uint32_t{body.misc_select};
  out["isv_ext_prod_id"] = to_hex(body.isv_ext_prod_id);
  out["attributes"] = hex_number(body.attributes.flags);
  out["attribute_names"] = flag_names(body.attributes.flags, {{0, "INIT"},
                                                              {1, "DEBUG"},
                                                              {2, "MODE64BIT"},
                                                              {4, "PROVISIONKEY"},
                                                              {5, "EINITTOKEN_KEY"},
                                                              {6, "CET"},
                                                              {7, "KSS"},
                                                              {10, "AEXNOTIFY"}});
  out["xfrm"] = hex_number(body.attributes.xfrm);
  out["mrenclave"] = to_hex(body.mrenclave);
  out["mrsigner"] = to_hex(body.mrsigner);
  out["config_id"] = to_hex(body.config_id);
  out["isv_prod_id"] = uint16_t{body.isv_prod_id};
  out["isv_svn"] = uint16_t{body.isv_svn};
  out["config_svn"] = uint16_t{body.config_svn};
  out["isv_family_id"] = to_hex(body.isv_family_id);
  out["report_data"] = to_hex(body.report_data);
  return out;
}

// The fields that only TD 1.5 extended bodies have.
void add_td_extended(ByteView body, OrderedJson& out) {
  static constexpr std::pair<const char*, size_t> kFields[] = {
      {"vm_id", 1},
      {"td_id", 32},
      {"device_info", 48},
      {"init_service_td_hash", 48},
      {"init_service_td_attributes", 8},
      {"init_cpu_svn", 16},
      {"init_tee_tcb_svn", 16},
      {"init_tee_fmspc", 12},
      {"current_service_td_hash", 48},
      {"current_service_td_attributes", 8},
  };
  size_t at = 648;
  for (const auto& [name, size] : kFields) {
    out[name] = to_hex(body.subspan(at, size));
    at += size;
  }
}

OrderedJson td_body(const TdReport& td, uint16_t body_type, ByteView signed_part) {
  OrderedJson out;
  out["tee_tcb_svn"] = to_hex(td.tee_tcb_svn);
  out["mr_seam"] = to_hex(td.mr_seam);
  out["mr_signer_seam"] = to_hex(td.mr_signer_seam);
  out["seam_attributes"] = hex_number(td.seam_attributes);
  out["td_attributes"] = hex_bits(td.td_attributes);
  out["td_attribute_names"] = flag_names(
      td.td_attributes,
      {{0, "DEBUG"}, {28, "SEPT_VE_DISABLE"}, {29, "MIGRATABLE"}, {30, "PKS"}, {31, "KL"}, {63, "PERFMON"}});
  out["xfam"] = hex_number(td.xfam);
  out["mrtd"] = to_hex(td.mrtd);
  out["mr_config_id"] = to_hex(td.mr_config_id);
  out["mr_owner"] = to_hex(td.mr_owner);
  out["mr_owner_config"] = to_hex(td.mr_owner_config);
  for (size_t i = 0; i < 4; ++i) out["rtmr" + std::to_string(i)] = to_hex(td.rtmr[i]);
  out["report_data"] = to_hex(td.report_data);
  if (td.has_15) {
    out["tee_tcb_svn2"] = to_hex(td.tee_tcb_svn2);
    out["mr_service_td"] = to_hex(td.mr_service_td);
  }
  if (body_type == kTd15Extended) add_td_extended(signed_part.last(kTd15Ex), out);
  return out;
}

Result<void> inspect_quote(ByteView bytes, OrderedJson& out) {
  const Quote quote = TRY(parse_quote(bytes));
  out["version"] = quote.version;
  out["tee"] = quote.tee == Tee::Sgx ? "SGX" : "TDX";
  out["attestation_key_type"] = "ECDSA P-256";
  const char* svn_prefix = quote.version == 3 ? "" : "reserved_";
  out[std::string(svn_prefix) + "qe_svn"] = load_le<uint16_t>(bytes.data() + 8);
  out[std::string(svn_prefix) + "pce_svn"] = load_le<uint16_t>(bytes.data() + 10);
  out["qe_vendor"] = to_hex(bytes.subspan(12, 16));
  out["user_data"] = to_hex(quote.user_data);
  static constexpr const char* kBodies[] = {"", "SGX", "TD 1.0", "TD 1.5", "TD 1.5 extended"};
  out["body_type"] = kBodies[quote.body_type];
  out["body"] = quote.tee == Tee::Sgx ? sgx_body(quote.sgx_body)
                                      : td_body(quote.td, quote.body_type, quote.signed_part);
  out["signature"] = to_hex(quote.signature);
  out["attestation_key"] = to_hex(quote.attestation_key);
  sgx::ReportBody qe;
  std::memcpy(&qe, quote.qe_report.data(), sizeof(qe));
  out["qe_report"] = sgx_body(qe);
  out["qe_report_signature"] = to_hex(quote.qe_report_signature);
  out["qe_auth_data"] = to_hex(quote.qe_auth_data);
  out["certification_type"] = quote.certification_type;
  if (quote.certification_type == 5 || quote.certification_type == 4) {
    out["certificates"] = TRY(inspect_certificates(quote.certification_data));
  } else {
    out["certification_data"] = to_hex(quote.certification_data);
  }
  return {};
}

std::string firmware_text(const SnpFirmware& v) {
  return std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.build);
}

// Raw bytes, and the numbers where the report itself says in which order they are (from version 3 on).
OrderedJson tcb(const SnpReport& report, const ByteArray<8>& raw) {
  OrderedJson out;
  out["raw"] = to_hex(raw);
  if (!report.has_cpuid) return out;
  const bool turin = report.cpu_family >= 0x1a;
  const SnpTcb decoded = decode_snp_tcb(raw, turin);
  if (turin) out["fmc"] = decoded.fmc;
  out["boot_loader"] = decoded.boot_loader;
  out["tee"] = decoded.tee;
  out["snp"] = decoded.snp;
  out["microcode"] = decoded.microcode;
  return out;
}

void snp_flags(const SnpReport& report, OrderedJson& out) {
  const SnpFacts& facts = report.facts;
  out["policy"] = hex_number(facts.policy);
  out["policy_abi"] = std::to_string(facts.policy >> 8 & 0xff) + "." + std::to_string(facts.policy & 0xff);
  out["policy_names"] = flag_names(facts.policy, {{16, "SMT"},
                                                  {18, "MIGRATE_MA"},
                                                  {19, "DEBUG"},
                                                  {20, "SINGLE_SOCKET"},
                                                  {21, "CXL"},
                                                  {22, "MEM_AES_256_XTS"},
                                                  {23, "RAPL_DIS"},
                                                  {24, "CIPHERTEXT_HIDING"},
                                                  {25, "PAGE_SWAP_DISABLE"}});
  out["vmpl"] = facts.vmpl;
  out["platform_info"] = hex_number(facts.platform_info);
  out["platform_info_names"] = flag_names(facts.platform_info, {{0, "SMT"},
                                                                {1, "TSME"},
                                                                {2, "ECC"},
                                                                {3, "RAPL_DIS"},
                                                                {4, "CIPHERTEXT_HIDING"},
                                                                {5, "ALIAS_CHECK_COMPLETE"},
                                                                {7, "TIO"}});
  out["author_key_enabled"] = facts.author_key_enabled;
  out["chip_id_masked"] = facts.chip_id_masked;
  static constexpr const char* kKeys[] = {"VCEK", "VLEK"};
  out["signing_key"] =
      report.signing_key < 2 ? kKeys[report.signing_key] : std::to_string(report.signing_key);
}

Result<void> inspect_snp_report(ByteView bytes, OrderedJson& out) {
  const SnpReport report = TRY(parse_snp_report(bytes));
  const SnpFacts& facts = report.facts;
  out["version"] = report.version;
  out["guest_svn"] = facts.guest_svn;
  snp_flags(report, out);
  out["family_id"] = to_hex(facts.family_id);
  out["image_id"] = to_hex(facts.image_id);
  out["current_tcb"] = tcb(report, report.current_tcb);
  out["reported_tcb"] = tcb(report, report.reported_tcb);
  out["committed_tcb"] = tcb(report, report.committed_tcb);
  out["launch_tcb"] = tcb(report, report.launch_tcb);
  out["report_data"] = to_hex(report.report_data);
  out["measurement"] = to_hex(facts.measurement);
  out["host_data"] = to_hex(facts.host_data);
  out["id_key_digest"] = to_hex(facts.id_key_digest);
  out["author_key_digest"] = to_hex(facts.author_key_digest);
  out["report_id"] = to_hex(facts.report_id);
  out["report_id_ma"] = to_hex(facts.report_id_ma);
  if (report.has_cpuid) {
    out["cpu_family"] = report.cpu_family;
    out["cpu_model"] = report.cpu_model;
    out["cpu_stepping"] = report.cpu_stepping;
  }
  out["chip_id"] = to_hex(facts.chip_id);
  out["current_firmware"] = firmware_text(facts.current_firmware);
  out["committed_firmware"] = firmware_text(facts.committed_firmware);
  if (report.version >= 5) {
    out["launch_mitigations"] = hex_number(facts.launch_mitigations);
    out["current_mitigations"] = hex_number(facts.current_mitigations);
  }
  out["signature_r"] = to_hex(report.r);
  out["signature_s"] = to_hex(report.s);
  return {};
}

// TCB info and QE identity are text already: shown as they are, after our own parser accepted them.
Result<void> inspect_signed_json(ByteView bytes, StructureKind kind, OrderedJson& out) {
  const bool tcb_info = kind == StructureKind::TcbInfo;
  const SignedJson parts = TRY(split_signed_json(as_text(bytes), tcb_info ? "tcbInfo" : "enclaveIdentity"));
  static_cast<void>(TRY(parse_json_object(parts.text, kMaxJsonSize, structure_name(kind))));
  out["signed_bytes"] = parts.text.size();
  if (!parts.signature.empty()) out["signature"] = to_hex(parts.signature);
  // Below a name of their own: their keys are whatever the author likes, "verified" among them.
  out["fields"] = OrderedJson::parse(parts.text, nullptr, false);
  if (tcb_info) {
    static_cast<void>(TRY(parse_tcb_info(parts.text)));
  } else {
    static_cast<void>(TRY(parse_qe_identity(parts.text)));
  }
  return {};
}

Result<void> inspect_collateral(ByteView bytes, OrderedJson& out) {
  const CollateralBundle bundle = TRY(parse_collateral_bundle(as_text(bytes)));
  const std::pair<const char*, const std::string*> chains[] = {
      {"pck_crl_issuer_chain", &bundle.pck_crl_issuer_chain},
      {"tcb_info_issuer_chain", &bundle.tcb_info_issuer_chain},
      {"qe_identity_issuer_chain", &bundle.qe_identity_issuer_chain},
      {"pck_certificate_chain", &bundle.pck_certificate_chain},
  };
  for (const auto& [name, pem] : chains) {
    if (!pem->empty()) out[name] = TRY(inspect_certificates(as_bytes(*pem)));
  }
  if (!bundle.root_ca_crl.empty()) out["root_ca_crl"] = TRY(inspect_crl(bundle.root_ca_crl));
  if (!bundle.pck_crl.empty()) out["pck_crl"] = TRY(inspect_crl(bundle.pck_crl));
  OrderedJson tcb_info, qe_identity;
  TRY(inspect_signed_json(as_bytes(bundle.tcb_info), StructureKind::TcbInfo, tcb_info));
  TRY(inspect_signed_json(as_bytes(bundle.qe_identity), StructureKind::QeIdentity, qe_identity));
  tcb_info["signature"] = to_hex(bundle.tcb_info_signature);
  qe_identity["signature"] = to_hex(bundle.qe_identity_signature);
  out["tcb_info"] = std::move(tcb_info);
  out["qe_identity"] = std::move(qe_identity);
  return {};
}

Result<void> inspect_into(ByteView bytes, StructureKind kind, OrderedJson& out) {
  switch (kind) {
    case StructureKind::Quote:
      return inspect_quote(bytes, out);
    case StructureKind::SnpReport:
      return inspect_snp_report(bytes, out);
    case StructureKind::Certificate:
      out["certificates"] = TRY(inspect_certificates(bytes));
      return {};
    case StructureKind::Crl: {
      const OrderedJson fields = TRY(inspect_crl(bytes));
      for (const auto& [key, value] : fields.items()) out[key] = value;
      return {};
    }
    case StructureKind::PckExtension:
      out["sgx_extension"] = TRY(inspect_pck_extension(bytes));
      return {};
    case StructureKind::TcbInfo:
    case StructureKind::QeIdentity:
      return inspect_signed_json(bytes, kind, out);
    case StructureKind::Collateral:
      return inspect_collateral(bytes, out);
  }
  return Error(Code::Internal, "unknown kind of structure");
}

Result<StructureKind> recognise_json(std::string_view text) {
  const Json json = TRY(parse_json_object(text, kMaxSize, "file"));
  if (json.contains("tcb_info")) return StructureKind::Collateral;
  if (json.contains("tcbInfo") || json.contains("fmspc")) return StructureKind::TcbInfo;
  if (json.contains("enclaveIdentity") || json.contains("mrsigner")) return StructureKind::QeIdentity;
  return Error(Code::NotFound, "JSON that is no collateral, TCB info or QE identity");
}

}  // namespace

std::string_view structure_name(StructureKind kind) {
  for (const auto& [value, name] : kNames) {
    if (value == kind) return name;
  }
  return "unknown";
}

std::optional<StructureKind> parse_structure_name(std::string_view wanted) {
  for (const auto& [value, name] : kNames) {
    if (name == wanted) return value;
  }
  return std::nullopt;
}

Result<StructureKind> recognise_structure(ByteView bytes) {
  const std::string_view text = as_text(bytes);
  const size_t first = text.find_first_not_of(" \r\n\t");
  if (first != std::string_view::npos && text[first] == '{') return recognise_json(text);
  // Binary first: a quote has certificates as text inside.
  if (bytes.size() == kSnpReportSize && load_le<uint32_t>(bytes.data()) < 0x100)
    return StructureKind::SnpReport;
  if (bytes.size() >= 48 && bytes[0] >= 3 && bytes[0] <= 5 && bytes[1] == 0) return StructureKind::Quote;
  if (text.find("-----BEGIN X509 CRL-----") != std::string_view::npos) return StructureKind::Crl;
  if (text.find("-----BEGIN CERTIFICATE-----") != std::string_view::npos) return StructureKind::Certificate;
  if (!bytes.empty() && bytes[0] == 0x30 && inspect_certificates(bytes).ok())
    return StructureKind::Certificate;
  if (!bytes.empty() && inspect_crl(bytes).ok()) return StructureKind::Crl;
  if (parse_pck_extension(bytes).ok()) return StructureKind::PckExtension;
  return Error(Code::NotFound, "not a known structure",
               "Say what it is with --as "
               "quote|snp-report|certificate|crl|tcb-info|qe-identity|collateral|pck-extension.");
}

Result<std::string> inspect_structure(ByteView bytes, StructureKind kind) {
  if (bytes.size() > kMaxSize) return Error(Code::Malformed, "larger than 8 MiB");
  OrderedJson out;
  out["kind"] = structure_name(kind);
  out["verified"] = false;
  TRY(inspect_into(bytes, kind, out));
  return out.dump(2, ' ', true, OrderedJson::error_handler_t::replace);
}

}  // namespace cloister::attestation
