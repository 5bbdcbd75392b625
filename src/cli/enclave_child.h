// Runs an enclave in a child process: the threads of host::run_enclave outlive their program, so whoever has
// something to do afterwards must not share a process with them.
#pragma once

#include "host/runner.h"

namespace cloister::cli {

// The program's standard output goes to standard error. SIGINT and SIGTERM that reach this process meanwhile
// are passed on (interruption.h). The child dies with its parent. Returns and fails as run_enclave.
Result<host::EnclaveEnd> run_enclave_in_child(const host::RunOptions& options);

}  // namespace cloister::cli
