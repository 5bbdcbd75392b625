// Processes that the program starts: by fork, vfork or posix_spawn (docs/adr/0008, 0009). Kernel lock held.
#pragma once

#include <algorithm>
#include <functional>

#include "enclave/arch/frame.h"
#include "enclave/process.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

// A process with this number among the program and its descendants; nullptr: none.
Process* find_process(int32_t pid);
// The program and every descendant that has not ended.
template <class Visit>
void for_each_process(Process& root, Visit visit) {
  if (!root.finished) visit(root);
  for (size_t i = 0; i < root.children.size(); ++i) for_each_process(*root.children[i], visit);
}

// As getppid(2) says.
inline int32_t parent_pid(const Process& process) {
  return process.parent == nullptr || process.adopted ? 1 : process.parent->pid;
}

// CPU time, by the host's word, which never goes back and may be anything. Nanoseconds.
constexpr uint64_t cpu_sum(uint64_t one, uint64_t other) { return one + std::min(other, ~one); }
uint64_t thread_cpu_ns(Thread& thread);
uint64_t process_cpu_ns(Process& process);

// resource_calls.cpp
ResourceLimit& resource_limit(Process& process, uint32_t resource);  // resource < kResources
uint64_t stack_limit(Process& process);                              // of the next program: bytes
// RLIMIT_AS allows that much more, where what lies in [from, to) goes.
bool address_space_left(Process& process, uint64_t size, uint64_t from = 0, uint64_t to = 0);
bool may_queue_signal(Process& process, const PendingSignals& pending);
// RLIMIT_DATA allows that much more, where what lies in [from, to) goes.
bool data_left(Process& process, uint64_t size, uint64_t from = 0, uint64_t to = 0);
bool may_start_task(Process& process);   // RLIMIT_NPROC
void watch_cpu_limit(Process& process);  // the limit is another one, or the process has just got it
// How many of the caller's `size` bytes RLIMIT_FSIZE lets a file have at `offset`, or where it is read and
// written next. Errors: FileTooBig.
inline constexpr uint64_t kCurrentPosition = UINT64_MAX;
SysResult<size_t> file_size_left(File& file, uint64_t offset, size_t size);
// The file may become that large. Errors: FileTooBig, and SIGXFSZ has been raised.
SysResult<void> check_file_size(const Stat& stat, uint64_t size);
// Of a call that file_size_left has ended: SIGXFSZ.
void tell_file_limit(Errno error);
uint64_t cpu_with_children(Process& process);  // that it has waited for
SysResult<void> store_child_usage(uint64_t address, uint64_t cpu_ns);

bool only_thread(const Process& process);  // that there is, at most

// A child that runs `frame` in a copy of the caller's memory (fork). Errors: Again (no thread left),
// NoMemory, NoSys (the caller itself borrows its memory). `prepare` gets the child's thread before it runs.
SysResult<int64_t> fork_process(Thread& thread, const UserFrame& frame, uint64_t fs_base,
                                const std::function<void(Thread&)>& prepare);
// A child that runs `frame` in the caller's memory. Returns, in the parent, when the child has another
// program or has ended. Errors: Again (no thread left).
SysResult<int64_t> borrow_memory(Thread& thread, const UserFrame& frame, uint64_t fs_base,
                                 const std::function<void(Thread&)>& prepare);
// A process leaves its memory, by its end or by execve. If it was its own, and somebody has borrowed it, it
// is theirs from now on; otherwise what it had mapped is released.
void give_up_memory(Process& process, Memory& memory);
bool others_in_memory(const Process& process);
// The child has a program of its own (execve): its parent goes on.
void stop_borrowing(Process& process);
// execve: the timers of timer_create go, those of alarm and setitimer stay (timer_calls.cpp).
void end_posix_timers(Process& process);
// What SIGCHLD and waitid(2) say about a child that has ended, and about one that was stopped or goes on.
SignalInfo end_info(const Process& child);
SignalInfo change_info(const Process& child);
// The last thread of a child is about to leave.
void finish_child(Process& process);

}  // namespace cloister::enclave
