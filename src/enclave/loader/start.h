// What runs first: the program of an unattested enclave, the agent, or the program that a configuration
// names. Kernel lock held.
#pragma once

#include <span>
#include <string>

#include "base/bytes.h"
#include "boundary/config.h"
#include "enclave/loader/loader.h"

namespace cloister::enclave {

struct Process;

// `why` gets words for the person who reads the log. Io: bytes are not the measured ones.
SysResult<UserEntry> start_unattested(Process& process, std::string& why);
SysResult<UserEntry> start_agent(Process& process, std::string& why);
SysResult<UserEntry> start_from_config(Process& process, const boundary::EnclaveConfig& config,
                                       std::string& why);

// execve(2): ends the other threads of the calling process, clears its memory and loads `path`, which must
// have been checked so far that only want of memory can stop it now (then the process is killed). Errors:
// nothing has changed.
SysResult<UserEntry> replace_program(Process& process, const std::string& path,
                                     std::span<const std::string> arguments,
                                     std::span<const std::string> environment);

}  // namespace cloister::enclave
