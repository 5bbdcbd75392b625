// `cloister execute`: the tutorial's second step, on the machine that is not trusted. Pulls volumes of
// ciphertext, runs the enclave between them, pushes what has changed. It never has a key.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "attestation/las_client.h"
#include "cas/trust.h"
#include "cli/cas_connection.h"
#include "cli/commands.h"
#include "cli/enclave_child.h"
#include "cli/environment.h"
#include "cli/remote_folders.h"
#include "cli/temporary_folder.h"
#include "cli/volume_folders.h"
#include "crypto/tls.h"
#include "transfer/names.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using Volumes = std::map<std::string, fs::path>;  // mount path → folder

constexpr const char* kEnclavePort = "18765";
constexpr const char* kApiPort = "8081";
constexpr const char* kLasAddress = "127.0.0.1:18766";
constexpr uint16_t kLasPort = 18766;
constexpr const char* kResultFolder = "result-to-push";

struct Arguments {
  std::string image, session, cas, cas_port, las, url, push, work_dir, cas_key;
  bool wants_push = false, keep = false, insecure = false;
};

// HOST and PORT of the CAS's enclave listener: the option, HOST:PORT, CAS_ADDR of the environment, in this
// order.
Result<HostPort> enclave_listener(const Arguments& a) {
  const std::string from_environment = setting("CAS_ADDR");
  const std::string text = a.cas.empty() ? from_environment : a.cas;
  if (text.empty()) {
    return Error(Code::InvalidArgument, "which CAS?",
                 "give --secretManagementService HOST, as encryptedpush printed it");
  }
  HostPort address = TRY(split_address(text));
  if (!a.cas_port.empty()) address.port = a.cas_port;
  if (address.port.empty() && !from_environment.empty()) {
    const HostPort other = TRY(split_address(from_environment));
    if (other.host == address.host) address.port = other.port;
  }
  if (address.port.empty()) address.port = kEnclavePort;
  return address;
}

// The key that the enclave shall insist on: given, or pinned by this user for that host. A machine that is
// nobody's client has none; then the CAS is whoever has the session, and the session's owner sees the run. A
// pin that cannot be read is not the same as none.
Result<std::string> pinned_key(const Arguments& a, const HostPort& cas) {
  if (!a.cas_key.empty()) return std::string(a.cas_key);
  if (std::string given = setting("CAS_KEY"); !given.empty()) return given;
  // People pin the client API, which has its own port.
  for (const std::string& port : {cas.port, std::string(kApiPort)}) {
    const auto key = cas::trusted_key(join_address(cas.host, port));
    if (key.ok()) return to_hex(*key);
    if (key.error().code() != Code::NotFound) return Error(key.error());
  }
  return std::string();
}

constexpr std::chrono::seconds kPatience{5};  // with a service that is connected to and says nothing

Result<Socket> connect(const std::string& address, const std::string& what, const std::string& hint) {
  Result<Socket> socket = connect_tcp(address, deadline_in(kPatience));
  if (socket.ok()) return socket;
  return Error(Code::Unavailable,
               "Unable to connect to " + what + " at " + address + ": " + socket.error().message(), hint);
}

// Said before gigabytes are moved: the services are there and speak. Whether they are the right ones is the
// enclave's to find out.
Result<void> check_las(const std::string& address) {
  TRY(connect(address, "LAS", "start it on this machine: cloister las serve"));
  attestation::LasClientOptions options;
  options.address = address;
  options.reply_timeout = kPatience;
  TRY(attestation::LasClient::connect(options));
  return {};
}

Result<void> check_cas(const std::string& address) {
  const std::string hint = "Check that `cloister cas serve` runs there and that the address is right.";
  Socket socket = TRY(connect(address, "CAS", hint));
  crypto::TlsOptions anybody;
  anybody.any_key_type = true;
  const auto tls = TRY(crypto::TlsContext::client(std::nullopt, anybody));
  const auto stream = tls.connect(std::move(socket), deadline_in(kPatience));
  if (stream.ok()) return {};
  return Error(stream.error().code(), "the CAS at " + address + ": " + stream.error().message(), hint);
}

Result<host::RunOptions> run_options(const Arguments& a) {
  if (a.session.find('/') == std::string::npos) {
    return Error(Code::InvalidArgument, "--sessionID is SESSION/SERVICE, not " + a.session,
                 "copy it from the line that encryptedpush printed");
  }
  host::RunOptions options = TRY(run_options_from_environment());
  options.image = a.image;
  if (options.config_id.empty()) pass_access_token(options);
  options.config_id = a.session;
  const HostPort cas = TRY(enclave_listener(a));
  options.cas_address = TRY(resolve_address(join_address(cas.host, cas.port), 0));
  options.cas_key_hash = TRY(pinned_key(a, cas));
  std::string las = a.las.empty() ? setting("LAS_ADDR") : a.las;
  if (las.empty()) las = kLasAddress;
  options.las_address = TRY(resolve_address(las, kLasPort));
  TRY(check_limits(a.image));
  TRY(check_las(options.las_address));
  TRY(check_cas(options.cas_address));
  return options;
}

using States = std::map<std::string, crypto::Digest>;

Result<States> states(const Volumes& volumes) {
  States out;
  for (const auto& [path, folder] : volumes) out[path] = TRY(superblocks_digest(folder));
  return out;
}

// Moves volumes from one folder to another, below the same names.
Result<void> move_volumes(const Volumes& volumes, const fs::path& to) {
  std::error_code error;
  for (const auto& [path, folder] : volumes) {
    const fs::path target = to / path.substr(1);
    fs::create_directories(target.parent_path(), error);
    fs::rename(folder, target, error);
    if (error) return Error(Code::Unavailable, "cannot move " + folder.string() + ": " + error.message());
  }
  return {};
}

// What is to be pushed must be alone in a folder. A run that was killed while pushing left it there.
Result<void> restore(const fs::path& work) {
  std::error_code error;
  const fs::path result = work / kResultFolder;
  if (!fs::is_directory(result, error)) return {};
  TRY(move_volumes(TRY(find_volumes_and_places(result)), work));
  fs::remove_all(result, error);
  return {};
}

// Volumes that are in the work folder already are used as they are: an interrupted run can be repeated.
Result<Volumes> pull(const Arguments& a, const fs::path& work) {
  TRY(restore(work));
  std::error_code error;
  Volumes volumes;
  if (fs::exists(work, error)) volumes = TRY(find_volumes_and_places(work));
  if (!volumes.empty()) {
    std::fprintf(stderr, "cloister: using the volumes that are in %s\n", work.c_str());
    return volumes;
  }
  if (transfer::scheme_of(a.url).starts_with("http")) TRY(check_remote(a.url, a.insecure));
  ProgressBar bar("pulling");
  TRY(transfer::pull_folder(a.url, work, transfer_options(a.insecure, bar)));
  volumes = TRY(find_volumes_and_places(work));
  if (volumes.empty())
    return Error(Code::NotFound, "there is no volume in " + a.url + ": no folder has a volume.fspf");
  return volumes;
}

// The volumes that have changed; all, if none has.
Result<Volumes> changed(const Volumes& volumes, const States& before) {
  const auto after = TRY(states(volumes));
  if (before == after) return Volumes(volumes);
  Volumes out;
  for (const auto& [path, folder] : volumes) {
    if (before.at(path) != after.at(path)) out.emplace(path, folder);
  }
  return out;
}

Result<std::string> push_volumes(const Arguments& a, const std::string& target, const Volumes& volumes,
                                 const fs::path& work) {
  const TemporaryFolder scratch = TRY(archive_scratch(work));
  TRY(move_volumes(volumes, work / kResultFolder));
  ProgressBar bar("pushing");
  transfer::ClientOptions options = transfer_options(a.insecure, bar);
  options.scratch = scratch.path();
  auto url = transfer::push_folder(target, "result", work / kResultFolder, options);
  TRY(restore(work));
  return url;
}

// Where to push to when --push has no value: where the volumes came from.
Result<std::string> push_target(const Arguments& a) {
  if (!a.push.empty()) return a.push;
  const size_t scheme = a.url.find("://");
  if (!a.url.starts_with("http") || scheme == std::string::npos) {
    return Error(Code::InvalidArgument, "--push: where to?", "give the transfer server: --push URL");
  }
  return a.url.substr(0, a.url.find('/', scheme + 3));
}

// 0, or the exit code of an enclave that gave up: it has said why.
Result<int> check_end(const host::EnclaveEnd& end) {
  if (!end.by_program) return end.status;
  if (end.status == 0) return 0;
  return Error(Code::Internal, "the program ended with status " + std::to_string(end.status),
               "nothing was pushed; its messages are above");
}

// Where the volumes are while a run lasts: the work folder, or a temporary one. From a commit on the only
// copy of a result is there: the CAS knows its tag and accepts no older state. So it stays until it was
// pushed, however the run ends.
class Place {
 public:
  static Result<Place> make(const Arguments& a) {
    Place out;
    if (a.work_dir.empty()) {
      out.scratch_ = TRY(TemporaryFolder::make());
      out.work_ = out.scratch_->path() / "volumes";
      if (a.keep) std::fprintf(stderr, "cloister: the volumes stay in %s\n", out.scratch_->keep().c_str());
      return out;
    }
    out.work_ = a.work_dir;
    std::error_code error;
    fs::create_directories(out.work_, error);
    if (error) return Error(Code::Unavailable, "cannot make " + out.work_.string() + ": " + error.message());
    return out;
  }

  const fs::path& work() const { return work_; }

  // Before the enclave starts: from now on an interruption removes nothing.
  void hold() {
    if (scratch_) held_ = scratch_->keep();
    interrupted_ = std::make_unique<SaidWhenInterrupted>(where());
  }
  void holds_result() { holds_result_ = true; }
  void was_pushed() { holds_result_ = false; }

  // At the end, however that was.
  void release() {
    interrupted_.reset();
    std::error_code error;  // what cannot be removed is ciphertext
    if (holds_result_) {
      std::fprintf(stderr, "cloister: %s\n", where().c_str());
    } else if (!held_.empty()) {
      fs::remove_all(held_, error);
    }
  }

 private:
  Place() = default;
  std::string where() const {
    return "the result is in " + work_.string() + " and was not pushed: go on with --work-dir " +
           work_.string() + ", or cloister transfer push URL " + work_.string();
  }

  std::optional<TemporaryFolder> scratch_;
  fs::path work_;
  fs::path held_;  // was temporary
  bool holds_result_ = false;
  std::unique_ptr<SaidWhenInterrupted> interrupted_;
};

Result<int> run_between(const host::RunOptions& options, const States& before, Place& place) {
  place.hold();
  Result<host::EnclaveEnd> end = run_enclave_in_child(options);
  const auto after = states(options.volumes);
  if (!after.ok() || *after != before) place.holds_result();
  if (!end.ok()) return std::move(end).error();
  return check_end(*end);
}

Result<int> execute_at(const Arguments& a, host::RunOptions& options, const std::string& target,
                       Place& place) {
  options.volumes = TRY(pull(a, place.work()));
  const auto before = TRY(states(options.volumes));
  announce_run(options);
  const int status = TRY(run_between(options, before, place));
  if (status != 0) {
    std::fputs("cloister: nothing was pushed\n", stderr);
    return status;
  }
  if (a.wants_push) {
    const Volumes result = TRY(changed(options.volumes, before));
    std::printf("%s\n", TRY(push_volumes(a, target, result, place.work())).c_str());
  } else {
    std::printf("%s\n", place.work().c_str());
  }
  place.was_pushed();
  return 0;
}

Result<int> execute(const Arguments& a) {
  const std::string target = a.wants_push ? TRY(push_target(a)) : std::string();
  if (!a.wants_push && a.work_dir.empty()) {
    return Error(Code::InvalidArgument, "without --push and --work-dir the result would be lost",
                 "add --push, or --work-dir FOLDER to keep it on this machine");
  }
  host::RunOptions options = TRY(run_options(a));
  if (a.wants_push) TRY(check_remote(target, a.insecure));
  Place place = TRY(Place::make(a));
  Result<int> status = execute_at(a, options, target, place);
  place.release();
  return status;
}

}  // namespace

void add_execute_command(CLI::App& app, Action& action) {
  auto* sub =
      app.add_subcommand("execute", "Tutorial, step 2: pull volumes, run the enclave, push the result");
  sub->footer(
      "Prints the result's URL on standard output and nothing else; what the program prints goes to standard "
      "error. The result is pushed only if the program ended with status 0. A result that was not pushed "
      "stays on this machine, and its folder is named.\n"
      "Example: cloister execute --image copy_dapp.enclave --sessionID "
      "84424401249649941281869427/application "
      "--secretManagementService cas.example --url URL --push");
  const auto a = std::make_shared<Arguments>();
  sub->add_option("--image", a->image, "Enclave image, made by cloister build")->required();
  sub->add_option("--sessionID", a->session, "SESSION/SERVICE, as encryptedpush printed it")->required();
  sub->add_option("-s,--secretManagementService", a->cas, "HOST[:PORT] of the CAS's enclave listener");
  sub->add_option("--url", a->url, "Where the encrypted volumes are: a URL, a zip or a folder")->required();
  auto* push = sub->add_option("--push", a->push, "Transfer server for the result (default: that of --url)");
  push->expected(0, 1);
  sub->add_option("--cas-enclave-port", a->cas_port, "Port of the CAS's enclave listener (default 18765)");
  sub->add_option("--cas-key", a->cas_key, "SHA-256 of the CAS's key to insist on (default: what is pinned)");
  sub->add_option("--las", a->las, "HOST[:PORT] of this machine's LAS (default 127.0.0.1:18766)");
  sub->add_option("--work-dir", a->work_dir,
                  "Folder for the volumes; kept. Volumes that are there already are not pulled again");
  sub->add_flag("--keep", a->keep, "Keep the temporary folder");
  sub->add_flag("-k,--insecure", a->insecure, "Do not check the TLS certificate of the transfer server");
  sub->callback([a, push, &action] {
    a->wants_push = push->count() > 0;
    action = [a] {
      watch_for_interruption();
      return finished(execute(*a));
    };
  });
}

}  // namespace cloister::cli
