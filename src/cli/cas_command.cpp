// `cloister cas …`: run the configuration and attestation service, and pin the key of one.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "base/files.h"
#include "cas/server.h"
#include "cas/trust.h"
#include "cli/commands.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

struct ServeArguments {
  std::string state, api = "127.0.0.1:8081", enclave = "127.0.0.1:18765", las = "127.0.0.1:18766";
  std::vector<std::string> simulation_roots, collateral;
  std::string collateral_url, root_crl_url;
  std::vector<std::string> snp_roots, snp_crls;
  uint32_t minimum_tcb_evaluation = 0;
};

// The service and the LAS that makes the root are often started together.
Result<void> wait_for(const fs::path& path) {
  static constexpr auto kPatience = std::chrono::seconds(10);
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!fs::exists(path)) {
    if (std::chrono::steady_clock::now() > give_up) {
      return Error(Code::NotFound, "there is no simulation root " + path.string(),
                   "start the LAS with the state folder that this file belongs to");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return {};
}

// A folder is where collateral is kept; a file is a bundle that is used as it is.
Result<void> add_collateral(const fs::path& path, cas::CasOptions& options) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    options.evidence.collateral.push_back(TRY(attestation::load_collateral(path, options.evidence.anchors)));
    return {};
  }
  if (!options.collateral.folder.empty()) {
    return Error(Code::InvalidArgument, "collateral is kept in one folder, not in two");
  }
  options.collateral.folder = path;
  return {};
}

// An enclave may be waiting, for at most 10 s in all.
void set_collateral_service(const ServeArguments& a, collateral::CacheOptions& options) {
  options.service.base_url = a.collateral_url;
  options.service.root_crl_url = a.root_crl_url;
  options.service.http.connect_timeout = std::chrono::milliseconds(3000);
  options.service.http.stall_timeout = std::chrono::milliseconds(5000);
}

Result<cas::CasOptions> options_of(const ServeArguments& a) {
  cas::CasOptions options;
  options.state = a.state;
  options.api_address = a.api;
  options.enclave_address = a.enclave;
  options.api.version = CLOISTER_VERSION;
  options.api.evidence = cas::enclave_evidence(a.las);
  options.evidence.minimum_tcb_evaluation_number = a.minimum_tcb_evaluation;
  for (const std::string& path : a.simulation_roots) {
    TRY(wait_for(path));
    TRY(attestation::add_simulation_root(path, options.evidence.anchors));
  }
  for (const std::string& path : a.collateral) TRY(add_collateral(path, options));
  set_collateral_service(a, options.collateral);
  for (const std::string& path : a.snp_roots) {
    TRY(attestation::add_simulated_snp_root(path, options.evidence.snp_anchors));
  }
  for (const std::string& path : a.snp_crls) {
    options.evidence.snp_crls.push_back(TRY(read_file(path, attestation::kMaxSnpPaper)));
  }
  return options;
}

Result<void> serve(const ServeArguments& a) {
  const cas::CasOptions options = TRY(options_of(a));
  // Blocked in every thread, so that they end this wait and nothing else.
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const std::unique_ptr<cas::CasServer> server = TRY(cas::CasServer::start(options));
  std::printf("CAS key hash: %s\nclient API: https://%s\nenclave API: %s\n",
              to_hex(server->key_hash()).c_str(), server->api_address().c_str(),
              server->enclave_address().c_str());
  std::fflush(stdout);
  int signal = 0;
  ::sigwait(&signals, &signal);
  return {};
}

struct TrustArguments {
  std::string address, key;
};

Result<void> trust(const TrustArguments& a) {
  const Result<crypto::Digest> key = array_from_hex<32>(a.key);
  if (!key.ok()) {
    return Error(Code::InvalidArgument, "a CAS key hash is 64 hex digits",
                 "cas serve prints it as `CAS key hash`");
  }
  TRY(cas::trust(a.address, *key));
  const std::string full = TRY(cas::full_address(a.address));
  std::printf("%s is trusted with key %s\n", full.c_str(), to_hex(*key).c_str());
  return {};
}

Result<void> show(const TrustArguments& a) {
  const std::string full = TRY(cas::full_address(a.address));
  const crypto::Digest key = TRY(cas::presented_key(a.address));
  std::printf("%s\n", to_hex(key).c_str());
  std::fprintf(stderr,
               "This is the key that %s presents now; printing is not trusting. Compare it with what its "
               "operator\nsays by another way, then: cloister cas trust %s --key %s\n",
               full.c_str(), full.c_str(), to_hex(key).c_str());
  return {};
}

template <class Arguments>
void run_with(CLI::App* sub, const std::shared_ptr<Arguments>& a, Action& action,
              Result<void> (*function)(const Arguments&)) {
  sub->callback([a, &action, function] { action = [a, function] { return finished(function(*a)); }; });
}

}  // namespace

void add_cas_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("cas", "Configuration and attestation service");
  group->require_subcommand(1);

  const auto serve_arguments = std::make_shared<ServeArguments>();
  auto* sub = group->add_subcommand("serve", "Run the service until SIGINT or SIGTERM");
  sub->footer(
      "Example: cloister cas serve --state CAS --trust-simulation LAS/simulation-root.pem\n"
      "Outside of an enclave it protects sessions from everybody but whoever runs it.");
  sub->add_option("--state", serve_arguments->state, "Folder with database and keys; made when absent")
      ->required();
  sub->add_option("--listen-api", serve_arguments->api, "Client API")->capture_default_str();
  sub->add_option("--listen-enclave", serve_arguments->enclave, "Enclave API")->capture_default_str();
  sub->add_option("--las", serve_arguments->las,
                  "LAS for quotes of this service itself, numeric IP:PORT; used inside an enclave only")
      ->capture_default_str();
  sub->add_option("--trust-simulation", serve_arguments->simulation_roots,
                  "Root certificate of a simulated platform to accept; waited for up to 10 s")
      ->allow_extra_args(false);
  sub->add_option("--collateral", serve_arguments->collateral,
                  "For quotes of real platforms: a folder, kept current; or a bundle, used as it is "
                  "(default: the folder collateral in the state)")
      ->allow_extra_args(false);
  sub->add_option("--collateral-url", serve_arguments->collateral_url,
                  "Provisioning or caching service that the folder is filled from");
  sub->add_option("--root-crl-url", serve_arguments->root_crl_url, "Where the root's revocation list is");
  sub->add_option("--snp-crl", serve_arguments->snp_crls,
                  "AMD's revocation list of a product line: SEV-SNP machines of it are accepted")
      ->allow_extra_args(false);
  sub->add_option("--trust-snp-simulation", serve_arguments->snp_roots,
                  "Root certificate of simulated SEV-SNP machines to accept")
      ->allow_extra_args(false);
  sub->add_option("--minimum-tcb-evaluation", serve_arguments->minimum_tcb_evaluation,
                  "Refuse collateral with a lower tcbEvaluationDataNumber");
  run_with(sub, serve_arguments, action, serve);

  const auto trust_arguments = std::make_shared<TrustArguments>();
  sub = group->add_subcommand("trust", "Pin the key of a CAS");
  sub->footer("Example: cloister cas trust cas.example:8081 --key 64_HEX_DIGITS");
  sub->add_option("ADDRESS", trust_arguments->address, "HOST or HOST:PORT (port 8081)")->required();
  sub->add_option("--key", trust_arguments->key, "CAS key hash")->required();
  run_with(sub, trust_arguments, action, trust);
  sub = group->add_subcommand("show", "Print the key that a CAS presents, without trusting it");
  sub->footer("Example: cloister cas show cas.example");
  sub->add_option("ADDRESS", trust_arguments->address, "HOST or HOST:PORT (port 8081)")->required();
  run_with(sub, trust_arguments, action, show);

  add_cas_attest_command(*group, action);
  auto* api = group->add_subcommand("api", "Print the page of the client API");
  api->callback([&action] {
    action = [] {
      std::fputs(cas::api_page().c_str(), stdout);
      return static_cast<int>(kOk);
    };
  });
  add_session_commands(app, action);
}

}  // namespace cloister::cli
