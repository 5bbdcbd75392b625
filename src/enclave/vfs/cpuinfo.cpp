#include "enclave/vfs/cpuinfo.h"

#include <cstring>

namespace cloister::enclave {
namespace {

enum class Register : uint8_t { A, B, C, D };
constexpr size_t kBits = 32;
struct Word {
  uint32_t leaf, subleaf;
  Register in;
  const char* names[kBits];  // from bit 0; nullptr: Linux shows none
};

// What only an operating system sees or uses (vmx, smep, xsaves, …) is left out: it is not the program's.
constexpr Word kWords[] = {
    {1, 0, Register::D, {"fpu",  nullptr, "de",    nullptr,   "tsc",   "msr",   "pae",   "mce",
                         "cx8",  "apic",  nullptr, "sep",     "mtrr",  "pge",   "mca",   "cmov",
                         "pat",  "pse36", nullptr, "clflush", nullptr, nullptr, nullptr, "mmx",
                         "fxsr", "sse",   "sse2",  "ss",      "ht"}},
    {0x80000001, 0, Register::D, {nullptr, nullptr,  nullptr,    nullptr, nullptr,    nullptr,   nullptr,
                                  nullptr, nullptr,  nullptr,    nullptr, "syscall",  nullptr,   nullptr,
                                  nullptr, nullptr,  nullptr,    nullptr, nullptr,    nullptr,   "nx",
                                  nullptr, "mmxext", nullptr,    nullptr, "fxsr_opt", "pdpe1gb", "rdtscp",
                                  nullptr, "lm",     "3dnowext", "3dnow"}},
    {1, 0, Register::C, {"pni",    "pclmulqdq", nullptr,  nullptr,     nullptr, nullptr,  nullptr,
                         nullptr,  nullptr,     "ssse3",  nullptr,     nullptr, "fma",    "cx16",
                         nullptr,  nullptr,     nullptr,  "pcid",      nullptr, "sse4_1", "sse4_2",
                         "x2apic", "movbe",     "popcnt", nullptr,     "aes",   "xsave",  nullptr,
                         "avx",    "f16c",      "rdrand", "hypervisor"}},
    {0x80000001, 0, Register::C, {"lahf_lm", nullptr,       nullptr,         nullptr, "cr8_legacy", "abm",
                                  "sse4a",   "misalignsse", "3dnowprefetch", nullptr, nullptr,      "xop",
                                  nullptr,   nullptr,       nullptr,         nullptr, "fma4",       nullptr,
                                  nullptr,   nullptr,       nullptr,         "tbm"}},
    {7, 0, Register::B, {"fsgsbase",   nullptr,  nullptr,      "bmi1",     "hle",    "avx2",  nullptr,
                         nullptr,      "bmi2",   "erms",       nullptr,    "rtm",    nullptr, nullptr,
                         nullptr,      nullptr,  "avx512f",    "avx512dq", "rdseed", "adx",   nullptr,
                         "avx512ifma", nullptr,  "clflushopt", "clwb",     nullptr,  nullptr, nullptr,
                         "avx512cd",   "sha_ni", "avx512bw",   "avx512vl"}},
    {7, 0, Register::C, {nullptr,      "avx512vbmi",   nullptr,         "pku",      "ospke",
                         "waitpkg",    "avx512_vbmi2", nullptr,         "gfni",     "vaes",
                         "vpclmulqdq", "avx512_vnni",  "avx512_bitalg", nullptr,    "avx512_vpopcntdq",
                         nullptr,      nullptr,        nullptr,         nullptr,    nullptr,
                         nullptr,      nullptr,        "rdpid",         nullptr,    nullptr,
                         "cldemote",   nullptr,        "movdiri",       "movdir64b"}},
    {7, 0, Register::D, {nullptr,         nullptr,    "avx512_4vnniw",
                         "avx512_4fmaps", "fsrm",     nullptr,
                         nullptr,         nullptr,    "avx512_vp2intersect",
                         nullptr,         nullptr,    nullptr,
                         nullptr,         nullptr,    "serialize",
                         nullptr,         nullptr,    nullptr,
                         nullptr,         nullptr,    nullptr,
                         nullptr,         "amx_bf16", "avx512_fp16",
                         "amx_tile",      "amx_int8"}},
    {7, 1, Register::A, {nullptr, nullptr, nullptr, nullptr, "avx_vnni", "avx512_bf16", nullptr, "cmpccxadd",
                         nullptr, nullptr, "fzrm",  "fsrs",  nullptr,    nullptr,       nullptr, nullptr,
                         nullptr, nullptr, nullptr, nullptr, nullptr,    "amx_fp16",    nullptr, "avx_ifma"}},
    {0x80000008, 0, Register::B, {"clzero", nullptr, "xsaveerptr"}},
};

uint32_t value_in(const CpuidAnswer& answer, Register which) {
  switch (which) {
    case Register::A:
      return answer.eax;
    case Register::B:
      return answer.ebx;
    case Register::C:
      return answer.ecx;
    case Register::D:
      return answer.edx;
  }
  return 0;
}

// CPUs answer leaves above their highest with another one's bits.
bool has_leaf(const AskCpuid& cpuid, uint32_t leaf) {
  const uint32_t first = leaf & 0x80000000, last = cpuid(first, 0).eax;
  return leaf <= last && (last & 0x80000000) == first;
}
CpuidAnswer ask(const AskCpuid& cpuid, uint32_t leaf, uint32_t subleaf = 0) {
  return has_leaf(cpuid, leaf) ? cpuid(leaf, subleaf) : CpuidAnswer{};
}

// The host may say anything, but not put lines into the text.
std::string printable(const char* bytes, size_t size) {
  std::string text;
  for (size_t i = 0; i < size && bytes[i] != 0; ++i)
    text += bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?';
  text.erase(0, text.find_first_not_of(' '));
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string vendor(const AskCpuid& cpuid) {
  const CpuidAnswer answer = cpuid(0, 0);
  const uint32_t words[3] = {answer.ebx, answer.edx, answer.ecx};
  return printable(reinterpret_cast<const char*>(words), sizeof(words));
}

std::string model_name(const AskCpuid& cpuid) {
  if (!has_leaf(cpuid, 0x80000004)) return "unknown";
  CpuidAnswer parts[3];
  for (uint32_t i = 0; i < 3; ++i) parts[i] = cpuid(0x80000002 + i, 0);
  return printable(reinterpret_cast<const char*>(parts), sizeof(parts));
}

std::string flags(const AskCpuid& cpuid) {
  std::string text;
  for (const Word& word : kWords) {
    const CpuidAnswer answer = ask(cpuid, word.leaf, word.subleaf);
    const uint32_t value = value_in(answer, word.in);
    for (size_t bit = 0; bit < kBits; ++bit) {
      if (word.names[bit] != nullptr && (value >> bit & 1) != 0) text += std::string(" ") + word.names[bit];
    }
  }
  return text;
}

}  // namespace

std::string describe_processors(uint32_t count, const AskCpuid& cpuid) {
  const auto row = [](const char* name, const std::string& value) {
    return std::string(name) + ": " + value + "\n";
  };
  const auto number = [](uint32_t value) { return std::to_string(value); };
  const uint32_t version = ask(cpuid, 1).eax, base = version >> 8 & 15;
  const uint32_t family = base == 15 ? base + (version >> 20 & 0xff) : base;
  const uint32_t model = (version >> 4 & 15) | (family >= 6 ? version >> 12 & 0xf0 : 0);
  const uint32_t megahertz = ask(cpuid, 0x16).eax & 0xffff, line = (ask(cpuid, 1).ebx >> 8 & 0xff) * 8;
  const CpuidAnswer sizes = ask(cpuid, 0x80000008);
  const std::string before = row("vendor_id\t", vendor(cpuid)) + row("cpu family\t", number(family)) +
                             row("model\t\t", number(model)) + row("model name\t", model_name(cpuid)) +
                             row("stepping\t", number(version & 15)) +
                             (megahertz == 0 ? "" : row("cpu MHz\t\t", number(megahertz) + ".000")) +
                             row("physical id\t", "0") + row("siblings\t", number(count));
  const std::string after =
      row("cpu cores\t", number(count)) + row("fpu\t\t", "yes") + row("fpu_exception\t", "yes") +
      row("cpuid level\t", number(cpuid(0, 0).eax)) + row("wp\t\t", "yes") + "flags\t\t:" + flags(cpuid) +
      "\n" + row("clflush size\t", number(line)) + row("cache_alignment\t", number(line)) +
      row("address sizes\t",
          number(sizes.eax & 0xff) + " bits physical, " + number(sizes.eax >> 8 & 0xff) + " bits virtual") +
      "\n";
  std::string text;
  for (uint32_t cpu = 0; cpu < count; ++cpu)
    text += row("processor\t", number(cpu)) + before + row("core id\t\t", number(cpu)) + after;
  return text;
}

}  // namespace cloister::enclave
