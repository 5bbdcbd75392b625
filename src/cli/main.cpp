// `cloister`: parses the command line, runs one command, turns its outcome into two lines and an exit code.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>

#include "base/process_hardening.h"
#include "cli/commands.h"

namespace cloister::cli {
namespace {

// The tutorial's commands are called by links of their names. They and `transfer` get arguments from a
// terminal's copy: a carriage return at the end of an argument is not meant.
std::vector<std::string> arguments_of(int argc, char** argv) {
  constexpr std::string_view kOwnNames[] = {"encryptedpush", "decrypt"};
  constexpr std::string_view kPasted[] = {"encryptedpush", "push", "execute", "decrypt", "transfer"};
  std::vector<std::string> out(argv + 1, argv + argc);
  const std::string_view path = argv[0];
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (std::find(std::begin(kOwnNames), std::end(kOwnNames), name) != std::end(kOwnNames))
    out.insert(out.begin(), std::string(name));
  if (out.empty() || std::find(std::begin(kPasted), std::end(kPasted), out[0]) == std::end(kPasted))
    return out;
  for (std::string& text : out) {
    const size_t end = text.find_last_not_of("\r\n");
    if (!text.empty()) text = end == std::string::npos ? "\r" : text.substr(0, end + 1);
  }
  std::erase(out, "\r");
  return out;
}

// The first option or argument that was given as nothing. Everywhere an absent option means "no such check"
// or "the usual place", so a script whose variable is unset would switch a check off without noticing. Where
// the value may be left out (`--push`), the parser's nothing says that it was.
const CLI::Option* empty_option(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_expected_min() == 0) continue;
    const std::vector<std::string>& given = option->results();
    if (std::find(given.begin(), given.end(), "") != given.end()) return option;
  }
  for (const CLI::App* chosen : command.get_subcommands()) {
    if (const CLI::Option* option = empty_option(*chosen)) return option;
  }
  return nullptr;
}

Error is_empty(const std::string& name) {
  return Error(Code::InvalidArgument, name + " is empty",
               "Is a variable unset? Leave the option out to say nothing.");
}

// `--name=` with nothing behind it, which the parser takes for `--name`: a flag would be set, and another
// option would take the next word.
std::optional<std::string> unfinished_option(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--") break;
    if (word.starts_with("--") && word.find_first_of("= ") == word.size() - 1 && word.ends_with('='))
      return word.substr(0, word.size() - 1);
  }
  return std::nullopt;
}

int run(int argc, char** argv) {
  CLI::App app("Cloister: unmodified programs as trusted DApps", "cloister");
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 ok, 1 failed, 2 usage, 3 integrity or freshness violated, 4 refused, 5 peer "
      "unavailable.");
  std::vector<std::string> words = arguments_of(argc, argv);
  const std::vector<std::string> program_arguments = take_program_arguments(words);
  if (const auto name = unfinished_option(words)) return report(is_empty(*name));
  Action action;
  auto* version = app.add_subcommand("version", "Print the version");
  version->callback([&action] {
    action = [] {
      std::puts("cloister " CLOISTER_VERSION);
      return static_cast<int>(kOk);
    };
  });
  add_doctor_command(app, action);
  add_volume_commands(app, action);
  add_attestation_commands(app, action);
  add_las_commands(app, action);
  add_collateral_commands(app, action);
  add_image_commands(app, action, program_arguments);
  add_push_command(app, action);
  add_execute_command(app, action);
  add_decrypt_command(app, action);
  add_cas_commands(app, action);
  add_transfer_commands(app, action);
  try {
    std::reverse(words.begin(), words.end());  // as CLI11 takes them
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  if (const CLI::Option* option = empty_option(app)) {
    return report(is_empty(option->get_name()));
  }
  const int code = action();
  if (std::fflush(stdout) != 0) return report(Error(Code::Unavailable, "cannot write to standard output"));
  return code;
}

}  // namespace
}  // namespace cloister::cli

int main(int argc, char** argv) {
  cloister::forbid_core_dumps();
  try {
    return cloister::cli::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory and the like; our own code does not throw
    std::fprintf(stderr, "cloister: %s\n", error.what());
    return cloister::cli::kFailed;
  }
}
