// Process: what its threads share. The hidden agent, the program, and what the program starts by vfork,
// posix_spawn or fork: all of them share one address space (docs/adr/0008, 0009).
#pragma once

#include <cstdint>

#include <string>
#include <vector>

#include "enclave/arch/signal.h"
#include "enclave/memory/turns.h"
#include "enclave/vfs/file.h"

namespace cloister::enclave {

inline constexpr int32_t kAgentPid = 3;
inline constexpr int32_t kProgramPid = 7;  // not 1: shells and daemons behave differently as PID 1

struct Identity {  // of users or of groups; files do not ask for it
  uint32_t real = 0, effective = 0, saved = 0;
};

// What a parent has not been told yet of a child that lives.
enum class ChildChange : uint8_t { None, Stopped, Continued };

struct ResourceLimit {  // struct rlimit
  uint64_t soft, hard;
};
inline constexpr uint64_t kNoLimit = ~uint64_t{0};
inline constexpr uint32_t kResources = 16;

struct Process {
  int32_t pid = kProgramPid;
  SignalState signals;
  bool is_agent = false;
  bool exiting = false;
  uint32_t exit_status = 0;  // as wait(2) encodes it
  FdTable files;
  Ref<InodeFile> folder;  // the working one; null: the root
  uint32_t umask = 022;
  Identity user, group;
  std::vector<uint32_t> groups;
  int32_t group_id = kProgramPid, session = kProgramPid;
  int32_t priority = 0;               // nice value; the host schedules
  Ref<Counted> timers;                // timer_calls.cpp
  std::vector<ResourceLimit> limits;  // by resource; empty: as at the start (resource_calls.cpp)
  Ref<Counted> cpu_watch;             // while RLIMIT_CPU is finite
  bool dumpable = true;
  bool wants_barriers = false;           // membarrier(2): has registered for them
  uint64_t cpu_ended_ns = 0;             // CPU time of threads that have ended
  uint64_t cpu_seen_ns = 0;              // what it was told last: the host's word may not make it go back
  uint64_t children_cpu_ns = 0;          // of children that were waited for, and theirs
  std::string executable;                // path, for /proc/self/exe
  std::vector<std::string> arguments;    // for /proc/self/cmdline
  std::vector<std::string> environment;  // as it was at the start, for /proc/self/environ
  std::vector<uint64_t> auxiliary;       // for /proc/self/auxv
  uint64_t started_ns = 0;               // monotonic clock
  // Processes that the program started.
  Process* parent = nullptr;
  std::vector<Process*> children;   // running, or not waited for yet
  Ref<Memory> memory;               // the parent's while borrowing
  bool borrowing = false;           // in its parent's program: the parent's thread waits (vfork)
  bool executed = false;            // has called execve
  bool unwanted = false;            // nobody will wait for it
  bool adopted = false;             // its parent is gone: getppid says 1
  bool subreaper = false;           // gets the orphans among its descendants: PR_SET_CHILD_SUBREAPER
  int32_t exit_signal = kSigChild;  // for the parent; 0: none
  int32_t death_signal = 0;         // when the parent ends; 0: none
  bool stopped = false;             // job control: its threads are held
  bool stop_told = false;           // all of them, and the parent has been told
  int32_t stop_signal = 0;
  ChildChange change = ChildChange::None;
  WaitQueue child_changed;

  bool finished = false;  // its files are closed and its volumes committed
};

// What a shell would see: the exit code, or 128 + signal.
inline int32_t wait_status_to_exit(uint32_t status) {
  const auto signal = static_cast<int32_t>(status & 0x7f);
  return signal != 0 ? 128 + signal : static_cast<int32_t>(status >> 8 & 0xff);
}

}  // namespace cloister::enclave
