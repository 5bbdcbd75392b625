// CPUID inside the enclave. In hardware the instruction is undefined there (SDM vol. 3D, 35.6.2), so its #UD
// is answered with what the host says, as far as that can do no harm: which instructions there are is the
// host's word (a wrong one ends in #UD), how large areas of vector state are is not, because programs
// allocate by it.
#pragma once

#include <cstdint>

namespace cloister::enclave {

struct CpuidAnswer {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  bool operator==(const CpuidAnswer&) const = default;
};

// What programs get of `said` when the enclave's XCR0 is `features`: nothing of features that are not
// enabled, and for leaf 0DH (vector state) what the SDM's standard format fixes, whatever was said.
CpuidAnswer checked_cpuid(uint32_t leaf, uint32_t subleaf, const CpuidAnswer& said, uint64_t features);

// The instruction's effect on the four registers (64 bits; the upper halves become zero). Leaves the enclave.
void emulate_cpuid(uint64_t& rax, uint64_t& rbx, uint64_t& rcx, uint64_t& rdx);

}  // namespace cloister::enclave
