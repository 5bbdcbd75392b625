#pragma once

#include <cstdint>

namespace cloister::enclave {
void set_log_level(uint32_t level);  // from the untrusted launch record: decides only what is printed
}  // namespace cloister::enclave
