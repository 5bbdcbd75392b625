// Users, groups, sessions, priorities and scheduling. The program starts as root; changes are kept and obey
// credentials(7), but files do not ask for them: there is one party inside.
#include <sched.h>

#include <algorithm>
#include <cstring>

#include "enclave/arch/boot.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

constexpr uint32_t kKeep = UINT32_MAX;

Process& process_of(SyscallArgs& args) { return *args.thread.process; }
bool privileged(SyscallArgs& args) { return process_of(args).user.effective == 0; }
bool own(SyscallArgs& args, int32_t pid) { return pid == 0 || pid == process_of(args).pid; }

SysResult<Process*> process_with(SyscallArgs& args, int32_t pid) {
  if (own(args, pid)) return args.thread.process;
  Process* process = process_of(args).is_agent ? nullptr : find_process(pid);
  if (process == nullptr || process->finished) return Errno::NoProcess;
  return process;
}

bool is_one_of(const Identity& identity, uint32_t id) {
  return id == kKeep || id == identity.real || id == identity.effective || id == identity.saved;
}

SysResult<int64_t> set_one(Identity& identity, uint32_t id, bool may_all) {
  if (id == kKeep) return Errno::Invalid;
  if (may_all) {
    identity = {id, id, id};
    return 0;
  }
  if (id != identity.real && id != identity.saved) return Errno::Perm;
  identity.effective = id;
  return 0;
}

SysResult<int64_t> set_two(Identity& identity, uint32_t real, uint32_t effective, bool may_all) {
  if (!may_all && (!(real == kKeep || real == identity.real || real == identity.effective) ||
                   !is_one_of(identity, effective)))
    return Errno::Perm;
  const uint32_t old_real = identity.real;
  if (real != kKeep) identity.real = real;
  if (effective != kKeep) identity.effective = effective;
  if (real != kKeep || (effective != kKeep && effective != old_real)) identity.saved = identity.effective;
  return 0;
}

SysResult<int64_t> set_three(Identity& identity, SyscallArgs& args, bool may_all) {
  for (int i = 0; i < 3; ++i) {
    if (!may_all && !is_one_of(identity, args.u32(i))) return Errno::Perm;
  }
  if (args.u32(0) != kKeep) identity.real = args.u32(0);
  if (args.u32(1) != kKeep) identity.effective = args.u32(1);
  if (args.u32(2) != kKeep) identity.saved = args.u32(2);
  return 0;
}

SysResult<int64_t> store_three(const Identity& identity, SyscallArgs& args) {
  TRY(store_user(args.a[0], identity.real));
  TRY(store_user(args.a[1], identity.effective));
  TRY(store_user(args.a[2], identity.saved));
  return 0;
}

SysResult<Thread*> thread_of(SyscallArgs& args, int32_t id) {
  if (id < 0) return Errno::Invalid;
  Thread* thread = id == 0 ? &args.thread : find_thread(id);
  if (thread == nullptr || thread->process != args.thread.process) return Errno::NoProcess;
  return thread;
}

struct CapabilityHead {  // struct __user_cap_header_struct
  uint32_t version;
  int32_t pid;
};
constexpr uint32_t kCapabilityVersion = 0x20080522;  // _LINUX_CAPABILITY_VERSION_3

// The size of a capability call's data for this version; stores the known one for another.
SysResult<size_t> capability_words(SyscallArgs& args, const CapabilityHead& head) {
  if (head.version == kCapabilityVersion || head.version == 0x20071026) return size_t{6};
  if (head.version == 0x19980330) return size_t{3};
  TRY(store_user(args.a[0], kCapabilityVersion));
  return Errno::Invalid;
}

}  // namespace

SysResult<int64_t> sys_getuid(SyscallArgs& args) { return process_of(args).user.real; }
SysResult<int64_t> sys_geteuid(SyscallArgs& args) { return process_of(args).user.effective; }
SysResult<int64_t> sys_getgid(SyscallArgs& args) { return process_of(args).group.real; }
SysResult<int64_t> sys_getegid(SyscallArgs& args) { return process_of(args).group.effective; }
SysResult<int64_t> sys_getresuid(SyscallArgs& args) { return store_three(process_of(args).user, args); }
SysResult<int64_t> sys_getresgid(SyscallArgs& args) { return store_three(process_of(args).group, args); }
SysResult<int64_t> sys_setuid(SyscallArgs& args) {
  return set_one(process_of(args).user, args.u32(0), privileged(args));
}
SysResult<int64_t> sys_setgid(SyscallArgs& args) {
  return set_one(process_of(args).group, args.u32(0), privileged(args));
}
SysResult<int64_t> sys_setreuid(SyscallArgs& args) {
  return set_two(process_of(args).user, args.u32(0), args.u32(1), privileged(args));
}
SysResult<int64_t> sys_setregid(SyscallArgs& args) {
  return set_two(process_of(args).group, args.u32(0), args.u32(1), privileged(args));
}
SysResult<int64_t> sys_setresuid(SyscallArgs& args) {
  return set_three(process_of(args).user, args, privileged(args));
}
SysResult<int64_t> sys_setresgid(SyscallArgs& args) {
  return set_three(process_of(args).group, args, privileged(args));
}
// The file-system ids follow the effective ones; these calls have no error, they return the old value.
SysResult<int64_t> sys_setfsuid(SyscallArgs& args) { return process_of(args).user.effective; }
SysResult<int64_t> sys_setfsgid(SyscallArgs& args) { return process_of(args).group.effective; }

SysResult<int64_t> sys_getgroups(SyscallArgs& args) {
  const auto& groups = process_of(args).groups;
  if (args.i32(0) < 0) return Errno::Invalid;
  if (args.i32(0) == 0) return static_cast<int64_t>(groups.size());
  if (static_cast<size_t>(args.i32(0)) < groups.size()) return Errno::Invalid;
  TRY(copy_to_user(args.a[1], groups.data(), groups.size() * sizeof(uint32_t)));
  return static_cast<int64_t>(groups.size());
}
SysResult<int64_t> sys_setgroups(SyscallArgs& args) {
  constexpr uint64_t kMost = 65536;
  if (!privileged(args)) return Errno::Perm;
  if (args.a[0] > kMost) return Errno::Invalid;
  std::vector<uint32_t> groups(args.a[0]);
  TRY(copy_from_user(groups.data(), args.a[1], groups.size() * sizeof(uint32_t)));
  std::sort(groups.begin(), groups.end());
  process_of(args).groups = std::move(groups);
  return 0;
}

SysResult<int64_t> sys_capget(SyscallArgs& args) {
  const auto head = TRY(load_user<CapabilityHead>(args.a[0]));
  const size_t words = TRY(capability_words(args, head));
  if (head.pid < 0) return Errno::Invalid;
  if (!own(args, head.pid)) return Errno::NoProcess;
  if (args.a[1] == 0) return 0;
  constexpr uint32_t kLow = UINT32_MAX, kHigh = 0x1ff;  // the 41 that Linux 6.1 knows
  const bool all = privileged(args);
  // {effective, permitted, inheritable} for bits 0-31, then for the rest
  const uint32_t data[6] = {all ? kLow : 0, all ? kLow : 0, 0, all ? kHigh : 0, all ? kHigh : 0, 0};
  TRY(copy_to_user(args.a[1], data, words * sizeof(uint32_t)));
  return 0;
}

SysResult<int64_t> sys_getpgrp(SyscallArgs& args) { return process_of(args).group_id; }
SysResult<int64_t> sys_getpgid(SyscallArgs& args) { return TRY(process_with(args, args.i32(0)))->group_id; }
SysResult<int64_t> sys_getsid(SyscallArgs& args) { return TRY(process_with(args, args.i32(0)))->session; }
namespace {
bool has_group(int32_t group, int32_t session) {
  bool found = false;
  if (Process* root = user_process())
    for_each_process(*root, [&](Process& member) {
      found = found || (member.group_id == group && member.session == session);
    });
  return found;
}
}  // namespace
SysResult<int64_t> sys_setpgid(SyscallArgs& args) {
  if (args.i32(1) < 0) return Errno::Invalid;
  Process* process = TRY(process_with(args, args.i32(0)));
  Process& self = process_of(args);
  if (process != &self && process->parent != &self) return Errno::NoProcess;
  if (process != &self && process->executed) return Errno::Access;  // it has called execve
  const int32_t group = args.i32(1) == 0 ? process->pid : args.i32(1);
  if (process->session == process->pid) return Errno::Perm;  // its leader stays in its group
  if (process->session != self.session) return Errno::Perm;
  if (group != process->pid && !has_group(group, self.session)) return Errno::Perm;
  process->group_id = group;
  return 0;
}
SysResult<int64_t> sys_setsid(SyscallArgs& args) {
  Process& self = process_of(args);
  if (self.group_id == self.pid) return Errno::Perm;
  self.session = self.group_id = self.pid;
  return self.pid;
}

namespace {

// What getpriority and setpriority mean by their first two arguments: a process, a group, all of a user.
SysResult<std::vector<Process*>> processes_meant(SyscallArgs& args) {
  enum Kind : uint32_t { kOne = 0, kGroup = 1, kUser = 2 };
  Process& self = process_of(args);
  const int32_t who = args.i32(1);
  if (args.u32(0) > kUser) return Errno::Invalid;
  std::vector<Process*> found;
  const auto look_at = [&](Process& process) {
    const bool meant = args.u32(0) == kOne ? process.pid == (who == 0 ? self.pid : who)
                       : args.u32(0) == kGroup
                           ? process.group_id == (who == 0 ? self.group_id : who)
                           : process.user.real == (who == 0 ? self.user.real : args.u32(1));
    if (meant) found.push_back(&process);
  };
  if (self.is_agent || user_process() == nullptr)
    look_at(self);
  else
    for_each_process(*user_process(), look_at);
  const Thread* thread = args.u32(0) == kOne && found.empty() ? find_thread(who) : nullptr;
  if (thread != nullptr && thread->process == &self) found.push_back(&self);
  if (found.empty()) return Errno::NoProcess;
  return found;
}

}  // namespace

SysResult<int64_t> sys_getpriority(SyscallArgs& args) {
  int32_t highest = INT32_MAX;
  for (const Process* process : TRY(processes_meant(args))) highest = std::min(highest, process->priority);
  return 20 - highest;
}
SysResult<int64_t> sys_setpriority(SyscallArgs& args) {
  constexpr int32_t kLowest = 19, kHighest = -20;
  const int32_t wanted = std::clamp(args.i32(2), kHighest, kLowest);
  bool refused = false;
  for (Process* process : TRY(processes_meant(args))) {
    if (wanted < process->priority && !privileged(args))
      refused = true;
    else
      process->priority = wanted;
  }
  return refused ? SysResult<int64_t>(Errno::Access) : 0;
}

SysResult<int64_t> sys_sched_getscheduler(SyscallArgs& args) {
  return TRY(thread_of(args, args.i32(0)))->policy;
}
SysResult<int64_t> sys_sched_setscheduler(SyscallArgs& args) {
  if (args.i32(0) < 0 || args.a[2] == 0) return Errno::Invalid;
  Thread* thread = TRY(thread_of(args, args.i32(0)));
  const auto priority = TRY(load_user<int32_t>(args.a[2]));
  const int32_t reset = args.i32(1) & SCHED_RESET_ON_FORK;
  const int32_t policy = args.i32(1) & ~SCHED_RESET_ON_FORK;
  if (policy == SCHED_FIFO || policy == SCHED_RR)
    return priority < 1 || priority > 99 ? Errno::Invalid : Errno::Perm;
  if (policy != SCHED_OTHER && policy != SCHED_BATCH && policy != SCHED_IDLE) return Errno::Invalid;
  if (priority != 0) return Errno::Invalid;
  if (reset == 0 && (thread->policy & SCHED_RESET_ON_FORK) != 0 && !privileged(args)) return Errno::Perm;
  thread->policy = policy | reset;
  return 0;
}
SysResult<int64_t> sys_sched_getparam(SyscallArgs& args) {
  if (args.a[1] == 0) return Errno::Invalid;
  TRY(thread_of(args, args.i32(0)));
  TRY(store_user(args.a[1], int32_t{0}));
  return 0;
}
SysResult<int64_t> sys_sched_setparam(SyscallArgs& args) {
  if (args.a[1] == 0) return Errno::Invalid;
  TRY(thread_of(args, args.i32(0)));
  return TRY(load_user<int32_t>(args.a[1])) == 0 ? SysResult<int64_t>(0) : Errno::Invalid;
}
namespace {
SysResult<int64_t> priority_bound(int32_t policy, int64_t real_time) {
  if (policy == SCHED_FIFO || policy == SCHED_RR) return real_time;
  constexpr int32_t kDeadline = 6;
  if (policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE || policy == kDeadline) return 0;
  return Errno::Invalid;
}
}  // namespace
SysResult<int64_t> sys_sched_get_priority_max(SyscallArgs& args) { return priority_bound(args.i32(0), 99); }
SysResult<int64_t> sys_sched_get_priority_min(SyscallArgs& args) { return priority_bound(args.i32(0), 1); }

SysResult<int64_t> sys_personality(SyscallArgs& args) {
  constexpr uint32_t kAsk = UINT32_MAX, kLinux = 0;
  if (args.u32(0) != kAsk && args.u32(0) != kLinux) return Errno::Invalid;
  return kLinux;
}
namespace {
// Whether the time, seconds and so many parts of one, is one that a clock could show.
SysResult<bool> settable(uint64_t address, int64_t parts) {
  struct Time {
    int64_t seconds, part;
  };
  const auto time = TRY(load_user<Time>(address));
  return time.seconds >= 0 && time.part >= 0 && time.part < parts;
}
}  // namespace
SysResult<int64_t> sys_sethostname(SyscallArgs&) { return Errno::Perm; }
SysResult<int64_t> sys_setdomainname(SyscallArgs&) { return Errno::Perm; }
SysResult<int64_t> sys_clock_settime(SyscallArgs& args) {
  if (args.i32(0) != 0) return Errno::Invalid;  // only CLOCK_REALTIME can be set at all
  const bool good = TRY(settable(args.a[1], 1'000'000'000));
  return good ? Errno::Perm : Errno::Invalid;
}
SysResult<int64_t> sys_settimeofday(SyscallArgs& args) {
  bool good = true;
  if (args.a[0] != 0) good = TRY(settable(args.a[0], 1'000'000));
  if (good && args.a[1] != 0) TRY(load_user<uint64_t>(args.a[1]));  // a time zone
  return good ? Errno::Perm : Errno::Invalid;
}

}  // namespace cloister::enclave
