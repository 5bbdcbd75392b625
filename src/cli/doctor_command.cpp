// `cloister doctor`: what this machine offers, and what to do about what is missing.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "host/machine.h"

namespace cloister::cli {
namespace {

const char* word(host::Verdict verdict) {
  switch (verdict) {
    case host::Verdict::Yes:
      return "yes";
    case host::Verdict::No:
      return "no";
    case host::Verdict::Unknown:
      return "unknown";
  }
  return "unknown";
}

void print(const char* title, const std::vector<host::Finding>& list) {
  std::printf("%s\n", title);
  for (const host::Finding& finding : list) {
    std::printf("  %-14s %-4s %s\n", finding.name.c_str(), word(finding.verdict), finding.detail.c_str());
    if (!finding.advice.empty()) std::printf("  %-14s      %s\n", "", finding.advice.c_str());
  }
}

nlohmann::ordered_json to_json(const std::vector<host::Finding>& list) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const host::Finding& finding : list)
    out[finding.name] = {
        {"verdict", word(finding.verdict)}, {"detail", finding.detail}, {"advice", finding.advice}};
  return out;
}

int doctor(bool json) {
  const host::Machine machine = host::inspect_machine();
  if (json) {
    const nlohmann::ordered_json out = {{"runs_software_enclaves", machine.runs_software},
                                        {"runs_hardware_enclaves", machine.runs_hardware},
                                        {"epc_bytes", machine.epc_bytes},
                                        {"software", to_json(machine.software)},
                                        {"hardware", to_json(machine.hardware)}};
    std::printf("%s\n", out.dump(2).c_str());
  } else {
    print("Software enclaves (simulation)", machine.software);
    print("Hardware", machine.hardware);
    std::printf("\nEnclaves in simulation: %s.\n",
                machine.runs_software ? "this machine can" : "this machine cannot, see above");
    std::printf("Enclaves in SGX hardware: %s. The hardware back-end has not been run on SGX hardware.\n",
                machine.runs_hardware ? "this machine has what they need" : "this machine cannot, see above");
    std::puts("Quotes of SGX, TDX and SEV-SNP hardware are verified on any machine.");
  }
  return machine.runs_software || machine.runs_hardware ? kOk : kFailed;
}

}  // namespace

void add_doctor_command(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("doctor", "Say what this machine offers for enclaves, and what to do");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Machine-readable output");
  command->callback([&action, json] { action = [json] { return doctor(*json); }; });
}

}  // namespace cloister::cli
