// One thread of the host that runs a thread of the enclave, as the server of host calls sees it. Each
// back-end keeps what it needs beside it, in an object whose member `host` this is (sim/cpu.h, hw/entry.h).
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "boundary/host_calls.h"

namespace cloister::host {

struct HostThread {
  uint32_t index = 0;  // of its TCS
  boundary::HostCallFrame* block = nullptr;
  std::atomic<uint32_t> unparked{0};  // futex word of Park
  std::atomic<uint32_t> polling{0};   // in SocketPoll or ConsoleRead: wake through the eventfd
  int event_fd = -1;
  pid_t tid = 0;
};

// What the process forwards to its enclave (boundary::kForwardedSignals), and what forces an asynchronous
// exit.
inline constexpr int kForwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGCONT, SIGWINCH};
inline int kick_signal() { return SIGRTMIN; }

// The back-end's object around `thread`.
template <class BackEndThread>
BackEndThread* around(HostThread& thread) {
  return reinterpret_cast<BackEndThread*>(reinterpret_cast<uint8_t*>(&thread) -
                                          offsetof(BackEndThread, host));
}

// Fills tid and event_fd for the calling thread. Aborts when there is no eventfd.
void begin_host_thread(HostThread& thread);
void end_host_thread(HostThread& thread);

// Makes `thread` notice something now: out of Park, SocketPoll, ConsoleRead, or (kick) out of the program.
// Async-signal-safe.
void wake(HostThread& thread);
void kick(HostThread& thread);
// Notes a forwarded signal in the thread's block; false: it is none. Async-signal-safe.
bool note_signal(HostThread& thread, int signal);
// How the enclave left its exception entry, which must ask to be resumed. Otherwise ends the process: its
// kernel gives up when it faults in what serves its faults. Async-signal-safe.
void check_resumable(uint64_t leave_reason);

}  // namespace cloister::host
