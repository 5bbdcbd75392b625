// Starting and waiting for children.
#include <algorithm>

#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

enum WaitOption : uint32_t {
  kNoHang = 1,
  kStopped = 2,
  kExited = 4,
  kContinued = 8,
  kLeave = 0x1000000,    // WNOWAIT
  kAnyKind = 0xe0000000  // __WNOTHREAD, __WALL, __WCLONE
};
constexpr int32_t kAny = -1;

bool matches(const Process& child, int32_t pid, int32_t group) {
  return pid == kAny || child.pid == pid || (group != 0 && child.group_id == group);
}

// The child to report; nullptr: none yet, and the caller does not want to wait.
SysResult<Process*> wait_for(Process& parent, int32_t pid, int32_t group, uint32_t options) {
  for (;;) {
    bool any = false;
    for (Process* child : parent.children) {
      if (child->unwanted || !matches(*child, pid, group)) continue;
      any = true;
      if (child->finished) return child;
    }
    if (!any) return Errno::NoChild;
    if ((options & kNoHang) != 0) return nullptr;
    if (parent.child_changed.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
  }
}

void reap(Process& parent, Process* child) {
  std::erase(parent.children, child);
  delete child;
}

}  // namespace

SysResult<int64_t> sys_wait4(SyscallArgs& args) {
  Process& self = *args.thread.process;
  const uint32_t options = args.u32(2);
  if ((options & ~(kNoHang | kStopped | kContinued | kAnyKind)) != 0) return Errno::Invalid;
  const int32_t wanted = args.i32(0);
  if (wanted == INT32_MIN) return Errno::NoProcess;
  const int32_t group = wanted == 0 ? self.group_id : wanted < kAny ? -wanted : 0;
  Process* child = TRY(wait_for(self, wanted > 0 || wanted == kAny ? wanted : 0, group, options));
  if (child == nullptr) return 0;
  const int32_t pid = child->pid;
  const uint32_t status = child->exit_status;
  reap(self, child);
  if (args.a[1] != 0) TRY(store_user(args.a[1], status));
  if (args.a[3] != 0) TRY(zero_user(args.a[3], 144));  // struct rusage: CPU time is known per enclave only
  return pid;
}

SysResult<int64_t> sys_waitid(SyscallArgs& args) {
  enum Kind : int32_t { kAll = 0, kPid = 1, kGroup = 2 };
  Process& self = *args.thread.process;
  const uint32_t options = args.u32(3);
  if ((options & ~(kNoHang | kStopped | kExited | kContinued | kLeave | kAnyKind)) != 0 ||
      (options & (kStopped | kExited | kContinued)) == 0)
    return Errno::Invalid;
  const int32_t kind = args.i32(0), id = args.i32(1);
  if (kind < kAll || kind > kGroup || (kind == kPid && id <= 0) || (kind == kGroup && id < 0))
    return Errno::Invalid;
  const int32_t group = kind == kGroup ? (id == 0 ? self.group_id : id) : 0;
  Process* child = TRY(wait_for(self, kind == kAll ? kAny : kind == kPid ? id : 0, group, options));
  uint8_t out[128] = {};
  if (child != nullptr) {
    store_signal_info(out, end_info(*child));
    if ((options & kLeave) == 0) reap(self, child);
  }
  if (args.a[2] != 0) TRY(copy_to_user(args.a[2], out, sizeof(out)));
  return 0;
}

}  // namespace cloister::enclave
