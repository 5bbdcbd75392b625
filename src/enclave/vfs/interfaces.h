// Network interfaces and their addresses, by the host's word: to programs that ask by getifaddrs(3)
// (rtnetlink(7)) or by netdevice(7).
#pragma once

#include <vector>

#include "base/bytes.h"
#include "boundary/host_calls.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

using boundary::InterfaceRecord;

// Answers to one request of rtnetlink, in pieces as large as a reader expects. `request` is a whole message
// (struct nlmsghdr and its body); `port` the asking socket's. Anything but dumps of links and addresses gets
// an error (NLMSG_ERROR) or, when nothing was asked, no answer.
std::vector<Bytes> answer_route_request(ByteView request, uint32_t port,
                                        const std::vector<InterfaceRecord>& interfaces);

// SIOCGIFCONF and the other questions of netdevice(7); NotTty: none of them.
SysResult<int64_t> interface_ioctl(uint64_t request, uint64_t argument);

}  // namespace cloister::enclave
