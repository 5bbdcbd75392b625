// `cloister collateral status|import|export`: the collateral kept on this machine. The folder is
// CONFIG/collateral unless --folder says otherwise.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "attestation/tcb_json.h"
#include "base/files.h"
#include "cas/trust.h"
#include "cli/amounts.h"
#include "cli/commands.h"
#include "collateral/cache.h"

namespace cloister::cli {
namespace {

using attestation::format_rfc3339;

constexpr size_t kMaxFile = 8 << 20;

struct Words {
  std::string folder, root, time, url, root_crl_url;
  uint32_t minimum_evaluation_number = 0;
  std::vector<std::string> files;          // import
  std::string quote, fmspc, ca, tee, out;  // export
  bool json = false;
};

// A file named on the command line that cannot be read is wrong usage, as it is to `attestation verify`.
Result<Bytes> read_input(const std::string& file, size_t limit) {
  const auto content = read_file(file, limit);
  if (content.ok()) return *content;
  return Error(Code::InvalidArgument, content.error().message(), content.error().hint());
}

// So is one that is not what it has to be; what is well formed and refused keeps its code.
Error about_file(const Error& error, const std::string& file) {
  const Code code = error.code() == Code::Malformed ? Code::InvalidArgument : error.code();
  return Error(code, error.message(), error.hint()).within(file);
}

Result<collateral::CacheOptions> cache_options(const Words& words) {
  collateral::CacheOptions out;
  out.folder =
      words.folder.empty() ? cas::config_folder() / "collateral" : std::filesystem::path(words.folder);
  TRY(make_private_folder(out.folder));
  out.service.base_url = words.url;
  out.service.root_crl_url = words.root_crl_url;
  out.minimum_evaluation_number = words.minimum_evaluation_number;
  if (!words.root.empty()) {
    const Bytes certificate = TRY(read_input(words.root, 64 << 10));
    const auto anchor = attestation::anchor_from_certificate(certificate, true);
    if (!anchor.ok()) return about_file(anchor.error(), words.root);
    out.anchors.assign(1, *anchor);
  }
  if (!words.time.empty()) {
    const int64_t time = TRY(parse_time(words.time, "--time"));
    out.clock = [time] { return time; };
  }
  return out;
}

std::string state_of(const collateral::ArtefactStatus& status, int64_t now) {
  if (status.expires == 0) return "unusable";
  if (now < status.issued) return "not valid yet";
  if (now > status.expires) return "expired";
  return status.below_minimum ? "below minimum" : "valid";
}

// Ends with 4 when something must not be used, so that a monitor sees it.
Result<int> run_status(const Words& words) {
  const collateral::CacheOptions options = TRY(cache_options(words));
  collateral::Cache cache(options);
  const int64_t now = options.clock ? options.clock() : static_cast<int64_t>(std::time(nullptr));
  int code = kOk;
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const collateral::ArtefactStatus& status : cache.status()) {
    const std::string state = state_of(status, now);
    if (state != "valid") code = kRefused;
    nlohmann::ordered_json line = {{"name", status.name}, {"state", state}};
    if (status.expires != 0) {
      line["issued"] = format_rfc3339(status.issued);
      line["expires"] = format_rfc3339(status.expires);
    }
    if (status.evaluation_number != 0) line["tcb_evaluation_number"] = status.evaluation_number;
    if (!status.fault.empty()) line["fault"] = status.fault;
    if (!words.json) {
      std::printf("%-24s %-14s %s %s%s%s\n", status.name.c_str(), state.c_str(),
                  status.expires != 0 ? format_rfc3339(status.expires).c_str() : "-",
                  status.evaluation_number != 0 ? std::to_string(status.evaluation_number).c_str() : "-",
                  status.fault.empty() ? "" : "  ", status.fault.c_str());
    }
    all.push_back(std::move(line));
  }
  if (words.json) {
    std::printf("%s\n", all.dump(2, ' ', true, nlohmann::ordered_json::error_handler_t::replace).c_str());
  }
  return code;
}

Result<int> run_import(const Words& words) {
  const collateral::CacheOptions options = TRY(cache_options(words));
  collateral::Cache cache(options);
  for (const std::string& file : words.files) {
    const Bytes content = TRY(read_input(file, kMaxFile));
    const auto bundle = attestation::parse_collateral_bundle(as_text(content));
    if (!bundle.ok()) return about_file(bundle.error(), file);
    const auto names = cache.import_bundle(*bundle);
    if (!names.ok()) return about_file(names.error(), file);
    for (const std::string& name : *names) std::printf("%s\n", name.c_str());
  }
  return static_cast<int>(kOk);
}

Result<collateral::PlatformKey> wanted_platform(const Words& words) {
  if (!words.quote.empty()) {
    const Bytes quote = TRY(read_input(words.quote, 1 << 20));
    auto platform = collateral::platform_of_quote(quote);
    if (!platform.ok()) return about_file(platform.error(), words.quote);
    return platform;
  }
  collateral::PlatformKey out;
  auto fmspc = array_from_hex<6>(words.fmspc);
  if (!fmspc.ok()) return std::move(fmspc.error()).within("--fmspc");
  out.fmspc = to_hex(*fmspc);
  out.ca = words.ca;
  out.tee = words.tee == "tdx" ? attestation::Tee::Tdx : attestation::Tee::Sgx;
  return out;
}

Result<int> run_export(const Words& words) {
  if (words.quote.empty() && words.fmspc.empty()) {
    return Error(Code::InvalidArgument, "export needs --quote or --fmspc");
  }
  const collateral::CacheOptions options = TRY(cache_options(words));
  const collateral::PlatformKey platform = TRY(wanted_platform(words));
  collateral::Cache cache(options);
  static_cast<void>(TRY(cache.trusted(platform)));  // the pieces belong together
  const std::string json = attestation::collateral_bundle_json(TRY(cache.bundle(platform)));
  if (words.out.empty()) {
    std::printf("%s\n", json.c_str());
  } else {
    TRY(write_public_file(words.out, as_bytes(json)));
  }
  return static_cast<int>(kOk);
}

void add_common(CLI::App& sub, Words& words) {
  sub.add_option("--folder", words.folder, "Where collateral is kept (default: CONFIG/collateral)");
  sub.add_option("--root", words.root, "Trust this root certificate in place of Intel's");
  sub.add_option("--time", words.time, "As of this time (RFC 3339), 2025-07-04T10:28:44Z (default: now)");
  sub.add_option("--minimum-evaluation-number", words.minimum_evaluation_number,
                 "Refuse a lower tcbEvaluationDataNumber");
}

void add_import(CLI::App& group, Action& action) {
  auto* sub = group.add_subcommand("import", "Keep the pieces of bundles");
  sub->footer("Example: cloister collateral import bundle.json\nOlder pieces than those kept are refused.");
  const auto words = std::make_shared<Words>();
  add_common(*sub, *words);
  sub->add_option("FILE", words->files, "Collateral bundles (JSON)")->required();
  sub->callback([words, &action] { action = [words] { return finished(run_import(*words)); }; });
}

void add_export(CLI::App& group, Action& action) {
  auto* sub = group.add_subcommand("export", "Write the bundle that one platform's quotes need");
  sub->footer(
      "Example: cloister collateral export --quote quote.bin --url https://pccs.example:8081 -o bundle.json\n"
      "With --url what is missing or ends soon is fetched; Intel's own service has its root list elsewhere:\n"
      "--url https://api.trustedservices.intel.com\n"
      "--root-crl-url https://certificates.trustedservices.intel.com/IntelSGXRootCA.der");
  const auto words = std::make_shared<Words>();
  add_common(*sub, *words);
  words->ca = "platform";
  words->tee = "sgx";
  sub->add_option("--quote", words->quote, "For the platform of this quote");
  sub->add_option("--fmspc", words->fmspc, "For platforms of this family (12 hex digits)");
  sub->add_option("--ca", words->ca, "platform or processor, with --fmspc")
      ->check(CLI::IsMember({"platform", "processor"}));
  sub->add_option("--tee", words->tee, "sgx or tdx, with --fmspc")->check(CLI::IsMember({"sgx", "tdx"}));
  sub->add_option("--url", words->url, "Provisioning or caching service, API version 4");
  sub->add_option("--root-crl-url", words->root_crl_url, "Where the root's revocation list is");
  sub->add_option("-o,--output", words->out, "File (default: standard output)");
  sub->callback([words, &action] { action = [words] { return finished(run_export(*words)); }; });
}

}  // namespace

void add_collateral_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("collateral", "What verifying quotes needs: TCB info, identities, lists");
  group->require_subcommand(1);

  auto* status = group->add_subcommand("status", "List what is kept, and until when it holds");
  status->footer("Example: cloister collateral status --json\nExit code 4: something must not be used.");
  const auto of_status = std::make_shared<Words>();
  add_common(*status, *of_status);
  status->add_flag("--json", of_status->json, "Print JSON");
  status->callback(
      [of_status, &action] { action = [of_status] { return finished(run_status(*of_status)); }; });

  add_import(*group, action);
  add_export(*group, action);
}

}  // namespace cloister::cli
