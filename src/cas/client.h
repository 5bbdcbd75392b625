// A CAS seen by an owner's tools: the client API as functions. Nothing is sent to a server whose key is not
// the pinned one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/client.h"

namespace cloister::cas {

struct VolumeState {
  std::string name;
  std::optional<ByteArray<16>> tag;  // newest acknowledged; empty: not created yet
  uint64_t updates = 0;
  std::string updated;  // RFC 3339; empty: never
  bool in_use = false;
};

// Thread-safe once made.
class Client {
 public:
  // `address`: "host[:port]", port 8081 when absent. Asks the server for its version, so that a wrong key or
  // a dead server is found here. Unavailable; Denied: another key; InvalidArgument.
  static Result<Client> connect(const std::string& address, const crypto::Digest& server_key,
                                const crypto::TlsIdentity& owner);

  // Below: NotFound, Denied, Malformed (400), Unavailable, with the server's text.

  // The session's hash in hex. InvalidArgument: it exists and the text names no predecessor.
  Result<std::string> create_session(std::string_view yaml);
  // Text and hash; `hash`: a version, empty: the one in force.
  Result<std::pair<std::string, std::string>> read_session(const std::string& name,
                                                           const std::string& hash = "");
  Result<std::vector<VolumeState>> volumes(const std::string& session);  // owner only

  struct Event {
    std::string time, kind, text;
  };
  Result<std::vector<Event>> events(const std::string& session);  // owner only, newest last

  const std::string& server_version() const { return version_; }

 private:
  Client(std::string url, http::ClientOptions options) : url_(std::move(url)), options_(std::move(options)) {}
  Result<std::string> call(std::string_view verb, const std::string& path, std::string_view body);

  std::string url_;
  http::ClientOptions options_;
  std::string version_;
};

}  // namespace cloister::cas
