// The part of `check` that is about TDX machines. MRTD measures the firmware only; what it loads is measured
// in RTMR0 to RTMR3, and is a factor only where the session names them.
#pragma once

#include "policy/check.h"

namespace cloister::policy {

// Bits of TDATTRIBUTES (Intel TDX module ABI).
namespace td_attributes {
inline constexpr uint64_t kDebug = 0xff;                     // any of them: judged by the rule of that name
inline constexpr uint64_t kNoExceptionsByHost = 1ull << 28;  // SEPT_VE_DISABLE
inline constexpr uint64_t kMigratable = 1ull << 29;          // judged by the rule `migration`
inline constexpr uint64_t kHarmless = 1ull << 30 | 1ull << 31 | 1ull << 63;  // PKS, KL, PERFMON
inline constexpr uint64_t kKnown = kDebug | kNoExceptionsByHost | kMigratable | kHarmless;

// But for debug and migration, which have rules of their own.
constexpr bool sound(uint64_t attributes) {
  return (attributes & kNoExceptionsByHost) != 0 && (attributes & ~kKnown) == 0;
}
}  // namespace td_attributes

// Registers, TD attributes and migration; not the TCB status, which is judged as an enclave's.
std::vector<Denial> check_tdx(const Session& session, const Service& service,
                              const attestation::Verdict& verdict);

}  // namespace cloister::policy
