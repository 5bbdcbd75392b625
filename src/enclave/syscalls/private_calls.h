// System calls that only the attestation agent may make (src/agent/system_kernel.cpp is the other side).
#pragma once

#include <span>

#include "boundary/config.h"
#include "enclave/arch/frame.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

inline constexpr uint64_t kFirstPrivateCall = 0x10000;

SysResult<int64_t> private_call(uint64_t number, SyscallArgs& args);

// Tells the service that volumes have new tags and, with `wait`, returns once it has acknowledged them.
// Io: the service refuses; the volumes must not go on. Without an agent there is nobody to tell: succeeds.
SysResult<void> tags_changed(std::span<const boundary::TagChange> changes, bool wait);
// Returns once it has acknowledged everything that it was told.
SysResult<void> tags_answered();

// The program has ended: the agent hears of it and ends the enclave.
void report_exit(int32_t status);

}  // namespace cloister::enclave
