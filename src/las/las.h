// What `cloister las` does: serve, status, probe.
#pragma once

#include <filesystem>
#include <iosfwd>

#include "attestation/las_client.h"
#include "attestation/verifier.h"
#include "las/server.h"

namespace cloister::las {

struct LasOptions {
  std::string listen = "127.0.0.1:18766";
  std::filesystem::path state;      // simulated PKI; empty: default_state()
  std::filesystem::path sim_state;  // the simulated machine's secret; empty: SimPlatform's default
  attestation::SimSettings settings;
  bool hardware = false;  // quotes of this machine's SGX, by AESM; the fields above but `listen` are unused
  std::filesystem::path aesm_socket;  // empty: kAesmSocket
};
std::filesystem::path default_state();  // <simulated machine's folder>/las

// Serves until SIGINT or SIGTERM. Writes "LAS listening on IP:PORT" and the path of the simulation root to
// `out` once it accepts connections. Blocks the two signals in the calling thread: call it from a program's
// only thread.
Result<void> run_las(const LasOptions& options, std::ostream& out);

struct LasInfo {
  attestation::LasStatus status;
  std::string text;  // a line per fact
};
// Within ten seconds. Errors as LasClient.
Result<LasInfo> las_status(const std::string& address);

// The whole way on this machine: report of a made-up enclave for the LAS's target, quote, verification of the
// quote under `anchors` with report data of our own. Verifies what the LAS would tell enclaves.
// Integrity: the quote is not what was asked for. Unsupported: the LAS serves hardware, whose reports only an
// enclave can make. Denied: the LAS does not serve this simulated machine.
struct LasProbe {
  attestation::Verdict verdict;
  size_t quote_size = 0, collateral_size = 0;
  double milliseconds = 0;
  std::string text;
};
Result<LasProbe> las_probe(const std::string& address, const std::filesystem::path& sim_state,
                           const std::vector<attestation::TrustAnchor>& anchors);

}  // namespace cloister::las
