#include "http/transport.h"

#include <sys/socket.h>

#include <cerrno>

namespace cloister::http {
namespace {

Error socket_error(std::string_view what, int number) {
  return Error(Code::Unavailable, std::string(what).append(": ").append(::strerror(number)));
}

Result<size_t> read_plain(const Socket& socket, MutableByteView out, Deadline deadline) {
  for (;;) {
    const ssize_t count = ::recv(socket.fd(), out.data(), out.size(), 0);
    if (count >= 0) return static_cast<size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return socket_error("read", errno);
    TRY(wait_readable(socket.fd(), deadline));
  }
}

Result<void> write_plain(const Socket& socket, ByteView data, Deadline deadline) {
  while (!data.empty()) {
    const ssize_t count = ::send(socket.fd(), data.data(), data.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      data = data.subspan(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      TRY(wait_writable(socket.fd(), deadline));
    } else if (errno != EINTR) {
      return socket_error("write", errno);
    }
  }
  return {};
}

}  // namespace

Result<size_t> Transport::read_some(MutableByteView out, Deadline deadline) {
  if (auto* tls = std::get_if<crypto::TlsStream>(&stream_)) return tls->read_some(out, deadline);
  return read_plain(std::get<Socket>(stream_), out, deadline);
}

Result<void> Transport::write_all(ByteView data, Deadline deadline) {
  if (auto* tls = std::get_if<crypto::TlsStream>(&stream_)) return tls->write_all(data, deadline);
  return write_plain(std::get<Socket>(stream_), data, deadline);
}

void Transport::close_notify() {
  if (auto* tls = std::get_if<crypto::TlsStream>(&stream_)) tls->close_notify();
}

}  // namespace cloister::http
