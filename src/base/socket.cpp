#include "base/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace cloister {
namespace {

struct Address {
  sockaddr_storage storage = {};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Error bad_address(std::string_view text) {
  return Error(Code::InvalidArgument, std::string("not a numeric address: ").append(text),
               "write 127.0.0.1:PORT or [::1]:PORT");
}

Error system_error(int number) {
  std::string text = ::strerror(number);
  return Error(Code::Unavailable, std::move(text));
}

Result<uint16_t> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5) return Error(Code::InvalidArgument, "port");
  uint32_t value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return Error(Code::InvalidArgument, "port");
    value = value * 10 + static_cast<uint32_t>(digit - '0');
  }
  if (value > 65535) return Error(Code::InvalidArgument, "port");
  return static_cast<uint16_t>(value);
}

Result<Address> parse_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad_address(text);
  const Result<uint16_t> port = parse_port(text.substr(colon + 1));
  if (!port.ok()) return bad_address(text);
  std::string host(text.substr(0, colon));
  Address address;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(*port);
    address.size = sizeof(sockaddr_in6);
    if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) != 1) return bad_address(text);
    return address;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(*port);
  address.size = sizeof(sockaddr_in);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) != 1) return bad_address(text);
  return address;
}

uint16_t port_of(const Address& address) {
  if (address.storage.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
}

std::string format_address(const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  const std::string port = std::to_string(port_of(address));
  if (address.storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    return std::string("[").append(text).append("]:").append(port);
  }
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
  ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
  return std::string(text).append(":").append(port);
}

void set_no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // only speed: a failure does no harm
}

Result<void> wait_for(int fd, short events, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now() + std::chrono::microseconds(999));
    if (left.count() <= 0) return Error(Code::Unavailable, "timed out");
    pollfd entry = {fd, events, 0};
    const int timeout = static_cast<int>(std::min<int64_t>(left.count(), 1 << 30));
    const int count = ::poll(&entry, 1, timeout);
    if (count > 0) return {};
    if (count < 0 && errno != EINTR) return system_error(errno);
  }
}

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Socket::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void Socket::shutdown() {
  if (fd_ >= 0) ::shutdown(fd_, SHUT_RDWR);
}

Result<void> wait_readable(int fd, Deadline deadline) { return wait_for(fd, POLLIN, deadline); }
Result<void> wait_writable(int fd, Deadline deadline) { return wait_for(fd, POLLOUT, deadline); }

Result<void> send_all(const Socket& socket, ByteView bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(count));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      TRY(wait_writable(socket.fd(), deadline));
    } else if (errno != EINTR) {
      return system_error(errno);
    }
  }
  return {};
}

Result<void> receive_all(const Socket& socket, MutableByteView out, Deadline deadline, bool* ended) {
  const size_t size = out.size();
  if (ended != nullptr) *ended = false;
  while (!out.empty()) {
    const ssize_t count = ::recv(socket.fd(), out.data(), out.size(), MSG_DONTWAIT);
    if (count > 0) {
      out = out.subspan(static_cast<size_t>(count));
    } else if (count == 0) {
      if (ended != nullptr) *ended = out.size() == size;
      return Error(Code::Unavailable, "the connection was closed");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      TRY(wait_readable(socket.fd(), deadline));
    } else if (errno != EINTR) {
      return system_error(errno);
    }
  }
  return {};
}

Result<Socket> connect_tcp(std::string_view address, Deadline deadline) {
  Address target = TRY(parse_address(address));
  Socket socket(::socket(target.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return system_error(errno);
  if (::connect(socket.fd(), target.get(), target.size) != 0) {
    if (errno != EINPROGRESS && errno != EINTR) return system_error(errno);
    TRY(wait_writable(socket.fd(), deadline));
    int number = 0;
    socklen_t size = sizeof(number);
    if (::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &number, &size) != 0) return system_error(errno);
    if (number != 0) return system_error(number);
  }
  set_no_delay(socket.fd());
  return socket;
}

Result<Listener> Listener::bind(std::string_view address, int backlog) {
  Address local = TRY(parse_address(address));
  Socket socket(::socket(local.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return system_error(errno);
  const int on = 1;
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(socket.fd(), local.get(), local.size) != 0 || ::listen(socket.fd(), backlog) != 0) {
    return system_error(errno).within(std::string("cannot listen on ").append(address));
  }
  local.size = sizeof(local.storage);
  if (::getsockname(socket.fd(), local.get(), &local.size) != 0) return system_error(errno);
  return Listener(std::move(socket), format_address(local), port_of(local));
}

Result<Socket> Listener::accept(std::string* peer) {
  for (;;) {
    Address remote;
    remote.size = sizeof(remote.storage);
    const int fd = ::accept4(socket_.fd(), remote.get(), &remote.size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      set_no_delay(fd);
      if (peer != nullptr) *peer = format_address(remote);
      return Socket(fd);
    }
    // Out of descriptors or a connection that died in the queue: the listener itself is well.
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      ::usleep(10'000);
      continue;
    }
    if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN) return system_error(errno);
  }
}

}  // namespace cloister
