#include "enclave/arch/cpuid.h"

#include "enclave/arch/host.h"
#include "enclave/arch/vector_state.h"
#include "sgx/xsave.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kAvx = 1u << 2, kAvx512 = 0xe0, kPkru = 1u << 9, kAmx = uint64_t{3} << 17;

constexpr uint32_t bits() { return 0; }
template <class... Numbers>
constexpr uint32_t bits(unsigned first, Numbers... rest) {
  return uint32_t{1} << first | bits(rest...);
}

// Of CPUID.1 and CPUID.7 (SDM vol. 2A), what needs a part of the vector state.
constexpr uint32_t kOsXsave = bits(27);
constexpr uint32_t kAvxEcx1 = bits(12, 28, 29);                 // FMA, AVX, F16C
constexpr uint32_t kAvxEbx7 = bits(5), kAvxEcx7 = bits(9, 10);  // AVX2; VAES, VPCLMULQDQ
constexpr uint32_t kAvx512Ebx7 = bits(16, 17, 21, 26, 27, 28, 30, 31);
constexpr uint32_t kAvx512Ecx7 = bits(1, 6, 11, 12, 14);
constexpr uint32_t kAvx512Edx7 = bits(2, 3, 8, 23);
constexpr uint32_t kAmxEdx7 = bits(22, 24, 25);
constexpr uint32_t kPkuEcx7 = bits(3, 4);
constexpr uint32_t kSgxEbx7 = bits(2), kSgxEcx7 = bits(30);  // enclaves make no enclaves
// Subleaf 1 is where new instructions come, and new state with them. So the other way round: what programs
// may have, by what it needs; the rest is the system's (FRED, LAM, …) or needs state that no enclave has yet
// (APX).
constexpr uint32_t kPlainEax71 = bits(3, 7, 10, 11, 12, 31);      // RAO-INT, CMPccXADD, fast REPs, MOVRS
constexpr uint32_t kAvxEax71 = bits(0, 1, 2, 4, 23);              // SHA512, SM3, SM4, AVX-VNNI, AVX-IFMA
constexpr uint32_t kAvx512Eax71 = bits(5), kAmxEax71 = bits(21);  // AVX512-BF16; AMX-FP16
constexpr uint32_t kPlainEdx71 = bits(14);                        // PREFETCHI
constexpr uint32_t kAvxEdx71 = bits(4, 5, 10);                    // AVX-VNNI-INT8, -NE-CONVERT, -VNNI-INT16
constexpr uint32_t kAvx512Edx71 = bits(19), kAmxEdx71 = bits(8);  // AVX10; AMX-COMPLEX
// Of subleaf 0, what the kernel does not do for programs: MPX; shadow stacks, Key Locker, ENQCMD, PKS; user
// interrupts, branch tracking.
constexpr uint32_t kAbsentEbx7 = bits(14), kAbsentEcx7 = bits(7, 23, 29, 31), kAbsentEdx7 = bits(5, 20);

bool has(uint64_t features, uint64_t wanted) { return (features & wanted) == wanted; }

CpuidAnswer vector_areas(uint32_t subleaf, uint64_t features) {
  if (subleaf == 0) {
    const uint32_t size = sgx::xsave_size(features);
    return {static_cast<uint32_t>(features), size, size, static_cast<uint32_t>(features >> 32)};
  }
  for (const sgx::XsaveComponent& component : sgx::kXsaveComponents) {
    if (component.bit == subleaf && (features >> subleaf & 1) != 0)
      return {component.size, component.offset, 0, 0};
  }
  return {};  // subleaf 1: no compact format, which has other sizes
}

CpuidAnswer extensions(uint32_t subleaf, CpuidAnswer answer, uint64_t features) {
  const bool avx = has(features, kAvx), avx512 = avx && has(features, kAvx512), amx = has(features, kAmx);
  if (subleaf == 1) {
    answer.eax &= kPlainEax71 | (avx ? kAvxEax71 : 0) | (avx512 ? kAvx512Eax71 : 0) | (amx ? kAmxEax71 : 0);
    answer.edx &= kPlainEdx71 | (avx ? kAvxEdx71 : 0) | (avx512 ? kAvx512Edx71 : 0) | (amx ? kAmxEdx71 : 0);
    return {answer.eax, 0, 0, answer.edx};
  }
  if (subleaf != 0) return answer;
  answer.ebx &= ~(kSgxEbx7 | kAbsentEbx7 | (avx ? 0 : kAvxEbx7) | (avx512 ? 0 : kAvx512Ebx7));
  answer.ecx &= ~(kSgxEcx7 | kAbsentEcx7 | (avx ? 0 : kAvxEcx7) | (avx512 ? 0 : kAvx512Ecx7) |
                  (has(features, kPkru) ? 0 : kPkuEcx7));
  answer.edx &= ~(kAbsentEdx7 | (avx512 ? 0 : kAvx512Edx7) | (amx ? 0 : kAmxEdx7));
  return answer;
}

}  // namespace

CpuidAnswer checked_cpuid(uint32_t leaf, uint32_t subleaf, const CpuidAnswer& said, uint64_t features) {
  CpuidAnswer answer = said;
  switch (leaf) {
    case 1:
      answer.ecx |= kOsXsave;  // the CPU saves by it when it leaves the enclave
      if (!has(features, kAvx)) answer.ecx &= ~kAvxEcx1;
      return answer;
    case 7:
      return extensions(subleaf, answer, features);
    case 0xd:
      return vector_areas(subleaf, features);
    case 0x12:  // SGX
      return {};
    case 0x19:  // Key Locker
      return {};
    case 0x1d:  // tiles
    case 0x1e:
      return has(features, kAmx) ? answer : CpuidAnswer{};
    case 0x24:  // AVX10
      return has(features, kAvx | kAvx512) ? answer : CpuidAnswer{};
    default:
      return answer;
  }
}

void emulate_cpuid(uint64_t& rax, uint64_t& rbx, uint64_t& rcx, uint64_t& rdx) {
  const auto leaf = static_cast<uint32_t>(rax), subleaf = static_cast<uint32_t>(rcx);
  const CpuidAnswer answer = checked_cpuid(leaf, subleaf, host::cpuid(leaf, subleaf), vector_mask());
  rax = answer.eax;
  rbx = answer.ebx;
  rcx = answer.ecx;
  rdx = answer.edx;
}

}  // namespace cloister::enclave
