#include "enclave/vfs/netlink_socket.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "enclave/arch/thread.h"
#include "enclave/process.h"

namespace cloister::enclave {
namespace {

constexpr size_t kBuffer = 212992;    // net.core.rmem_default, wmem_default
constexpr size_t kMostWaiting = 256;  // answers that nobody has read

struct NetlinkName {  // struct sockaddr_nl
  uint16_t family, padding;
  uint32_t port, groups;
};

std::set<uint32_t> g_ports;

Bytes name_bytes(uint32_t port) {
  const NetlinkName name{kFamilyNetlink, 0, port, 0};
  Bytes bytes(sizeof(name));
  std::memcpy(bytes.data(), &name, sizeof(name));
  return bytes;
}

SysResult<NetlinkName> parse_name(ByteView address) {
  NetlinkName name{};
  if (address.size() < sizeof(name)) return Errno::Invalid;
  std::memcpy(&name, address.data(), sizeof(name));
  if (name.family != kFamilyNetlink) return Errno::Invalid;
  return name;
}

// Only the kernel is there to talk to.
SysResult<void> must_be_kernel(ByteView address) {
  if (address.empty()) return {};
  const NetlinkName name = TRY(parse_name(address));
  return name.port == 0 && name.groups == 0 ? SysResult<void>() : Errno::ConnectionRefused;
}

}  // namespace

NetlinkSocket::~NetlinkSocket() { g_ports.erase(port_); }

// netlink(7): the first socket of a process gets its number, others any.
void NetlinkSocket::take_port(uint32_t wanted) {
  static uint32_t next = UINT32_MAX;
  while (wanted == 0 || !g_ports.insert(wanted).second)
    wanted = wanted == 0 ? static_cast<uint32_t>(current().process->pid) : next--;
  port_ = wanted;
}

SysResult<void> NetlinkSocket::bind(Process&, ByteView address) {
  const NetlinkName name = TRY(parse_name(address));
  if (name.groups != 0) return Errno::NotSupported;  // nobody would send notices to them
  if (port_ != 0) return name.port == port_ ? SysResult<void>() : Errno::Invalid;
  if (name.port != 0 && g_ports.contains(name.port)) return Errno::AddressInUse;
  take_port(name.port);
  return {};
}

SysResult<void> NetlinkSocket::connect(Process&, ByteView address) {
  TRY(must_be_kernel(address));
  if (port_ == 0) take_port(0);
  return {};
}

SysResult<Bytes> NetlinkSocket::name(bool peer) { return name_bytes(peer ? 0 : port_); }

// netlink(7): an answer without room is lost, and the reader hears of it.
void NetlinkSocket::enqueue(std::vector<Bytes> answer) {
  size_t size = 0;
  for (const Bytes& piece : answer) size += piece.size();
  const bool full = !queue_.empty() && (queue_.size() >= kMostWaiting || queued_ + size > kBuffer);
  if (full && !congested_) congested_ = overrun_ = true;
  if (congested_) return;
  for (Bytes& piece : answer) queue_.push_back(std::move(piece));
  queued_ += size;
}

SysResult<size_t> NetlinkSocket::send(ByteView data, Outgoing& outgoing) {
  if (!outgoing.files.empty() || (outgoing.flags & kMessageOutOfBand) != 0) return Errno::NotSupported;
  TRY(must_be_kernel(outgoing.address));
  if (port_ == 0) take_port(0);
  if (data.size() > kBuffer - 32) return Errno::MessageTooBig;  // netlink_sendmsg(): some of it is its own
  const std::vector<InterfaceRecord> interfaces = TRY(host::interfaces());
  for (size_t at = 0; data.size() - at >= 16;) {
    const auto size = load_le<uint32_t>(data.data() + at);
    if (size < 16 || size > data.size() - at) break;  // netlink_rcv_skb(): the rest is no message
    enqueue(answer_route_request(data.subspan(at, size), port_, interfaces));
    at += std::min<size_t>((size_t{size} + 3) & ~size_t{3}, data.size() - at);
  }
  changed_.wake_all();
  edge(kPollIn);
  return data.size();
}

SysResult<size_t> NetlinkSocket::receive(MutableByteView out, uint32_t flags, uint64_t deadline,
                                         Incoming& incoming) {
  if ((flags & (kMessageOutOfBand | kMessageErrorQueue)) != 0) return Errno::NotSupported;
  for (;;) {
    if (std::exchange(overrun_, false)) return Errno::NoBuffers;
    if (!queue_.empty()) break;
    if (must_not_wait(flags)) return Errno::Again;
    const WaitEnd end = changed_.wait(deadline);
    if (end == WaitEnd::Interrupted) return kInterruptedRestartable;
    if (end == WaitEnd::TimedOut) return Errno::Again;
  }
  const Bytes& message = queue_.front();
  const size_t count = std::min(out.size(), message.size());
  if (count != 0) std::memcpy(out.data(), message.data(), count);
  incoming.address = name_bytes(0);
  incoming.whole = message.size();
  if (count < message.size()) incoming.flags |= kMessageTruncated;
  if ((flags & kMessagePeek) == 0) {
    queued_ -= message.size();
    queue_.pop_front();
    congested_ = congested_ && !queue_.empty();
  }
  return count;
}

SysResult<void> NetlinkSocket::set_family_option(int32_t level, int32_t name, ByteView) {
  // Sizes of buffers, which are only asked to be larger.
  return level == kSolSocket && (name == kSoSendBuffer || name == kSoReceiveBuffer) ? SysResult<void>()
                                                                                    : Errno::NoProtocolOption;
}
SysResult<size_t> NetlinkSocket::get_family_option(int32_t level, int32_t name, MutableByteView out) {
  if (level != kSolSocket) return Errno::NoProtocolOption;
  if (name == kSoError)
    return give_int(std::exchange(overrun_, false) ? static_cast<int32_t>(Errno::NoBuffers) : 0, out);
  if (name == kSoProtocol || name == kSoAcceptConnections) return give_int(0, out);
  if (name == kSoSendBuffer || name == kSoReceiveBuffer) return give_int(kBuffer, out);
  return Errno::NoProtocolOption;
}

}  // namespace cloister::enclave
