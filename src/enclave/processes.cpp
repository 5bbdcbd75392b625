#include "enclave/processes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "enclave/arch/boot.h"
#include "enclave/arch/host.h"
#include "enclave/arch/thread.h"
#include "enclave/loader/patcher.h"
#include "enclave/memory/manager.h"
#include "enclave/syscalls/signal_delivery.h"
#include "enclave/vfs/pidfd.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kIgnore = 1, kNoChildWait = 2;  // SIG_IGN, SA_NOCLDWAIT

Process* find_below(Process& root, int32_t pid) {
  if (root.pid == pid && !(root.finished && root.unwanted)) return &root;
  for (Process* child : root.children) {
    if (Process* found = find_below(*child, pid)) return found;
  }
  return nullptr;
}

// Looked up again after every wait: a signal handler of the parent's may have reaped it.
bool still_borrowing(const Process& parent, int32_t pid) {
  return std::any_of(parent.children.begin(), parent.children.end(),
                     [&](const Process* child) { return child->pid == pid && child->borrowing; });
}

std::unique_ptr<Process> make_child(Process& parent) {
  auto child = std::make_unique<Process>();
  child->pid = next_thread_id();
  child->parent = &parent;
  child->signals.actions = parent.signals.actions;
  child->files.copy_from(parent.files);
  child->folder = parent.folder;
  child->umask = parent.umask;
  child->user = parent.user;
  child->group = parent.group;
  child->groups = parent.groups;
  child->group_id = parent.group_id;
  child->session = parent.session;
  child->priority = parent.priority;
  child->limits = parent.limits;
  watch_cpu_limit(*child);
  child->dumpable = parent.dumpable;
  child->wants_barriers = parent.wants_barriers;
  child->executable = parent.executable;
  child->arguments = parent.arguments;
  child->environment = parent.environment;
  child->auxiliary = parent.auxiliary;
  child->started_ns = monotonic_ns();
  return child;
}

void drop_unwanted(Process& parent) {
  std::erase_if(parent.children, [](Process* child) {
    if (!child->unwanted || !child->finished || child->borrowing) return false;
    pid_files_gone(*child);
    delete child;
    return true;
  });
}

// Its first thread, which goes on where `thread` is. Errors: Again (no thread left).
SysResult<int32_t> start_child(Thread& thread, std::unique_ptr<Process> child, const UserFrame& frame,
                               uint64_t fs_base, const std::function<void(Thread&)>& prepare) {
  drop_unwanted(*thread.process);
  if (user_process() != nullptr) drop_unwanted(*user_process());  // has orphans, and may start nothing itself
  auto started = start_thread(*child, frame, fs_base);
  if (!started.ok()) {
    child->files.close_all();
    return started.error();
  }
  prepare(*started.value());
  started.value()->alternate_stack = thread.alternate_stack;
  started.value()->alternate_stack_size = thread.alternate_stack_size;
  started.value()->alternate_stack_flags = thread.alternate_stack_flags;
  const int32_t pid = child->pid;
  thread.process->children.push_back(child.release());
  return pid;
}

}  // namespace

Process* find_process(int32_t pid) {
  Process* root = user_process();
  return root == nullptr ? nullptr : find_below(*root, pid);
}

uint64_t thread_cpu_ns(Thread& thread) {
  thread.cpu_ns = std::max(thread.cpu_ns, host::cpu_time(host::ThreadSet{thread.index}));
  return thread.cpu_ns;
}

uint64_t process_cpu_ns(Process& process) {
  host::ThreadSet threads;
  for_each_thread(process, [&](const Thread& thread) {
    threads.add(thread.index);
    return true;
  });
  process.cpu_seen_ns = std::max(process.cpu_seen_ns, cpu_sum(process.cpu_ended_ns, host::cpu_time(threads)));
  return process.cpu_seen_ns;
}

bool only_thread(const Process& process) {
  int count = 0;
  for_each_thread(process, [&](Thread&) { return ++count < 2; });
  return count < 2;
}

SysResult<int64_t> fork_process(Thread& thread, const UserFrame& frame, uint64_t fs_base,
                                const std::function<void(Thread&)>& prepare) {
  Process& parent = *thread.process;
  if (parent.is_agent || parent.borrowing) return Errno::NoSys;
  auto made = make_child(parent);
  auto forked = memory_fork(*parent.memory);
  if (!forked.ok()) {
    made->files.close_all();
    return forked.error();
  }
  const Ref<Memory> memory = std::move(forked).value();
  made->memory = memory;
  auto started = start_child(thread, std::move(made), frame, fs_base, prepare);
  if (!started.ok()) memory_leave(*memory);
  return TRY(std::move(started));
}

SysResult<int64_t> borrow_memory(Thread& thread, const UserFrame& frame, uint64_t fs_base,
                                 const std::function<void(Thread&)>& prepare) {
  Process& parent = *thread.process;
  auto made = make_child(parent);
  made->memory = parent.memory;
  made->borrowing = true;
  const int32_t pid = TRY(start_child(thread, std::move(made), frame, fs_base, prepare));
  // The child may not be interrupted by us, so not by our signals either (vfork(2)). What ends us comes
  // through: the memory is the child's then.
  while (still_borrowing(parent, pid) && !parent.exiting && !ending_signal_pending(thread))
    parent.child_changed.wait(kNoDeadline, false);
  drop_unwanted(parent);
  return pid;
}

namespace {

// Somebody who lives in this memory.
Process* other_in(const Process& process, const Memory& memory) {
  Process* found = nullptr;
  if (Process* root = user_process()) {
    for_each_process(*root, [&](Process& other) {
      if (&other != &process && other.memory.get() == &memory) found = &other;
    });
  }
  return found;
}

}  // namespace

bool others_in_memory(const Process& process) { return other_in(process, *process.memory) != nullptr; }

void give_up_memory(Process& process, Memory& memory) {
  if (process.borrowing) return;
  Process* heir = other_in(process, memory);
  if (heir == nullptr) return memory_leave(memory);
  heir->borrowing = false;  // one of those that have borrowed it
}

void stop_borrowing(Process& process) {
  if (!process.borrowing) return;
  process.borrowing = false;
  process.parent->child_changed.wake_all();
}

SignalInfo end_info(const Process& child) {
  const uint32_t signal = child.exit_status & 0x7f;
  SignalInfo info;
  info.signal = kSigChild;
  info.code = signal != 0 ? 2 : 1;  // CLD_KILLED, CLD_EXITED
  info.pid = child.pid;
  info.uid = child.user.real;
  info.value = signal != 0 ? signal : child.exit_status >> 8 & 0xff;
  return info;
}

SignalInfo change_info(const Process& child) {
  SignalInfo info;
  info.signal = kSigChild;
  const bool stopped = child.change == ChildChange::Stopped;
  info.code = stopped ? 5 : 6;  // CLD_STOPPED, CLD_CONTINUED
  info.pid = child.pid;
  info.uid = child.user.real;
  info.value = static_cast<uint64_t>(stopped ? child.stop_signal : kSigContinue);
  return info;
}

namespace {

// Orphans go to the next ancestor that asked for them. Where there is none they are nobody's, as those that
// Linux gives to init: the program has them, but cannot wait for them.
void give_away_children(Process& process) {
  Process* heir = process.parent;
  while (heir->parent != nullptr && !heir->subreaper) heir = heir->parent;
  for (Process* child : process.children) {
    child->parent = heir;
    child->exit_signal = kSigChild;
    child->unwanted = child->unwanted || !heir->subreaper;
    child->adopted = !heir->subreaper;
    heir->children.push_back(child);
    if (child->death_signal == 0 || child->finished) continue;
    SignalInfo info;
    info.signal = child->death_signal;
    send_signal(*child, info);
  }
  if (!process.children.empty()) heir->child_changed.wake_all();
}

// Groups of which this process was a member or the parent of one, that nobody can continue without it.
void leave_groups(const Process& process, const std::vector<Process*>& children) {
  const auto leave = [](const Process& member, const Process& parent) {
    if (parent.group_id != member.group_id && parent.session == member.session)
      continue_orphans(member.group_id, member.session);
  };
  leave(process, *process.parent);
  for (const Process* child : children) leave(*child, process);
}

}  // namespace

void finish_child(Process& process) {
  process.timers = process.cpu_watch = nullptr;
  process_close_files(process);
  give_up_memory(process, *process.memory);
  // Closing and releasing may have waited: who is the parent now is known only here.
  Process& parent = *process.parent;
  give_away_children(process);
  const std::vector<Process*> children = std::exchange(process.children, {});
  process.finished = true;
  leave_groups(process, children);
  const SignalAction& action = parent.signals.actions[kSigChild - 1];
  process.unwanted = process.unwanted || (process.exit_signal == kSigChild &&
                                          (action.handler == kIgnore || (action.flags & kNoChildWait) != 0));
  stop_borrowing(process);
  pid_files_ended(process);
  SignalInfo info = end_info(process);
  info.signal = process.exit_signal;
  if (!process.adopted && info.signal >= 1 && info.signal <= kSignalCount) send_signal(parent, info);
  parent.child_changed.wake_all();
}

}  // namespace cloister::enclave
