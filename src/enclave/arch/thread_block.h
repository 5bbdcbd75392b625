// ThreadBlock: what entry.S knows about a thread, one page per TCS, always at GS inside the enclave. The
// program cannot change GS (arch_prctl refuses, and a program that writes it with wrgsbase only breaks
// itself).
#pragma once

#include <cstddef>
#include <cstdint>

#include "enclave/arch/offsets.h"

namespace cloister::enclave {

struct Thread;

// GPRSGX as the CPU saves it at an asynchronous exit (SDM vol. 3D, 38.9.1.1), then EXINFO (38.9.2.1).
struct ExceptionRecord {
  uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rflags, rip, ursp, urbp;
  uint32_t exit_info;  // bits 0-7 vector, 8-10 type (3 hardware, 6 software), 31 valid
  uint32_t reserved;
  uint64_t fs_base, gs_base;
  uint64_t fault_address;  // EXINFO.MADDR, for #PF and #GP
  uint32_t fault_error;    // EXINFO.ERRCD, page-fault error code
  uint32_t fault_reserved;
  uint64_t padding;

  bool valid() const { return (exit_info >> 31) != 0; }
  uint32_t vector() const { return exit_info & 0xff; }
};

struct ThreadBlock {
  ThreadBlock* self;
  Thread* thread;
  uint64_t gate;          // where patched call sites jump: jmp *%gs:16
  uint64_t stack_top;     // of the kernel stack, 64-byte aligned
  uint64_t stack_low;     // lowest usable address of it
  uint64_t state;         // STATE_…
  uint64_t work;          // not 0: look for signals before going back to the program
  uint64_t vector_saved;  // VECTOR_…; not 0: vector_area holds the program's vector state, registers are the
                          // kernel's
  uint64_t vector_area;  // XSAVE area, 64-byte aligned
  uint64_t vector_mask;  // XCR0
  uint64_t host_call_sp;
  uint64_t host_return;  // rcx at EENTER: where to EEXIT to
  uint64_t host_sp;
  uint64_t host_bp;
  uint64_t host_block;     // untrusted block, checked
  uint64_t ssa_registers;  // GPRSGX of SSA frame 0
  uint64_t user_sp;
  uint64_t user_rip;
  uint64_t initial_fs;
  uint64_t vector_depth;
  uint64_t held_locks;    // lock_order.cpp
  uint64_t fault_key;     // of the last page fault that may have been nothing: its place and registers
  uint64_t fault_count;   // how often it has come in a row
  uint64_t lost_count;    // faults of the kernel that leave no way on
  uint32_t vector_parts;  // VECTOR_MOVED: of which the area holds something
  uint8_t unused[BLOCK_EXCEPTION - 196];
  ExceptionRecord exception;  // of the program; the kernel's own faults get theirs on the stack
};

#define CLOISTER_OFFSET(member, value) static_assert(offsetof(ThreadBlock, member) == (value))
CLOISTER_OFFSET(self, BLOCK_SELF);
CLOISTER_OFFSET(thread, BLOCK_THREAD);
CLOISTER_OFFSET(gate, BLOCK_GATE);
CLOISTER_OFFSET(stack_top, BLOCK_STACK_TOP);
CLOISTER_OFFSET(stack_low, BLOCK_STACK_LOW);
CLOISTER_OFFSET(state, BLOCK_STATE);
CLOISTER_OFFSET(work, BLOCK_WORK);
CLOISTER_OFFSET(vector_saved, BLOCK_VECTOR_SAVED);
CLOISTER_OFFSET(vector_area, BLOCK_VECTOR_AREA);
CLOISTER_OFFSET(vector_mask, BLOCK_VECTOR_MASK);
CLOISTER_OFFSET(host_call_sp, BLOCK_HOST_CALL_SP);
CLOISTER_OFFSET(host_return, BLOCK_HOST_RETURN);
CLOISTER_OFFSET(host_sp, BLOCK_HOST_SP);
CLOISTER_OFFSET(host_bp, BLOCK_HOST_BP);
CLOISTER_OFFSET(host_block, BLOCK_HOST_BLOCK);
CLOISTER_OFFSET(ssa_registers, BLOCK_SSA_REGISTERS);
CLOISTER_OFFSET(user_sp, BLOCK_USER_SP);
CLOISTER_OFFSET(user_rip, BLOCK_USER_RIP);
CLOISTER_OFFSET(initial_fs, BLOCK_INITIAL_FS);
CLOISTER_OFFSET(fault_key, BLOCK_FAULT_KEY);
CLOISTER_OFFSET(fault_count, BLOCK_FAULT_COUNT);
CLOISTER_OFFSET(lost_count, BLOCK_LOST_COUNT);
CLOISTER_OFFSET(exception, BLOCK_EXCEPTION);
#undef CLOISTER_OFFSET
static_assert(offsetof(ExceptionRecord, rip) == SSA_RIP &&
              offsetof(ExceptionRecord, exit_info) == SSA_EXITINFO);
static_assert(offsetof(ExceptionRecord, fault_address) == RECORD_ADDRESS &&
              sizeof(ExceptionRecord) == RECORD_SIZE);
static_assert(offsetof(ExceptionRecord, fault_error) == RECORD_ERROR);

inline ThreadBlock* this_block() {
  ThreadBlock* block;
  __asm__("mov %%gs:0, %0" : "=r"(block));
  return block;
}

inline constexpr size_t kVectorAreaSize = 16384;  // XSAVE area of every feature up to AMX

}  // namespace cloister::enclave
