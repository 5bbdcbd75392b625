#include "enclave/vfs/inet_socket.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/vfs/interfaces.h"
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
// call, as in Linux. EPIPE stays so, and its signal is still due.
void InetSocket::defer(Errno error) {
  if (error == Errno::Again || error == kInterruptedRestartable || error == Errno::Pipe) return;
  deferred_ = static_cast<int32_t>(error);
  edge(kPollError);
}

// At most what one receive gives: a receive asks the host only when there is nothing left of this.
void InetSocket::unreceive(ByteView data, Incoming&) {
  again_.insert(again_.begin(), data.begin(), data.end());
  edge(kPollIn);
}

size_t InetSocket::take_again(MutableByteView out, bool peek) {
  const size_t count = std::min(out.size(), again_.size());
  std::copy_n(again_.begin(), count, out.begin());
  if (!peek) again_.erase(again_.begin(), again_.begin() + static_cast<ptrdiff_t>(count));
  return count;
}

uint16_t InetSocket::ready_besides() {
  return static_cast<uint16_t>((deferred_ != 0 ? kPollError : 0) | (again_.empty() ? 0 : kPollIn));
}

SysResult<size_t> InetSocket::so_far(size_t done, Errno error) {
  if (done == 0) return error;
  defer(error);
  return done;
}

// Until so many can be read: the host's poll counts, by its socket's SO_RCVLOWAT. How the wait ends does not
// matter: what is there by then is taken.
void InetSocket::wait_for_bytes(size_t wanted, uint64_t deadline) {
  const auto set = [this](size_t count) {
    const auto value = static_cast<int32_t>(std::min<size_t>(count, INT32_MAX));
    static_cast<void>(host::socket_set_option(handle_, kSolSocket, kSoReceiveLowWater,
                                              {reinterpret_cast<const uint8_t*>(&value), sizeof(value)}));
  };
  if (wanted != low_water_) set(wanted);
  static_cast<void>(wait_for_host(handle_, kPollIn, deadline));
  if (wanted != low_water_) set(low_water_);
}

SysResult<size_t> InetSocket::receive(MutableByteView out, uint32_t flags, uint64_t deadline,
                                      Incoming& incoming) {
  // Not of the stream: such a call takes what is there, never waits, and leaves the stream's error alone.
  const bool aside = (flags & (kMessageOutOfBand | kMessageErrorQueue)) != 0;
  const bool never_waits = must_not_wait(flags) || aside;
  const uint32_t passed = (flags & (kMessagePeek | kMessageOutOfBand | kMessageErrorQueue)) |
                          (type() == kSocketStream ? 0 : kMessageTruncated);
  const size_t room = incoming.wants_control ? boundary::kMaxControl : 0;
  if (deferred_ != 0 && !aside && again_.empty()) return known_errno(std::exchange(deferred_, 0));
  const bool few = out.size() <= low_water_;  // SO_RCVLOWAT of them or more: all
  const bool all = ((flags & kMessageWaitAll) != 0 || (low_water_ > 1 && few)) && type() == kSocketStream &&
                   (flags & kMessagePeek) == 0 && !aside;
  size_t done = aside ? 0 : take_again(out, (flags & kMessagePeek) != 0);
  incoming.whole = done;
  if (done > 0 && (!all || done == out.size())) return done;
  constexpr uint32_t kPeekAll = kMessagePeek | kMessageWaitAll;
  const bool peeks_all = type() == kSocketStream && (flags & kPeekAll) == kPeekAll;
  if ((peeks_all || (low_water_ > 1 && !few)) && !never_waits)
    wait_for_bytes(peeks_all ? out.size() : low_water_, deadline);
  for (;;) {
    host::Received received;
    const auto count =
        host::socket_receive(handle_, passed, out.subspan(done), received, incoming.wants_flags, room);
    if (count.ok()) {
      done += count.value();
      incoming.address = address_bytes(received.peer);
      incoming.flags = received.flags;
      incoming.whole = std::max(done, received.whole);
      incoming.control = parse_control(received.control);
      if (!all || count.value() == 0 || done == out.size()) return done;
      continue;
    }
    if (count.error() != Errno::Again || never_waits) return so_far(done, count.error());
    if (auto waited = wait_for_host(handle_, kPollIn, deadline); !waited.ok())
      return so_far(done, waited.error());
  }
}

SysResult<size_t> InetSocket::send(ByteView data, Outgoing& outgoing) {
  if (!outgoing.files.empty()) return Errno::Invalid;
  if (deferred_ != 0) return known_errno(std::exchange(deferred_, 0));
  if (type() == kSocketStream && (outgoing.flags & kMessageFastOpen) != 0) {
    // Without data in the first packet, which is how Linux does it, too, until it has the server's cookie.
    TRY(connect(*current().process, outgoing.address));
    outgoing.flags &= ~kMessageFastOpen;
    outgoing.address.clear();
  }
  size_t done = 0;
  for (;;) {
    const auto count = host::socket_send(handle_, outgoing.flags & (kMessageMore | kMessageOutOfBand),
                                         data.subspan(done), outgoing.address, outgoing.control);
    if (count.ok()) {
      done += count.value();
      if (type() != kSocketStream || done >= data.size() || must_not_wait(outgoing.flags)) return done;
      continue;
    }
    if (count.error() == Errno::Pipe && done == 0 && (outgoing.flags & kMessageNoSignal) == 0)
      raise_signal(kSigPipe);
    // TCP_FASTOPEN_CONNECT: this send was the connect.
    const bool waits = count.error() == Errno::Again || count.error() == Errno::InProgress;
    if (!waits || must_not_wait(outgoing.flags)) return so_far(done, count.error());
    if (auto waited = wait_for_host(handle_, kPollOut, outgoing.deadline); !waited.ok())
      return so_far(done, waited.error());
  }
}

SysResult<void> InetSocket::set_family_option(int32_t level, int32_t name, ByteView value) {
  if (!inet_option_settable(level, name)) return Errno::NoProtocolOption;
  TRY(host::socket_set_option(handle_, level, name, value));
  if (level != kSolSocket || name != kSoReceiveLowWater || type() != kSocketStream) return {};
  int32_t wanted = 0;
  std::memcpy(&wanted, value.data(), std::min(value.size(), sizeof(wanted)));
  low_water_ = wanted < 0 ? INT32_MAX : static_cast<uint32_t>(std::max(wanted, 1));
  return {};
}

SysResult<size_t> InetSocket::get_family_option(int32_t level, int32_t name, MutableByteView out) {
  if (level == kSolSocket && name == kSoError && deferred_ != 0)
    return give_int(std::exchange(deferred_, 0), out);
  if (!inet_option_gettable(level, name)) return Errno::NoProtocolOption;
  return host::socket_get_option(handle_, level, name, out);
}

SysResult<int64_t> InetSocket::ioctl(uint64_t request, uint64_t argument) {
  constexpr uint64_t kBytesUnsent = 0x5411, kAtMark = 0x8905;  // TIOCOUTQ, SIOCATMARK
  if (request != kBytesWaiting && request != kBytesUnsent && request != kAtMark)
    return interface_ioctl(request, argument);
  const auto count = TRY(host::socket_queue(handle_, static_cast<uint32_t>(request)));
  const int64_t all = count + static_cast<int64_t>(request == kBytesWaiting ? again_.size() : 0);
  TRY(store_user(argument, static_cast<int32_t>(std::min<int64_t>(all, INT32_MAX))));
  return 0;
}

uint16_t InetSocket::ready() {
  host::PollItem item{handle_, kPollIn | kPollOut | kPollReadHangup | kPollUrgent, 0};
  const auto count = host::socket_poll(&item, 1, 0);
  return static_cast<uint16_t>((count.ok() ? item.revents : 0) | ready_besides());
}

SysResult<void> InetSocket::shut_down(bool reading, bool writing) {
  return host::socket_shutdown(handle_, reading && writing ? 2 : writing ? 1 : 0);
}
SysResult<void> InetSocket::bind(Process&, ByteView address) { return host::socket_bind(handle_, address); }
SysResult<void> InetSocket::listen(int32_t backlog) { return host::socket_listen(handle_, backlog); }

SysResult<Bytes> InetSocket::name(bool peer) { return address_bytes(TRY(host::socket_name(handle_, peer))); }

SysResult<void> InetSocket::connect(Process&, ByteView address) {
  auto connected = host::socket_connect(handle_, address);
  if (connected.ok() || non_blocking() ||
      (connected.error() != Errno::InProgress && connected.error() != Errno::Already))
    return connected;
  const auto waited = wait_for_host(handle_, kPollOut, send_deadline());
  if (!waited.ok()) return waited.error() == Errno::Again ? Errno::InProgress : waited.error();
  return host::socket_connect(handle_, address);  // says how it went, once
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
