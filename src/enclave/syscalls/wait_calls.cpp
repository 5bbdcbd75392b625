// Starting and waiting for children.
#include <algorithm>

#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/pidfd.h"

namespace cloister::enclave {
namespace {

enum WaitOption : uint32_t {
  kNoHang = 1,
  kStopped = 2,
  kExited = 4,
  kContinued = 8,
  kLeave = 0x1000000,  // WNOWAIT
  kNoThread = 0x20000000,
  kWaitAll = 0x40000000,
  kWaitClone = 0x80000000,
  kAnyKind = kNoThread | kWaitAll | kWaitClone
};
constexpr int32_t kAny = -1;

bool matches(const Process& child, int32_t pid, int32_t group, uint32_t options) {
  // Children that tell of their end by another signal are for those that ask for them only.
  const bool other_kind = child.exit_signal != kSigChild;
  if ((options & kWaitAll) == 0 && other_kind != ((options & kWaitClone) != 0)) return false;
  return pid == kAny || child.pid == pid || (group != 0 && child.group_id == group);
}

bool to_report(const Process& child, uint32_t options) {
  if (child.finished) return true;
  return ((options & kStopped) != 0 && child.change == ChildChange::Stopped) ||
         ((options & kContinued) != 0 && child.change == ChildChange::Continued);
}

// The child to report; nullptr: none yet, and the caller does not want to wait.
SysResult<Process*> wait_for(Process& parent, int32_t pid, int32_t group, uint32_t options) {
  for (;;) {
    bool any = false;
    for (Process* child : parent.children) {
      if (child->unwanted || !matches(*child, pid, group, options)) continue;
      if (child->finished && (options & kExited) == 0) continue;
      any = true;
      if (to_report(*child, options)) return child;
    }
    if (!any) return Errno::NoChild;
    if ((options & kNoHang) != 0) return nullptr;
    if (parent.child_changed.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
  }
}

// It has been reported.
void take(Process& parent, Process* child) {
  if (!child->finished) {
    child->change = ChildChange::None;
    return;
  }
  parent.children_cpu_ns = cpu_sum(parent.children_cpu_ns, cpu_with_children(*child));
  std::erase(parent.children, child);
  pid_files_gone(*child);
  delete child;
}

// Of waitid(P_PIDFD).
SysResult<int32_t> pid_of(Process& self, int32_t descriptor, bool& may_wait) {
  const Ref<File> file = TRY(self.files.get(descriptor));
  const PidFile* named = file->pidfd();
  if (named == nullptr) return Errno::BadFile;
  if (named->process() == nullptr) return Errno::NoChild;
  may_wait = !named->non_blocking();
  return named->process()->pid;
}

uint32_t status_of(const Process& child) {
  if (child.finished) return child.exit_status;
  if (child.change == ChildChange::Continued) return 0xffff;
  return static_cast<uint32_t>(child.stop_signal) << 8 | 0x7f;
}

}  // namespace

SysResult<int64_t> sys_wait4(SyscallArgs& args) {
  Process& self = *args.thread.process;
  const uint32_t options = args.u32(2);
  if ((options & ~(kNoHang | kStopped | kContinued | kAnyKind)) != 0) return Errno::Invalid;
  const int32_t wanted = args.i32(0);
  if (wanted == INT32_MIN) return Errno::NoProcess;
  const int32_t group = wanted == 0 ? self.group_id : wanted < kAny ? -wanted : 0;
  Process* child = TRY(wait_for(self, wanted > 0 || wanted == kAny ? wanted : 0, group, options | kExited));
  if (child == nullptr) return 0;
  const int32_t pid = child->pid;
  const uint32_t status = status_of(*child);
  const uint64_t used = cpu_with_children(*child);
  take(self, child);
  if (args.a[3] != 0) TRY(store_child_usage(args.a[3], used));
  if (args.a[1] != 0) TRY(store_user(args.a[1], status));
  return pid;
}

SysResult<int64_t> sys_waitid(SyscallArgs& args) {
  enum Kind : int32_t { kAll = 0, kPid = 1, kGroup = 2, kDescriptor = 3 };
  Process& self = *args.thread.process;
  const uint32_t options = args.u32(3);
  if ((options & ~(kNoHang | kStopped | kExited | kContinued | kLeave | kAnyKind)) != 0 ||
      (options & (kStopped | kExited | kContinued)) == 0)
    return Errno::Invalid;
  const int32_t kind = args.i32(0);
  int32_t id = args.i32(1);
  if (kind < kAll || kind > kDescriptor || (kind == kPid && id <= 0) || (kind >= kGroup && id < 0))
    return Errno::Invalid;
  bool may_wait = true;
  if (kind == kDescriptor) id = TRY(pid_of(self, id, may_wait));
  const int32_t group = kind == kGroup ? (id == 0 ? self.group_id : id) : 0;
  Process* child = TRY(wait_for(self,
                                kind == kAll     ? kAny
                                : kind == kGroup ? 0
                                                 : id,
                                group, may_wait ? options : options | kNoHang));
  if (child == nullptr && !may_wait && (options & kNoHang) == 0) return Errno::Again;
  uint8_t out[128] = {};
  if (child != nullptr) {
    store_signal_info(out, child->finished ? end_info(*child) : change_info(*child));
    const uint64_t used = cpu_with_children(*child);
    if ((options & kLeave) == 0) take(self, child);
    if (args.a[4] != 0) TRY(store_child_usage(args.a[4], used));
  }
  if (args.a[2] != 0) TRY(copy_to_user(args.a[2], out, sizeof(out)));
  return 0;
}

}  // namespace cloister::enclave
