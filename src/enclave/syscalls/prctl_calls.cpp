// prctl: what a process or a thread keeps about itself.
#include <sys/prctl.h>

#include <algorithm>
#include <cstring>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kDefaultSlack = 50000;  // nanoseconds
constexpr uint64_t kLastCapability = 40;

SysResult<int64_t> set_name(SyscallArgs& args) {
  char name[16] = {};
  for (size_t i = 0; i + 1 < sizeof(name); ++i) {
    name[i] = TRY(load_user<char>(args.a[1] + i));
    if (name[i] == 0) break;
  }
  std::memcpy(args.thread.name.data(), name, sizeof(name));
  return 0;
}

// The arguments from `first` on must be zero.
bool rest_zero(const SyscallArgs& args, size_t first) {
  for (size_t i = first; i < 5; ++i) {
    if (args.a[i] != 0) return false;
  }
  return true;
}

SysResult<int64_t> no_new_privileges(SyscallArgs& args, bool set) {
  if (!rest_zero(args, set ? 2 : 1) || (set && args.a[1] != 1)) return Errno::Invalid;
  if (!set) return args.thread.no_new_privileges ? 1 : 0;
  args.thread.no_new_privileges = true;
  return 0;
}

SysResult<int64_t> set_switch(bool& value, uint64_t wanted) {
  if (wanted > 1) return Errno::Invalid;
  value = wanted == 1;
  return 0;
}

}  // namespace

SysResult<int64_t> sys_prctl(SyscallArgs& args) {
  Process& process = *args.thread.process;
  switch (args.i32(0)) {
    case PR_SET_NAME:
      return set_name(args);
    case PR_GET_NAME:
      TRY(copy_to_user(args.a[1], args.thread.name.data(), args.thread.name.size()));
      return 0;
    case PR_SET_PDEATHSIG:  // the program's own parent is the host, whose end is that of all
      if (args.a[1] > kSignalCount) return Errno::Invalid;
      process.death_signal = static_cast<int32_t>(args.a[1]);
      return 0;
    case PR_GET_PDEATHSIG:
      TRY(store_user(args.a[1], process.death_signal));
      return 0;
    case PR_SET_DUMPABLE:  // kept; nothing of an enclave is ever dumped
      return set_switch(process.dumpable, args.a[1]);
    case PR_GET_DUMPABLE:
      return process.dumpable ? 1 : 0;
    case PR_SET_NO_NEW_PRIVS:
    case PR_GET_NO_NEW_PRIVS:
      return no_new_privileges(args, args.i32(0) == PR_SET_NO_NEW_PRIVS);
    case PR_SET_CHILD_SUBREAPER:
      process.subreaper = args.a[1] != 0;
      return 0;
    case PR_GET_CHILD_SUBREAPER:
      TRY(store_user(args.a[1], int32_t{process.subreaper}));
      return 0;
    case PR_SET_TIMERSLACK:  // kept; the host schedules
      args.thread.timer_slack_ns = static_cast<int64_t>(args.a[1]) <= 0 ? kDefaultSlack : args.a[1];
      return 0;
    case PR_GET_TIMERSLACK:
      return static_cast<int64_t>(args.thread.timer_slack_ns);
    case PR_CAPBSET_READ:
      return args.a[1] <= kLastCapability ? SysResult<int64_t>(1) : Errno::Invalid;
    case PR_GET_KEEPCAPS:
    case PR_GET_SECCOMP:
      return 0;
    default:
      return Errno::Invalid;
  }
}

}  // namespace cloister::enclave
