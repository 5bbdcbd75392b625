// The attestation agent: the enclave's first process. It makes the instance key, proves to the service which
// enclave this is, hands the released configuration to the kernel, and then stays to publish the volumes'
// tags: a change is acknowledged to the kernel only once the service has it on disk.
//
// One thread, blocking calls with deadlines, nothing read from files. Whatever goes wrong before the program
// runs ends the enclave with two lines of text: what failed, what to do.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "agent/kernel.h"

namespace cloister::agent {

struct Evidence {
  Bytes quote;
  Bytes collateral;  // what the LAS attached; may be empty
};

// The quoting side: a local attestation service.
class EvidenceSource {
 public:
  virtual ~EvidenceSource() = default;
  virtual Result<TargetInfo> target_info() = 0;
  virtual Result<Evidence> quote(const Report& report) = 0;
};

struct AgentOptions {
  // Opens the source at a numeric "ip:port". Errors: Unavailable "Unable to connect to LAS at ADDRESS:
  // reason".
  std::function<Result<std::unique_ptr<EvidenceSource>>(const std::string& address)> open_evidence_source;
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds handshake_timeout{10000};
  std::chrono::milliseconds reply_timeout{30000};
  // How long a tag update is retried on new connections while the service is away.
  std::chrono::milliseconds retry_for{30000};
};

// Runs until the program has exited (0) or after kernel.fail (the Failure's number).
int run_agent(Kernel& kernel, const AgentOptions& options);

}  // namespace cloister::agent
