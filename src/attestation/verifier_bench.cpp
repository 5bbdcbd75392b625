// How long one quote takes. Warm: collateral and the platform's certificates are known, as in a service.
// Cold: everything from text, as in `cloister attestation verify`.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>

#include "attestation/sim_pki.h"
#include "attestation/snp_test_support.h"
#include "attestation/tdx_test_support.h"

namespace cloister::attestation {
namespace {

constexpr int64_t kNow = 1790000000;

struct Evidence {
  Bytes quote;
  std::string collateral;
  std::vector<TrustAnchor> anchors;
};

Evidence made() {
  char name[] = "/tmp/cloister-verifier-bench-XXXXXX";
  CLOISTER_CHECK(::mkdtemp(name) != nullptr);
  const auto platform = sgx::SimPlatform::open(std::string(name) + "/machine").value();
  const SimPki pki = SimPki::open(std::string(name) + "/pki", platform).value();
  std::filesystem::remove_all(name);
  sgx::Secs enclave{};
  enclave.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64;
  enclave.attributes.xfrm = sgx::kXfrmLegacy;
  const Bytes quote = pki.quote(platform.make_report(enclave, pki.target_info(), {})).value();
  return {quote, collateral_bundle_json(pki.collateral(kNow).value()), {pki.anchor()}};
}

const Evidence& evidence() {
  static const Evidence value = made();
  return value;
}

void warm_sgx_quote(benchmark::State& state) {
  const Evidence& e = evidence();
  const auto trusted = trust_collateral(parse_collateral_bundle(e.collateral).value(), e.anchors).value();
  for (auto _ : state) {
    const auto verdict = verify_quote(e.quote, *trusted, kNow, std::nullopt);
    CLOISTER_CHECK(verdict.ok());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(warm_sgx_quote)->Unit(benchmark::kMicrosecond);

void cold_sgx_quote(benchmark::State& state) {
  const Evidence& e = evidence();
  for (auto _ : state) {
    const auto trusted = trust_collateral(parse_collateral_bundle(e.collateral).value(), e.anchors).value();
    const auto verdict = verify_quote(e.quote, *trusted, kNow, std::nullopt);
    CLOISTER_CHECK(verdict.ok());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(cold_sgx_quote)->Unit(benchmark::kMicrosecond);

// A report of TD 1.5 is judged twice: as it was started, and as it is now.
void warm_tdx_quote(benchmark::State& state) {
  const TdxTestPki intel;
  TestTd td;
  td.version = 5;
  td.body_type = 3;
  const Bytes quote = intel.quote(td);
  const auto trusted = trust_collateral(intel.collateral(kNow), {intel.anchor()}).value();
  for (auto _ : state) {
    const auto verdict = verify_quote(quote, *trusted, kNow, std::nullopt);
    CLOISTER_CHECK(verdict.ok());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(warm_tdx_quote)->Unit(benchmark::kMicrosecond);

void snp_report(benchmark::State& state) {
  const SnpTestPki pki;
  Bytes report = unsigned_snp_report(3, {});
  pki.sign(report);
  const Bytes leaf = pki.leaf({}), crl = pki.crl(false);
  const std::string chain = pki.chain_pem();
  const std::vector<SnpAnchor> anchors = {pki.anchor()};
  for (auto _ : state) {
    const auto verdict = verify_snp({report, leaf, as_bytes(chain), crl}, anchors, kNow, std::nullopt);
    CLOISTER_CHECK(verdict.ok());
  }
}
BENCHMARK(snp_report)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace cloister::attestation
