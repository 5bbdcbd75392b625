#include "las/las.h"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <cmath>
#include <ctime>
#include <ostream>

#include "crypto/random.h"
#include "las/aesm.h"

namespace cloister::las {
namespace {

// Before any thread starts, so that every thread inherits the mask and only `sigwait` sees the signals.
sigset_t block_stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}

void wait_for_stop(const LasServer& server, const sigset_t& stop, std::ostream& out) {
  int received = 0;
  sigwait(&stop, &received);
  out << "LAS stopped after " << server.status().quotes << " quotes" << std::endl;
}

Result<void> run_hardware(const LasOptions& options, const LasServerOptions& server_options,
                          const sigset_t& stop, std::ostream& out) {
  AesmOptions aesm;
  if (!options.aesm_socket.empty()) aesm.socket = options.aesm_socket;
  std::unique_ptr<Quoter> quoter = TRY(aesm_quoter(aesm));
  const std::unique_ptr<LasServer> server = TRY(LasServer::start(server_options, std::move(quoter)));
  out << "LAS listening on " << server->address() << " (" << server->status().platform << ")" << std::endl;
  wait_for_stop(*server, stop, out);
  return {};
}

std::string advisory_text(const std::vector<std::string>& ids) {
  std::string out;
  for (const std::string& id : ids) out.append(out.empty() ? "" : " ").append(id);
  return out.empty() ? "none" : out;
}

}  // namespace

std::filesystem::path default_state() { return sgx::SimPlatform::default_folder() / "las"; }

Result<void> run_las(const LasOptions& options, std::ostream& out) {
  const sigset_t stop = block_stop_signals();
  LasServerOptions server_options;
  server_options.address = options.listen;
  if (options.hardware) return run_hardware(options, server_options, stop, out);
  const std::filesystem::path state = options.state.empty() ? default_state() : options.state;
  const sgx::SimPlatform platform = TRY(sgx::SimPlatform::open(options.sim_state));
  attestation::SimPki pki = TRY(attestation::SimPki::open(state, platform, options.settings));
  const std::unique_ptr<LasServer> server = TRY(LasServer::start(server_options, std::move(pki)));
  out << "LAS listening on " << server->address() << " (" << server->status().platform << ")\n"
      << "Simulation root: " << (state / "simulation-root.pem").string() << std::endl;
  wait_for_stop(*server, stop, out);
  return {};
}

Result<LasInfo> las_status(const std::string& address) {
  attestation::LasClientOptions options;
  options.address = address;
  attestation::LasClient client = TRY(attestation::LasClient::connect(options));
  LasInfo info;
  info.status = TRY(client.status());
  const bool simulation = info.status.mode == attestation::LasMode::Simulation;
  info.text = "address      " + address + "\n";
  info.text += "protocol     version " + std::to_string(info.status.version) + "\n";
  info.text += std::string("mode         ") + (simulation ? "simulation" : "hardware") + "\n";
  info.text += "platform     " + info.status.platform + "\n";
  info.text += "uptime       " + std::to_string(info.status.uptime_seconds) + " s\n";
  info.text += "quotes       " + std::to_string(info.status.quotes) + "\n";
  info.text += "refused      " + std::to_string(info.status.refused) + "\n";
  info.text += "connections  " + std::to_string(info.status.connections) + "\n";
  return info;
}

Result<LasProbe> las_probe(const std::string& address, const std::filesystem::path& sim_state,
                           const std::vector<attestation::TrustAnchor>& anchors) {
  const auto begin = std::chrono::steady_clock::now();
  const sgx::SimPlatform platform = TRY(sgx::SimPlatform::open(sim_state));
  attestation::LasClientOptions options;
  options.address = address;
  attestation::LasClient client = TRY(attestation::LasClient::connect(options));
  if (client.mode() != attestation::LasMode::Simulation)
    return Error(Code::Unsupported,
                 "the LAS at " + address + " serves hardware, whose reports only an enclave can make",
                 "run an enclave with a session instead");
  sgx::TargetInfo target;
  std::memcpy(&target, client.target_info().data(), sizeof(target));
  sgx::Secs self{};
  self.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64;
  self.attributes.xfrm = sgx::kXfrmLegacy;
  const ByteArray<64> data = crypto::random_array<64>();
  const sgx::Report report = platform.make_report(self, target, data);
  ByteArray<432> bytes;
  std::memcpy(bytes.data(), &report, bytes.size());
  const attestation::LasQuote evidence = TRY(client.quote(bytes));

  const attestation::CollateralBundle bundle =
      TRY(attestation::parse_collateral_bundle(as_text(evidence.collateral)));
  const auto trusted = TRY(attestation::trust_collateral(bundle, anchors));
  LasProbe probe;
  const int64_t now = static_cast<int64_t>(std::time(nullptr));
  probe.verdict = TRY(attestation::verify_quote(evidence.quote, *trusted, now, data));
  probe.quote_size = evidence.quote.size();
  probe.collateral_size = evidence.collateral.size();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  probe.milliseconds = took.count();
  probe.text = "quote        " + std::to_string(probe.quote_size) + " bytes, verified\n";
  probe.text += "collateral   " + std::to_string(probe.collateral_size) + " bytes\n";
  probe.text += "TCB status   " + std::string(attestation::tcb_status_name(probe.verdict.status)) + "\n";
  probe.text += "advisories   " + advisory_text(probe.verdict.advisory_ids) + "\n";
  probe.text += std::string("root         ") + (probe.verdict.simulated ? "simulation" : "Intel") + "\n";
  probe.text += "time         " + std::to_string(std::llround(took.count())) + " ms\n";
  return probe;
}

}  // namespace cloister::las
