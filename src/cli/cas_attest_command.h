// What `cloister cas attest` says of a refusal. Here so that a test can ask for it without a CAS.
#pragma once

#include <string>
#include <vector>

#include "policy/check.h"

namespace cloister::cli {

// The options of `cas attest` that all of `denials` need, each once, or nothing when one of them cannot be
// accepted.
std::string accepting_hint(const std::vector<policy::Denial>& denials);

}  // namespace cloister::cli
