// Host calls for memory, threads, time, console and the end.
#include <cpuid.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "host/process.h"

namespace cloister::host {
namespace {

constexpr uint64_t kNanoseconds = 1'000'000'000;

uint64_t read_clock(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return static_cast<uint64_t>(time.tv_sec) * kNanoseconds + static_cast<uint64_t>(time.tv_nsec);
}

// Of the threads whose TCS are in the masks.
uint64_t cpu_time(Call& call) {
  uint64_t sum = 0;
  const std::scoped_lock guard(call.process.threads_mutex);
  for (uint32_t index = 0; index < call.process.threads.size() && index < 128; ++index) {
    const HostThread* thread = call.process.threads[index];
    if (thread == nullptr || (call.a[1 + index / 64] >> (index % 64) & 1) == 0) continue;
    // The CPU clock of a thread by its number: see clock_getres(2).
    const auto clock = static_cast<clockid_t>(~static_cast<uint32_t>(thread->tid) << 3 | 6);
    sum += read_clock(thread == &call.thread ? CLOCK_THREAD_CPUTIME_ID : clock);
  }
  return sum;
}

// Text of an enclave may hold anything; a terminal gets printable characters only.
std::string printable(std::string text) {
  for (char& c : text) {
    if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f) c = '?';
  }
  return text;
}

const char* level_name(uint64_t level) {
  switch (level) {
    case 0:
    case 2:
      return "error: ";
    case 3:
      return "warning: ";
    default:
      return "";
  }
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    text.remove_prefix(static_cast<size_t>(count));
  }
}

int64_t result_of(bool ok) { return ok ? 0 : -errno; }

}  // namespace

int64_t call_Exit(Call& call) { call.process.end(static_cast<int>(call.a[0] & 0xff), call.a[1]); }

int64_t call_Log(Call& call) {
  std::string text;
  if (!call.text(call.a[1], text)) return -EINVAL;
  write_all(STDERR_FILENO,
            "cloister: " + std::string(level_name(call.a[0])) + printable(std::move(text)) + "\n");
  return 0;
}

int64_t call_ConsoleRead(Call& call) {
  const size_t size = std::min<uint64_t>(call.a[1], boundary::kArenaSize);
  HostThread& thread = call.thread;
  thread.polling.store(1);
  pollfd items[2] = {{STDIN_FILENO, POLLIN, 0}, {thread.event_fd, POLLIN, 0}};
  int ready = 0;
  if (thread.unparked.exchange(0) == 0) ready = ::poll(items, 2, -1);
  thread.polling.store(0);
  thread.unparked.store(0);
  uint64_t drained = 0;
  [[maybe_unused]] const ssize_t ignored = ::read(thread.event_fd, &drained, sizeof(drained));
  if (ready <= 0 || items[0].revents == 0) return -EINTR;
  const ssize_t count = ::read(STDIN_FILENO, call.arena(), size);
  return count < 0 ? -errno : count;
}

int64_t call_ConsoleWrite(Call& call) {
  const int fd = call.a[0] == 2 ? STDERR_FILENO : STDOUT_FILENO;
  const size_t size = std::min<uint64_t>(call.a[1], boundary::kArenaSize);
  const ssize_t count = ::write(fd, call.arena(), size);
  return count < 0 ? -errno : count;
}

int64_t call_ConsoleInfo(Call& call) {
  const int fd = static_cast<int>(std::min<uint64_t>(call.a[0], 2));
  winsize size{};
  const bool terminal = isatty(fd) == 1;
  if (terminal) ioctl(fd, TIOCGWINSZ, &size);
  call.values[0] = (terminal ? 1 : 0) | static_cast<uint64_t>(size.ws_row) << 16 |
                   static_cast<uint64_t>(size.ws_col) << 32;
  return 0;
}

int64_t call_Clock(Call& call) {
  if (call.a[0] == 2) {
    call.values[0] = cpu_time(call);
    return 0;
  }
  call.values[0] = read_clock(CLOCK_MONOTONIC);
  call.values[1] = read_clock(CLOCK_REALTIME);
  call.values[2] = __rdtsc();
  return 0;
}

int64_t call_Cpuid(Call& call) {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  __cpuid_count(static_cast<uint32_t>(call.a[0]), static_cast<uint32_t>(call.a[1]), a, b, c, d);
  call.values[0] = a;
  call.values[1] = b;
  call.values[2] = c;
  call.values[3] = d;
  return 0;
}

int64_t call_Processors(Call& /*call*/) {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return ::sysconf(_SC_NPROCESSORS_ONLN);  // more than a set of fixed size holds
}

int64_t call_ThreadStart(Call& call) {
  return call.a[0] < call.process.enclave->thread_count() &&
                 call.process.start_thread(static_cast<uint32_t>(call.a[0]))
             ? 0
             : -EAGAIN;
}

int64_t call_Park(Call& call) {
  const uint64_t limit = call.a[0];
  timespec relative{};
  const bool endless = limit >= (uint64_t{1} << 62);
  relative.tv_sec = static_cast<time_t>(limit / kNanoseconds);
  relative.tv_nsec = static_cast<long>(limit % kNanoseconds);
  if (call.thread.unparked.exchange(0) == 0) {
    syscall(SYS_futex, &call.thread.unparked, FUTEX_WAIT_PRIVATE, 0, endless ? nullptr : &relative, nullptr,
            0);
    call.thread.unparked.store(0);
  }
  return 0;  // a wake that was none is no harm: the kernel looks again
}

int64_t call_Unpark(Call& call) {
  if (call.a[0] >= sgx::kMaxThreads) return -EINVAL;
  call.process.wake(static_cast<uint32_t>(call.a[0]), call.a[1] != 0);
  return 0;
}

int64_t call_Alarm(Call& call) {
  if (call.a[0] >= sgx::kMaxThreads) return -EINVAL;
  call.process.set_alarm(static_cast<uint32_t>(call.a[0]), call.a[1]);
  return 0;
}

int64_t call_MemoryCommit(Call& call) {
  return result_of(call.process.enclave->commit(call.a[0], call.a[1]));
}
int64_t call_MemoryProtect(Call& call) {
  return result_of(call.process.enclave->protect(call.a[0], call.a[1], static_cast<uint32_t>(call.a[2])));
}
int64_t call_MemoryRelease(Call& call) {
  return result_of(call.process.enclave->release(call.a[0], call.a[1]));
}
int64_t call_MemorySettle(Call& call) {
  return result_of(call.process.enclave->settle(call.a[0], call.a[1], call.a[2]));
}

int64_t call_LaunchInfo(Call& call) {
  const Bytes& record = call.process.launch_record;
  if (record.size() > boundary::kArenaSize) return -E2BIG;
  std::copy(record.begin(), record.end(), call.arena());
  return static_cast<int64_t>(record.size());
}

}  // namespace cloister::host
