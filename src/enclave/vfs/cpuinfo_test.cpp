// /proc/cpuinfo of CPUs as they are.
#include "enclave/vfs/cpuinfo.h"

#include <cpuid.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace cloister::enclave {
namespace {

using Leaves = std::map<std::pair<uint32_t, uint32_t>, CpuidAnswer>;
AskCpuid of(Leaves leaves) {
  return [leaves = std::move(leaves)](uint32_t leaf, uint32_t subleaf) {
    const auto found = leaves.find({leaf, subleaf});
    return found == leaves.end() ? CpuidAnswer{} : found->second;
  };
}

std::string value_of(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + "\t")) return line.substr(line.find(':') + 1);
  }
  return "none";
}
std::set<std::string> words_of(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

TEST(Cpuinfo, NamesAnAmdCpu) {
  // Zen 2: family 17H is 0FH plus 8.
  const std::string text =
      describe_processors(2, of({{{0, 0}, {0x10, 0x68747541, 0x444d4163, 0x69746e65}},
                                 {{1, 0}, {0x00830f10, 0x00100800, 1u << 28 | 1, 1u << 26 | 1}},
                                 {{7, 0}, {0, 1u << 5, 0, 0}},
                                 {{0x80000000, 0}, {0x80000008, 0, 0, 0}},
                                 {{0x80000002, 0}, {0x20444d41, 0x43595045, 0x20202020, 0x20202020}},
                                 {{0x80000001, 0}, {0, 0, 1u << 6, 1u << 29}},
                                 {{0x80000008, 0}, {0x3030, 0, 0, 0}}}));
  EXPECT_EQ(value_of(text, "vendor_id"), " AuthenticAMD");
  EXPECT_EQ(value_of(text, "cpu family"), " 23");
  EXPECT_EQ(value_of(text, "model"), " 49");
  EXPECT_EQ(value_of(text, "model name"), " AMD EPYC");
  EXPECT_EQ(value_of(text, "stepping"), " 0");
  EXPECT_EQ(value_of(text, "cpu MHz"), "none");
  EXPECT_EQ(value_of(text, "flags"), " fpu sse2 lm pni avx sse4a avx2");
  EXPECT_EQ(value_of(text, "clflush size"), " 64");
  EXPECT_EQ(value_of(text, "address sizes"), " 48 bits physical, 48 bits virtual");
  EXPECT_NE(text.find("processor\t: 1\n"), std::string::npos);
}

// A CPU without leaf 7 answers it with its highest leaf.
TEST(Cpuinfo, AsksForNoLeafThatIsNotThere) {
  const AskCpuid cpuid = [](uint32_t leaf, uint32_t) -> CpuidAnswer {
    if (leaf == 0) return {1, 0x756e6547, 0x6c65746e, 0x49656e69};
    if (leaf == 1) return {0x000006f6, 0, 0, 1};
    return {~0u, ~0u, ~0u, ~0u};
  };
  const std::string text = describe_processors(1, cpuid);
  EXPECT_EQ(value_of(text, "flags").find("avx2"), std::string::npos);
  EXPECT_EQ(value_of(text, "vendor_id"), " GenuineIntel");
}

TEST(Cpuinfo, LetsNobodyWriteLinesIntoIt) {
  const AskCpuid cpuid = [](uint32_t leaf, uint32_t) -> CpuidAnswer {
    if (leaf == 0x80000000) return {0x80000008, 0, 0, 0};
    return {0x0a0a0a0a, 0x0a0a0a0a, 0x0a0a0a0a, 0x0a0a0a0a};
  };
  EXPECT_EQ(value_of(describe_processors(1, cpuid), "vendor_id"), " ????????????");
  EXPECT_EQ(value_of(describe_processors(1, cpuid), "model name"), " " + std::string(48, '?'));
}

// Linux on this machine must know every flag by the same name. It shows more, and may hide some by choice.
TEST(Cpuinfo, SaysOnThisMachineWhatLinuxSays) {
  std::ifstream file("/proc/cpuinfo");
  const std::string native((std::istreambuf_iterator<char>(file)), {});
  const auto known = words_of(value_of(native, "flags"));
  if (known.empty()) GTEST_SKIP() << "this machine's /proc/cpuinfo names no flags to compare with";
  const std::string ours = describe_processors(1, [](uint32_t leaf, uint32_t subleaf) {
    CpuidAnswer answer;
    __cpuid_count(leaf, subleaf, answer.eax, answer.ebx, answer.ecx, answer.edx);
    return answer;
  });
  for (const char* row : {"vendor_id", "cpu family", "model", "model name", "stepping", "clflush size"})
    EXPECT_EQ(value_of(ours, row), value_of(native, row));
  for (const char* flag : {"fpu", "sse2", "aes", "avx", "avx2", "bmi2", "fma", "popcnt", "sha_ni", "avx512f"})
    EXPECT_EQ(words_of(value_of(ours, "flags")).contains(flag), known.contains(flag)) << flag;
  for (const std::string& flag : words_of(value_of(ours, "flags"))) EXPECT_TRUE(known.contains(flag)) << flag;
}

}  // namespace
}  // namespace cloister::enclave
