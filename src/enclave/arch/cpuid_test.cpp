#include "enclave/arch/cpuid.h"

#include <cpuid.h>
#include <gtest/gtest.h>

#include "enclave/arch/host_test_support.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kSse = 0x3, kAvx = 0x7, kAvx512 = 0xe7;
constexpr CpuidAnswer kEverything{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};

CpuidAnswer real(uint32_t leaf, uint32_t subleaf) {
  CpuidAnswer out;
  __cpuid_count(leaf, subleaf, out.eax, out.ebx, out.ecx, out.edx);
  return out;
}
bool is_intel() { return real(0, 0).ebx == 0x756e6547; }  // "Genu"
uint64_t xcr0() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

// Programs allocate by these: a host that says less makes them write behind their buffers.
TEST(Cpuid, SizesOfVectorStateAreNotTheHostsWord) {
  for (const CpuidAnswer& said : {CpuidAnswer{}, kEverything}) {
    EXPECT_EQ(checked_cpuid(0xd, 0, said, kSse), (CpuidAnswer{3, 576, 576, 0}));
    EXPECT_EQ(checked_cpuid(0xd, 0, said, kAvx), (CpuidAnswer{7, 832, 832, 0}));
    EXPECT_EQ(checked_cpuid(0xd, 0, said, kAvx512), (CpuidAnswer{0xe7, 2688, 2688, 0}));
    EXPECT_EQ(checked_cpuid(0xd, 1, said, kAvx512), CpuidAnswer{});
    EXPECT_EQ(checked_cpuid(0xd, 2, said, kAvx), (CpuidAnswer{256, 576, 0, 0}));
    EXPECT_EQ(checked_cpuid(0xd, 6, said, kAvx), CpuidAnswer{});
    EXPECT_EQ(checked_cpuid(0xd, 99, said, kAvx512), CpuidAnswer{});
  }
}

// This machine's CPU agrees about each component that it has; another maker's has other places.
TEST(Cpuid, SizesAreThoseOfThisCpu) {
  const uint64_t features = xcr0() & kAvx512;
  for (uint32_t component : {2U, 5U, 6U, 7U}) {
    if ((features >> component & 1) == 0) continue;
    const CpuidAnswer cpu = real(0xd, component);
    const CpuidAnswer ours = checked_cpuid(0xd, component, {}, features);
    EXPECT_EQ(ours.eax, cpu.eax) << component;
    if (is_intel() || component == 2) {
      EXPECT_EQ(ours.ebx, cpu.ebx) << component;
    }
  }
}

TEST(Cpuid, InstructionsWhoseStateIsOffAreNotThere) {
  constexpr uint32_t kAvxBit = 1U << 28, kAvx2Bit = 1U << 5, kAvx512Bit = 1U << 16, kXsave = 1U << 27;
  EXPECT_EQ(checked_cpuid(1, 0, kEverything, kSse).ecx & kAvxBit, 0U);
  EXPECT_NE(checked_cpuid(1, 0, kEverything, kAvx).ecx & kAvxBit, 0U);
  EXPECT_EQ(checked_cpuid(1, 0, {}, kSse).ecx, kXsave);
  EXPECT_EQ(checked_cpuid(7, 0, kEverything, kSse).ebx & (kAvx2Bit | kAvx512Bit), 0U);
  EXPECT_EQ(checked_cpuid(7, 0, kEverything, kAvx).ebx & (kAvx2Bit | kAvx512Bit), kAvx2Bit);
  EXPECT_EQ(checked_cpuid(7, 0, kEverything, kAvx512).ebx & (kAvx2Bit | kAvx512Bit), kAvx2Bit | kAvx512Bit);
  EXPECT_EQ(checked_cpuid(7, 0, kEverything, kAvx512).ebx & (1U << 2), 0U) << "no SGX inside SGX";
  EXPECT_EQ(checked_cpuid(7, 0, kEverything, kAvx512).edx & (1U << 24), 0U) << "AMX";
  EXPECT_EQ(checked_cpuid(7, 1, kEverything, kSse).eax & (1U << 4), 0U) << "AVX-VNNI";
  EXPECT_EQ(checked_cpuid(0x12, 0, kEverything, kAvx512), CpuidAnswer{});
  EXPECT_EQ(checked_cpuid(4, 1, kEverything, kSse), kEverything);
}

// New instructions come there, and new state with them.
TEST(Cpuid, OfTheNewestInstructionsThereAreThoseWhoseStateIsKept) {
  constexpr uint64_t kAmx = kAvx512 | uint64_t{3} << 17;
  constexpr uint32_t kPlain = 0x80001c88, kWithAvx = kPlain | 0x00800017, kWithAvx512 = kWithAvx | 0x20;
  const auto newest = [](uint64_t features) { return checked_cpuid(7, 1, kEverything, features); };
  EXPECT_EQ(newest(kSse), (CpuidAnswer{kPlain, 0, 0, 0x4000}));
  EXPECT_EQ(newest(0xe3), newest(kSse)) << "AVX-512 without AVX";
  EXPECT_EQ(newest(kAvx), (CpuidAnswer{kWithAvx, 0, 0, 0x4430}));
  EXPECT_EQ(newest(kAvx512), (CpuidAnswer{kWithAvx512, 0, 0, 0x84430}));
  EXPECT_EQ(newest(kAmx), (CpuidAnswer{kWithAvx512 | 0x200000, 0, 0, 0x84530}));
  constexpr uint32_t kSystems = 1u << 17 | 1u << 18 | 1u << 26 | 1u << 27;  // FRED, LKGS, LAM, MSRLIST
  EXPECT_EQ(newest(UINT64_MAX).eax & kSystems, 0U);
  EXPECT_EQ(newest(UINT64_MAX).edx & 1u << 21, 0U) << "APX";
  EXPECT_EQ(checked_cpuid(7, 1, {}, kAmx), CpuidAnswer{}) << "nothing that was not said";

  const CpuidAnswer former = checked_cpuid(7, 0, kEverything, UINT64_MAX);
  EXPECT_EQ(former.ebx & 1u << 14, 0U) << "MPX";
  EXPECT_EQ(former.ecx & (1u << 7 | 1u << 23 | 1u << 29 | 1u << 31), 0U)
      << "shadow stacks, keys, ENQCMD, PKS";
  EXPECT_EQ(former.edx & (1u << 5 | 1u << 20), 0U) << "user interrupts, branch tracking";
  for (const uint32_t leaf : {0x1dU, 0x1eU}) {
    EXPECT_EQ(checked_cpuid(leaf, 1, kEverything, kAvx512), CpuidAnswer{});
    EXPECT_EQ(checked_cpuid(leaf, 1, kEverything, kAmx), kEverything);
  }
  EXPECT_EQ(checked_cpuid(0x24, 0, kEverything, kAvx), CpuidAnswer{});
  EXPECT_EQ(checked_cpuid(0x24, 0, kEverything, kAvx512), kEverything);
  EXPECT_EQ(checked_cpuid(0x19, 0, kEverything, UINT64_MAX), CpuidAnswer{});
}

// The registers as the instruction leaves them, whatever 64-bit numbers the host answers.
TEST(Cpuid, TheInstructionIsEmulated) {
  HostileHost host;
  host.force_values({0xaaaaaaaa00000001, 0xbbbbbbbbffffffff, 0xccccccccffffffff, 0xdddddddd00000004});
  uint64_t rax = 0xffffffff00000001, rbx = 7, rcx = 0xffffffff00000000, rdx = 8;
  emulate_cpuid(rax, rbx, rcx, rdx);
  EXPECT_EQ(host.last_arguments()[0], 1U);
  EXPECT_EQ(host.last_arguments()[1], 0U);
  EXPECT_EQ(rax, 1U);
  EXPECT_EQ(rbx, 0xffffffffU);
  EXPECT_EQ(rcx, 0xffffffffU);
  EXPECT_EQ(rdx, 4U);
  EXPECT_TRUE(host.complaint.empty()) << host.complaint;
}

}  // namespace
}  // namespace cloister::enclave
