// TCP on the host and in the agent: numeric addresses only (whoever takes names from people resolves them
// first), non-blocking descriptors, and a deadline on every wait, so that a silent peer costs a bounded time.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace cloister {

using Deadline = std::chrono::steady_clock::time_point;
inline Deadline deadline_in(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

// Owns a descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { close(); }

  int fd() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void close();
  // Wakes whoever waits on it, from any thread; the descriptor stays owned.
  void shutdown();

 private:
  int fd_ = -1;
};

// Waits until `fd` is readable (or writable). Unavailable "timed out" once the deadline has passed.
Result<void> wait_readable(int fd, Deadline deadline);
Result<void> wait_writable(int fd, Deadline deadline);

// All of `bytes`, or all of `out`, whether or not the descriptor blocks. Unavailable: the reason alone
// ("timed out", "the connection was closed", "Connection reset by peer"). `ended`, if given, says whether the
// peer closed before the first byte.
Result<void> send_all(const Socket& socket, ByteView bytes, Deadline deadline);
Result<void> receive_all(const Socket& socket, MutableByteView out, Deadline deadline, bool* ended = nullptr);

// "127.0.0.1:80" or "[::1]:80". InvalidArgument when it is not that. Unavailable when nobody answers: the
// message is the reason alone ("Connection refused", "timed out"); the caller names the peer.
Result<Socket> connect_tcp(std::string_view address, Deadline deadline);

class Listener {
 public:
  // Port 0: the system chooses. InvalidArgument or Unavailable.
  static Result<Listener> bind(std::string_view address, int backlog = 512);

  const std::string& address() const { return address_; }  // with the real port
  uint16_t port() const { return port_; }
  // The next connection, non-blocking, TCP_NODELAY set. Unavailable once `shutdown` was called. `peer` gets
  // the numeric address.
  Result<Socket> accept(std::string* peer = nullptr);
  void shutdown() { socket_.shutdown(); }

 private:
  Listener(Socket socket, std::string address, uint16_t port)
      : socket_(std::move(socket)), address_(std::move(address)), port_(port) {}
  Socket socket_;
  std::string address_;
  uint16_t port_;
};

}  // namespace cloister
