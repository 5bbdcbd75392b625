// The transfer service: PUT a file, get a URL that nobody can guess (the transfer.sh convention).
//
//   PUT /NAME (or POST)         201, the URL as the body's only line; X-Delete-Token, X-Url-Delete (URL with
//   it) GET, HEAD /ID/NAME          the bytes, also one Range; for browsers (Accept: text/html) the page
//   about them GET /ID/NAME?download=1     the bytes, also for browsers GET /ID/NAME/, /ID/         the page,
//   or JSON (Accept: application/json) DELETE /ID/NAME?token=…     204 (the token may also stand in
//   X-Delete-Token) GET /                       what this is; never what others have put here
//
// X-Content-SHA-256 (hex) is checked on upload (422) and sent with every download.
#pragma once

#include "http/server.h"
#include "transfer/store.h"

namespace cloister::transfer {

struct TransferServerOptions {
  StoreOptions store;
  http::ServerOptions http;
  // "https://transfer.example.org": what URLs begin with. Empty: the Host that the client used.
  std::string public_url;
};

class TransferServer {
 public:
  static Result<std::unique_ptr<TransferServer>> start(const TransferServerOptions& options);
  ~TransferServer();

  std::string url() const;  // http://ADDRESS:PORT
  const std::string& address() const;
  Store& store();

 private:
  class Impl;
  explicit TransferServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "bytes=5-9", "bytes=5-", "bytes=-5" of `size` bytes. Nothing: to be ignored (RFC 9110, 14.2).
struct ByteRange {
  bool satisfiable = true;
  uint64_t begin = 0, end = 0;  // end is one past the last byte
};
std::optional<ByteRange> parse_range(std::string_view text, uint64_t size);

}  // namespace cloister::transfer
