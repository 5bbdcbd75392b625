// `cloister build`, `hash`, `inspect` and `run`: enclave images, from a program to a running enclave.
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "cas/trust.h"
#include "cli/amounts.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/session_template.h"
#include "host/runner.h"
#include "sgx/builder.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

struct BuildArguments {
  std::vector<std::string> programs, copies, mounts;
  std::string root, entry, out, heap = "64M", stack = "8M", name, session_template, key, sgxs;
  std::string standalone, sealed, seal_policy = "mrenclave";
  uint32_t threads = 8;
  uint16_t prod_id = 0, svn = 0;
  bool debug = false;
};

// "HOST[:PATH]". A host path may hold a colon when what follows it is not an absolute path.
sgx::BuildOptions::Item parse_item(const std::string& text) {
  const size_t colon = text.rfind(":/");
  if (colon == std::string::npos || colon == 0) return {text, ""};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

// The measured command of an image that runs without a session.
Result<std::optional<sgx::Standalone>> standalone_of(const BuildArguments& arguments) {
  if (arguments.standalone.empty()) {
    if (arguments.sealed.empty()) return std::optional<sgx::Standalone>();
    return Error(Code::InvalidArgument, "--sealed-volume needs --standalone",
                 "a host that could choose the command could have the volume copied out");
  }
  sgx::Standalone out;
  std::istringstream words(arguments.standalone);
  for (std::string word; words >> word;) out.arguments.push_back(word);
  out.sealed_path = arguments.sealed;
  if (arguments.seal_policy != "mrenclave" && arguments.seal_policy != "mrsigner")
    return Error(Code::InvalidArgument, "--seal-policy is mrenclave or mrsigner");
  out.seal_policy =
      arguments.seal_policy == "mrsigner" ? sgx::SealPolicy::MrSigner : sgx::SealPolicy::MrEnclave;
  return std::optional(std::move(out));
}

Result<sgx::BuildOptions> build_options(const BuildArguments& arguments) {
  sgx::BuildOptions options;
  for (const std::string& text : arguments.programs) options.programs.push_back(parse_item(text));
  for (const std::string& text : arguments.copies) options.copies.push_back(parse_item(text));
  options.root = arguments.root;
  options.entry = arguments.entry;
  const fs::path parts = TRY(runtime_folder());
  options.kernel = parts / "kernel.elf";
  options.agent = parts / "agent.elf";
  options.signing_key = arguments.key;
  if (arguments.key.empty()) {
    const fs::path folder = cas::config_folder();
    TRY(make_private_folder(folder));
    options.signing_key = folder / "signing-key.pem";
  }
  options.isv_prod_id = arguments.prod_id;
  options.isv_svn = arguments.svn;
  options.manifest.name = arguments.name.empty() ? fs::path(arguments.out).stem().string() : arguments.name;
  options.manifest.heap_size = TRY(parse_size(arguments.heap, "--heap"));
  options.manifest.stack_size = TRY(parse_size(arguments.stack, "--stack"));
  options.manifest.threads = arguments.threads;
  options.manifest.debug = arguments.debug;
  options.manifest.mounts = arguments.mounts;
  options.manifest.standalone = TRY(standalone_of(arguments));
  return options;
}

Result<void> build(const BuildArguments& arguments) {
  const sgx::BuildOptions options = TRY(build_options(arguments));
  const sgx::BuildReport report = TRY(sgx::build_image(options, arguments.out));
  const std::string hash = to_hex(report.mrenclave);
  if (!arguments.session_template.empty()) {
    const std::string text = session_template(report.manifest.name, report.manifest.entry, hash);
    TRY(write_public_file(arguments.session_template, as_bytes(text)));
  }
  if (!arguments.sgxs.empty()) (void)TRY(sgx::export_sgxs(arguments.out, arguments.sgxs));
  std::printf("image      %s\nentry      %s\nMRENCLAVE  %s\nMRSIGNER   %s\n", arguments.out.c_str(),
              report.manifest.entry.c_str(), hash.c_str(), to_hex(report.mrsigner).c_str());
  if (!arguments.session_template.empty()) std::printf("template   %s\n", arguments.session_template.c_str());
  return {};
}

void add_build(CLI::App& app, Action& action) {
  static BuildArguments a;
  auto* command = app.add_subcommand("build", "Turn a program into an enclave image");
  command->add_option(
      "--program", a.programs,
      "HOST[:PATH]: a program of this machine with its interpreter and libraries, at PATH inside; "
      "the first one is started");
  command->add_option("--root", a.root, "A folder that becomes / of the image");
  command->add_option("--copy", a.copies, "SRC[:DST]: a file or folder as it is (repeatable)");
  command->add_option("--entry", a.entry, "The program to start, as a path inside the image");
  command->add_option("--heap", a.heap, "Memory the program may use, e.g. 64M (a limit; measured)")
      ->capture_default_str();
  command->add_option("--stack", a.stack, "Stack of the first thread (measured)")->capture_default_str();
  command->add_option("--threads", a.threads, "Threads at once, the attestation agent's included (measured)")
      ->capture_default_str();
  command->add_option("--name", a.name, "Name of the image (measured); default: the output's name");
  command->add_option("--mount", a.mounts,
                      "A path where sessions may mount volumes (repeatable); default: any");
  command->add_option(
      "--standalone", a.standalone,
      "The program's arguments, measured: the image then runs without a session, the host's environment is "
      "ignored, and @@N stands for the host's N-th argument");
  command->add_option("--sealed-volume", a.sealed,
                      "Mount an encrypted volume at this path, its key derived by the CPU for this image "
                      "(with --standalone)");
  command
      ->add_option("--seal-policy", a.seal_policy,
                   "Who can open the sealed volume: mrenclave (this image) or mrsigner (also newer ones of "
                   "the signer)")
      ->capture_default_str();
  command->add_option("--key", a.key, "RSA-3072 signing key (PEM, e = 3); made when absent");
  command->add_option("--isvprodid", a.prod_id, "ISVPRODID in the signature");
  command->add_option("--isvsvn", a.svn, "ISVSVN in the signature");
  command->add_flag("--debug", a.debug, "Let debuggers read the enclave: no protection at all");
  command->add_option("--template", a.session_template, "Write a session template with the MRENCLAVE");
  command->add_option("--sgxs", a.sgxs, "Write the measured stream; its sha256sum is the MRENCLAVE");
  command->add_option("-o,--output", a.out, "The image (a folder)")->required();
  command->footer(
      "Example: cloister build --program ./copy_files:/application --heap 64M --name copy_dapp "
      "-o copy_dapp.enclave --template copy_dapp.yml");
  command->callback([&action] { action = [] { return finished(build(a)); }; });
}

int print_hash(const fs::path& image) {
  const auto hash = host::measure_image(image);
  if (!hash.ok()) return report(hash.error());
  std::puts(to_hex(hash.value()).c_str());
  return kOk;
}

void add_hash(CLI::App& app, Action& action) {
  static std::string image;
  auto* command = app.add_subcommand("hash", "Measure an image: print its MRENCLAVE");
  command->add_option("IMAGE", image)->required();
  command->footer("Example: cloister hash copy_dapp.enclave");
  command->callback([&action] { action = [] { return print_hash(image); }; });
}

Result<nlohmann::ordered_json> describe(const fs::path& folder) {
  const sgx::LoadedImage image = TRY(sgx::load_image(folder));
  const sgx::Manifest& manifest = image.plan.manifest;
  nlohmann::ordered_json facts;
  facts["name"] = manifest.name;
  facts["mrenclave"] = to_hex(image.plan.mrenclave);
  facts["mrsigner"] = to_hex(sgx::mrsigner_of(image.sigstruct));
  facts["isvprodid"] = image.sigstruct.isv_prod_id;
  facts["isvsvn"] = image.sigstruct.isv_svn;
  facts["entry"] = manifest.entry;
  facts["heap"] = manifest.heap_size;
  facts["stack"] = manifest.stack_size;
  facts["threads"] = manifest.threads;
  facts["debug"] = manifest.debug;
  facts["mounts"] = manifest.mounts;
  if (manifest.standalone) {
    facts["standalone"] = manifest.standalone->arguments;
    facts["sealed_volume"] = manifest.standalone->sealed_path;
    facts["seal_policy"] =
        manifest.standalone->seal_policy == sgx::SealPolicy::MrSigner ? "mrsigner" : "mrenclave";
  }
  facts["root"] = to_hex(manifest.root);
  facts["agent_sha256"] = to_hex(manifest.agent_sha256);
  facts["pages"] = image.plan.pages.size();
  return facts;
}

void add_inspect(CLI::App& app, Action& action) {
  static std::string image;
  static bool json = false;
  auto* command = app.add_subcommand("inspect", "Show what an image is: measurement, signer, limits");
  command->add_option("IMAGE", image)->required();
  command->add_flag("--json", json, "As JSON");
  command->footer("Example: cloister inspect copy_dapp.enclave --json");
  command->callback([&action] {
    action = [] {
      const auto facts = describe(image);
      if (!facts.ok()) return report(facts.error());
      if (json) {
        std::puts(facts->dump(2).c_str());
        return static_cast<int>(kOk);
      }
      for (const auto& [name, value] : facts->items()) {
        std::printf("%-13s %s\n", name.c_str(),
                    value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
      }
      return static_cast<int>(kOk);
    };
  });
}

struct RunArguments {
  std::string image;
  std::vector<std::string> args, volumes;
  std::string sealed, sealed_anchor;
  bool no_patch = false;
};

Result<host::RunOptions> run_options(const RunArguments& arguments) {
  host::RunOptions options = TRY(run_options_from_environment());
  options.image = arguments.image;
  options.args = arguments.args;
  if (arguments.no_patch) options.patch_system_calls = false;
  for (const std::string& text : arguments.volumes) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || text[0] != '/')
      return Error(Code::InvalidArgument, "--volume takes PATH=FOLDER, not " + text);
    options.volumes[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const std::string& folder : {arguments.sealed, arguments.sealed_anchor}) {
    if (!folder.empty()) TRY(make_private_folder(folder));
  }
  options.sealed = arguments.sealed;
  options.sealed_anchor = arguments.sealed_anchor;
  return options;
}

int run_image(const RunArguments& arguments) {
  if (setting("HASH") == "1") return print_hash(arguments.image);
  const auto options = run_options(arguments);
  if (!options.ok()) return report(options.error());
  if (const auto fits = check_limits(arguments.image); !fits.ok()) return report(fits.error());
  announce_run(options.value());
  const auto end = host::run_enclave(options.value());
  std::fflush(nullptr);
  // The enclave's threads sleep for ever: they must not see statics go.
  _exit(end.ok() ? end->status : report(end.error()));
}

void add_run(CLI::App& app, Action& action, const std::vector<std::string>& program_arguments) {
  static RunArguments a;
  a.args = program_arguments;
  auto* command = app.add_subcommand("run",
                                     "Start an enclave: cloister run [OPTIONS] IMAGE [ARGS of the program]; "
                                     "without a session it gets no secrets");
  command->add_option("IMAGE", a.image)->required();
  command->add_option("--volume", a.volumes,
                      "PATH=FOLDER: this machine's folder of the volume mounted at PATH");
  command->add_option("--sealed", a.sealed, "Folder of the image's sealed volume; made when absent");
  command->add_option(
      "--sealed-anchor", a.sealed_anchor,
      "Folder of the anchor that names the sealed volume's newest state: on another disk, and in no "
      "backup of the volume");
  command->add_flag("--no-patch", a.no_patch, "Let every system call trap (slow; for comparison)");
  command->footer(
      "Settings come from the environment, as CLOISTER_NAME or SCONE_NAME: CONFIG_ID "
      "(session/service[@OTP]), SERVICE_ACCESS_TOKEN, CAS_ADDR, "
      "LAS_ADDR, MODE, HEAP, STACK, TCS, LOG, HASH=1, VERSION=1.\n"
      "Example: cloister run ls.enclave -la /");
  command->callback([&action] { action = [] { return run_image(a); }; });
}

}  // namespace

// Whatever stands behind IMAGE is the program's, options too.
std::vector<std::string> take_program_arguments(std::vector<std::string>& words) {
  if (words.empty() || words[0] != "run") return {};
  size_t at = 1;
  const auto takes_value = [](const std::string& word) {
    return word == "--volume" || word == "--sealed" || word == "--sealed-anchor";
  };
  while (at < words.size() && words[at].starts_with("-")) at += takes_value(words[at]) ? 2 : 1;
  if (at + 1 >= words.size()) return {};
  std::vector<std::string> rest(words.begin() + static_cast<ptrdiff_t>(at) + 1, words.end());
  words.resize(at + 1);
  if (rest[0] == "--") rest.erase(rest.begin());
  return rest;
}

void add_image_commands(CLI::App& app, Action& action, const std::vector<std::string>& program_arguments) {
  add_build(app, action);
  add_hash(app, action);
  add_inspect(app, action);
  add_run(app, action, program_arguments);
}

}  // namespace cloister::cli
