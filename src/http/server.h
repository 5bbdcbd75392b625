// An HTTP/1.1 server: one thread per connection, bounded in connections, sizes and time, plain or TLS 1.3.
//
// Handlers are plain functions that run on the connection's thread: they read the body when they want it (so
// an upload streams to disk with constant memory) and answer once. Whatever a stranger sends is bounded
// before a handler runs: head size and time, one Host, one meaning of the target, no control characters in
// it. Sources: RFC 9110 (semantics), RFC 9112 (messages).
#pragma once

#include <map>
#include <utility>

#include "crypto/tls.h"

namespace cloister::http {

struct RequestHead {
  std::string method;
  std::string path;                          // percent-decoded, starts with '/', no control characters
  std::map<std::string, std::string> query;  // decoded; a key given twice is refused before the handler
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::optional<uint64_t> content_length;                    // none: no body, or a chunked one

  // The first header of that name; empty when there is none.
  std::string_view header(std::string_view lower_name) const;
};

struct Peer {
  std::string address;                // numeric, with port
  std::optional<crypto::Digest> key;  // SHA-256 of the client certificate's SPKI; possession is proven

  std::string host() const { return address.substr(0, address.rfind(':')); }  // the address without its port
};

struct Response {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";  // empty: no such header
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

// Fills the view from its start; 0 is the end.
using Source = std::function<Result<size_t>(MutableByteView)>;

// One request and its answer. Only on the connection's thread, only while the handler runs.
class Exchange {
 public:
  class Impl;
  explicit Exchange(Impl& impl) : impl_(impl) {}

  const RequestHead& request() const;
  const Peer& peer() const;

  // The whole body. InvalidArgument "larger than N bytes" when it is. Unavailable: the peer went away or was
  // too slow. Malformed: broken chunks. After any error the connection ends with the answer.
  Result<std::string> read_body(size_t limit);
  // The next part; 0 at the end. Errors as above.
  Result<size_t> read_body_some(MutableByteView out);

  // Once. Unavailable when the peer is gone; Internal for a second answer or a header that is not one line.
  Result<void> respond(Response response);
  // The head with Content-Length, then exactly `size` bytes from `source`. When the source fails or ends
  // early, the connection is cut, so that the peer sees a failure and not a short file. For HEAD the source
  // is not asked.
  Result<void> respond_stream(const Response& head, uint64_t size, const Source& source);

 private:
  Impl& impl_;
};

// Called from many threads. When it returns without an answer, or throws, 500 is sent.
using Handler = std::function<void(Exchange&)>;

struct ServerOptions {
  std::string address = "127.0.0.1:0";  // numeric; port 0: the system chooses
  std::optional<crypto::TlsIdentity> tls;
  bool ask_client_certificate = false;  // any key type, may be absent; only with `tls`
  size_t max_connections = 256;         // more are answered 503 (plain) or closed (TLS)
  size_t max_connections_per_address = 64;
  std::chrono::milliseconds head_timeout{10000};  // TLS handshake; a head from its first byte to its last
  std::chrono::milliseconds idle_timeout{30000};  // between requests
  std::chrono::milliseconds body_stall_timeout{30000};  // one wait for body bytes, in or out
  size_t min_body_rate = 1024;  // bytes/s on average, beyond one body_stall_timeout of grace
  size_t max_head_size = 16384;
  std::string server_name = "cloister";  // the Server header
};

// Runs until destroyed, which ends every connection and joins every thread.
class Server {
 public:
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options, Handler handler);
  ~Server();

  const std::string& address() const;  // with the real port

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

std::string_view reason_phrase(unsigned status);

}  // namespace cloister::http
