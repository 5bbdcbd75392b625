// The target: a session of 1 MiB is parsed in less than 50 ms.
#include <benchmark/benchmark.h>

#include "policy/session.h"

namespace {

std::string session_of(size_t bytes) {
  std::string text = "name: large\nversion: \"0.3\"\nservices:\n";
  for (int i = 0; text.size() + 8192 < bytes && i < 1000; ++i) {
    const std::string n = std::to_string(i);
    text += "  - name: s" + n + "\n    mrenclaves: [" + std::string(64, 'a') +
            "]\n    command: /application " + n + "\n    environment:\n";
    for (int k = 0; k < 18; ++k)
      text += "      NAME" + std::to_string(k) + ": 'a value of the environment'\n";
  }
  return text;
}

void parse(benchmark::State& state) {
  const std::string text = session_of(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    auto session = cloister::policy::parse_session(text);
    if (!session.ok()) state.SkipWithError(session.error().message().c_str());
    benchmark::DoNotOptimize(session);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(parse)->Arg(4 << 10)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

}  // namespace
