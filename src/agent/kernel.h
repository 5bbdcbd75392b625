// What only the agent may ask of the enclave's kernel. In the enclave these are private system calls
// (system_kernel.cpp); natively, tests stand in for the kernel with reports under the simulated machine's
// secret.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/secret.h"

namespace cloister::agent {

using TargetInfo = ByteArray<512>;  // SDM: TARGETINFO
using Report = ByteArray<432>;      // SDM: REPORT

// How the enclave ends when the agent gives up: the command line's exit codes.
enum class Failure : int32_t {
  Integrity = 3,    // something was replayed or tampered with
  Refused = 4,      // the service does not release the configuration
  Unavailable = 5,  // a peer is absent or too slow
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  // EREPORT with `data` as REPORTDATA, for `target` to check.
  virtual Result<Report> report(const TargetInfo& target, const ByteArray<64>& data) = 0;
  // boundary::LaunchRecord, encoded. Untrusted.
  virtual Result<Bytes> launch_info() = 0;
  // Mounts the volumes and starts the program. Integrity when a volume is not in the state its tag names; the
  // message is the kernel's.
  virtual Result<void> configure(ByteView config) = 0;
  // Waits for the next boundary::AgentEvent, encoded.
  virtual Result<Bytes> next_event() = 0;
  // Answers it. `error` is empty when the service has made the change durable.
  virtual void acknowledge(uint64_t sequence, std::string_view error) = 0;
  // Ends the enclave, printing `text`. Returns only natively.
  virtual void fail(Failure kind, std::string_view text) = 0;
};

}  // namespace cloister::agent
