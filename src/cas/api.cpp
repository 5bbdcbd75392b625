#include "cas/api.h"

#include <nlohmann/json.hpp>

#include "attestation/tcb_json.h"
#include "cas/api_attest.h"

namespace cloister::cas {
namespace {

using Json = nlohmann::ordered_json;

struct Call {
  Service& service;
  Store& store;
  const crypto::Digest& service_key;
  const ApiOptions& options;
  http::Exchange& exchange;
  std::string name;  // what stands for {name}

  const ClientKey& client() const { return exchange.peer().key; }
};

using RouteHandler = Result<http::Response> (*)(Call&);

http::Response json_response(unsigned status, const Json& json) {
  http::Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return response;
}

http::Response message(unsigned status, const std::string& text) {
  return json_response(status, {{"msg", {text}}});
}

http::Response too_large() {
  return message(413, "a request has at most " + std::to_string(kMaxApiBody) + " bytes");
}

unsigned status_of(Code code) {
  switch (code) {
    case Code::InvalidArgument:
    case Code::Malformed:
    case Code::Unsupported:
      return 400;
    case Code::NotFound:
      return 404;
    case Code::Denied:
      return 403;
    case Code::Unavailable:
      return 503;
    case Code::Integrity:
    case Code::Internal:
      return 500;
  }
  return 500;
}

// What went wrong inside is not the client's to know.
http::Response error_response(const Error& error) {
  const unsigned status = status_of(error.code());
  return message(status, status == 500 ? "internal error" : error.message());
}

Result<std::optional<crypto::Digest>> wanted_hash(const Call& call) {
  const auto& query = call.exchange.request().query;
  const auto found = query.find("hash");
  if (found == query.end()) return std::optional<crypto::Digest>();
  const Result<crypto::Digest> hash = array_from_hex<32>(found->second);
  if (!hash.ok()) return Error(Code::InvalidArgument, "hash: expected 64 hex digits");
  return std::optional<crypto::Digest>(*hash);
}

Result<http::Response> post_session(Call& call) {
  const Result<std::string> text = call.exchange.read_body(kMaxApiBody);
  // Without a length (chunked) only the reading finds out.
  if (!text.ok() && text.error().code() == Code::InvalidArgument) return too_large();
  if (!text.ok()) return Error(text.error());
  const std::optional<crypto::Digest> hash = TRY(call.service.create_session(*text, *call.client()));
  if (!hash) return message(409, "Session already exists, please specify predecessor hash");
  return json_response(201, {{"hash", to_hex(*hash)}});
}

Result<http::Response> get_session(Call& call) {
  const std::optional<crypto::Digest> hash = TRY(wanted_hash(call));
  const SessionText session = TRY(call.service.read_session(call.name, hash, call.client()));
  return json_response(200, {{"session", session.text}, {"hash", to_hex(session.hash)}});
}

// "session=NAME" or "session=NAME,secret=S"
Result<http::Response> get_values(Call& call) {
  static constexpr std::string_view kSecret = ",secret=";
  const size_t comma = std::min(call.name.find(kSecret), call.name.size());
  const std::string name = call.name.substr(0, comma);
  const std::map<std::string, std::string> values = TRY(call.service.public_values(name, call.client()));
  if (comma < call.name.size()) {
    const auto value = values.find(call.name.substr(comma + kSecret.size()));
    if (value == values.end()) return Error(Code::NotFound, "there is no such public value");
    return json_response(200, {{"value", value->second}});
  }
  Json list = Json::object();
  for (const auto& [key, value] : values) list[key] = {{"value", value}};
  return json_response(200, {{"values", list}});
}

Result<http::Response> get_volumes(Call& call) {
  const std::vector<VolumeSummary> volumes = TRY(call.service.volumes(call.name, call.client()));
  Json list = Json::array();
  for (const VolumeSummary& volume : volumes) {
    Json one;
    one["name"] = volume.name;
    one["tag"] = volume.tag ? Json(to_hex(*volume.tag)) : Json();
    one["initial_tag"] = volume.initial ? Json(to_hex(*volume.initial)) : Json();
    one["updates"] = volume.updates;
    one["updated"] = volume.updated == 0 ? Json() : Json(attestation::format_rfc3339(volume.updated));
    one["in_use"] = volume.in_use;
    list.push_back(std::move(one));
  }
  return json_response(200, {{"volumes", list}});
}

Result<http::Response> get_events(Call& call) {
  static constexpr size_t kMaxEvents = 1000;
  const std::vector<JournalEvent> events = TRY(call.service.events(call.name, call.client(), kMaxEvents));
  Json list = Json::array();
  for (const JournalEvent& event : events) {
    list.push_back({{"sequence", event.sequence},
                    {"time", attestation::format_rfc3339(event.time)},
                    {"kind", event.kind},
                    {"text", event.text}});
  }
  return json_response(200, {{"events", list}});
}

Result<http::Response> get_version(Call& call) {
  return json_response(200, {{"service", "cloister-cas"}, {"version", call.options.version}});
}

Result<http::Response> get_attest(Call& call) {
  return json_response(
      200, TRY(attest_answer(call.exchange.request(), call.options.evidence, call.service_key, call.store)));
}

Result<http::Response> get_health(Call& call) {
  TRY(call.store.get("meta", "journal-head"));
  return json_response(200, {{"status", "ok"}, {"instances", call.service.connected_instances()}});
}

struct Route {
  RouteInfo info;
  RouteHandler handler;
};

using enum Authentication;
constexpr Route kRoutes[] = {
    {{"POST", "/session", Certificate, "as `POST /v1/sessions`; the path of older clients"}, post_session},
    {{"POST", "/v1/sessions", Certificate,
      "body: a session, any content type. 201 `{\"hash\"}`; 409 when it exists and the text names no "
      "predecessor; 404 when the predecessor is not the version in force; 403 without the right or when the "
      "key has uploaded too much; 400 for the "
      "text, with position"},
     post_session},
    {{"GET", "/v1/sessions/{name}", ReadRight,
      "`{\"session\", \"hash\"}`: the text as it was uploaded; `?hash=` for an older version, "
      "which its own `read` must allow too, except for who uploaded the version in force"},
     get_session},
    {{"GET", "/v1/values/session={name}", None,
      "`{\"values\": {SECRET: {\"value\"}}}` of secrets with `export_public`; with `,secret=SECRET` after "
      "the "
      "name `{\"value\"}`. Binary secrets in hex"},
     get_values},
    {{"GET", "/v1/volumes/{name}", Owner,
      "`{\"volumes\": [{\"name\", \"tag\", \"initial_tag\", \"updates\", \"updated\", \"in_use\"}]}`; `tag` "
      "is "
      "the newest acknowledged one, null before the first"},
     get_volumes},
    {{"GET", "/v1/events/{name}", Uploader,
      "`{\"events\": [{\"sequence\", \"time\", \"kind\", \"text\"}]}`: of what concerns this key's versions "
      "and "
      "the enclaves that were given one of them the newest 1000 (of `tags` and of `unproven` 100 each), "
      "newest "
      "last; kinds created, updated, attested, denied, unproven (evidence that proved nothing), tags, "
      "refused, "
      "exited, disconnected"},
     get_events},
    {{"GET", "/v1/version", None, "`{\"service\", \"version\"}`"}, get_version},
    {{"GET", "/v1/attest", None,
      "`{\"quote\", \"collateral\", \"journal\": {\"sequence\", \"head\", \"seen_hash\"}}` (quote in base64) "
      "with report data over the `nonce` of the query (64 hex digits), the journal (`seen_hash` is of the "
      "entry "
      "that `?seen=` names) and this server's key ([attest-protocol.md](../formats/attest-protocol.md)); 404 "
      "outside of "
      "an "
      "enclave, 503 without a LAS"},
     get_attest},
    {{"GET", "/v1/health", None, "`{\"status\", \"instances\"}`; 5xx when the store does not answer"},
     get_health},
};

constexpr std::string_view kName = "{name}";

// What stands for {name} (empty without one), or nothing when the path is another.
std::optional<std::string> match(std::string_view pattern, std::string_view path) {
  const size_t at = pattern.find(kName);
  if (at == std::string_view::npos) return pattern == path ? std::optional<std::string>("") : std::nullopt;
  const std::string_view prefix = pattern.substr(0, at);
  if (!path.starts_with(prefix) || path.size() == prefix.size()) return std::nullopt;
  return std::string(path.substr(prefix.size()));
}

http::Response answer(Call call) {
  const http::RequestHead& request = call.exchange.request();
  std::string allowed_verbs;
  for (const Route& route : kRoutes) {
    std::optional<std::string> name = match(route.info.path, request.path);
    if (!name) continue;
    if (route.info.verb != request.method) {
      allowed_verbs += (allowed_verbs.empty() ? "" : ", ") + std::string(route.info.verb);
      continue;
    }
    const Authentication who = route.info.authentication;
    const bool needs_key = who == Certificate || who == Owner || who == Uploader;
    if (needs_key && !call.client()) return message(401, "a client certificate is needed");
    call.name = std::move(*name);
    Result<http::Response> response = route.handler(call);
    return response.ok() ? std::move(*response) : error_response(response.error());
  }
  if (allowed_verbs.empty()) return message(404, "there is nothing at this path");
  http::Response response = message(405, "use " + allowed_verbs);
  response.headers.emplace_back("Allow", allowed_verbs);
  return response;
}

std::string_view authentication_name(Authentication authentication) {
  switch (authentication) {
    case None:
      return "nobody in particular";
    case Certificate:
      return "any client certificate";
    case ReadRight:
      return "`read` of the session";
    case Owner:
      return "who uploaded the version in force";
    case Uploader:
      return "who uploaded a version of the session";
  }
  return "";
}

}  // namespace

std::span<const RouteInfo> routes() {
  static const std::vector<RouteInfo> all = [] {
    std::vector<RouteInfo> out;
    for (const Route& route : kRoutes) out.push_back(route.info);
    return out;
  }();
  return all;
}

std::string api_page() {
  std::string page =
      "# CAS client API\n\n"
      "HTTPS (TLS 1.3), port 8081. A client is the key of the certificate that it presents (SHA-256 of\n"
      "the SPKI); any self-signed one will do. The server's key is what `cloister cas serve` prints and\n"
      "clients pin. Bodies of at most 1 MiB. Errors are `{\"msg\": [TEXT]}` with 400, 401, 403, 404, 405, "
      "409,\n"
      "413, 429, 500 or 503. A session that a client may not read is not found.\n"
      "Names of sessions are not secret: creating one tells whether it exists (409) and whether some\n"
      "namespace above it is another's (403).\n\n"
      "This page is the table in `src/cas/api.cpp` as text; `ApiPage.SaysWhatTheTableSays` holds it.\n\n"
      "| verb | path | for | answer |\n|---|---|---|---|\n";
  for (const RouteInfo& route : routes()) {
    page += "| " + std::string(route.verb) + " | `" + std::string(route.path) + "` | " +
            std::string(authentication_name(route.authentication)) + " | " + std::string(route.answer) +
            " |\n";
  }
  return page;
}

void Api::handle(http::Exchange& exchange) {
  http::Response response;
  const std::optional<uint64_t> length = exchange.request().content_length;
  if (!limit_.take(exchange.peer().host())) {
    response = message(429, "too many requests");
  } else if (length && *length > kMaxApiBody) {
    response = too_large();
  } else {
    response = answer(Call{service_, store_, service_key_, options_, exchange, {}});
  }
  // A client that went away has no use for the answer.
  static_cast<void>(exchange.respond(std::move(response)).ok());
}

}  // namespace cloister::cas
