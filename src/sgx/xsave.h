// Where XSAVE keeps the parts of the vector state, in the standard format: in the SSA frames that the CPU
// fills, in the kernel's areas and in what programs are told. CPUID.0DH says it too, but inside an enclave
// there is no CPUID, and what the host says about sizes is not believed.
//
// Of Intel's CPUs, which alone have SGX (SDM vol. 1, 13.5); they have never had other places.
#pragma once

#include <cstdint>

namespace cloister::sgx {

struct XsaveComponent {
  uint32_t bit;  // of XCR0 and XFRM
  uint32_t size, offset;
};
// Ascending in bit and offset. AVX; opmask, upper halves and upper registers of AVX-512; PKRU; AMX.
inline constexpr XsaveComponent kXsaveComponents[] = {{2, 256, 576},   {5, 64, 1088}, {6, 512, 1152},
                                                      {7, 1024, 1664}, {9, 8, 2688},  {17, 64, 2752},
                                                      {18, 8192, 2816}};
inline constexpr uint32_t kXsaveLegacySize = 512, kXsaveHeaderSize = 64;

// Bytes of an area for these features (XCR0 or XFRM).
constexpr uint32_t xsave_size(uint64_t features) {
  uint32_t size = kXsaveLegacySize + kXsaveHeaderSize;
  for (const XsaveComponent& component : kXsaveComponents) {
    if ((features >> component.bit & 1) != 0) size = component.offset + component.size;
  }
  return size;
}

}  // namespace cloister::sgx
