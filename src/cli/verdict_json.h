// A verdict as what `attestation verify` prints. Include only in .cpp files.
#pragma once

#include <nlohmann/json.hpp>

#include "attestation/verifier.h"

namespace cloister::cli {

// "status" is the TCB status of SGX and TDX evidence and "ok" for SEV-SNP, which has none.
nlohmann::ordered_json verdict_json(const attestation::Verdict& verdict);

// JSON, or one line a field: objects become "outer.inner", lists are written behind one another.
void print_fields(const nlohmann::ordered_json& fields, bool json);

}  // namespace cloister::cli
