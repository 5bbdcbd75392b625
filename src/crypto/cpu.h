// Which vector instructions the crypto code may use.
#pragma once

#include <cstdint>

namespace cloister::crypto {

enum class CpuLevel : uint8_t {
  None,    // no AES-NI: Cloister does not run
  Sse,     // AES-NI, PCLMULQDQ
  Avx2,    // and AVX2
  Vaes512  // and VAES, VPCLMULQDQ on AVX-512
};

// Read once from CPUID and XCR0. Thread-safe.
CpuLevel cpu_level();

#ifdef CLOISTER_KERNEL
// Fills the capability words that libcrypto's SHA-256 block function reads. Call once before any hashing.
void init_cpu();
#endif

}  // namespace cloister::crypto
