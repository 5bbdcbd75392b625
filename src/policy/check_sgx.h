// The part of `check` that is about enclaves: MRENCLAVE and signer.
#pragma once

#include "policy/check.h"

namespace cloister::policy {

// Measurement and signer; empty when one variant holds completely.
std::vector<Denial> check_sgx(const Service& service, const attestation::Verdict& verdict);

}  // namespace cloister::policy
