// Signals: what is pending, blocked and done about them. Actions and process-wide pending signals belong to
// the process (SignalState is a member of Process), masks to the thread. Frames on the program's stack are
// exactly Linux's (signal_frame.cpp).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "enclave/arch/wait.h"

namespace cloister::enclave {

class File;
struct Process;
struct Thread;

inline constexpr int kSigHup = 1, kSigInt = 2, kSigQuit = 3, kSigIll = 4, kSigTrap = 5, kSigAbort = 6,
                     kSigBus = 7, kSigFpe = 8, kSigKill = 9, kSigUser1 = 10, kSigSegv = 11, kSigUser2 = 12,
                     kSigPipe = 13, kSigAlarm = 14, kSigTerm = 15, kSigChild = 17, kSigContinue = 18,
                     kSigStop = 19, kSigTerminalStop = 20, kSigTtyIn = 21, kSigTtyOut = 22, kSigUrgent = 23,
                     kSigCpuLimit = 24, kSigFileLimit = 25, kSigWindow = 28, kSigIo = 29, kSigSys = 31;
inline constexpr int kSignalCount = 64;

// siginfo_t, the fields programs look at; the rest of its 128 bytes is zero.
struct SignalInfo {
  int32_t signal = 0;
  int32_t code = 0;  // SI_USER 0, SI_KERNEL 0x80, SI_QUEUE -1, SI_TIMER -2, SI_TKILL -6
  int32_t pid = 0;
  uint32_t uid = 0;
  uint64_t value = 0;    // si_value, or timer id
  uint64_t address = 0;  // si_addr of faults
};

struct SignalAction {    // struct kernel_sigaction
  uint64_t handler = 0;  // 0 SIG_DFL, 1 SIG_IGN
  uint64_t flags = 0;
  uint64_t restorer = 0;
  uint64_t mask = 0;
};

constexpr uint64_t signal_bit(int signal) { return uint64_t{1} << (signal - 1); }

// A set of pending signals. Of a standard signal the first information is kept; real-time ones queue.
struct PendingSignals {
  static constexpr int kFirstRealtime = 32;
  static constexpr size_t kMost = 4096;  // as RLIMIT_SIGPENDING says
  uint64_t set = 0;
  std::array<SignalInfo, kSignalCount> info;
  std::vector<SignalInfo> queued;  // real-time signals behind the first one of their number

  bool add(const SignalInfo& more);
  // Puts the next queued one of this number into `info`; false: there is none.
  bool take_queued(int signal);
  void forget(int signal);
};

struct SignalState {
  std::array<SignalAction, kSignalCount> actions;
  PendingSignals pending;
  void reset_for_exec();  // handlers become default, ignored stays ignored
};

// Make a signal pending and wake a thread that can take it. An ignored signal vanishes. Kernel lock held.
void send_signal(Process& process, const SignalInfo& info);
void send_signal(Thread& thread, const SignalInfo& info);
// Takes a pending signal of `set`, the thread's own first; false: none.
bool take_signal(Thread& thread, uint64_t set, SignalInfo& info);
void store_signal_info(uint8_t (&out)[128], const SignalInfo& info);  // siginfo_t
WaitQueue& signal_waiters();  // woken whenever a signal has become pending
// Files that have an edge then (signalfd).
std::vector<File*>& signal_files();
// SIGIO for a process, or minus a group, that wants it with a file's edges.
void send_io_signal(int32_t owner);
// SIGPIPE and the like to the calling thread.
void raise_signal(int signal);

}  // namespace cloister::enclave
