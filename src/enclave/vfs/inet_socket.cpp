#include "enclave/vfs/inet_socket.h"

#include <algorithm>
#include <cstring>
#include <utility>

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

// The host's socket tells an error once. What came before it is told first, so the error waits for the next
// call, as in Linux.
SysResult<size_t> InetSocket::so_far(size_t done, Errno error) {
  if (done == 0) return error;
  if (error != Errno::Again && error != kInterruptedRestartable) deferred_ = static_cast<int32_t>(error);
  return done;
}

SysResult<size_t> InetSocket::receive(MutableByteView out, uint32_t flags, uint64_t deadline,
                                      Incoming& incoming) {
  const bool all = (flags & kMessageWaitAll) != 0 && type() == kSocketStream && (flags & kMessagePeek) == 0;
  const uint32_t passed =
      flags & (kMessagePeek | kMessageOutOfBand | (type() == kSocketStream ? 0 : kMessageTruncated));
  if (deferred_ != 0) return known_errno(std::exchange(deferred_, 0));
  size_t done = 0;
  for (;;) {
    host::Received received;
    const auto count = host::socket_receive(handle_, passed, out.subspan(done), received);
    if (count.ok()) {
      done += count.value();
      incoming.address = address_bytes(received.peer);
      incoming.flags = received.flags;
      incoming.whole = std::max(done, received.whole);
      if (!all || count.value() == 0 || done == out.size()) return done;
      continue;
    }
    if (count.error() != Errno::Again || must_not_wait(flags)) return so_far(done, count.error());
    if (auto waited = wait_for_host(handle_, kPollIn, deadline); !waited.ok())
      return so_far(done, waited.error());
  }
}

SysResult<size_t> InetSocket::send(ByteView data, Outgoing& outgoing) {
  if (!outgoing.files.empty()) return Errno::Invalid;
  if (deferred_ != 0) return known_errno(std::exchange(deferred_, 0));
  size_t done = 0;
  for (;;) {
    const auto count = host::socket_send(handle_, outgoing.flags & (kMessageMore | kMessageOutOfBand),
                                         data.subspan(done), outgoing.address);
    if (count.ok()) {
      done += count.value();
      if (type() != kSocketStream || done >= data.size() || must_not_wait(outgoing.flags)) return done;
      continue;
    }
    if (count.error() == Errno::Pipe && done == 0 && (outgoing.flags & kMessageNoSignal) == 0)
      raise_signal(kSigPipe);
    if (count.error() == Errno::Pipe && done > 0) return done;  // it stays so, and the signal is still due
    if (count.error() != Errno::Again || must_not_wait(outgoing.flags)) return so_far(done, count.error());
    if (auto waited = wait_for_host(handle_, kPollOut, outgoing.deadline); !waited.ok())
      return so_far(done, waited.error());
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
