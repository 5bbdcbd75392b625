#include "cli/environment.h"

#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "cas/trust.h"
#include "cli/amounts.h"
#include "cli/cas_connection.h"
#include "host/machine.h"
#include "sgx/image.h"

extern char** environ;

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint16_t kCasPort = 18765, kLasPort = 18766;

Result<int> log_level(const std::string& text) {
  constexpr std::string_view kNames[] = {"fatal", "error", "error", "warning", "info", "debug", "trace"};
  std::string name;
  for (const char c : text) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (name.empty() || name == "warn") return 3;
  if (name.size() == 1 && name[0] >= '0' && name[0] <= '7') return std::min(name[0] - '0', 6);
  for (int level = static_cast<int>(std::size(kNames)) - 1; level >= 0; --level) {  // the most of that name
    if (kNames[level] == name) return level;
  }
  return Error(Code::InvalidArgument, "CLOISTER_LOG: unknown level " + text,
               "one of fatal, error, warning, info, debug, trace");
}

// The software SGX runs everywhere, so it is never taken silently where hardware was asked for. What says
// nothing takes hardware where the machine has all that it needs.
Result<host::Backend> parse_mode(const std::string& mode) {
  std::string name;
  for (const char c : mode) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (name == "sim") return host::Backend::Simulation;
  if (name == "hw") return host::Backend::Hardware;
  if (!name.empty() && name != "auto")
    return Error(Code::InvalidArgument, "CLOISTER_MODE: unknown mode " + mode, "one of sim, hw, auto");
  uint64_t ignored = 0;
  return host::can_run_hardware(host::hardware_findings(host::real_cpuid(), "/", ignored))
             ? host::Backend::Hardware
             : host::Backend::Simulation;
}

bool is_setting(std::string_view entry) {
  return entry.starts_with("CLOISTER_") || entry.starts_with("SCONE_");
}

Result<void> compare(const std::string& value, std::string_view name, uint64_t measured) {
  if (value.empty()) return {};
  const uint64_t wanted = TRY(parse_size(value, name));
  if (wanted == measured) return {};
  return Error(Code::InvalidArgument,
               std::string(name) + " is " + std::to_string(wanted) + ", but the image was measured with " +
                   std::to_string(measured),
               "build the image with this value: it is part of MRENCLAVE");
}

}  // namespace

std::string setting(std::string_view name) {
  for (const std::string_view prefix : {"CLOISTER_", "SCONE_"}) {
    const char* value = std::getenv((std::string(prefix) + std::string(name)).c_str());
    if (value != nullptr) return value;
  }
  return {};
}

Result<fs::path> runtime_folder() {
  std::error_code error;
  fs::path folder;
  if (const char* given = std::getenv("CLOISTER_LIB"); given != nullptr) {
    folder = given;
  } else {
    folder = fs::read_symlink("/proc/self/exe", error).parent_path().parent_path() / "lib/cloister";
  }
  if (!fs::exists(folder / "kernel.elf", error)) {
    return Error(Code::NotFound, "kernel.elf is not in " + folder.string(),
                 "build Cloister with ./dev build, or set CLOISTER_LIB");
  }
  return folder;
}

Result<std::string> resolve_address(const std::string& text, uint16_t default_port) {
  const HostPort address = TRY(split_address(text));
  const std::vector<std::string> numeric =
      TRY(cas::resolve(address.host, address.port.empty() ? std::to_string(default_port) : address.port));
  return numeric.front();
}

void pass_access_token(host::RunOptions& options) {
  const std::string token = setting("SERVICE_ACCESS_TOKEN");
  if (!token.empty()) options.environment.push_back("CLOISTER_SERVICE_ACCESS_TOKEN=" + token);
}

Result<host::RunOptions> run_options_from_environment() {
  host::RunOptions options;
  options.backend = TRY(parse_mode(setting("MODE")));
  options.log_level = TRY(log_level(setting("LOG")));
  options.config_id = setting("CONFIG_ID");
  if (!options.config_id.empty()) {
    const std::string cas = setting("CAS_ADDR"), las = setting("LAS_ADDR");
    options.cas_address = TRY(resolve_address(cas.empty() ? "cas" : cas, kCasPort));
    options.las_address = TRY(resolve_address(las.empty() ? "127.0.0.1" : las, kLasPort));
    options.cas_key_hash = setting("CAS_KEY");
  }
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!is_setting(*entry)) options.environment.emplace_back(*entry);
  }
  if (!options.config_id.empty()) pass_access_token(options);
  if (setting("PATCH") == "0") options.patch_system_calls = false;
  options.sim_state = setting("SIM_STATE");
  options.sim_exact = setting("SIM_EXACT") == "1";
  return options;
}

Result<void> check_limits(const fs::path& image) {
  const std::string heap = setting("HEAP"), stack = setting("STACK"), threads = setting("TCS");
  if (heap.empty() && stack.empty() && threads.empty()) return {};
  const sgx::LoadedImage loaded = TRY(sgx::load_image(image));
  TRY(compare(heap, "CLOISTER_HEAP", loaded.plan.manifest.heap_size));
  TRY(compare(stack, "CLOISTER_STACK", loaded.plan.manifest.stack_size));
  return compare(threads, "CLOISTER_TCS", loaded.plan.manifest.threads);
}

void announce_run(const host::RunOptions& options) {
  const bool hardware = options.backend == host::Backend::Hardware;
  if (setting("VERSION") == "1") {
    const auto hash = host::measure_image(options.image);
    std::fprintf(stderr, "SCONE_MODE=%s\nSCONE_CONFIG_ID: %s\nCloister version: %s\nEnclave hash: %s\n",
                 hardware ? "hw" : "sim",
                 options.config_id.empty() ? "<not specified>" : options.config_id.c_str(), CLOISTER_VERSION,
                 hash.ok() ? to_hex(hash.value()).c_str() : printable(hash.error().message()).c_str());
  }
  if (!setting("PWD").empty())
    std::fputs("cloister: warning: CLOISTER_PWD is ignored: the session decides\n", stderr);
  if (options.log_level < 3) return;
  if (hardware) {
    std::fputs("cloister: warning: this back-end has not been run on SGX hardware by its authors\n", stderr);
    return;
  }
  std::fputs(
      "cloister: warning: Application runs in SGX simulation mode. Its memory can be read by the untrusted "
      "system! This is not secure!\n",
      stderr);
}

}  // namespace cloister::cli
