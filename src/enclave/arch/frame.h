// UserFrame: the program's general registers while it is inside the kernel. entry.S builds it on the thread's
// kernel stack, the same way for a patched call site and for an exception, and restores from it, so whoever
// changes the frame changes where the program goes on. The offsets are asserted against entry.S (offsets.h).
#pragma once

#include <cstdint>

namespace cloister::enclave {

struct UserFrame {
  uint64_t r15, r14, r13, r12, rbp, rbx;
  uint64_t r11, r10, r9, r8;
  uint64_t rax, rcx, rdx, rsi, rdi;
  uint64_t original_rax;  // number of the system call, or ~0 when the program came in by an exception
  uint64_t rip, rflags, rsp;
  uint64_t
      full_restore;  // 0: rcx and r11 may be lost on the way out (a system call), 1: every register counts
};
static_assert(sizeof(UserFrame) == 160);

// The arguments of one system call. Handlers return the value for rax, or an errno.
struct Thread;
struct SyscallArgs {
  UserFrame& frame;
  Thread& thread;
  uint64_t a[6];

  int32_t i32(int n) const { return static_cast<int32_t>(a[n]); }
  uint32_t u32(int n) const { return static_cast<uint32_t>(a[n]); }
  int64_t i64(int n) const { return static_cast<int64_t>(a[n]); }
};

}  // namespace cloister::enclave
