// One declaration per row of table.inc, and the dispatcher.
#pragma once

#include "enclave/arch/frame.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

#define SYSCALL(number, name, level, note) SysResult<int64_t> sys_##name(SyscallArgs& args);
#include "enclave/syscalls/table.inc"
#undef SYSCALL

// Runs the call in frame.original_rax and stores its result into frame.rax. Kernel lock held.
void dispatch_system_call(Thread& thread, UserFrame& frame);
const char* system_call_name(uint64_t number);  // "?" when it has no row

}  // namespace cloister::enclave
