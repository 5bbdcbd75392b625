#include "host/thread.h"

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/fatal.h"

namespace cloister::host {

void begin_host_thread(HostThread& thread) {
  thread.tid = static_cast<pid_t>(syscall(SYS_gettid));
  thread.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (thread.event_fd < 0) fatal("cannot create an eventfd");
}

void end_host_thread(HostThread& thread) { close(thread.event_fd); }

void wake(HostThread& thread) {
  thread.unparked.store(1);
  syscall(SYS_futex, &thread.unparked, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  if (thread.polling.load() != 0) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(thread.event_fd, &one, sizeof(one));
  }
}

void kick(HostThread& thread) {
  wake(thread);
  syscall(SYS_tgkill, getpid(), thread.tid, kick_signal());
}

bool note_signal(HostThread& thread, int signal) {
  if (signal < 1 || signal > 64 || signal == kick_signal()) return false;
  const uint64_t bit = uint64_t{1} << (signal - 1);
  if ((bit & boundary::kForwardedSignals) == 0) return false;
  __atomic_fetch_or(&thread.block->events, bit, __ATOMIC_SEQ_CST);
  return true;
}

void check_resumable(uint64_t leave_reason) {
  using boundary::LeaveReason;
  if (leave_reason == static_cast<uint64_t>(LeaveReason::Resume)) return;
  fatal(leave_reason == static_cast<uint64_t>(LeaveReason::Refused)
            ? "the enclave left its exception entry for good: its kernel faults in what serves its faults"
            : "the enclave left its exception entry in an unknown way");
}

}  // namespace cloister::host
