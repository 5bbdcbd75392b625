// A connected socket with or without TLS: the same four calls for both.
#pragma once

#include <variant>

#include "crypto/tls.h"

namespace cloister::http {

class Transport {
 public:
  explicit Transport(Socket socket) : stream_(std::move(socket)) {}
  explicit Transport(crypto::TlsStream stream) : stream_(std::move(stream)) {}

  // 0 at the end. Unavailable: reset, too slow, or TLS cut without a close.
  Result<size_t> read_some(MutableByteView out, Deadline deadline);
  Result<void> write_all(ByteView data, Deadline deadline);
  void close_notify();

 private:
  std::variant<Socket, crypto::TlsStream> stream_;
};

}  // namespace cloister::http
