// For tests: runs the real agent.elf on the host under ptrace and answers its private system calls as the
// enclave's kernel would, with reports of the simulated machine. Also counts every system call it makes,
// because each of them is one that the kernel must serve.
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <string>

#include "boundary/config.h"
#include "boundary/launch.h"
#include "sgx/sim_platform.h"

namespace cloister::agent::testing {

struct TracedRun {
  int exit_status = -1;  // of the process; 128 + signal when one killed it
  std::map<long, int> calls;
  Bytes configured;
  std::vector<std::pair<uint64_t, std::string>> acknowledged;
  int failure = 0;
  std::string failure_text;
};

class TracedAgent {
 public:
  TracedAgent(std::filesystem::path program, sgx::SimPlatform platform, const sgx::Secs& self)
      : program_(std::move(program)), platform_(std::move(platform)), self_(self) {}

  boundary::LaunchRecord launch;
  std::deque<boundary::AgentEvent> events;  // answered in this order

  // Returns when the agent has ended. The environment is empty, as in the enclave.
  TracedRun run();

 private:
  using Arguments = std::array<uint64_t, 6>;
  int64_t answer(pid_t child, long number, const Arguments& arguments, TracedRun& out);
  int64_t report(pid_t child, const Arguments& arguments);
  int64_t fill(pid_t child, const Arguments& arguments, const Bytes& bytes);

  const std::filesystem::path program_;
  const sgx::SimPlatform platform_;
  const sgx::Secs self_;
};

}  // namespace cloister::agent::testing
