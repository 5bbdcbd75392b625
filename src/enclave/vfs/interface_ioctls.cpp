// What is asked of a socket about interfaces: netdevice(7).
#include <algorithm>
#include <cstring>
#include <string_view>

#include "enclave/arch/host.h"
#include "enclave/arch/user_copy.h"
#include "enclave/vfs/interfaces.h"

namespace cloister::enclave {
namespace {

enum : uint64_t {
  kName = 0x8910,
  kConfiguration = 0x8912,
  kFlags = 0x8913,
  kAddress = 0x8915,
  kBroadcast = 0x8919,
  kMask = 0x891b,
  kMtu = 0x8921,
  kHardware = 0x8927,
  kIndex = 0x8933,
};
constexpr uint16_t kFamilyInet = 2;

struct Request {  // struct ifreq
  char name[16];
  uint8_t value[24];
};
static_assert(sizeof(Request) == 40);

struct InetName {  // struct sockaddr_in
  uint16_t family, port;
  uint8_t address[4], padding[8];
};

template <class T>
void put(Request& request, const T& value) {
  static_assert(sizeof(T) <= sizeof(request.value));
  std::memcpy(request.value, &value, sizeof(value));
}
void put_address(Request& request, const uint8_t* address) {
  InetName name{kFamilyInet, 0, {}, {}};
  std::memcpy(name.address, address, sizeof(name.address));
  std::memset(request.value, 0, sizeof(request.value));
  put(request, name);
}

SysResult<int64_t> list_configuration(uint64_t argument) {
  struct {  // struct ifconf
    int32_t size, padding;
    uint64_t buffer;
  } wanted = TRY((load_user<decltype(wanted)>(argument)));
  int32_t done = 0;
  for (const InterfaceRecord& record : TRY(host::interfaces())) {
    if (record.family != kFamilyInet) continue;
    constexpr auto kSize = static_cast<int32_t>(sizeof(Request));
    if (wanted.buffer != 0 && wanted.size - done < kSize) break;
    Request entry{};
    std::memcpy(entry.name, record.name, sizeof(entry.name));
    put_address(entry, record.address);
    if (wanted.buffer != 0) TRY(store_user(wanted.buffer + static_cast<uint64_t>(done), entry));
    done += kSize;
  }
  wanted.size = done;
  TRY(store_user(argument, wanted));
  return 0;
}

void fill_mask(Request& request, uint8_t prefix) {
  uint8_t mask[4] = {};
  for (size_t bit = 0; bit < prefix && bit < 32; ++bit)
    mask[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
  put_address(request, mask);
}

// Of the interface that the request names: `link` is the interface, `address` its first of IPv4.
SysResult<void> fill(uint64_t question, Request& request, const InterfaceRecord& link,
                     const InterfaceRecord* address) {
  if (address == nullptr && (question == kAddress || question == kBroadcast || question == kMask))
    return Errno::AddressUnavailable;
  switch (question) {
    case kFlags:
      put(request, static_cast<uint16_t>(link.flags));
      break;
    case kMtu:
      put(request, link.mtu);
      break;
    case kIndex:
      put(request, link.index);
      break;
    case kHardware:
      std::memset(request.value, 0, sizeof(request.value));
      put(request, link.hardware_type);
      std::memcpy(request.value + 2, link.hardware, link.hardware_size);
      break;
    case kAddress:
      put_address(request, address->address);
      break;
    case kBroadcast:
      put_address(request, address->broadcast);
      break;
    default:
      fill_mask(request, address->prefix);
  }
  return {};
}

SysResult<int64_t> answer_name(uint64_t argument, Request request, const std::vector<InterfaceRecord>& list) {
  uint32_t index = 0;
  std::memcpy(&index, request.value, sizeof(index));
  const auto found = std::find_if(list.begin(), list.end(), [index](const InterfaceRecord& record) {
    return record.family == 0 && record.index == index;
  });
  if (found == list.end()) return Errno::NoDevice;
  std::memcpy(request.name, found->name, sizeof(request.name));
  TRY(store_user(argument, request));
  return 0;
}

}  // namespace

SysResult<int64_t> interface_ioctl(uint64_t request, uint64_t argument) {
  constexpr uint64_t kKnown[] = {kName, kFlags, kAddress, kBroadcast, kMask, kMtu, kHardware, kIndex};
  if (request == kConfiguration) return list_configuration(argument);
  if (std::find(std::begin(kKnown), std::end(kKnown), request) == std::end(kKnown)) return Errno::NotTty;
  auto question = TRY(load_user<Request>(argument));
  const auto list = TRY(host::interfaces());
  if (request == kName) return answer_name(argument, question, list);
  question.name[sizeof(question.name) - 1] = 0;
  const InterfaceRecord* link = nullptr;
  const InterfaceRecord* address = nullptr;
  for (const InterfaceRecord& record : list) {
    if (std::string_view(record.name) != question.name) continue;
    if (record.family == 0 && link == nullptr) link = &record;
    if (record.family == kFamilyInet && address == nullptr) address = &record;
  }
  if (link == nullptr) return Errno::NoDevice;
  TRY(fill(request, question, *link, address));
  TRY(store_user(argument, question));
  return 0;
}

}  // namespace cloister::enclave
