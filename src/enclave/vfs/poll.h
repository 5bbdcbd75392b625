// Waiting until files are ready: the one place that knows how waiting inside the enclave and waiting in the
// host go together. Kernel lock held; released while waiting.
#pragma once

#include <vector>

#include "enclave/vfs/file.h"

namespace cloister::enclave {

struct Watch {
  FileUse file;         // null: never ready
  uint16_t events = 0;  // kPoll… bits wanted; kPollError and kPollHangup are always
  uint16_t ready = 0;   // filled in
  int32_t fd = -1;      // of the calling process: looked up again after every sleep (kPollInvalid)
};

// Returns how many are ready; 0 at the deadline (monotonic clock). Interrupted: a signal is pending.
SysResult<uint32_t> wait_ready(std::vector<Watch>& watches, uint64_t deadline_ns);

// The same for one host socket and a blocking call on it. RestartSystemCall when interrupted, Again at the
// deadline.
SysResult<void> wait_for_host(uint32_t handle, uint16_t events, uint64_t deadline_ns = kNoDeadline);

}  // namespace cloister::enclave
