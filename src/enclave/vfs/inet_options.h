// Which options and ancillary data of internet sockets go to and from the host's socket. What is not listed
// is refused: it would hand the host an address of the program (SO_ATTACH_FILTER), keys (kernel TLS), or make
// the host's socket do what is not carried on to the program (SO_TIMESTAMPING, MSG_ZEROCOPY).
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

struct ControlHead {  // struct cmsghdr
  uint64_t size;
  int32_t level, type;
};
inline constexpr size_t control_align(size_t size) { return (size + 7) & ~size_t{7}; }
// One cmsghdr with what belongs to it.
struct ControlPart {
  int32_t level = 0, type = 0;
  Bytes body;
};

bool inet_option_settable(int32_t level, int32_t name);
bool inet_option_gettable(int32_t level, int32_t name);
bool inet_control_sendable(int32_t level, int32_t type, size_t size);
// Messages in the form of struct cmsghdr, for the host.
Bytes pack_control(const std::vector<ControlPart>& parts);
// What the host says has come: known messages of the right size, as far as they can be told apart.
std::vector<ControlPart> parse_control(ByteView control);

}  // namespace cloister::enclave
