// Host calls for sockets of the internet families. They are non-blocking here; calls_polling.cpp waits.
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "host/process.h"

namespace cloister::host {
namespace {

constexpr size_t kMaxAddress = 128;
constexpr size_t kMaxOption = 1024;

std::shared_ptr<Descriptor> socket_of(Call& call) { return call.process.sockets.get(call.a[0]); }
int64_t result_of(int64_t value) { return value < 0 ? -errno : value; }

// An address in the frame's text.
bool address_of(Call& call, uint64_t size, sockaddr_storage& out) {
  if (size > kMaxAddress) return false;
  std::memset(&out, 0, sizeof(out));
  std::memcpy(&out, call.frame().text, size);
  return true;
}
void give_address(Call& call, const sockaddr_storage& address, socklen_t size) {
  size = std::min<socklen_t>(size, kMaxAddress);
  std::memcpy(call.frame().text, &address, size);
  call.values[0] = size;
}

bool fits_arena(uint64_t size, uint64_t control) {
  return control <= boundary::kMaxControl && size <= boundary::kArenaSize &&
         (control == 0 || boundary::control_offset(size) + control <= boundary::kArenaSize);
}

// recvmsg would cost a tenth more of a small call. Of a datagram the enclave asks for its whole size.
int64_t receive_plainly(Call& call, const Descriptor& socket, int flags) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  const ssize_t count =
      ::recvfrom(socket.get(), call.arena(), call.a[2], flags, reinterpret_cast<sockaddr*>(&address), &size);
  if (count < 0) return -errno;
  const auto room = static_cast<ssize_t>(call.a[2]);
  give_address(call, address, size);
  call.values[1] = count > room ? MSG_TRUNC : 0;
  call.values[2] = static_cast<uint64_t>(count);
  call.values[3] = 0;
  return std::min(count, room);
}

int64_t with_address(Call& call, int (*function)(int, const sockaddr*, socklen_t)) {
  const auto socket = socket_of(call);
  sockaddr_storage address;
  if (socket == nullptr || !address_of(call, call.a[1], address)) return -EINVAL;
  return result_of(function(socket->get(), reinterpret_cast<const sockaddr*>(&address),
                            static_cast<socklen_t>(call.a[1])));
}

}  // namespace

int64_t call_SocketOpen(Call& call) {
  const auto family = static_cast<int>(call.a[0]), type = static_cast<int>(call.a[1]);
  if (family != AF_INET && family != AF_INET6) return -EAFNOSUPPORT;
  if (type != SOCK_STREAM && type != SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  auto socket = std::make_shared<Descriptor>(
      ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, static_cast<int>(call.a[2])));
  if (!socket->valid()) return -errno;
  return static_cast<int64_t>(call.process.sockets.add(std::move(socket)));
}

int64_t call_SocketConnect(Call& call) { return with_address(call, ::connect); }
int64_t call_SocketBind(Call& call) { return with_address(call, ::bind); }

int64_t call_SocketListen(Call& call) {
  const auto socket = socket_of(call);
  return socket == nullptr ? -EINVAL : result_of(::listen(socket->get(), static_cast<int>(call.a[1])));
}

int64_t call_SocketAccept(Call& call) {
  const auto socket = socket_of(call);
  if (socket == nullptr) return -EINVAL;
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  auto accepted = std::make_shared<Descriptor>(
      ::accept4(socket->get(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!accepted->valid()) return -errno;
  give_address(call, address, size);
  return static_cast<int64_t>(call.process.sockets.add(std::move(accepted)));
}

int64_t call_SocketSend(Call& call) {
  constexpr int kPassed = MSG_MORE | MSG_OOB;
  const auto socket = socket_of(call);
  sockaddr_storage address;
  if (socket == nullptr || !fits_arena(call.a[2], call.a[4]) || !address_of(call, call.a[3], address))
    return -EINVAL;
  const int flags = (static_cast<int>(call.a[1]) & kPassed) | MSG_NOSIGNAL | MSG_DONTWAIT;
  auto* const name = call.a[3] != 0 ? reinterpret_cast<sockaddr*>(&address) : nullptr;
  const auto name_size = static_cast<socklen_t>(call.a[3]);
  if (call.a[4] == 0)
    return result_of(::sendto(socket->get(), call.arena(), call.a[2], flags, name, name_size));
  iovec vector{call.arena(), call.a[2]};
  msghdr message{};
  message.msg_name = name;
  message.msg_namelen = name_size;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = call.arena() + boundary::control_offset(call.a[2]);
  message.msg_controllen = call.a[4];
  return result_of(::sendmsg(socket->get(), &message, flags));
}

int64_t call_SocketReceive(Call& call) {
  constexpr int kPassed = MSG_PEEK | MSG_OOB | MSG_TRUNC | MSG_ERRQUEUE;
  const auto socket = socket_of(call);
  if (socket == nullptr || !fits_arena(call.a[2], call.a[3])) return -EINVAL;
  const int flags = (static_cast<int>(call.a[1]) & kPassed) | MSG_DONTWAIT;
  const bool plain = call.a[3] == 0 && call.a[4] == 0;
  if (plain && (flags & (MSG_OOB | MSG_ERRQUEUE)) == 0) return receive_plainly(call, *socket, flags);
  sockaddr_storage address{};
  iovec vector{call.arena(), call.a[2]};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = sizeof(address);
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (call.a[3] != 0) message.msg_control = call.arena() + boundary::control_offset(call.a[2]);
  message.msg_controllen = call.a[3];
  const ssize_t count = ::recvmsg(socket->get(), &message, flags);
  if (count < 0) return -errno;
  give_address(call, address, message.msg_namelen);
  call.values[1] = static_cast<uint64_t>(message.msg_flags);
  call.values[2] = static_cast<uint64_t>(count);
  call.values[3] = message.msg_controllen;
  return std::min(count, static_cast<ssize_t>(call.a[2]));
}

int64_t call_SocketShutdown(Call& call) {
  const auto socket = socket_of(call);
  return socket == nullptr ? -EINVAL : result_of(::shutdown(socket->get(), static_cast<int>(call.a[1])));
}

// Nobody waits here, whatever SO_LINGER says: the enclave closes sockets with its lock held. What is still to
// be sent is sent.
int64_t call_SocketClose(Call& call) {
  const auto socket = socket_of(call);
  linger now{};
  socklen_t size = sizeof(now);
  if (socket != nullptr && ::getsockopt(socket->get(), SOL_SOCKET, SO_LINGER, &now, &size) == 0 &&
      now.l_onoff != 0 && now.l_linger != 0) {
    now = {};
    ::setsockopt(socket->get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  call.process.sockets.remove(call.a[0]);
  return 0;
}

int64_t call_SocketQueue(Call& call) {
  const auto socket = socket_of(call);
  const uint64_t request = call.a[1];
  if (socket == nullptr || (request != FIONREAD && request != TIOCOUTQ && request != SIOCATMARK))
    return -EINVAL;
  int value = 0;
  return ::ioctl(socket->get(), request, &value) != 0 ? -errno : value;
}

int64_t call_SocketOption(Call& call) {
  const auto socket = socket_of(call);
  const uint64_t size = call.a[4];
  if (socket == nullptr || size > kMaxOption) return -EINVAL;
  const auto level = static_cast<int>(call.a[2]), name = static_cast<int>(call.a[3]);
  if (call.a[1] == 1) {
    uint8_t value[kMaxOption];
    std::memcpy(value, call.frame().text, size);
    return result_of(::setsockopt(socket->get(), level, name, value, static_cast<socklen_t>(size)));
  }
  uint8_t value[kMaxOption] = {};
  auto got = static_cast<socklen_t>(size);
  if (::getsockopt(socket->get(), level, name, value, &got) != 0) return -errno;
  std::memcpy(call.frame().text, value, got);
  return got;
}

int64_t call_SocketName(Call& call) {
  const auto socket = socket_of(call);
  if (socket == nullptr) return -EINVAL;
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  auto* out = reinterpret_cast<sockaddr*>(&address);
  const int done =
      call.a[1] != 0 ? ::getpeername(socket->get(), out, &size) : ::getsockname(socket->get(), out, &size);
  if (done != 0) return -errno;
  give_address(call, address, size);
  return 0;
}

}  // namespace cloister::host
