#include "agent/traced_agent.h"

#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>

namespace cloister::agent::testing {
namespace {

constexpr long kFirstPrivate = 0x10000;
constexpr size_t kMost = 32 << 20;

Bytes read_memory(pid_t child, uint64_t address, uint64_t size) {
  CLOISTER_CHECK(size <= kMost);
  Bytes out(size);
  const iovec local{out.data(), out.size()}, remote{reinterpret_cast<void*>(address), out.size()};
  if (size != 0 && ::process_vm_readv(child, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(size))
    out.clear();
  return out;
}

bool write_memory(pid_t child, uint64_t address, ByteView bytes) {
  const iovec local{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  const iovec remote{reinterpret_cast<void*>(address), bytes.size()};
  return ::process_vm_writev(child, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes.size());
}

[[noreturn]] void become(const char* program) {
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  char name[] = "agent";
  char* const argv[] = {name, nullptr};
  char* const envp[] = {nullptr};
  ::execve(program, argv, envp);
  ::_exit(127);
}

}  // namespace

int64_t TracedAgent::report(pid_t child, const Arguments& arguments) {
  const Bytes target_bytes = read_memory(child, arguments[0], sizeof(sgx::TargetInfo));
  const Bytes data_bytes = read_memory(child, arguments[1], 64);
  if (target_bytes.empty() || data_bytes.empty()) return -EFAULT;
  sgx::TargetInfo target;
  ByteArray<64> data;
  std::memcpy(&target, target_bytes.data(), sizeof(target));
  std::memcpy(data.data(), data_bytes.data(), data.size());
  const sgx::Report made = platform_.make_report(self_, target, data);
  return write_memory(child, arguments[2], object_bytes(made)) ? 0 : -EFAULT;
}

int64_t TracedAgent::fill(pid_t child, const Arguments& arguments, const Bytes& bytes) {
  if (bytes.size() > arguments[1]) return -ERANGE;
  return write_memory(child, arguments[0], bytes) ? static_cast<int64_t>(bytes.size()) : -EFAULT;
}

int64_t TracedAgent::answer(pid_t child, long number, const Arguments& arguments, TracedRun& out) {
  switch (number - kFirstPrivate) {
    case 0:
      return report(child, arguments);
    case 1:
      return fill(child, arguments, boundary::encode_launch(launch));
    case 2:
      out.configured = read_memory(child, arguments[0], arguments[1]);
      return 0;
    case 3: {
      if (events.empty()) return -EIO;
      const boundary::AgentEvent event = events.front();
      events.pop_front();
      return fill(child, arguments, boundary::encode_event(event));
    }
    case 4: {
      const Bytes text = read_memory(child, arguments[2], arguments[3]);
      CLOISTER_CHECK((arguments[1] != 0) == text.empty());
      out.acknowledged.emplace_back(arguments[0], std::string(as_text(text)));
      return 0;
    }
    case 5: {
      const Bytes text = read_memory(child, arguments[1], arguments[2]);
      out.failure = static_cast<int>(arguments[0]);
      out.failure_text = as_text(text);
      return 0;
    }
    default:
      return -ENOSYS;
  }
}

TracedRun TracedAgent::run() {
  TracedRun out;
  const pid_t child = ::fork();
  CLOISTER_CHECK(child >= 0);
  if (child == 0) become(program_.c_str());
  int status = 0;
  CLOISTER_CHECK(::waitpid(child, &status, 0) == child);
  if (!WIFSTOPPED(status)) return out;  // no such program
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  bool answering = false;
  int64_t result = 0;
  for (int signal = 0;;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, signal);
    signal = 0;
    CLOISTER_CHECK(::waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) break;
    if (WIFSIGNALED(status)) {
      out.exit_status = 128 + WTERMSIG(status);
      return out;
    }
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      signal = WSTOPSIG(status);
      continue;
    }
    __ptrace_syscall_info call{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(call), &call);
    if (call.op == PTRACE_SYSCALL_INFO_ENTRY) {
      const long number = static_cast<long>(call.entry.nr);
      ++out.calls[number];
      if (number < kFirstPrivate) continue;
      Arguments arguments;
      std::copy_n(call.entry.args, arguments.size(), arguments.begin());
      result = answer(child, number, arguments, out);
      answering = true;
    } else if (answering) {  // the host knows no such call: the answer takes the place of its ENOSYS
      ::ptrace(PTRACE_POKEUSER, child, offsetof(user_regs_struct, rax), result);
      answering = false;
    }
  }
  out.exit_status = WEXITSTATUS(status);
  return out;
}

}  // namespace cloister::agent::testing
