// From the first entry to the first program. See boot.cpp.
#pragma once

#include "boundary/launch.h"
#include "enclave/sys_result.h"
#include "sgx/layout.h"
#include "sgx/manifest.h"

namespace cloister::enclave {

struct Process;
struct Thread;
struct ThreadBlock;

const sgx::BootInfo& boot_info();
const sgx::Manifest& manifest();
const boundary::LaunchRecord& launch_record();  // untrusted
bool attested();                                // a configuration id was given: the agent decides what runs

Process* user_process();   // nullptr before it has been started
Process* agent_process();  // nullptr in unattested runs

// The agent's `configure`: decodes a configuration, mounts, and starts the program on a thread of its own.
SysResult<void> start_configured(ByteView blob, std::string& why);

// The last thread of `process` is leaving: closes its files; then ends the enclave, or tells the agent.
void finish_process(Process& process);

// Used by thread.cpp and boot.cpp.
void adopt_boot_thread(ThreadBlock& block, uint32_t index, uint32_t limit);
Thread& bind_boot_thread(ThreadBlock& block, uint32_t index, Process& process);
[[noreturn]] void end_current_thread();

}  // namespace cloister::enclave
