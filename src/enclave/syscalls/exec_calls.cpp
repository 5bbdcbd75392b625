// execve in place: the process stays, its program is replaced.
#include <algorithm>
#include <cstring>

#include "enclave/arch/entry.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/thread_block.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/vector_state.h"
#include "enclave/loader/start.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

constexpr size_t kMaxString = 128 << 10;         // Linux: MAX_ARG_STRLEN
constexpr size_t kMaxStrings = size_t{2} << 20;  // bytes of all strings of one list

// A NULL-terminated array of strings; a null array is an empty list, as in Linux.
SysResult<std::vector<std::string>> strings_from_user(uint64_t array) {
  std::vector<std::string> list;
  if (array == 0) return list;
  for (size_t bytes = 0;; array += 8) {
    const uint64_t at = TRY(load_user<uint64_t>(array));
    if (at == 0) return list;
    auto text = string_from_user(at, kMaxString);
    if (!text.ok()) return text.error() == Errno::NameTooLong ? Errno::TooBig : text.error();
    bytes += text->size() + 1 + sizeof(uint64_t);
    if (bytes > kMaxStrings) return Errno::TooBig;
    list.push_back(std::move(text).value());
  }
}

void reset_thread(Thread& thread, const std::string& path) {
  thread.clear_child_tid = thread.robust_list = 0;
  thread.alternate_stack = thread.alternate_stack_size = 0;
  thread.alternate_stack_flags = 2;  // SS_DISABLE
  thread.fs_base = 0;
  set_fs_base(0);
  thread.name = {};
  const std::string name = path.substr(path.rfind('/') + 1);
  std::memcpy(thread.name.data(), name.data(), std::min<size_t>(name.size(), thread.name.size() - 1));
  vector_reset_user();
}

}  // namespace

SysResult<int64_t> sys_execve(SyscallArgs& args) {
  Process& process = *args.thread.process;
  if (process.is_agent) return Errno::Perm;
  const std::string path = TRY(string_from_user(args.a[0], 4095));
  std::vector<std::string> arguments = TRY(strings_from_user(args.a[1]));
  const std::vector<std::string> environment = TRY(strings_from_user(args.a[2]));
  if (arguments.empty()) arguments.emplace_back();  // Linux since 5.18
  const UserEntry entry = TRY(replace_program(process, path, arguments, environment));
  for (const int32_t fd : process.files.open_list()) {
    const auto close = process.files.close_on_exec(fd);
    if (close.ok() && close.value()) (void)process.files.close(fd);
  }
  end_posix_timers(process);
  process.executed = true;
  process.dumpable = true;
  process.wants_barriers = false;
  process.exit_signal = kSigChild;
  process.signals.reset_for_exec();
  stop_borrowing(process);
  reset_thread(args.thread, path);
  args.frame = UserFrame{};
  args.frame.rip = entry.rip;
  args.frame.rsp = entry.rsp;
  args.frame.rflags = 0x202;
  args.frame.original_rax = ~uint64_t{0};
  args.frame.full_restore = 1;
  return 0;
}

}  // namespace cloister::enclave
