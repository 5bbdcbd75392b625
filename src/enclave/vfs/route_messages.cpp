// Messages of rtnetlink(7): netlink(7), Linux uapi/linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h.
#include <algorithm>
#include <cstring>

#include "enclave/errno.h"
#include "enclave/vfs/interfaces.h"

namespace cloister::enclave {
namespace {

constexpr uint16_t kError = 2, kDone = 3, kNewLink = 16, kGetLink = 18, kNewAddress = 20, kGetAddress = 22;
constexpr uint16_t kRequest = 1, kMulti = 2, kAcknowledge = 4, kDump = 0x300;
constexpr uint16_t kFamilyInet = 2, kFamilyInet6 = 10;
constexpr size_t kPiece = 4000;  // C libraries read into a page

struct Head {  // struct nlmsghdr
  uint32_t size;
  uint16_t type, flags;
  uint32_t sequence, port;
};
struct LinkHead {  // struct ifinfomsg
  uint8_t family, padding;
  uint16_t type;
  uint32_t index, flags, change;
};
struct AddressHead {  // struct ifaddrmsg
  uint8_t family, prefix, flags, scope;
  uint32_t index;
};

ByteView bytes_of(const auto& value) { return {reinterpret_cast<const uint8_t*>(&value), sizeof(value)}; }

class Writer {
 public:
  Writer(uint16_t type, uint16_t flags, const Head& request, uint32_t port) {
    add(bytes_of(Head{0, type, flags, request.sequence, port}));
  }
  void add(ByteView bytes) {
    const size_t at = message_.size();
    message_.resize(at + ((bytes.size() + 3) & ~size_t{3}));
    if (!bytes.empty()) std::memcpy(message_.data() + at, bytes.data(), bytes.size());
  }
  void attribute(uint16_t type, ByteView value) {  // struct rtattr
    const uint16_t head[2] = {static_cast<uint16_t>(sizeof(head) + value.size()), type};
    Bytes whole(sizeof(head) + value.size());
    std::memcpy(whole.data(), head, sizeof(head));
    if (!value.empty()) std::memcpy(whole.data() + sizeof(head), value.data(), value.size());
    add(whole);
  }
  Bytes take() {
    const auto size = static_cast<uint32_t>(message_.size());
    std::memcpy(message_.data(), &size, sizeof(size));
    return std::move(message_);
  }

 private:
  Bytes message_;
};

ByteView name_of(const InterfaceRecord& record) {
  return {reinterpret_cast<const uint8_t*>(record.name), std::strlen(record.name) + 1};
}

Bytes link_message(const InterfaceRecord& record, const Head& request, uint32_t port) {
  enum : uint16_t { kAddress = 1, kBroadcast = 2, kName = 3, kMtu = 4 };  // IFLA_…
  Writer writer(kNewLink, kMulti, request, port);
  writer.add(bytes_of(LinkHead{0, 0, record.hardware_type, record.index, record.flags, 0}));
  writer.attribute(kName, name_of(record));
  writer.attribute(kMtu, bytes_of(record.mtu));
  const ByteView hardware(record.hardware, record.hardware_size);
  if (hardware.empty()) return writer.take();
  writer.attribute(kAddress, hardware);
  const bool loopback = (record.flags & 8) != 0;
  writer.attribute(kBroadcast, Bytes(hardware.size(), loopback ? 0 : 0xff));
  return writer.take();
}

// RT_SCOPE_…: link-local addresses count on their link only, those of the loopback interface on this host.
uint8_t scope_of(const InterfaceRecord& record) {
  constexpr uint8_t kLink = 253, kHost = 254;
  if ((record.flags & 8) != 0) return kHost;
  const bool link_local =
      record.family == kFamilyInet6 && record.address[0] == 0xfe && (record.address[1] & 0xc0) == 0x80;
  return link_local ? kLink : 0;
}

Bytes address_message(const InterfaceRecord& record, const Head& request, uint32_t port) {
  enum : uint16_t { kAddress = 1, kLocal = 2, kLabel = 3, kBroadcast = 4 };  // IFA_…
  constexpr uint8_t kPermanent = 0x80;
  const bool four = record.family == kFamilyInet;
  Writer writer(kNewAddress, kMulti, request, port);
  writer.add(bytes_of(AddressHead{static_cast<uint8_t>(record.family), record.prefix, kPermanent,
                                  scope_of(record), record.index}));
  const ByteView address(record.address, four ? 4 : 16);
  writer.attribute(kAddress, address);
  if (!four) return writer.take();
  writer.attribute(kLocal, address);
  if (load_le<uint32_t>(record.broadcast) != 0)
    writer.attribute(kBroadcast, ByteView(record.broadcast, sizeof(record.broadcast)));
  writer.attribute(kLabel, name_of(record));
  return writer.take();
}

Bytes error_message(Errno error, ByteView request, const Head& head, uint32_t port) {
  Writer writer(kError, 0, head, port);
  writer.add(bytes_of(-static_cast<int32_t>(error)));
  writer.add(error == Errno{} ? request.first(sizeof(Head)) : request);
  return writer.take();
}

// Whole messages, as many as fit into each piece.
void pack(std::vector<Bytes>& pieces, const Bytes& message) {
  if (pieces.empty() || pieces.back().size() + message.size() > kPiece) pieces.emplace_back();
  pieces.back().insert(pieces.back().end(), message.begin(), message.end());
}

}  // namespace

std::vector<Bytes> answer_route_request(ByteView request, uint32_t port,
                                        const std::vector<InterfaceRecord>& interfaces) {
  Head head{};
  if (request.size() < sizeof(head)) return {};
  std::memcpy(&head, request.data(), sizeof(head));
  std::vector<Bytes> pieces;
  if ((head.flags & kRequest) == 0 || head.type < kNewLink) {  // not for the kernel, or about nothing
    if ((head.flags & kAcknowledge) != 0) pieces.push_back(error_message(Errno{}, request, head, port));
    return pieces;
  }
  const bool known = head.type == kGetLink || head.type == kGetAddress;
  if (!known || (head.flags & kDump) == 0) {
    pieces.push_back(error_message(Errno::NotSupported, request, head, port));
    return pieces;
  }
  const uint8_t family = request.size() > sizeof(head) ? request[sizeof(head)] : 0;
  for (const InterfaceRecord& record : interfaces) {
    if (head.type == kGetLink && record.family == 0) pack(pieces, link_message(record, head, port));
    if (head.type == kGetAddress && record.family != 0 && (family == 0 || family == record.family))
      pack(pieces, address_message(record, head, port));
  }
  Writer done(kDone, kMulti, head, port);
  done.add(bytes_of(int32_t{0}));
  pieces.push_back(done.take());
  return pieces;
}

}  // namespace cloister::enclave
