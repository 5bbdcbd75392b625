// An HTTP client over libcurl, which stays inside client.cpp: http and https only, no redirects, every wait
// bounded, and a server is either the one whose key is pinned or one that the system's authorities know.
// A status is not an error here: what 404 or 500 means is the caller's business.
#pragma once

#include <filesystem>
#include <functional>
#include <map>

#include "crypto/tls.h"

namespace cloister::http {

struct ClientOptions {
  // Pin: SHA-256 of the server's SPKI. With a pin no authority is asked, without one the system's decide. A
  // pin or an identity with an http:// URL is InvalidArgument: nothing would check or show it.
  std::optional<crypto::Digest> expected_key;
  std::optional<crypto::TlsIdentity> identity;      // the client's certificate; the key never touches a file
  bool insecure = false;                            // no check at all: only where a person asked for it
  std::chrono::milliseconds connect_timeout{5000};  // name, connection and TLS handshake together
  std::chrono::milliseconds stall_timeout{
      30000};  // no byte in either direction; looked at about once a second
  std::function<void(uint64_t done, uint64_t total)> progress;  // of the body; total 0: not known
};

struct ClientResponse {
  unsigned status = 0;
  std::map<std::string, std::string> headers;  // lower case
  std::string body;

  std::string_view header(const std::string& lower_name) const;  // empty when there is none
};

// All three. Unavailable "cannot reach HOST:PORT: reason" and for a connection that breaks or stalls; Denied
// for a server with another key or an unknown certificate; InvalidArgument for an URL that is not http(s) and
// for headers that are not one line ("Name: value"); Malformed for an answer that is not HTTP or too large.

// With `body_limit` bytes of the answer at most.
Result<ClientResponse> fetch(std::string_view method, const std::string& url, std::string_view body,
                             const std::vector<std::string>& headers, const ClientOptions& options,
                             size_t body_limit = 64 << 20);

// PUT in constant memory. NotFound when the file cannot be opened.
Result<ClientResponse> upload_file(const std::string& url, const std::filesystem::path& path,
                                   const std::vector<std::string>& headers, const ClientOptions& options);

// GET into `to` (mode 0600), appending to what is already there by Range when the server can (206), else from
// the start (200). Only 200 and 206 touch the file; another status comes with its body (64 KiB at most). On
// failure the part that came stays, for the next attempt. A file that is whole already gives 206 and no
// transfer. That both parts are of one file is for the caller to check (a hash). Malformed when the file
// would be larger than `size_limit`.
Result<ClientResponse> download_file(const std::string& url, const std::filesystem::path& to,
                                     const ClientOptions& options, uint64_t size_limit);

}  // namespace cloister::http
