// The host call that lists network interfaces and their addresses: what programs find by getifaddrs(3).
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>

#include "host/process.h"

namespace cloister::host {
namespace {

using boundary::InterfaceRecord;

void set_name(char (&to)[IFNAMSIZ], const char* name) {  // zero before
  std::memcpy(to, name, std::min(std::strlen(name), sizeof(to) - 1));
}

uint32_t mtu_of(const char* name) {
  const Descriptor any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  set_name(request.ifr_name, name);
  if (!any.valid() || ::ioctl(any.get(), SIOCGIFMTU, &request) != 0) return 0;
  return static_cast<uint32_t>(request.ifr_mtu);
}

void set_link(InterfaceRecord& record, const sockaddr_ll& link) {
  record.mtu = mtu_of(record.name);
  record.hardware_type = link.sll_hatype;
  record.hardware_size = std::min<uint8_t>(link.sll_halen, sizeof(record.hardware));
  std::memcpy(record.hardware, link.sll_addr, record.hardware_size);
}

uint8_t count_ones(const uint8_t* bytes, size_t size) {
  int ones = 0;
  for (size_t i = 0; i < size; ++i) ones += std::popcount(bytes[i]);
  return static_cast<uint8_t>(ones);
}

void set_address(InterfaceRecord& record, const ifaddrs& entry) {
  record.family = static_cast<uint16_t>(entry.ifa_addr->sa_family);
  const bool four = record.family == AF_INET;
  const size_t size = four ? 4 : 16,
               at = four ? offsetof(sockaddr_in, sin_addr) : offsetof(sockaddr_in6, sin6_addr);
  const auto bytes = [at](const sockaddr* address) { return reinterpret_cast<const uint8_t*>(address) + at; };
  std::memcpy(record.address, bytes(entry.ifa_addr), size);
  if (entry.ifa_netmask != nullptr) record.prefix = count_ones(bytes(entry.ifa_netmask), size);
  if (four && (entry.ifa_flags & IFF_BROADCAST) != 0 && entry.ifa_broadaddr != nullptr)
    std::memcpy(record.broadcast, bytes(entry.ifa_broadaddr), sizeof(record.broadcast));
}

}  // namespace

int64_t call_InterfaceList(Call& call) {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return -errno;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(first, ::freeifaddrs);
  uint32_t count = 0;
  for (const ifaddrs* entry = first; entry != nullptr && count < boundary::kMaxInterfaceRecords;
       entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_PACKET && family != AF_INET && family != AF_INET6) continue;
    InterfaceRecord record{};
    set_name(record.name, entry->ifa_name);
    record.flags = entry->ifa_flags;
    record.index = ::if_nametoindex(record.name);
    if (family == AF_PACKET)
      set_link(record, *reinterpret_cast<const sockaddr_ll*>(entry->ifa_addr));
    else
      set_address(record, *entry);
    std::memcpy(call.arena() + count++ * sizeof(record), &record, sizeof(record));
  }
  return count;
}

}  // namespace cloister::host
