#include "http/transport.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace cloister::http {
namespace {

Result<size_t> read_plain(const Socket& socket, MutableByteView out, Deadline deadline) {
  for (;;) {
    const ssize_t count = ::recv(socket.fd(), out.data(), out.size(), 0);
    if (count >= 0) return static_cast<size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Error(Code::Unavailable, std::string("read: ") + ::strerror(errno));
    TRY(wait_readable(socket.fd(), deadline));
  }
}

}  // namespace

Result<size_t> Transport::read_some(MutableByteView out, Deadline deadline) {
  if (auto* tls = std::get_if<crypto::TlsStream>(&stream_)) return tls->read_some(out, deadline);
  return read_plain(std::get<Socket>(stream_), out, deadline);
}

Result<void> Transport::write_all(ByteView data, Deadline deadline) {
  if (auto* tls = std::get_if<crypto::TlsStream>(&stream_)) return tls->write_all(data, deadline);
  return send_all(std::get<Socket>(stream_), data, deadline);
}

void Transport::close_notify() {
  if (auto* tls = std::get_if<crypto::TlsStream>(&stream_)) tls->close_notify();
}

}  // namespace cloister::http
