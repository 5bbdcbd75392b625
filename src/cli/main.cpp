// `cloister`: parses the command line, runs one command, turns its outcome into two lines and an exit code.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"

namespace cloister::cli {

int exit_code_of(const Error& error) {
  switch (error.code()) {
    case Code::InvalidArgument:
      return kUsage;
    case Code::Integrity:
      return kIntegrity;
    case Code::Denied:
      return kRefused;
    case Code::Unavailable:
      return kUnavailable;
    case Code::NotFound:
    case Code::Malformed:
    case Code::Unsupported:
    case Code::Internal:
      return kFailed;
  }
  return kFailed;
}

int report(const Error& error) {
  std::fprintf(stderr, "cloister: %s\n", error.message().c_str());
  if (!error.hint().empty()) std::fprintf(stderr, "  %s\n", error.hint().c_str());
  return exit_code_of(error);
}

namespace {

int run(int argc, char** argv) {
  CLI::App app("Cloister: unmodified programs as trusted DApps", "cloister");
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 ok, 1 failed, 2 usage, 3 integrity or freshness violated, 4 refused, 5 peer "
      "unavailable.");
  Action action;
  auto* version = app.add_subcommand("version", "Print the version");
  version->callback([&action] {
    action = [] {
      std::puts("cloister " CLOISTER_VERSION);
      return static_cast<int>(kOk);
    };
  });
  add_volume_commands(app, action);
  add_attestation_commands(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  const int code = action();
  if (std::fflush(stdout) != 0) return report(Error(Code::Unavailable, "cannot write to standard output"));
  return code;
}

}  // namespace
}  // namespace cloister::cli

int main(int argc, char** argv) {
  try {
    return cloister::cli::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory and the like; our own code does not throw
    std::fprintf(stderr, "cloister: %s\n", error.what());
    return cloister::cli::kFailed;
  }
}
