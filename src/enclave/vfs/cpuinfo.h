// /proc/cpuinfo, from the CPUID that programs see.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "enclave/arch/cpuid.h"

namespace cloister::enclave {

using AskCpuid = std::function<CpuidAnswer(uint32_t leaf, uint32_t subleaf)>;

// The text for so many processors. Names of flags: Linux, arch/x86/include/asm/cpufeatures.h; where they are
// in CPUID: SDM vol. 2A and AMD APM vol. 3, appendix E.
std::string describe_processors(uint32_t count, const AskCpuid& cpuid);

}  // namespace cloister::enclave
