#include "cli/verdict_json.h"

#include <cstdio>

#include "attestation/tcb_json.h"
#include "base/text.h"

namespace cloister::cli {
namespace {

using attestation::SnpFacts;
using attestation::Tee;
using attestation::Verdict;
using Json = nlohmann::ordered_json;

std::string hex_number(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

Json tcb(const attestation::SnpTcb& value, bool turin) {
  Json out;
  if (turin) out["fmc"] = value.fmc;
  out["bl"] = value.boot_loader;
  out["tee"] = value.tee;
  out["snp"] = value.snp;
  out["ucode"] = value.microcode;
  return out;
}

std::string firmware(const attestation::SnpFirmware& v) {
  return std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.build);
}

void add_snp(const Verdict& v, Json& out) {
  const SnpFacts& snp = *v.snp;
  const bool turin = snp.product_line == "Turin";
  out["product_line"] = snp.product_line;
  out["signing_key"] = snp.vlek ? "VLEK" : "VCEK";
  if (snp.vlek) out["csp_id"] = snp.csp_id;
  out["measurement"] = to_hex(snp.measurement);
  out["host_data"] = to_hex(snp.host_data);
  out["guest_svn"] = snp.guest_svn;
  out["vmpl"] = snp.vmpl;
  out["policy"] = hex_number(snp.policy);
  out["migrate_ma"] = snp.migration_agent;
  out["platform_info"] = hex_number(snp.platform_info);
  out["smt"] = v.smt_enabled;
  out["chip_id"] = to_hex(snp.chip_id);
  out["chip_id_masked"] = snp.chip_id_masked;
  out["id_key_digest"] = to_hex(snp.id_key_digest);
  out["author_key_enabled"] = snp.author_key_enabled;
  out["author_key_digest"] = to_hex(snp.author_key_digest);
  out["family_id"] = to_hex(snp.family_id);
  out["image_id"] = to_hex(snp.image_id);
  out["report_id"] = to_hex(snp.report_id);
  out["report_id_ma"] = to_hex(snp.report_id_ma);
  out["reported_tcb"] = tcb(snp.reported_tcb, turin);
  out["committed_tcb"] = tcb(snp.committed_tcb, turin);
  out["current_tcb"] = tcb(snp.current_tcb, turin);
  out["launch_tcb"] = tcb(snp.launch_tcb, turin);
  out["current_firmware"] = firmware(snp.current_firmware);
  out["committed_firmware"] = firmware(snp.committed_firmware);
}

void add_sgx(const Verdict& v, Json& out) {
  out["mrenclave"] = to_hex(v.mrenclave);
  out["mrsigner"] = to_hex(v.mrsigner);
  out["isv_prod_id"] = v.isv_prod_id;
  out["isv_svn"] = v.isv_svn;
  out["config_id"] = to_hex(v.config_id);
  out["config_svn"] = v.config_svn;
  out["attributes"] = hex_number(v.attributes);
  out["xfrm"] = hex_number(v.xfrm);
}

void add_tdx(const Verdict& v, Json& out) {
  out["mrtd"] = to_hex(v.mrtd);
  for (size_t i = 0; i < v.rtmrs.size(); ++i) out["rtmr" + std::to_string(i)] = to_hex(v.rtmrs[i]);
  out["mr_seam"] = to_hex(v.mr_seam);
  out["mr_signer_seam"] = to_hex(v.mr_signer_seam);
  out["mr_config_id"] = to_hex(v.mr_config_id);
  out["mr_owner"] = to_hex(v.mr_owner);
  out["mr_owner_config"] = to_hex(v.mr_owner_config);
  if (v.mr_service_td) out["mr_service_td"] = to_hex(*v.mr_service_td);
  out["td_attributes"] = attestation::hex_bits(v.td_attributes);
  out["xfam"] = hex_number(v.xfam);
}

void add_intel_platform(const Verdict& v, Json& out) {
  out["fmspc"] = to_hex(v.fmspc);
  out["qe_id"] = to_hex(v.qe_id);
  out["tcb_date"] = attestation::format_rfc3339(v.tcb_date);
  out["tcb_evaluation_number"] = v.tcb_evaluation_number;
}

void print_lines(const Json& fields, const std::string& prefix) {
  for (const auto& [key, value] : fields.items()) {
    std::string name = prefix;
    if (!name.empty()) name += '.';
    name += printable(key);  // of the file's own JSON, where it is a TCB info or an identity
    const bool plain_list = value.is_array() && std::none_of(value.begin(), value.end(),
                                                             [](const Json& v) { return v.is_structured(); });
    if (value.is_structured() && !plain_list) {
      print_lines(value, name);
    } else if (value.is_string()) {
      std::printf("%-22s %s\n", name.c_str(), printable(value.get_ref<const std::string&>()).c_str());
    } else {
      std::printf("%-22s %s\n", name.c_str(),
                  value.dump(-1, ' ', true, Json::error_handler_t::replace).c_str());
    }
  }
}

}  // namespace

Json verdict_json(const Verdict& v) {
  static constexpr const char* kTees[] = {"SGX", "TDX", "SEV-SNP"};
  Json out;
  out["tee"] = kTees[static_cast<size_t>(v.tee)];
  out[v.snp ? "report_version" : "quote_version"] = v.quote_version;
  out["status"] = v.snp ? "ok" : attestation::tcb_status_name(v.status);
  out["advisory_ids"] = v.advisory_ids;
  if (v.tee == Tee::Sgx) add_sgx(v, out);
  if (v.tee == Tee::Tdx) add_tdx(v, out);
  if (v.snp) add_snp(v, out);
  out["report_data"] = to_hex(v.report_data);
  out["debug"] = v.debug;
  out["own_root"] = v.simulated;
  out["revocation_checked"] = v.revocation_checked;
  if (!v.snp) add_intel_platform(v, out);
  out["earliest_expiry"] = attestation::format_rfc3339(v.earliest_expiry);
  return out;
}

void print_fields(const Json& fields, bool json) {
  if (json) {
    std::printf("%s\n", fields.dump(2, ' ', true, Json::error_handler_t::replace).c_str());
  } else {
    print_lines(fields, "");
  }
}

}  // namespace cloister::cli
