// The kernel as the agent finds it inside an enclave: private system calls 0x10000 to 0x10005, which the
// kernel serves for this process alone (every other one gets ENOSYS).
#pragma once

#include "agent/kernel.h"

namespace cloister::agent {

class SystemKernel final : public Kernel {
 public:
  Result<Report> report(const TargetInfo& target, const ByteArray<64>& data) override;
  Result<Bytes> launch_info() override;
  Result<void> configure(ByteView config) override;
  Result<Bytes> next_event() override;
  void acknowledge(uint64_t sequence, std::string_view error) override;
  void fail(Failure kind, std::string_view text) override;
};

}  // namespace cloister::agent
