// Runs a libFuzzer entry point over a saved corpus, so that ordinary builds keep every input that once
// mattered. With no corpus folder the target still runs on three trivial inputs. A seed whose name begins
// with `accepted` must reach the target's end (fuzz_end.h).
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz_end.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  size_t count = 0, stopped_early = 0;
  const auto run = [&](const std::vector<uint8_t>& input) {
    LLVMFuzzerTestOneInput(input.data(), input.size());
    ++count;
  };
  run({});
  run({0});
  run(std::vector<uint8_t>(4096, 0xff));
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::exists(argv[i])) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      const size_t ends_before = cloister::fuzz::ends_reached;
      run(std::vector<uint8_t>(std::istreambuf_iterator<char>(in), {}));
      if (!entry.path().filename().string().starts_with("accepted")) continue;
      if (cloister::fuzz::ends_reached > ends_before) continue;
      std::fprintf(stderr, "%s did not reach the end\n", entry.path().c_str());
      ++stopped_early;
    }
  }
  std::printf("replayed %zu inputs\n", count);
  return stopped_early == 0 ? 0 : 1;
}
