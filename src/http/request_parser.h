// Bytes of a connection → request heads and bodies. Boost.Beast does the message grammar (RFC 9112) and stays
// inside request_parser.cpp; this interface has no sockets, so it is fuzzed as it is.
#pragma once

#include "http/server.h"

namespace cloister::http {

// Why a request cannot be answered by a handler.
struct BadRequest {
  unsigned status = 400;
  std::string text;
};

// "/a%20b?x=1" (or "http://host/a?x=1") → path and query of `head`.
std::optional<BadRequest> parse_target(std::string_view target, RequestHead& head);

// One request. The next request on the connection gets a new parser and the bytes that were left.
class RequestParser {
 public:
  explicit RequestParser(size_t max_head_size);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Give it the connection's unread bytes. It says how many it used. Call until head_done() or bad().
  size_t read_head(ByteView unread);
  bool head_done() const;
  const std::optional<BadRequest>& bad() const { return bad_; }
  const RequestHead& head() const { return head_; }  // once head_done()

  bool keep_alive() const;
  bool expects_continue() const;

  struct BodyStep {
    size_t used = 0;     // of the unread bytes
    size_t written = 0;  // into `out`
  };
  // Decodes body bytes. {0, 0} before body_done(): it needs more bytes. Malformed: broken chunks.
  Result<BodyStep> read_body(ByteView unread, MutableByteView out);
  bool body_done() const;

 private:
  struct Impl;
  void finish_head();
  std::unique_ptr<Impl> impl_;
  size_t max_head_size_;
  size_t head_used_ = 0;
  RequestHead head_;
  std::optional<BadRequest> bad_;
};

}  // namespace cloister::http
