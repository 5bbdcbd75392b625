#include "cas/trust.h"

#include <netdb.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "attestation/json.h"
#include "base/files.h"
#include "crypto/tls.h"

namespace cloister::cas {
namespace {

using attestation::Json;

constexpr size_t kMaxFile = size_t{1} << 20;
constexpr std::chrono::milliseconds kTimeout{5000};

std::filesystem::path file() { return config_folder() / "cas.json"; }

Result<Json> load() {
  const Result<Bytes> bytes = read_file(file(), kMaxFile);
  if (!bytes.ok() && bytes.error().code() == Code::NotFound) return Json::object();
  if (!bytes.ok()) return Error(bytes.error());
  return attestation::parse_json_object(as_text(*bytes), kMaxFile, file().string());
}

// Services are started without $HOME, and keys must not land in whatever folder they were started in.
std::filesystem::path system_home() {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> room(16384);
  if (::getpwuid_r(::getuid(), &entry, room.data(), room.size(), &found) != 0 || found == nullptr) return "/";
  return found->pw_dir;
}

bool is_port(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  uint32_t port = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  return port > 0 && port < 65536;
}

bool is_host(std::string_view text) {
  if (text.empty() || text.size() > 255) return false;
  if (text.front() == '[') {
    return text.back() == ']' && text.find_first_not_of("0123456789abcdefABCDEF:.%", 1) == text.size() - 1;
  }
  return text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
         std::string_view::npos;
}

}  // namespace

std::filesystem::path config_folder() {
  const auto variable = [](const char* name) -> std::filesystem::path {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (auto own = variable("CLOISTER_CONFIG"); !own.empty()) return own;
  if (const auto xdg = variable("XDG_CONFIG_HOME"); !xdg.empty()) return xdg / "cloister";
  const auto home = variable("HOME");
  return (home.empty() ? system_home() : home) / ".config" / "cloister";
}

Result<std::string> full_address(const std::string& address) {
  const size_t bracket = address.rfind(']');
  const size_t colon = address.find(':', bracket == std::string::npos ? 0 : bracket);
  const std::string host = address.substr(0, colon);
  const std::string port = colon == std::string::npos ? "8081" : address.substr(colon + 1);
  if (is_host(host) && is_port(port)) return host + ":" + port;
  return Error(Code::InvalidArgument, "`" + address.substr(0, 300) + "` is not HOST or HOST:PORT");
}

Result<std::vector<std::string>> resolve(const std::string& host, const std::string& port) {
  const std::string name = host + ":" + port;
  if (host.empty() || !is_port(port)) return Error(Code::InvalidArgument, "not an address: " + name);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  const int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &raw);
  if (code != 0) return Error(Code::Unavailable, "cannot resolve " + name + ": " + ::gai_strerror(code));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(raw, ::freeaddrinfo);
  std::vector<std::string> out;
  for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0)
      continue;
    out.push_back((one->ai_family == AF_INET6 ? "[" + std::string(text) + "]" : std::string(text)) + ":" +
                  port);
  }
  if (out.empty()) return Error(Code::Unavailable, "cannot resolve " + name + ": no numeric address");
  return out;
}

Result<void> trust(const std::string& address, const crypto::Digest& key, const JournalHead& journal) {
  const std::string full = TRY(full_address(address));
  Json json = TRY(load());
  if (!json["trusted"].is_object()) json["trusted"] = Json::object();
  json["trusted"][full] = to_hex(key);
  if (!json["journals"].is_object()) json["journals"] = Json::object();
  json["journals"].erase(full);
  if (journal.sequence != 0)
    json["journals"][full] = {{"sequence", journal.sequence}, {"hash", to_hex(journal.hash)}};
  TRY(make_private_folder(config_folder()));
  const std::string text = json.dump(2) + "\n";
  return write_private_file(file(), as_bytes(text));
}

Result<crypto::Digest> trusted_key(const std::string& address) {
  const std::string full = TRY(full_address(address));
  const Json json = TRY(load());
  if (json.contains("trusted") && json["trusted"].is_object() && json["trusted"].contains(full)) {
    const Json& value = json["trusted"][full];
    if (value.is_string()) {
      const Result<crypto::Digest> key = array_from_hex<32>(value.get<std::string>());
      if (key.ok()) return *key;
    }
    return Error(Code::Malformed, file().string() + ": the key of " + full + " is not 64 hex digits");
  }
  return Error(Code::NotFound, "CAS " + full + " is not trusted",
               "run: cloister cas trust " + full + " --key HASH (cas serve prints HASH)");
}

Result<KnownCas> known_cas(const std::string& address) {
  KnownCas out;
  out.key = TRY(trusted_key(address));
  const std::string full = TRY(full_address(address));
  const Json json = TRY(load());
  if (!json.contains("journals") || !json["journals"].is_object() || !json["journals"].contains(full))
    return out;
  const Json& entry = json["journals"][full];
  const bool whole = entry.is_object() && entry.contains("sequence") &&
                     entry["sequence"].is_number_unsigned() && entry.contains("hash") &&
                     entry["hash"].is_string();
  if (!whole) return Error(Code::Malformed, file().string() + ": the journal of " + full + " is no entry");
  out.journal.sequence = entry["sequence"];
  out.journal.hash = TRY(array_from_hex<32>(entry["hash"].get<std::string>()));
  return out;
}

Result<crypto::Digest> presented_key(const std::string& address) {
  const std::string full = TRY(full_address(address));
  const size_t colon = full.rfind(':');
  std::string host = full.substr(0, colon);
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  const std::vector<std::string> numeric = TRY(resolve(host, full.substr(colon + 1)));
  crypto::TlsOptions options;
  options.any_key_type = true;
  const crypto::TlsContext tls = TRY(crypto::TlsContext::client(std::nullopt, options));
  std::string reason, hint;
  for (const std::string& one : numeric) {
    const Deadline deadline = deadline_in(kTimeout);
    Result<Socket> socket = connect_tcp(one, deadline);
    if (!socket.ok()) {
      reason = socket.error().message();
      continue;
    }
    const Result<crypto::TlsStream> stream = tls.connect(std::move(*socket), deadline);
    if (stream.ok()) return *stream->peer_spki_sha256();
    reason = stream.error().message();
    hint = kWhichPort;
  }
  return Error(Code::Unavailable, "cannot reach " + full + ": " + reason, hint);
}

}  // namespace cloister::cas
