// What the environment says: settings of `run` (CLOISTER_NAME before SCONE_NAME), where the runtime is.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "host/runner.h"

namespace cloister::cli {

// The value of CLOISTER_`name`, else SCONE_`name`, else empty.
std::string setting(std::string_view name);

// kernel.elf and agent.elf: $CLOISTER_LIB, else ../lib/cloister beside the program. NotFound.
Result<std::filesystem::path> runtime_folder();

// Numeric "ip:port" of an address as split_address takes it. InvalidArgument, Unavailable when the name is
// unknown.
Result<std::string> resolve_address(const std::string& text, uint16_t default_port);

// Everything of RunOptions that the environment decides: mode, session, addresses, log level, and for
// unattested runs the program's environment. MODE is sim, hw, or auto (also when absent): hardware where this
// machine has what that needs, else simulation. That a machine lacks something for hw is said by run_enclave
// (Unsupported).
Result<host::RunOptions> run_options_from_environment();
// For who names the session otherwise: SERVICE_ACCESS_TOKEN, for the agent. Nobody else may get it.
void pass_access_token(host::RunOptions& options);
// HEAP, STACK and TCS change the measurement: InvalidArgument when they are set and not the image's.
Result<void> check_limits(const std::filesystem::path& image);
// The warnings and, with VERSION=1, the banner, on standard error.
void announce_run(const host::RunOptions& options);

}  // namespace cloister::cli
