#include "enclave/vfs/inet_options.h"

#include <algorithm>
#include <cstring>

namespace cloister::enclave {
namespace {

constexpr int32_t kSocketLevel = 1, kIp = 0, kTcp = 6, kUdp = 17, kIp6 = 41;

struct Names {
  int32_t first, last;
};
struct Level {
  int32_t level;
  const Names* names;
  size_t count;
};
template <size_t kCount>
constexpr Level level_of(int32_t level, const Names (&names)[kCount]) {
  return {level, names, kCount};
}

constexpr Names kSetSocket[] = {
    {1, 2},    // SO_DEBUG, SO_REUSEADDR
    {5, 15},   // SO_DONTROUTE to SO_REUSEPORT
    {18, 19},  // SO_RCVLOWAT, SO_SNDLOWAT
    {25, 25},  // SO_BINDTODEVICE
    {29, 29},  // SO_TIMESTAMP
    {32, 33},  // SO_SNDBUFFORCE, SO_RCVBUFFORCE
    {35, 36},  // SO_TIMESTAMPNS, SO_MARK
    {40, 40},  // SO_RXQ_OVFL
    {42, 42},  // SO_PEEK_OFF
    {45, 47},  // SO_SELECT_ERR_QUEUE, SO_BUSY_POLL, SO_MAX_PACING_RATE
    {49, 49},  // SO_INCOMING_CPU
    {63, 64},  // SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW
    {69, 70},  // SO_PREFER_BUSY_POLL, SO_BUSY_POLL_BUDGET
    {72, 72},  // SO_BUF_LOCK
};
constexpr Names kSetIp[] = {
    {1, 2},    // IP_TOS, IP_TTL
    {4, 4},    // IP_OPTIONS
    {8, 8},    // IP_PKTINFO
    {10, 13},  // IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_RECVTOS
    {15, 15},  // IP_FREEBIND
    {19, 21},  // IP_TRANSPARENT, IP_RECVORIGDSTADDR, IP_MINTTL
    {24, 24},  // IP_BIND_ADDRESS_NO_PORT
    {32, 51},  // multicast, IP_UNICAST_IF, IP_LOCAL_PORT_RANGE
};
constexpr Names kSetIp6[] = {
    {16, 21},  // IPV6_UNICAST_HOPS, multicast, IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP
    {23, 23},  // IPV6_MTU_DISCOVER
    {25, 29},  // IPV6_RECVERR, IPV6_V6ONLY, anycast, IPV6_MULTICAST_ALL
    {42, 49},  // multicast by address of any family, IPV6_RECVPKTINFO
    {51, 51},  // IPV6_RECVHOPLIMIT
    {62, 62},  // IPV6_DONTFRAG
    {66, 67},  // IPV6_RECVTCLASS, IPV6_TCLASS
    {70, 70},  // IPV6_AUTOFLOWLABEL
    {72, 76},  // IPV6_ADDR_PREFERENCES to IPV6_UNICAST_IF
    {78, 78},  // IPV6_FREEBIND
};
constexpr Names kSetTcp[] = {
    {1, 10},   // TCP_NODELAY to TCP_WINDOW_CLAMP
    {12, 13},  // TCP_QUICKACK, TCP_CONGESTION
    {16, 18},  // TCP_THIN_LINEAR_TIMEOUTS, TCP_THIN_DUPACK, TCP_USER_TIMEOUT
    {23, 25},  // TCP_FASTOPEN, TCP_TIMESTAMP, TCP_NOTSENT_LOWAT
    {27, 27},  // TCP_SAVE_SYN
    {30, 30},  // TCP_FASTOPEN_CONNECT
    {33, 34},  // TCP_FASTOPEN_KEY, TCP_FASTOPEN_NO_COOKIE
    {37, 37},  // TCP_TX_DELAY
};
constexpr Names kSetUdp[] = {
    {1, 1},      // UDP_CORK
    {101, 104},  // UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX, UDP_SEGMENT, UDP_GRO
};
constexpr Level kSettable[] = {level_of(kSocketLevel, kSetSocket), level_of(kIp, kSetIp),
                               level_of(kIp6, kSetIp6), level_of(kTcp, kSetTcp), level_of(kUdp, kSetUdp)};

// Besides those that can be set.
constexpr Names kGetSocket[] = {
    {3, 4},    // SO_TYPE, SO_ERROR
    {17, 17},  // SO_PEERCRED
    {28, 28},  // SO_PEERNAME
    {30, 30},  // SO_ACCEPTCONN
    {38, 39},  // SO_PROTOCOL, SO_DOMAIN
    {55, 57},  // SO_MEMINFO, SO_INCOMING_NAPI_ID, SO_COOKIE
};
constexpr Names kGetIp[] = {{14, 14}, {80, 80}};             // IP_MTU, SO_ORIGINAL_DST
constexpr Names kGetIp6[] = {{24, 24}, {80, 80}};            // IPV6_MTU, IP6T_SO_ORIGINAL_DST
constexpr Names kGetTcp[] = {{11, 11}, {26, 26}, {28, 28}};  // TCP_INFO, TCP_CC_INFO, TCP_SAVED_SYN
constexpr Level kGettable[] = {level_of(kSocketLevel, kGetSocket), level_of(kIp, kGetIp),
                               level_of(kIp6, kGetIp6), level_of(kTcp, kGetTcp)};

template <size_t kCount>
bool listed(const Level (&levels)[kCount], int32_t level, int32_t name) {
  return std::any_of(std::begin(levels), std::end(levels), [&](const Level& one) {
    return one.level == level && std::any_of(one.names, one.names + one.count, [name](const Names& names) {
             return names.first <= name && name <= names.last;
           });
  });
}

struct ControlKind {
  int32_t level, type;
  size_t least, most;
};
constexpr ControlKind kSendable[] = {
    {kIp, 8, 12, 12},    // IP_PKTINFO
    {kIp, 2, 4, 4},      // IP_TTL
    {kIp, 1, 1, 4},      // IP_TOS
    {kIp6, 50, 20, 20},  // IPV6_PKTINFO
    {kIp6, 52, 4, 4},    // IPV6_HOPLIMIT
    {kIp6, 67, 4, 4},    // IPV6_TCLASS
    {kUdp, 103, 2, 2},   // UDP_SEGMENT
};
constexpr ControlKind kReceivable[] = {
    {kSocketLevel, 29, 16, 16},  // SCM_TIMESTAMP
    {kSocketLevel, 35, 16, 16},  // SCM_TIMESTAMPNS
    {kSocketLevel, 63, 16, 16},  // SO_TIMESTAMP_NEW
    {kSocketLevel, 64, 16, 16},  // SO_TIMESTAMPNS_NEW
    {kSocketLevel, 40, 4, 4},    // SO_RXQ_OVFL
    {kIp, 8, 12, 12},            // IP_PKTINFO
    {kIp, 2, 4, 4},              // IP_TTL
    {kIp, 1, 1, 1},              // IP_TOS
    {kIp, 11, 16, 32},           // IP_RECVERR: sock_extended_err, sockaddr_in
    {kIp, 20, 16, 16},           // IP_ORIGDSTADDR
    {kIp6, 50, 20, 20},          // IPV6_PKTINFO
    {kIp6, 52, 4, 4},            // IPV6_HOPLIMIT
    {kIp6, 67, 4, 4},            // IPV6_TCLASS
    {kIp6, 25, 16, 44},          // IPV6_RECVERR: sock_extended_err, sockaddr_in6
    {kIp6, 74, 28, 28},          // IPV6_ORIGDSTADDR
    {kUdp, 104, 4, 4},           // UDP_GRO
};

template <size_t kCount>
bool known(const ControlKind (&kinds)[kCount], int32_t level, int32_t type, size_t size) {
  return std::any_of(std::begin(kinds), std::end(kinds), [&](const ControlKind& kind) {
    return kind.level == level && kind.type == type && kind.least <= size && size <= kind.most;
  });
}

}  // namespace

bool inet_option_settable(int32_t level, int32_t name) { return listed(kSettable, level, name); }
bool inet_option_gettable(int32_t level, int32_t name) {
  return listed(kSettable, level, name) || listed(kGettable, level, name);
}
bool inet_control_sendable(int32_t level, int32_t type, size_t size) {
  return known(kSendable, level, type, size);
}

Bytes pack_control(const std::vector<ControlPart>& parts) {
  Bytes packed;
  for (const ControlPart& part : parts) {
    const ControlHead head{sizeof(head) + part.body.size(), part.level, part.type};
    const size_t at = packed.size();
    packed.resize(at + control_align(head.size));
    std::memcpy(packed.data() + at, &head, sizeof(head));
    std::memcpy(packed.data() + at + sizeof(head), part.body.data(), part.body.size());
  }
  return packed;
}

std::vector<ControlPart> parse_control(ByteView control) {
  std::vector<ControlPart> parts;
  for (size_t at = 0; at < control.size() && control.size() - at >= sizeof(ControlHead);) {
    ControlHead head{};
    std::memcpy(&head, control.data() + at, sizeof(head));
    if (head.size < sizeof(head) || head.size > control.size() - at) break;
    const ByteView body = control.subspan(at + sizeof(head), head.size - sizeof(head));
    if (known(kReceivable, head.level, head.type, body.size()))
      parts.push_back({head.level, head.type, Bytes(body.begin(), body.end())});
    at += control_align(head.size);
  }
  return parts;
}

}  // namespace cloister::enclave
