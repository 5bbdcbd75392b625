// `cloister attestation verify|inspect`: evidence against collateral, and what stands in a file. verify ends
// with 0 verified, 4 refused, 2 unusable input; whatever is wrong inside the evidence is "refused".
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>

#include "attestation/inspect.h"
#include "attestation/verify_snp.h"
#include "base/files.h"
#include "cli/amounts.h"
#include "cli/commands.h"
#include "cli/verdict_json.h"

namespace cloister::cli {
namespace {

using attestation::Verdict;

constexpr size_t kMaxEvidence = 1 << 20;
constexpr size_t kMaxCollateral = 8 << 20;

struct Arguments {
  std::string quote, collateral, snp_report, leaf, chain, crl, time, root, report_data;
  std::optional<uint32_t> minimum_evaluation_number;
  bool accept_missing_crls = false;
  bool json = false;
};

struct Input {
  Bytes evidence, collateral;  // quote and bundle
  Bytes leaf, chain, crl;      // of an SNP report
  Bytes root;
  int64_t now = 0;
  std::optional<ByteArray<64>> report_data;
  attestation::VerifyOptions options;
};

Result<Bytes> optional_file(const std::string& path, size_t limit) {
  if (path.empty()) return Bytes();
  return read_file(path, limit);
}

Result<void> check_combination(const Arguments& a) {
  const bool quote = !a.quote.empty(), snp = !a.snp_report.empty();
  if (quote == snp) {
    return Error(Code::InvalidArgument, "give either --quote or --snp-report",
                 "--quote goes with --collateral, --snp-report with --leaf and --chain.");
  }
  if (quote && (a.collateral.empty() || !a.leaf.empty() || !a.chain.empty() || !a.crl.empty())) {
    return Error(Code::InvalidArgument, "--quote needs --collateral and nothing of an SNP report");
  }
  if (snp && (a.leaf.empty() || a.chain.empty() || !a.collateral.empty())) {
    return Error(Code::InvalidArgument, "--snp-report needs --leaf and --chain, and no --collateral");
  }
  if (snp && (a.minimum_evaluation_number || a.accept_missing_crls)) {
    return Error(
        Code::InvalidArgument,
        "--minimum-evaluation-number and --accept-missing-crls are about --quote's collateral",
        "--snp-report has none; its list is --crl, and leaving that out accepts that there is none.");
  }
  return {};
}

Result<Input> load(const Arguments& a) {
  TRY(check_combination(a));
  Input input;
  input.evidence = TRY(read_file(a.quote.empty() ? a.snp_report : a.quote, kMaxEvidence));
  input.collateral = TRY(optional_file(a.collateral, kMaxCollateral));
  input.leaf = TRY(optional_file(a.leaf, kMaxEvidence));
  input.chain = TRY(optional_file(a.chain, kMaxEvidence));
  input.crl = TRY(optional_file(a.crl, kMaxEvidence));
  if (!a.crl.empty() && input.crl.empty()) return Error(Code::Malformed, a.crl + ": empty");
  input.root = TRY(optional_file(a.root, kMaxEvidence));
  input.now = static_cast<int64_t>(std::time(nullptr));
  if (!a.time.empty()) input.now = TRY(parse_time(a.time, "--time"));
  if (!a.report_data.empty()) {
    auto data = array_from_hex<64>(a.report_data);
    if (!data.ok()) return std::move(data.error()).within("--report-data");
    input.report_data = *data;
  }
  input.options.minimum_tcb_evaluation_number = a.minimum_evaluation_number.value_or(0);
  // --crl is optional: AMD's lists only ever name an ASK. The verdict says when none was given.
  input.options.accept_missing_crls = a.accept_missing_crls || !a.snp_report.empty();
  return input;
}

Result<Verdict> verify_quote(const Input& input, const std::vector<attestation::TrustAnchor>& anchors) {
  const auto bundle = TRY(attestation::parse_collateral_bundle(as_text(input.collateral)));
  const auto collateral = TRY(attestation::trust_collateral(bundle, anchors));
  return attestation::verify_quote(input.evidence, *collateral, input.now, input.report_data, input.options);
}

// The outer Result: is the input usable; the inner one: the verdict.
Result<Result<Verdict>> verify(const Arguments& a) {
  const Input input = TRY(load(a));
  if (!a.quote.empty()) {
    std::vector<attestation::TrustAnchor> anchors = {attestation::intel_sgx_root()};
    if (!a.root.empty()) anchors.front() = TRY(attestation::anchor_from_certificate(input.root, true));
    return verify_quote(input, anchors);
  }
  std::vector<attestation::SnpAnchor> anchors = attestation::amd_roots();
  if (!a.root.empty()) anchors.assign(1, TRY(attestation::snp_anchor_from_certificate(input.root)));
  return attestation::verify_snp({input.evidence, input.leaf, input.chain, input.crl}, anchors, input.now,
                                 input.report_data, input.options);
}

int run_verify(const Arguments& a) {
  const auto verdict = verify(a);
  if (!verdict.ok()) {
    report(verdict.error());
    return kUsage;
  }
  nlohmann::ordered_json out;
  if (verdict->ok()) {
    out = verdict_json(**verdict);
    if (!a.snp_report.empty()) out["crl"] = a.crl.empty() ? "not given" : "checked";
    if (!(*verdict)->revocation_checked) std::fputs("cloister: no revocation list was checked\n", stderr);
  } else {
    out["status"] = "reject";
    out["reason"] = verdict->error().message();
  }
  print_fields(out, a.json);
  return verdict->ok() ? kOk : kRefused;
}

Result<std::string> inspect(ByteView content, const std::string& as) {
  if (as.empty())
    return attestation::inspect_structure(content, TRY(attestation::recognise_structure(content)));
  const auto kind = attestation::parse_structure_name(as);
  if (!kind) {
    return Error(
        Code::InvalidArgument, "--as " + as + " is no kind of structure",
        "Known: quote, snp-report, certificate, crl, tcb-info, qe-identity, collateral, pck-extension.");
  }
  return attestation::inspect_structure(content, *kind);
}

int run_inspect(const std::string& path, const std::string& as, bool json) {
  const auto content = read_file(path, kMaxCollateral);
  if (!content.ok()) {
    report(content.error());
    return kUsage;
  }
  const auto shown = inspect(*content, as);
  if (!shown.ok()) {
    report(Error(shown.error()).within(path));
    return kUsage;
  }
  if (json) {
    std::printf("%s\n", shown->c_str());
  } else {
    print_fields(nlohmann::ordered_json::parse(*shown, nullptr, false), false);
  }
  return kOk;
}

void add_verify(CLI::App& group, Action& action) {
  auto* sub = group.add_subcommand("verify", "Verify a quote or an SNP report");
  sub->footer(
      "Examples:\n"
      "  cloister attestation verify --quote quote.bin --collateral collateral.json --json\n"
      "  cloister attestation verify --snp-report report.bin --leaf vcek.der --chain cert_chain.pem --crl "
      "crl\n"
      "Give --crl: without it nobody asks whether AMD revoked the ASK.\n"
      "The verdict is about cryptography and TCB status; whether it is good enough is the session's policy.\n"
      "Exit codes: 0 verified, 4 refused, 2 unusable input.");
  const auto a = std::make_shared<Arguments>();
  sub->add_option("--quote", a->quote, "SGX quote v3 to v5 or TDX quote v4, v5");
  sub->add_option("--collateral", a->collateral, "Collateral bundle (JSON) for --quote");
  sub->add_option("--snp-report", a->snp_report, "SEV-SNP attestation report v2 to v5");
  sub->add_option("--leaf", a->leaf, "VCEK or VLEK certificate for --snp-report");
  sub->add_option("--chain", a->chain, "ASK or ASVK, and ARK for --snp-report (PEM)");
  sub->add_option(
      "--crl", a->crl,
      "Revocation list of the ARK for --snp-report; without it a revoked ASK is accepted, and the verdict "
      "says `crl: not given`");
  sub->add_option("--time", a->time,
                  "Verify as of this time (RFC 3339), 2025-07-04T10:28:44Z (default: now)");
  sub->add_option("--root", a->root, "Trust this root certificate in place of Intel's or AMD's");
  sub->add_option("--report-data", a->report_data, "Refuse other report data than this (128 hex digits)");
  sub->add_option("--minimum-evaluation-number", a->minimum_evaluation_number,
                  "Refuse collateral with a lower tcbEvaluationDataNumber");
  sub->add_flag("--accept-missing-crls", a->accept_missing_crls,
                "Verify a quote although collateral has no revocation lists");
  sub->add_flag("--json", a->json, "Print JSON");
  sub->callback([a, &action] { action = [a] { return run_verify(*a); }; });
}

void add_inspect(CLI::App& group, Action& action) {
  auto* sub = group.add_subcommand("inspect", "Print a structure field by field, without verifying it");
  sub->footer(
      "Example: cloister attestation inspect quote.bin\n"
      "Knows quotes, SNP reports, certificates with their SGX or SEV extensions, revocation lists, TCB info, "
      "QE\n"
      "identities, collateral bundles, and the SGX extension alone.");
  struct Words {
    std::string path, as;
    bool json = false;
  };
  const auto a = std::make_shared<Words>();
  sub->add_option("FILE", a->path, "What to print")->required();
  sub->add_option("--as", a->as, "Its kind, when it is not recognised by itself");
  sub->add_flag("--json", a->json, "Print JSON");
  sub->callback([a, &action] { action = [a] { return run_inspect(a->path, a->as, a->json); }; });
}

}  // namespace

void add_attestation_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("attestation", "Evidence of enclaves and confidential machines");
  group->require_subcommand(1);
  add_verify(*group, action);
  add_inspect(*group, action);
}

}  // namespace cloister::cli
