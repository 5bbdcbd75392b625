#include "cas/client.h"

#include "attestation/json.h"
#include "cas/trust.h"
#include "policy/session.h"

namespace cloister::cas {
namespace {

using attestation::Json;
using attestation::json_array;
using attestation::json_string;
using attestation::parse_json_object;

constexpr size_t kMaxAnswer = size_t{16} << 20;
constexpr std::string_view kWhat = "the CAS's answer";

// Errors are {"msg": [TEXT]}; whatever else a server may send is not shown at length.
std::string message_of(const http::ClientResponse& response) {
  const Result<Json> json = parse_json_object(response.body, kMaxAnswer, kWhat);
  if (json.ok()) {
    const auto list = json->find("msg");
    const bool said = list != json->end() && list->is_array() && !list->empty() && list->front().is_string();
    if (said) return list->front().get<std::string>();
  }
  return "the CAS answers with status " + std::to_string(response.status);
}

Code code_of(unsigned status) {
  switch (status) {
    case 400:
    case 413:
      return Code::Malformed;
    case 401:
    case 403:
      return Code::Denied;
    case 404:
      return Code::NotFound;
    case 409:
      return Code::InvalidArgument;
    case 429:
    case 503:
      return Code::Unavailable;
    default:
      return Code::Internal;
  }
}

Result<std::string> checked_name(const std::string& name) {
  if (policy::is_session_name(name)) return name;
  return Error(Code::InvalidArgument, "`" + name.substr(0, 200) + "` is not the name of a session");
}

// `json` is an object (json_array).
Result<VolumeState> volume_of(const Json& json) {
  VolumeState state;
  state.name = TRY(json_string(json, "name"));
  if (json.contains("tag") && !json["tag"].is_null()) {
    state.tag = TRY(array_from_hex<16>(TRY(json_string(json, "tag"))));
  }
  if (json.contains("updates") && json["updates"].is_number_unsigned()) state.updates = json["updates"];
  if (json.contains("updated") && json["updated"].is_string()) state.updated = json["updated"];
  if (json.contains("in_use") && json["in_use"].is_boolean()) state.in_use = json["in_use"];
  return state;
}

}  // namespace

Result<Client> Client::connect(const std::string& address, const crypto::Digest& server_key,
                               const crypto::TlsIdentity& owner) {
  const std::string full = TRY(full_address(address));
  http::ClientOptions options;
  options.expected_key = server_key;
  options.identity = owner;
  Client client("https://" + full, std::move(options));
  const std::string body = TRY(client.call("GET", "/v1/version", {}));
  const Json json = TRY(parse_json_object(body, kMaxAnswer, kWhat));
  client.version_ = TRY(json_string(json, "version"));
  return client;
}

Result<std::string> Client::call(std::string_view verb, const std::string& path, std::string_view body) {
  http::ClientResponse response = TRY(http::fetch(verb, url_ + path, body, {}, options_, kMaxAnswer));
  if (response.status >= 200 && response.status < 300) return std::move(response.body);
  return Error(code_of(response.status), message_of(response));
}

Result<std::string> Client::create_session(std::string_view yaml) {
  const std::string body = TRY(call("POST", "/v1/sessions", yaml));
  const Json json = TRY(parse_json_object(body, kMaxAnswer, kWhat));
  return json_string(json, "hash");
}

Result<std::pair<std::string, std::string>> Client::read_session(const std::string& name,
                                                                 const std::string& hash) {
  std::string path = "/v1/sessions/" + TRY(checked_name(name));
  if (!hash.empty()) {
    const Result<ByteArray<32>> digits = array_from_hex<32>(hash);
    if (!digits.ok()) return Error(Code::InvalidArgument, "a session hash is 64 hex digits");
    path += "?hash=" + hash;
  }
  const std::string body = TRY(call("GET", path, {}));
  const Json json = TRY(parse_json_object(body, kMaxAnswer, kWhat));
  std::string text = TRY(json_string(json, "session"));
  std::string found = TRY(json_string(json, "hash"));
  return std::pair(std::move(text), std::move(found));
}

Result<std::vector<VolumeState>> Client::volumes(const std::string& session) {
  const std::string body = TRY(call("GET", "/v1/volumes/" + TRY(checked_name(session)), {}));
  const Json json = TRY(parse_json_object(body, kMaxAnswer, kWhat));
  const Json* list = TRY(json_array(json, "volumes", policy::kMaxEntries));
  std::vector<VolumeState> out;
  for (const Json& one : *list) out.push_back(TRY(volume_of(one)));
  return out;
}

Result<std::vector<Client::Event>> Client::events(const std::string& session) {
  const std::string body = TRY(call("GET", "/v1/events/" + TRY(checked_name(session)), {}));
  const Json json = TRY(parse_json_object(body, kMaxAnswer, kWhat));
  const Json* list = TRY(json_array(json, "events", 100000));
  std::vector<Event> out;
  for (const Json& one : *list) {
    Event event;
    event.time = TRY(json_string(one, "time"));
    event.kind = TRY(json_string(one, "kind"));
    event.text = TRY(json_string(one, "text"));
    out.push_back(std::move(event));
  }
  return out;
}

}  // namespace cloister::cas
