// The part of `check` that is about TDX machines. MRTD measures the firmware only; what it loads is measured
// in RTMR0 to RTMR3, and is a factor only where the session names them.
#pragma once

#include "policy/check.h"

namespace cloister::policy {

// Registers, TD attributes and migration; not the TCB status, which is judged as an enclave's.
std::vector<Denial> check_tdx(const Session& session, const Service& service,
                              const attestation::Verdict& verdict);

}  // namespace cloister::policy
