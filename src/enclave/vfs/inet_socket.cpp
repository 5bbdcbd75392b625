#include "enclave/vfs/inet_socket.h"

#include <algorithm>
#include <cstring>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/vfs/poll.h"

namespace cloister::enclave {
namespace {

Bytes address_bytes(const host::Address& address) { return {address.bytes, address.bytes + address.size}; }

Errno known_errno(int32_t error) {
  constexpr int32_t kLastErrno = 133;
  return error > 0 && error <= kLastErrno ? static_cast<Errno>(error) : Errno::Io;
}

}  // namespace

SysResult<size_t> InetSocket::receive(MutableByteView out, uint32_t flags, Incoming& incoming) {
  const bool all = (flags & kMessageWaitAll) != 0 && type() == kSocketStream && (flags & kMessagePeek) == 0;
  const uint32_t passed =
      flags & (kMessagePeek | kMessageOutOfBand | (type() == kSocketStream ? 0 : kMessageTruncated));
  const uint64_t deadline = must_not_wait(flags) ? 0 : receive_deadline();
  size_t done = 0;
  for (;;) {
    host::Received received;
    auto count = host::socket_receive(handle_, passed, out.subspan(done), received);
    if (count.ok()) {
      done += count.value();
      incoming.address = address_bytes(received.peer);
      incoming.flags = received.flags;
      incoming.whole = std::max(done, received.whole);
      if (!all || count.value() == 0 || done == out.size()) break;
      continue;
    }
    if (count.error() != Errno::Again || must_not_wait(flags)) {
      if (done > 0) break;
      return count;
    }
    if (auto waited = wait_for_host(handle_, kPollIn, deadline); !waited.ok()) {
      if (done > 0) break;
      return waited.error();
    }
  }
  return done;
}

SysResult<size_t> InetSocket::send(ByteView data, uint32_t flags, ByteView address, SentFiles files) {
  if (!files.empty()) return Errno::Invalid;
  const uint64_t deadline = must_not_wait(flags) ? 0 : send_deadline();
  size_t done = 0;
  for (;;) {
    auto count =
        host::socket_send(handle_, flags & (kMessageMore | kMessageOutOfBand), data.subspan(done), address);
    if (count.ok()) {
      done += count.value();
      if (type() != kSocketStream || done >= data.size() || must_not_wait(flags)) return done;
      continue;
    }
    if (count.error() == Errno::Pipe && (flags & kMessageNoSignal) == 0) raise_signal(kSigPipe);
    if (count.error() != Errno::Again || must_not_wait(flags))
      return done > 0 ? SysResult<size_t>(done) : count.error();
    if (auto waited = wait_for_host(handle_, kPollOut, deadline); !waited.ok())
      return done > 0 ? SysResult<size_t>(done) : waited.error();
  }
}

SysResult<int64_t> InetSocket::ioctl(uint64_t request, uint64_t argument) {
  if (request != kBytesWaiting) return Errno::NotTty;
  // The host's word, so one peeked piece.
  Bytes piece(65536);
  host::Received received;
  const auto count = host::socket_receive(handle_, kMessagePeek, piece, received);
  TRY(store_user(argument, count.ok() ? static_cast<int32_t>(count.value()) : 0));
  return 0;
}

uint16_t InetSocket::ready() {
  host::PollItem item{handle_, kPollIn | kPollOut | kPollReadHangup | kPollUrgent, 0};
  const auto count = host::socket_poll(&item, 1, 0);
  return count.ok() ? item.revents : uint16_t{0};
}

SysResult<void> InetSocket::shut_down(bool reading, bool writing) {
  return host::socket_shutdown(handle_, reading && writing ? 2 : writing ? 1 : 0);
}
SysResult<void> InetSocket::bind(Process&, ByteView address) { return host::socket_bind(handle_, address); }
SysResult<void> InetSocket::listen(int32_t backlog) { return host::socket_listen(handle_, backlog); }

SysResult<Bytes> InetSocket::name(bool peer) { return address_bytes(TRY(host::socket_name(handle_, peer))); }

SysResult<void> InetSocket::connect(Process&, ByteView address) {
  auto connected = host::socket_connect(handle_, address);
  if (connected.ok() || connected.error() != Errno::InProgress || non_blocking()) return connected;
  const auto waited = wait_for_host(handle_, kPollOut, send_deadline());
  if (!waited.ok()) return waited.error() == Errno::Again ? Errno::InProgress : waited.error();
  int32_t error = 0;
  TRY(host::socket_get_option(handle_, kSolSocket, kSoError,
                              {reinterpret_cast<uint8_t*>(&error), sizeof(error)}));
  if (error != 0) return known_errno(error);
  return {};
}

SysResult<Ref<File>> InetSocket::accept(uint32_t flags, Bytes& peer) {
  const uint64_t deadline = receive_deadline();
  for (;;) {
    host::Address address;
    const auto handle = host::socket_accept(handle_, address);
    if (handle.ok()) {
      peer = address_bytes(address);
      return Ref<File>(make_ref<InetSocket>(handle.value(), family(), type(), flags));
    }
    if (handle.error() != Errno::Again || non_blocking()) return handle.error();
    TRY(wait_for_host(handle_, kPollIn, deadline));
  }
}

}  // namespace cloister::enclave
