// The client API: HTTPS, a client is the key of whatever certificate it presents. One table of routes says
// verb, path, who may call and what answers; docs/reference/api.md is that table as text, and a test calls
// every row without a certificate and as another tenant.
#pragma once

#include <span>
#include <string>

#include "cas/evidence.h"
#include "cas/service.h"
#include "http/server.h"

namespace cloister::cas {

enum class Authentication : uint8_t {
  None,         // anybody
  Certificate,  // any client certificate: it is who the new session belongs to
  ReadRight,    // the session's `read`; without it the session is not found
  Owner,        // who uploaded the version in force; for everybody else the session is not found
  Uploader,     // who uploaded any version; for everybody else the session is not found
};

struct RouteInfo {
  std::string_view verb;
  std::string_view path;  // {name}: the rest of the path, may contain '/'
  Authentication authentication;
  std::string_view answer;
};

std::span<const RouteInfo> routes();
std::string api_page();  // docs/reference/api.md

inline constexpr size_t kMaxApiBody = policy::kMaxYamlSize;  // a session is the only body

struct ApiOptions {
  std::string version;
  EvidenceSource evidence;  // empty: outside of an enclave
  double burst = 2000;      // requests of one address
  double requests_per_second = 500;
};

// Thread-safe.
class Api {
 public:
  // `service_key`: of the listener, what evidence is bound to.
  Api(Service& service, Store& store, const crypto::Digest& service_key, ApiOptions options)
      : service_(service), store_(store), service_key_(service_key), options_(std::move(options)) {}

  void handle(http::Exchange& exchange);

 private:
  Service& service_;
  Store& store_;
  const crypto::Digest service_key_;
  const ApiOptions options_;
  TokenBuckets limit_{options_.burst, options_.requests_per_second};
};

}  // namespace cloister::cas
