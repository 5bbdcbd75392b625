// `cloister session …`: session texts on the owner's machine (check, hash, lint, substitute) and at a CAS
// whose key was pinned (create, read, volumes, events).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "base/files.h"
#include "base/text.h"
#include "cas/client.h"
#include "cas/identity.h"
#include "cas/trust.h"
#include "cli/cas_connection.h"
#include "cli/commands.h"
#include "policy/lint.h"
#include "policy/substitute.h"

extern char** environ;

namespace cloister::cli {
namespace {

struct Arguments {
  std::string file, name, cas, hash, identity, conf;
  std::vector<std::string> variables;
  bool use_env = false;
};

Result<policy::Variables> variables_of(const Arguments& a) {
  policy::Variables out;
  for (char** entry = a.use_env ? environ : nullptr; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos) out[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  }
  for (const std::string& text : a.variables) {
    const size_t equals = text.find('=');
    if (equals == 0 || text.empty()) return Error(Code::InvalidArgument, "-e takes VAR or VAR=VALUE");
    if (equals != std::string::npos) {
      out[text.substr(0, equals)] = text.substr(equals + 1);
      continue;
    }
    const char* value = std::getenv(text.c_str());
    if (value == nullptr)
      return Error(Code::InvalidArgument,
                   std::string("-e ").append(text).append(": the environment has no ").append(text));
    out[text] = value;
  }
  return out;
}

// The text with its variables filled in.
Result<std::string> text_of(const Arguments& a) {
  const Bytes file = TRY(read_file(a.file, policy::kMaxYamlSize));
  const policy::Variables variables = TRY(variables_of(a));
  Result<std::string> text = policy::substitute(as_text(file), variables);
  if (!text.ok()) return std::move(text.error()).within(a.file);
  return text;
}

Result<policy::Session> session_of(const Arguments& a) {
  const std::string text = TRY(text_of(a));
  Result<policy::Session> session = policy::parse_session(text);
  if (!session.ok()) return std::move(session.error()).within(a.file);
  return session;
}

Result<crypto::TlsIdentity> identity_of(const Arguments& a) {
  if (!a.identity.empty()) return cas::load_identity_file(a.identity);
  return cas::load_or_create_identity(a.conf.empty() ? cas::config_folder() : std::filesystem::path(a.conf));
}

Result<cas::Client> connect(const Arguments& a) {
  const crypto::Digest key = TRY(insisted_key(a.cas));
  const crypto::TlsIdentity identity = TRY(identity_of(a));
  return cas::Client::connect(a.cas, key, identity);
}

Result<int> create(const Arguments& a) {
  const std::string text = TRY(text_of(a));
  // A mistake in the text is found here, before anything is sent.
  const Result<policy::Session> session = policy::parse_session(text);
  if (!session.ok()) return Error(session.error()).within(a.file);
  cas::Client client = TRY(connect(a));
  const std::string hash = TRY(client.create_session(text));
  std::printf("%s\n", hash.c_str());
  return kOk;
}

Result<int> read(const Arguments& a) {
  cas::Client client = TRY(connect(a));
  const auto session = TRY(client.read_session(a.name, a.hash));
  std::fwrite(session.first.data(), 1, session.first.size(), stdout);
  return kOk;
}

Result<int> volumes(const Arguments& a) {
  cas::Client client = TRY(connect(a));
  const std::vector<cas::VolumeState> list = TRY(client.volumes(a.name));
  for (const cas::VolumeState& volume : list) {
    std::printf("%s %s %llu%s\n", printable(volume.name).c_str(),
                volume.tag ? to_hex(*volume.tag).c_str() : "-",
                static_cast<unsigned long long>(volume.updates), volume.in_use ? " in-use" : "");
  }
  return kOk;
}

Result<int> events(const Arguments& a) {
  cas::Client client = TRY(connect(a));
  const std::vector<cas::Client::Event> list = TRY(client.events(a.name));
  for (const cas::Client::Event& event : list) {
    // An enclave that was refused has words in these texts, too.
    std::printf("%s %s: %s\n", printable(event.time).c_str(), printable(event.kind).c_str(),
                printable(event.text).c_str());
  }
  return kOk;
}

Result<int> check(const Arguments& a) {
  const policy::Session session = TRY(session_of(a));
  std::printf("%s: valid, session %s\n", a.file.c_str(), session.name.c_str());
  return kOk;
}

Result<int> hash(const Arguments& a) {
  const policy::Session session = TRY(session_of(a));
  crypto::Digest creator{};
  if (session.names_creator) {
    const crypto::TlsIdentity identity = TRY(identity_of(a));
    creator = identity.key.spki_sha256();
  }
  std::printf("%s\n", to_hex(policy::session_hash(session, creator)).c_str());
  return kOk;
}

Result<int> lint(const Arguments& a) {
  const policy::Session session = TRY(session_of(a));
  const std::vector<policy::Finding> findings = policy::lint(session);
  for (const policy::Finding& finding : findings) {
    std::printf("%s:%u:%u: %s: %s\n", a.file.c_str(), finding.mark.line, finding.mark.column,
                finding.rule.c_str(), finding.text.c_str());
  }
  return findings.empty() ? kOk : kFailed;
}

Result<int> substitute(const Arguments& a) {
  const std::string text = TRY(text_of(a));
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kOk;
}

using Command = Result<int> (*)(const Arguments&);

struct Row {
  const char* name;
  const char* what;
  const char* example;
  Command function;
  bool takes_file;
  bool asks_cas;
};

constexpr Row kRows[] = {
    {"create", "Create or replace a session; prints its hash",
     "cloister session create session.yml --cas cas.example -e SESSION=mine", create, true, true},
    {"read", "Print a session's text", "cloister session read mine --cas cas.example", read, false, true},
    {"volumes", "Print each volume: name, newest tag, number of updates",
     "cloister session volumes mine --cas cas.example", volumes, false, true},
    {"events", "Print what happened: attestations, refusals with reasons, tags, exits",
     "cloister session events mine --cas cas.example", events, false, true},
    {"check", "Say whether a text is a valid session", "cloister session check session.yml --use-env", check,
     true, false},
    {"hash", "Print the session hash of a text", "cloister session hash session.yml", hash, true, false},
    {"lint", "Name what weakens a session; exit code 1 when something does",
     "cloister session lint session.yml", lint, true, false},
    {"substitute", "Print a template with its variables filled in",
     "cloister session substitute template.yml -e SESSION=mine", substitute, true, false},
};

}  // namespace

void add_session_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("session", "Sessions: what an enclave may have, on which conditions");
  group->require_subcommand(1);
  const auto a = std::make_shared<Arguments>();
  for (const Row& row : kRows) {
    auto* sub = group->add_subcommand(row.name, row.what);
    sub->footer(std::string("Example: ") + row.example);
    if (row.takes_file) {
      sub->add_option("FILE", a->file, "Session, may contain $VARIABLES")->required();
      sub->add_option(
             "-e", a->variables,
             "VAR=VALUE; or VAR, its value from the environment, for secrets: everybody on this machine sees "
             "arguments")
          ->allow_extra_args(false);
      sub->add_flag("--use-env", a->use_env, "Variables of the environment, too");
    } else {
      sub->add_option("NAME", a->name, "Name of the session")->required();
    }
    if (row.asks_cas) {
      sub->add_option("--cas", a->cas, "HOST or HOST:PORT, trusted before (cloister cas trust)")->required();
    }
    if (row.function == read) sub->add_option("--hash", a->hash, "An older version");
    if (row.asks_cas || row.function == hash) {
      auto* file = sub->add_option("--identity", a->identity, "PEM file with the owner's key");
      sub->add_option("--conf", a->conf, "Folder with the owner's identity (made when absent)")
          ->excludes(file);
    }
    sub->callback(
        [a, &action, function = row.function] { action = [a, function] { return finished(function(*a)); }; });
  }
}

}  // namespace cloister::cli
