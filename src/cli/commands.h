// One function per command group: it adds its subcommands, and what a subcommand returns becomes the exit
// code.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace cloister::cli {

// Exit codes are an interface: scripts depend on them.
enum ExitCode : int { kOk = 0, kFailed = 1, kUsage = 2, kIntegrity = 3, kRefused = 4, kUnavailable = 5 };
int exit_code_of(const Error& error);

// Prints `cloister: what failed` and, where there is one, `  what to do`; returns the exit code. Messages
// hold names as files, volumes and servers have them: here, and not before, they become printable.
int report(const Error& error);

// What a command returns as its exit code, reported when it failed.
inline int finished(const Result<int>& done) { return done.ok() ? *done : report(done.error()); }
inline int finished(const Result<void>& done) { return done.ok() ? kOk : report(done.error()); }

// Set by the subcommand that was chosen; run after parsing.
using Action = std::function<int()>;

void add_doctor_command(CLI::App& app, Action& action);
void add_volume_commands(CLI::App& app, Action& action);
void add_attestation_commands(CLI::App& app, Action& action);
void add_las_commands(CLI::App& app, Action& action);
void add_collateral_commands(CLI::App& app, Action& action);
// `program_arguments`: what take_program_arguments removed from the command line of `run`, for the program.
std::vector<std::string> take_program_arguments(std::vector<std::string>& words);
void add_image_commands(CLI::App& app, Action& action, const std::vector<std::string>& program_arguments);
void add_push_command(CLI::App& app, Action& action);
void add_execute_command(CLI::App& app, Action& action);
void add_decrypt_command(CLI::App& app, Action& action);
void add_cas_commands(CLI::App& app, Action& action);  // with those of sessions
void add_cas_attest_command(CLI::App& group, Action& action);
void add_session_commands(CLI::App& app, Action& action);
void add_transfer_commands(CLI::App& app, Action& action);

}  // namespace cloister::cli
