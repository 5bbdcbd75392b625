// `cloister transfer`: the service (serve) and its clients (push, pull).
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/files.h"
#include "cli/amounts.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/remote_folders.h"
#include "transfer/client.h"
#include "transfer/names.h"
#include "transfer/server.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

struct ServeArguments {
  std::string root, listen = "127.0.0.1:8082", tls_cert, tls_key, public_url;
  std::string max_size = "100G", quota = "1T", max_age = "14d";
};

struct MoveArguments {
  std::string remote, path, url, destination, name, server_key;
  bool unpack = false, insecure = false;
};

Result<std::optional<crypto::TlsIdentity>> load_identity(const ServeArguments& a) {
  if (a.tls_cert.empty()) return std::optional<crypto::TlsIdentity>();
  const Bytes pem = TRY(read_file(a.tls_cert, 64 << 10));
  crypto::Certificate certificate = TRY(crypto::Certificate::from_pem(as_text(pem)));
  const SecretBytes secret = TRY(read_secret_file(a.tls_key, 64 << 10));
  crypto::KeyPair key = TRY(crypto::KeyPair::from_pem(secret.expose()));
  if (key.spki_sha256() != certificate.spki_sha256()) {
    return Error(Code::InvalidArgument, a.tls_key + " is not the key of " + a.tls_cert);
  }
  return std::optional<crypto::TlsIdentity>(crypto::TlsIdentity{std::move(key), std::move(certificate)});
}

Result<void> serve(const ServeArguments& a) {
  transfer::TransferServerOptions options;
  options.store.root = a.root;
  options.store.max_file_size = TRY(parse_size(a.max_size, "--max-size"));
  options.store.quota = TRY(parse_size(a.quota, "--quota"));
  options.store.max_age = static_cast<int64_t>(TRY(parse_age(a.max_age, "--max-age")));
  options.http.address = a.listen;
  options.http.tls = TRY(load_identity(a));
  options.public_url = a.public_url;
  // Blocked before any thread exists, so that all inherit it and only sigwait sees them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto server = TRY(transfer::TransferServer::start(options));
  std::printf("transfer service listening on %s\n", server->url().c_str());
  std::fflush(stdout);
  int signal = 0;
  ::sigwait(&signals, &signal);
  return {};
}

Result<transfer::ClientOptions> client_options(const MoveArguments& a, ProgressBar& bar) {
  transfer::ClientOptions options;
  options.progress = bar.callback();
  options.http.insecure = a.insecure;
  if (!a.server_key.empty()) {
    const Result<crypto::Digest> key = array_from_hex<32>(a.server_key);
    if (!key.ok()) return Error(Code::InvalidArgument, "--server-key is not 64 hex digits");
    options.http.expected_key = *key;
  }
  return options;
}

Result<void> push(const MoveArguments& a) {
  ProgressBar bar("push");
  transfer::ClientOptions options = TRY(client_options(a, bar));
  std::error_code failure;
  const fs::path path = fs::canonical(a.path, failure);
  if (failure) return Error(Code::NotFound, "cannot push " + a.path + ": " + failure.message());
  const std::string name = a.name.empty() ? path.filename().string() : a.name;
  watch_for_interruption();
  std::optional<TemporaryFolder> scratch;
  if (fs::is_directory(path, failure)) {
    scratch = TRY(archive_scratch(path));
    options.scratch = scratch->path();
  }
  const std::string url =
      TRY(fs::is_directory(path, failure) ? transfer::push_folder(a.remote, name, path, options)
                                          : transfer::push_file(a.remote, name, path, options));
  std::printf("%s\n", url.c_str());
  return {};
}

Result<void> pull(const MoveArguments& a) {
  ProgressBar bar("pull");
  const transfer::ClientOptions options = TRY(client_options(a, bar));
  if (a.unpack) return transfer::pull_folder(a.url, a.destination, options);
  fs::path target = a.destination;
  std::error_code ignored;
  if (fs::is_directory(target, ignored)) target /= TRY(transfer::name_in_url(a.url));
  return transfer::pull(a.url, target, options);
}

template <class Arguments>
void run_as(CLI::App* sub, Action& action, const std::shared_ptr<Arguments>& a,
            Result<void> (*function)(const Arguments&)) {
  sub->callback([a, &action, function] { action = [a, function] { return finished(function(*a)); }; });
}

void add_trust(CLI::App* sub, MoveArguments& a) {
  auto* pin = sub->add_option("--server-key", a.server_key,
                              "Trust only the server with this key (SHA-256 of its SPKI, 64 hex digits)");
  sub->add_flag("-k,--insecure", a.insecure, "Do not check the server's certificate")->excludes(pin);
}

}  // namespace

void add_transfer_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("transfer", "Move encrypted volumes between machines");
  group->require_subcommand(1);

  auto* sub = group->add_subcommand("serve", "Run the transfer service until SIGINT or SIGTERM");
  sub->footer("Example: cloister transfer serve --root /var/lib/cloister-transfer --listen 127.0.0.1:8082");
  const auto s = std::make_shared<ServeArguments>();
  sub->add_option("--root", s->root, "Folder that keeps the uploads; made when absent")->required();
  sub->add_option("--listen", s->listen, "Numeric address and port; port 0: any free one")
      ->capture_default_str();
  auto* certificate = sub->add_option("--tls-cert", s->tls_cert, "Serve HTTPS with this certificate (PEM)");
  auto* key = sub->add_option("--tls-key", s->tls_key, "Its P-256 key (PEM)")->needs(certificate);
  certificate->needs(key);
  sub->add_option("--max-size", s->max_size, "Largest file")->capture_default_str();
  sub->add_option("--quota", s->quota, "All uploads together")->capture_default_str();
  sub->add_option("--max-age", s->max_age, "Remove uploads after this time; 0: never")->capture_default_str();
  sub->add_option("--public-url", s->public_url, "What URLs begin with (default: the host a client used)");
  run_as(sub, action, s, serve);

  sub = group->add_subcommand("push", "Upload a file, or a folder as zip; prints its URL");
  sub->footer("Example: cloister transfer push http://127.0.0.1:8082 volume");
  const auto m = std::make_shared<MoveArguments>();
  sub->add_option("REMOTE", m->remote, "http(s)://HOST[:PORT] or file:///FOLDER")->required();
  sub->add_option("PATH", m->path, "File or folder")->required();
  sub->add_option("--name", m->name, "Name at the remote (default: that of PATH)");
  add_trust(sub, *m);
  run_as(sub, action, m, push);

  sub = group->add_subcommand("pull", "Download an upload; continues what was interrupted");
  sub->footer("Example: cloister transfer pull http://127.0.0.1:8082/ID/volume.zip volume --unpack");
  sub->add_option("URL", m->url, "What push printed")->required();
  sub->add_option("DEST", m->destination, "File, or existing folder for it; with --unpack a new folder")
      ->required();
  sub->add_flag("--unpack", m->unpack, "Unpack the zip into the folder DEST");
  add_trust(sub, *m);
  run_as(sub, action, m, pull);
}

}  // namespace cloister::cli
