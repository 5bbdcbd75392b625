// `encryptedpush` (also `cloister push`): the tutorial's first step, on the owner's machine. Two volumes
// under fresh keys, one with the inputs and one empty; their ciphertext goes to a transfer server, their keys
// and tags go, in a session, to a CAS whose key is pinned. Everything that can be checked is checked before
// anything is encrypted, and a failure leaves nothing behind, here or there.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>

#include "base/files.h"
#include "cas/trust.h"
#include "cli/cas_connection.h"
#include "cli/commands.h"
#include "cli/owner_session.h"
#include "cli/remote_folders.h"
#include "cli/session_plan.h"
#include "cli/temporary_folder.h"
#include "cli/volume_folders.h"
#include "cli/volume_opening.h"
#include "crypto/random.h"
#include "volume/posix_storage.h"
#include "volume/tree_copy.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using volume::Volume;

constexpr size_t kMaxTemplate = 1 << 20;
constexpr const char* kDefaultEnclavePort = "18765";

struct Arguments {
  std::string application, cas, session_template, remote, inputs = "/inputs", conf = "/conf";
  std::string enclave_port = kDefaultEnclavePort;
  bool insecure = false, verbose = false;
};

void say(const Arguments& a, const std::string& text) {
  if (a.verbose) std::fprintf(stderr, "%s\n", text.c_str());
}

// With nanoseconds, so that sessions sort by age.
std::string timestamp(const volume::Timestamp& time) {
  const std::time_t seconds = time.seconds;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const size_t size = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + size, sizeof(text) - size, ".%09uZ", time.nanoseconds);
  return text;
}

// Wipes a text that holds keys.
struct SecretText {
  std::string text;
  explicit SecretText(std::string value) : text(std::move(value)) {}
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText() { wipe(text.data(), text.size()); }
};

uint64_t size_of_files(const fs::path& folder) {
  uint64_t total = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && at != end; at.increment(error)) {
    std::error_code unknown;
    if (at->symlink_status(unknown).type() == fs::file_type::regular) total += at->file_size(unknown);
  }
  return total;
}

Result<volume::Key> fresh_key(const fs::path& file) {
  std::optional<volume::Key> key = TRY(make_volume_key(file));
  if (!key) return Error(Code::Denied, file.native() + " exists, and is not replaced");
  return *std::move(key);
}

// One run of encryptedpush. What it has made disappears again unless it comes to its end.
class Push {
 public:
  explicit Push(const Arguments& arguments) : a_(arguments) {}
  ~Push() { undo(); }
  Push(const Push&) = delete;
  Push& operator=(const Push&) = delete;

  Result<std::string> run() {
    TRY(check());
    TRY(encrypt());
    TRY(upload());
    TRY(create_session());
    return arguments_of_step_two();
  }

 private:
  // --- everything that costs little

  Result<void> check() {
    const Bytes text = TRY(read_file(template_path(), kMaxTemplate));
    template_ = std::string(as_text(text));
    values_.number = random_session_number();
    values_.input_key = volume::Key(crypto::random_array<32>());  // stand-ins until there are volumes
    values_.output_key = volume::Key(crypto::random_array<32>());
    plan_ = TRY(plan());
    std::error_code error;
    if (!fs::is_directory(a_.inputs, error)) {
      return Error(Code::NotFound, "there is no folder " + a_.inputs,
                   "give the folder with the files to encrypt: --inputDataFolder FOLDER");
    }
    client_.emplace(TRY(connect_cas(a_.cas, a_.conf)));
    TRY(check_remote(a_.remote, a_.insecure));
    return {};
  }

  fs::path template_path() const {
    if (!a_.session_template.empty()) return a_.session_template;
    return fs::path(a_.conf) / (a_.application + ".yml");
  }

  Result<SessionPlan> plan() const {
    Result<std::string> filled = fill_template(template_, values_);
    if (!filled.ok()) return std::move(filled.error()).within(template_path().string());
    const SecretText text(std::move(*filled));
    Result<SessionPlan> plan = plan_session(text.text, values_);
    if (!plan.ok()) return std::move(plan.error()).within(template_path().string());
    return plan;
  }

  // --- volumes

  Result<void> encrypt() {
    staging_ = TRY(TemporaryFolder::make());
    session_.folder = TRY(make_session_folder(a_.conf, values_.number));
    keys_.emplace(session_.folder);
    session_.created = timestamp(now());
    session_.session = plan_.session;
    session_.service = plan_.service;
    session_.cas = TRY(cas::full_address(a_.cas));
    values_.input_key = TRY(fresh_key(session_.input_key_file()));
    values_.output_key = TRY(fresh_key(session_.output_key_file()));
    say(a_, "keys are in " + session_.folder.string());
    session_.input = TRY(make_volume(plan_.input, values_.input_key, true));
    session_.output = TRY(make_volume(plan_.output, values_.output_key, false));
    values_.input_tag = session_.input.tag;
    values_.output_tag = session_.output.tag;
    for (const std::string& path : plan_.other_paths) {
      std::error_code error;  // the service makes the volume; it needs a place
      fs::create_directories(upload_folder() / path.substr(1), error);
    }
    return {};
  }

  // One below, so that whatever is made beside it is in the temporary folder, too.
  fs::path upload_folder() const { return staging_->path() / "upload"; }

  Result<OwnerVolume> make_volume(const PlannedVolume& planned, const volume::Key& key, bool with_inputs) {
    const fs::path folder = upload_folder() / planned.path.substr(1);
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) return Error(Code::Unavailable, "cannot make " + folder.string() + ": " + error.message());
    const auto storage = TRY(volume::open_posix_storage(folder));
    volume::CreateOptions create;
    create.now = now();
    const auto made = TRY(Volume::create(*storage, key, create));
    if (with_inputs) TRY(fill(*made));
    OwnerVolume out{planned.name, planned.path, {}, made->tag()};
    const auto ids = TRY(volume_ids(folder));
    CLOISTER_CHECK(ids.size() == 1);
    out.id = ids[0];
    fs::remove(folder / volume::kLockName, error);  // says only who wrote
    return out;
  }

  Result<void> fill(Volume& made) {
    ProgressBar bar("encrypting");
    const uint64_t size = size_of_files(a_.inputs);
    volume::CopyOptions options;
    options.now = now();
    options.progress = [&bar, size](std::string_view, const volume::CopyTotals& totals) {
      bar.update(totals.bytes, size);
    };
    const auto totals = TRY(volume::copy_folder_in(made, a_.inputs, options));
    TRY(made.acknowledge(TRY(made.commit())));
    say(a_, std::to_string(totals.files) + " files, " + std::to_string(totals.bytes) + " bytes encrypted");
    tell_left_out(totals);
    return {};
  }

  // --- away with them

  Result<void> upload() {
    ProgressBar bar("uploading");
    const auto options = transfer_options(a_.insecure, bar);
    upload_ = TRY(transfer::upload_folder(a_.remote, a_.application, upload_folder(), options));
    values_.url = session_.url = upload_->url;
    staging_.reset();
    say(a_, "uploaded to " + upload_->url);
    return {};
  }

  Result<void> create_session() {
    // Saved first: a session whose keys its owner has lost would be useless.
    TRY(session_.save());
    Result<std::string> filled = fill_template(template_, values_);
    if (!filled.ok()) return std::move(filled.error()).within(template_path().string());
    const SecretText text(std::move(*filled));
    const std::string hash = TRY(client_->create_session(text.text));
    done_ = true;
    keys_.reset();
    say(a_, "session " + session_.session + " has the hash " + hash);
    return {};
  }

  void undo() {
    if (done_) return;
    if (upload_) {
      const auto deleted = transfer::delete_upload(a_.remote, *upload_, transfer_options(a_.insecure));
      std::fprintf(stderr, "cloister: the upload %s %s\n", upload_->url.c_str(),
                   deleted.ok() ? "was deleted again"
                                : ("could not be deleted: " + printable(deleted.error().message())).c_str());
    }
    std::error_code error;
    if (!session_.folder.empty()) fs::remove_all(session_.folder, error);
  }

  Result<std::string> arguments_of_step_two() const {
    const HostPort cas = TRY(split_address(a_.cas));
    const bool usual = a_.enclave_port == kDefaultEnclavePort;
    return " --sessionID " + session_.session + "/" + session_.service + " --secretManagementService " +
           join_address(cas.host, usual ? std::string() : a_.enclave_port) + " --url " + session_.url;
  }

  const Arguments& a_;
  std::string template_;
  SessionValues values_;
  SessionPlan plan_;
  std::optional<cas::Client> client_;
  std::optional<TemporaryFolder> staging_;
  OwnerSession session_;
  std::optional<RemovedWhenInterrupted> keys_;  // until there is a session that they belong to
  std::optional<transfer::Uploaded> upload_;
  bool done_ = false;
};

Result<void> push(const Arguments& a) {
  const std::string line = TRY(Push(a).run());
  std::printf("%s\n", line.c_str());
  return {};
}

}  // namespace

void add_push_command(CLI::App& app, Action& action) {
  auto* sub = app.add_subcommand("encryptedpush", "Tutorial, step 1: encrypt, upload, create the session");
  sub->alias("push");
  sub->footer(
      "Prints the arguments of step 2 as one line on standard output. The keys stay in CONF/sessions.\n"
      "Example: encryptedpush --application copy_dapp -t KEYS/copy_dapp.yml --inputDataFolder INPUTS --conf "
      "KEYS "
      "-s cas.example -r https://transfer.example");
  const auto a = std::make_shared<Arguments>();
  sub->add_option("-a,--application", a->application, "Name of the application")->required();
  sub->add_option(
         "-s,--secretManagementService", a->cas,
         "HOST[:PORT] of the CAS's client API (port 8081); its key must be pinned: cloister cas trust")
      ->required();
  sub->add_option("-t,--sessiontemplate", a->session_template,
                  "Session template, as cloister build wrote it (default CONF/APPLICATION.yml)");
  sub->add_option("-r,--remoteFileSystem", a->remote, "Transfer server, e.g. https://HOST:PORT")->required();
  sub->add_flag(
      "-k,--insecure", a->insecure,
      "Do not check the TLS certificate of the transfer server, which only gets ciphertext. The CAS "
      "is always checked");
  sub->add_flag("-v,--verbose", a->verbose, "Say more on standard error");
  sub->add_option("--inputDataFolder", a->inputs, "Folder to encrypt")->capture_default_str();
  sub->add_option("--conf", a->conf, "Folder for keys and the owner's identity")->capture_default_str();
  sub->add_option("--cas-enclave-port", a->enclave_port,
                  "Port where enclaves reach the CAS; becomes part of the printed line when it is not 18765");
  sub->callback([a, &action] {
    action = [a] {
      watch_for_interruption();
      return finished(push(*a));
    };
  });
}

}  // namespace cloister::cli
