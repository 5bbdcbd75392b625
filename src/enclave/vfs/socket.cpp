#include "enclave/vfs/socket.h"

#include <algorithm>
#include <cstring>

namespace cloister::enclave {
namespace {

struct MicroTime {  // struct timeval
  int64_t seconds, microseconds;
};

// The "new" names are the same on 64-bit machines.
bool is_receive_timeout(int32_t name) { return name == kSoReceiveTimeout || name == kSoReceiveTimeoutNew; }
bool is_timeout(int32_t name) {
  return is_receive_timeout(name) || name == kSoSendTimeout || name == kSoSendTimeoutNew;
}

}  // namespace

uint64_t Socket::next_number() {
  static uint64_t number = 0;
  return ++number;
}

SysResult<size_t> give_int(int32_t value, MutableByteView out) {
  const size_t count = std::min(out.size(), sizeof(value));
  std::memcpy(out.data(), &value, count);
  return count;
}

SysResult<void> Socket::set_option(int32_t level, int32_t name, ByteView value) {
  if (level != kSolSocket || !is_timeout(name)) return set_family_option(level, name, value);
  MicroTime time{};
  if (value.size() < sizeof(time)) return Errno::Invalid;
  std::memcpy(&time, value.data(), sizeof(time));
  if (time.microseconds < 0 || time.microseconds >= 1000000) return Errno::Domain;
  uint64_t& timeout = is_receive_timeout(name) ? receive_timeout_ : send_timeout_;
  const bool none = time.seconds < 0 || (time.seconds == 0 && time.microseconds == 0);
  timeout = none ? kNoDeadline : from_timespec({time.seconds, time.microseconds * 1000});
  return {};
}

SysResult<size_t> Socket::get_option(int32_t level, int32_t name, MutableByteView out) {
  if (level == kSolSocket && is_timeout(name)) {
    const uint64_t timeout = is_receive_timeout(name) ? receive_timeout_ : send_timeout_;
    MicroTime time{};
    if (timeout != kNoDeadline) {
      const TimeSpec spec = to_timespec(timeout);
      time = {spec.seconds, spec.nanoseconds / 1000};
    }
    const size_t count = std::min(out.size(), sizeof(time));
    std::memcpy(out.data(), &time, count);
    return count;
  }
  if (level == kSolSocket && name == kSoType) return give_int(static_cast<int32_t>(type_), out);
  if (level == kSolSocket && name == kSoDomain) return give_int(family_, out);
  return get_family_option(level, name, out);
}

}  // namespace cloister::enclave
