// The service under load over its real listeners, client and service on one machine: tag updates on live
// connections, whole attestations (TLS, quote, verification, policy, journal, configuration), and session
// uploads. Each thread is an enclave or an owner of its own.
#include <benchmark/benchmark.h>

#include "cas/world_test_support.h"

namespace cloister::cas {
namespace {

using testing::Enclave;
using testing::session_text;
using testing::tag_of;
using testing::World;

World& world() {
  static World* const one = [] {
    auto* made = new World;
    CasOptions options = made->options();
    options.service.max_sessions = options.service.max_bytes = UINT64_MAX;
    options.api.burst = options.api.requests_per_second = 1e9;
    made->start(options);
    return made;
  }();
  return *one;
}

std::string fresh_session(const std::string& more = {}) {
  static std::atomic<uint64_t> number{0};
  const std::string name = "bench-" + std::to_string(++number);
  CLOISTER_CHECK(world().client(world().owner).create_session(session_text(name, more)).ok());
  return name;
}

void tag_updates(benchmark::State& state) {
  Enclave enclave(world());
  CLOISTER_CHECK(enclave.attest(fresh_session() + "/app").ok());
  uint64_t number = 0;
  for (auto _ : state) {
    const Tag previous = number == 0 ? Tag{} : tag_of(number);
    CLOISTER_CHECK(enclave.publish("out", previous, tag_of(number + 1)).ok());
    ++number;
  }
  state.counters["updates"] = benchmark::Counter(static_cast<double>(number), benchmark::Counter::kIsRate);
}
BENCHMARK(tag_updates)->ThreadRange(1, 64)->UseRealTime()->Unit(benchmark::kMicrosecond);

void attestations(benchmark::State& state) {
  const std::string session = fresh_session();
  Enclave enclave(world());
  uint64_t number = 0;
  for (auto _ : state) {
    CLOISTER_CHECK(enclave.attest(session + "/app").ok());
    CLOISTER_CHECK(enclave.exit(0).ok());
    ++number;
  }
  state.counters["attestations"] =
      benchmark::Counter(static_cast<double>(number), benchmark::Counter::kIsRate);
}
BENCHMARK(attestations)->ThreadRange(1, 8)->UseRealTime()->Unit(benchmark::kMicrosecond);

void session_uploads(benchmark::State& state) {
  uint64_t number = 0;
  for (auto _ : state) {
    fresh_session();
    ++number;
  }
  state.counters["sessions"] = benchmark::Counter(static_cast<double>(number), benchmark::Counter::kIsRate);
}
BENCHMARK(session_uploads)->ThreadRange(1, 8)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace cloister::cas
