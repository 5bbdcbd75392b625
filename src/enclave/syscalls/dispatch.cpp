// From a number to its handler. Everything here is made from table.inc.
#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/thread_block.h"
#include "enclave/process.h"
#include "enclave/syscalls/private_calls.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

using Handler = SysResult<int64_t> (*)(SyscallArgs&);
struct Row {
  Handler handler = nullptr;
  const char* name = nullptr;
};
constexpr uint64_t kRows = 512;

constexpr struct Table {
  Row rows[kRows];
  constexpr Table() : rows{} {
#define SYSCALL(number, name, level, note) rows[number] = Row{&sys_##name, #name};
#include "enclave/syscalls/table.inc"
#undef SYSCALL
  }
} kTable;

uint64_t g_said[kRows / 64];

SysResult<int64_t> unknown(uint64_t number) {
  if (number < kRows && (g_said[number / 64] & (uint64_t{1} << (number % 64))) == 0) {
    g_said[number / 64] |= uint64_t{1} << (number % 64);
    log(LogLevel::Info, "system call {} is not served: ENOSYS", number);
  }
  return Errno::NoSys;
}

}  // namespace

const char* system_call_name(uint64_t number) {
  return number < kRows && kTable.rows[number].name != nullptr ? kTable.rows[number].name : "?";
}

void dispatch_system_call(Thread& thread, UserFrame& frame) {
  const uint64_t number = frame.original_rax;
  SyscallArgs args{frame, thread, {frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9}};
  if (log_enabled(LogLevel::Trace)) {
    log(LogLevel::Trace, "{} {}({x}, {x}, {x}, {x}, {x}, {x})", thread.tid, system_call_name(number),
        args.a[0], args.a[1], args.a[2], args.a[3], args.a[4], args.a[5]);
  }
  const bool is_private = number >= kFirstPrivateCall && thread.process->is_agent;
  const SysResult<int64_t> result = is_private ? private_call(number, args)
                                    : number < kRows && kTable.rows[number].handler != nullptr
                                        ? kTable.rows[number].handler(args)
                                        : unknown(number);
  frame.rax = result.ok() ? static_cast<uint64_t>(result.value())
                          : static_cast<uint64_t>(-static_cast<int64_t>(result.error()));
  // The restart is decided on the way out, where signals are delivered.
  if (!result.ok() && result.error() == Errno::RestartSystemCall) {
    __atomic_store_n(&thread.block->work, 1, __ATOMIC_SEQ_CST);
  }
  if (log_enabled(LogLevel::Trace)) {
    log(LogLevel::Trace, "{} {} = {}", thread.tid, system_call_name(number), static_cast<int64_t>(frame.rax));
  }
}

}  // namespace cloister::enclave
