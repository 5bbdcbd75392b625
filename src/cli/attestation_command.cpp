// `cloister attestation verify`: an SGX or TDX quote against collateral. 0 verified, 4 refused, 2 unusable
// input.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "attestation/tcb_json.h"
#include "attestation/verifier.h"
#include "base/files.h"
#include "cli/commands.h"

namespace cloister::cli {
namespace {

using attestation::Verdict;

struct Arguments {
  std::string quote, collateral, time, root;
  bool json = false;
};

struct Input {
  Bytes quote;
  Bytes collateral;
  int64_t now = 0;
  std::vector<attestation::TrustAnchor> anchors;
};

Result<Input> load(const Arguments& a) {
  Input input;
  input.quote = TRY(read_file(a.quote, 1 << 20));
  input.collateral = TRY(read_file(a.collateral, 8 << 20));
  input.now = static_cast<int64_t>(std::time(nullptr));
  if (!a.time.empty()) input.now = TRY(attestation::parse_rfc3339(a.time));
  if (a.root.empty()) {
    input.anchors.push_back(attestation::intel_sgx_root());
  } else {
    const Bytes certificate = TRY(read_file(a.root, 64 << 10));
    input.anchors.push_back(TRY(attestation::anchor_from_certificate(certificate, true)));
  }
  return input;
}

Result<Verdict> verify(const Input& input) {
  const auto bundle = TRY(attestation::parse_collateral_bundle(as_text(input.collateral)));
  const auto collateral = TRY(attestation::trust_collateral(bundle, input.anchors));
  return attestation::verify_quote(input.quote, *collateral, input.now, std::nullopt);
}

std::string date(int64_t seconds) {
  const std::time_t time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

nlohmann::ordered_json facts(const Verdict& v) {
  nlohmann::ordered_json out;
  const bool sgx = v.tee == attestation::Tee::Sgx;
  out["tee"] = sgx ? "SGX" : "TDX";
  out["quote_version"] = v.quote_version;
  out["status"] = attestation::tcb_status_name(v.status);
  out["advisory_ids"] = v.advisory_ids;
  if (sgx) {
    out["mrenclave"] = to_hex(v.mrenclave);
    out["mrsigner"] = to_hex(v.mrsigner);
    out["isv_prod_id"] = v.isv_prod_id;
    out["isv_svn"] = v.isv_svn;
  } else {
    out["mrtd"] = to_hex(v.mrtd);
    for (size_t i = 0; i < v.rtmrs.size(); ++i) out["rtmr" + std::to_string(i)] = to_hex(v.rtmrs[i]);
    out["mr_seam"] = to_hex(v.mr_seam);
  }
  out["report_data"] = to_hex(v.report_data);
  out["debug"] = v.debug;
  out["own_root"] = v.simulated;
  out["fmspc"] = to_hex(v.fmspc);
  out["qe_id"] = to_hex(v.qe_id);
  out["tcb_date"] = date(v.tcb_date);
  out["tcb_evaluation_number"] = v.tcb_evaluation_number;
  out["earliest_expiry"] = date(v.earliest_expiry);
  return out;
}

int run_verify(const Arguments& a) {
  const auto input = load(a);
  if (!input.ok()) {
    report(input.error());
    return kUsage;
  }
  const auto verdict = verify(*input);
  nlohmann::ordered_json out;
  if (verdict.ok()) {
    out = facts(*verdict);
  } else {
    out["status"] = "reject";
    out["reason"] = verdict.error().message();
  }
  if (a.json) {
    std::printf("%s\n", out.dump(2, ' ', true, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else {
    for (const auto& [key, value] : out.items()) {
      std::printf("%-22s %s\n", key.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    }
  }
  return verdict.ok() ? kOk : kRefused;
}

}  // namespace

void add_attestation_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("attestation", "Evidence of enclaves and confidential machines");
  group->require_subcommand(1);
  auto* sub = group->add_subcommand("verify", "Verify a quote against collateral");
  sub->footer(
      "Example: cloister attestation verify --quote quote.bin --collateral collateral.json --json\n"
      "The verdict is about cryptography and TCB status; whether it is good enough is the session's policy.");
  const auto a = std::make_shared<Arguments>();
  sub->add_option("--quote", a->quote, "SGX quote v3 to v5 or TDX quote v4, v5")->required();
  sub->add_option("--collateral", a->collateral, "Collateral bundle (JSON)")->required();
  sub->add_option("--time", a->time, "Verify as of this time, 2025-07-04T10:28:44Z (default: now)");
  sub->add_option("--root", a->root, "Trust this root certificate in place of Intel's");
  sub->add_flag("--json", a->json, "Print JSON");
  sub->callback([a, &action] { action = [a] { return run_verify(*a); }; });
}

}  // namespace cloister::cli
