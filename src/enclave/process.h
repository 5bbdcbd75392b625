// Process: what its threads share. Two exist: the hidden agent and the program. They share one address space.
#pragma once

#include <cstdint>

#include "enclave/arch/signal.h"

namespace cloister::enclave {

inline constexpr int32_t kAgentPid = 3;
inline constexpr int32_t kProgramPid = 7;  // not 1: shells and daemons behave differently as PID 1

struct Process {
  int32_t pid = kProgramPid;
  SignalState signals;
  bool is_agent = false;
  bool exiting = false;
  uint32_t exit_status = 0;  // as wait(2) encodes it
};

}  // namespace cloister::enclave
