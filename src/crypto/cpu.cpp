#include "crypto/cpu.h"

#include <cpuid.h>

namespace cloister::crypto {
namespace {

uint64_t enabled_state() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

CpuLevel detect() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  __cpuid_count(1, 0, a, b, c, d);
  const bool aes = (c & bit_AES) && (c & bit_PCLMUL) && (c & bit_SSE4_1);
  if (!aes) return CpuLevel::None;
  if (!(c & bit_OSXSAVE)) return CpuLevel::Sse;
  const uint64_t state = enabled_state();
  if ((state & 0x6) != 0x6) return CpuLevel::Sse;
  __cpuid_count(7, 0, a, b, c, d);
  if (!(b & bit_AVX2)) return CpuLevel::Sse;
  const uint32_t avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  if ((state & 0xe6) == 0xe6 && (b & avx512) == avx512 && (c & bit_VAES) && (c & bit_VPCLMULQDQ)) {
    return CpuLevel::Vaes512;
  }
  return CpuLevel::Avx2;
}

}  // namespace

CpuLevel cpu_level() {
  static int cached = -1;  // the same value whoever writes it
  int level = __atomic_load_n(&cached, __ATOMIC_RELAXED);
  if (level < 0) {
    level = static_cast<int>(detect());
    __atomic_store_n(&cached, level, __ATOMIC_RELAXED);
  }
  return static_cast<CpuLevel>(level);
}

}  // namespace cloister::crypto

#ifdef CLOISTER_KERNEL
// libcrypto's name for its capability vector: CPUID.1 EDX:ECX, then CPUID.7 EBX:ECX (OPENSSL_ia32cap(3)).
extern "C" {
__attribute__((visibility("hidden"))) uint32_t OPENSSL_ia32cap_P[4];
}

namespace cloister::crypto {

void init_cpu() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  __cpuid_count(1, 0, a, b, c, d);
  OPENSSL_ia32cap_P[0] = d;
  OPENSSL_ia32cap_P[1] = c;
  __cpuid_count(7, 0, a, b, c, d);
  OPENSSL_ia32cap_P[2] = b;
  OPENSSL_ia32cap_P[3] = c;
  if (cpu_level() < CpuLevel::Avx2) {
    OPENSSL_ia32cap_P[1] &= ~static_cast<uint32_t>(bit_AVX | bit_OSXSAVE);
    OPENSSL_ia32cap_P[2] &= ~static_cast<uint32_t>(bit_AVX2);
  }
}

}  // namespace cloister::crypto
#endif
