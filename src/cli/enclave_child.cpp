#include "cli/enclave_child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/bytes.h"
#include "base/descriptor.h"
#include "cli/interruption.h"

namespace cloister::cli {
namespace {

constexpr size_t kMaxReport = 64 << 10;

void write_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

Bytes read_all(int fd) {
  Bytes out(kMaxReport);
  size_t size = 0;
  while (size < out.size()) {
    const ssize_t got = ::read(fd, out.data() + size, out.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  out.resize(size);
  return out;
}

[[noreturn]] void run_child(const host::RunOptions& options, int report_fd, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it died before the line above
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const Result<host::EnclaveEnd> end = host::run_enclave(options);
  ByteWriter report;
  report.le<uint32_t>(end.ok());
  if (end.ok()) {
    report.le<int32_t>(end->status).le<uint32_t>(end->by_program);
  } else {
    report.le(static_cast<uint32_t>(end.error().code()));
    report.field(end.error().message()).field(end.error().hint());
  }
  write_all(report_fd, report.view());
  ::_exit(0);
}

Result<host::EnclaveEnd> read_report(ByteView bytes) {
  ByteReader reader(bytes, "the enclave's report");
  const auto ok = TRY(reader.le<uint32_t>());
  if (ok == 1) {
    host::EnclaveEnd end;
    end.status = TRY(reader.le<int32_t>());
    end.by_program = TRY(reader.le<uint32_t>()) != 0;
    return end;
  }
  const auto code = TRY(reader.le<uint32_t>());
  const ByteView message = TRY(reader.field(kMaxReport));
  const ByteView hint = TRY(reader.field(kMaxReport));
  return Error(static_cast<Code>(code), std::string(as_text(message)), std::string(as_text(hint)));
}

}  // namespace

Result<host::EnclaveEnd> run_enclave_in_child(const host::RunOptions& options) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0)
    return Error(Code::Unavailable, std::string("cannot make a pipe: ") + std::strerror(errno));
  const Descriptor read_end(pipe_fds[0]);
  std::optional<Descriptor> write_end(std::in_place, pipe_fds[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) run_child(options, write_end->get(), parent);
  write_end.reset();
  if (pid < 0) {
    return Error(Code::Unavailable, std::string("cannot start a process: ") + std::strerror(errno));
  }
  pass_interruptions_to(pid);
  const Bytes report = read_all(read_end.get());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  pass_interruptions_to(0);
  if (!report.empty()) return read_report(report);
  // The host part ended the process itself, or a signal did; it has said why.
  return host::EnclaveEnd{WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), false};
}

}  // namespace cloister::cli
