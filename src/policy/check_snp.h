// The part of `check` that is about SEV-SNP machines. AMD signs numbers and no judgement, so what is old is
// the session's to say: `minimum_tcb`.
#pragma once

#include "policy/check.h"

namespace cloister::policy {

// Measurement, host data, keys, level of privilege, firmware, guest policy and migration. `verdict.snp` is
// present.
std::vector<Denial> check_snp(const Session& session, const Service& service,
                              const attestation::Verdict& verdict);

}  // namespace cloister::policy
