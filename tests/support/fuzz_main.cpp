// Runs a libFuzzer entry point over a saved corpus, so that ordinary builds keep every input that once
// mattered. With no corpus folder the target still runs on three trivial inputs.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  size_t count = 0;
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
      run(std::vector<uint8_t>(std::istreambuf_iterator<char>(in), {}));
    }
  }
  std::printf("replayed %zu inputs\n", count);
}
