// `cloister las serve|status|probe`: the local attestation service of this machine.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "attestation/evidence_verifier.h"
#include "cli/commands.h"
#include "cli/verdict_json.h"
#include "las/las.h"
#include "policy/session.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultAddress = "127.0.0.1:18766";

struct Arguments {
  std::string mode = "sim", state, aesm, listen = kDefaultAddress, tcb_status = "UpToDate";
  std::vector<std::string> advisories;
  bool revoke_pck = false, debug_qe = false, expired_collateral = false;
  std::string address = kDefaultAddress, root;
  bool json = false;
};

Result<void> serve(const Arguments& a) {
  if (a.mode != "sim" && a.mode != "hw")
    return Error(Code::InvalidArgument, "las serve: unknown mode " + a.mode, "it is sim or hw");
  const auto status = attestation::parse_tcb_status(a.tcb_status);
  if (!status) {
    return Error(Code::InvalidArgument, "unknown TCB status " + a.tcb_status,
                 "one of UpToDate, SWHardeningNeeded, ConfigurationNeeded, "
                 "ConfigurationAndSWHardeningNeeded, OutOfDate, OutOfDateConfigurationNeeded, Revoked");
  }
  for (const std::string& id : a.advisories) {
    if (!policy::is_advisory(id)) {
      return Error(Code::InvalidArgument, "--advisory " + id + " is no advisory of Intel's",
                   "They are named like INTEL-SA-00615.");
    }
  }
  las::LasOptions options;
  options.listen = a.listen;
  options.state = a.state;
  options.settings.tcb_status = *status;
  options.settings.advisory_ids = a.advisories;
  options.settings.revoke_pck = a.revoke_pck;
  options.settings.debug_qe = a.debug_qe;
  options.settings.expired_collateral = a.expired_collateral;
  options.hardware = a.mode == "hw";
  options.aesm_socket = a.aesm;
  std::fputs(options.hardware ? "cloister: warning: quotes by AESM have not been run on SGX hardware\n"
                              : "cloister: warning: simulated quotes prove nothing about hardware\n",
             stderr);
  return las::run_las(options, std::cout);
}

nlohmann::ordered_json status_json(const std::string& address, const attestation::LasStatus& status) {
  nlohmann::ordered_json out;
  out["address"] = address;
  out["protocol_version"] = status.version;
  out["mode"] = status.mode == attestation::LasMode::Simulation ? "simulation" : "hardware";
  out["platform"] = status.platform;
  out["uptime_seconds"] = status.uptime_seconds;
  out["quotes"] = status.quotes;
  out["refused"] = status.refused;
  out["connections"] = status.connections;
  return out;
}

Result<void> status(const Arguments& a) {
  const las::LasInfo info = TRY(las::las_status(a.address));
  if (a.json) {
    print_fields(status_json(a.address, info.status), true);
  } else {
    std::fputs(info.text.c_str(), stdout);
  }
  return {};
}

Result<void> probe(const Arguments& a) {
  std::vector<attestation::TrustAnchor> anchors = {attestation::intel_sgx_root()};
  const fs::path state = a.state.empty() ? las::default_state() : fs::path(a.state);
  const fs::path root = a.root.empty() ? state / "simulation-root.pem" : fs::path(a.root);
  TRY(attestation::add_simulation_root(root, anchors));
  const las::LasProbe probe = TRY(las::las_probe(a.address, {}, anchors));
  if (!a.json) {
    std::fputs(probe.text.c_str(), stdout);
    return {};
  }
  nlohmann::ordered_json out = verdict_json(probe.verdict);
  out["quote_size"] = probe.quote_size;
  out["collateral_size"] = probe.collateral_size;
  out["milliseconds"] = probe.milliseconds;
  print_fields(out, true);
  return {};
}

CLI::App* command(CLI::App& group, const char* name, const char* what, const char* example, Action& action,
                  const std::shared_ptr<Arguments>& a, Result<void> (*function)(const Arguments&)) {
  auto* sub = group.add_subcommand(name, what);
  sub->footer(std::string("Example: ") + example);
  sub->callback([a, &action, function] { action = [a, function] { return finished(function(*a)); }; });
  return sub;
}

}  // namespace

void add_las_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("las", "Local attestation service: quotes for this machine's enclaves");
  group->require_subcommand(1);
  const auto a = std::make_shared<Arguments>();
  auto* sub = command(*group, "serve", "Serve until SIGINT or SIGTERM; says on stdout when it is ready",
                      "cloister las serve --mode sim --state LAS --listen 127.0.0.1:18766", action, a, serve);
  sub->add_option("--mode", a->mode, "sim: quotes of the software SGX; hw: this machine's, by AESM")
      ->capture_default_str();
  sub->add_option("--aesm", a->aesm, "AESM's socket, with --mode hw (default: /var/run/aesmd/aesm.socket)");
  sub->add_option("--state", a->state,
                  "Folder for keys and simulation-root.pem, the certificate that a CAS may trust");
  sub->add_option("--listen", a->listen, "Numeric IP:PORT")->capture_default_str();
  sub->add_option("--tcb-status", a->tcb_status, "What the simulated Intel says about this platform")
      ->capture_default_str();
  sub->add_option("--advisory", a->advisories,
                  "Advisory of the platform's TCB level, INTEL-SA-NNNNN (repeatable)");
  sub->add_flag("--revoke-pck", a->revoke_pck, "The platform's certificate is on the revocation list");
  sub->add_flag("--debug-qe", a->debug_qe, "The quoting enclave is a debug enclave");
  sub->add_flag("--expired-collateral", a->expired_collateral, "All collateral is two months old");
  sub = command(*group, "status", "Ask a running service what it is", "cloister las status 127.0.0.1:18766",
                action, a, status);
  sub->add_option("ADDRESS", a->address, "Numeric IP:PORT")->capture_default_str();
  sub->add_flag("--json", a->json, "Print JSON");
  sub = command(*group, "probe", "Get a quote from a running service and verify it",
                "cloister las probe 127.0.0.1:18766 --trust-simulation LAS/simulation-root.pem", action, a,
                probe);
  sub->add_option("ADDRESS", a->address, "Numeric IP:PORT")->capture_default_str();
  sub->add_option("--state", a->state, "Folder of the service");
  sub->add_option("--trust-simulation", a->root, "Root certificate (default: the state folder's)");
  sub->add_flag("--json", a->json, "Print JSON");
}

}  // namespace cloister::cli
