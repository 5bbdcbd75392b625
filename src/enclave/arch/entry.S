// Every way into and out of the enclave, and between the program and the kernel.
//
//   EENTER, CSSA 0   enclave_entry: a new thread, or the reply to a host call
//   EENTER, CSSA 1   stage 1 of an asynchronous exit. The state of the interrupted code lies in SSA frame 0. Stage 1
//                    uses no stack: it decides where that code shall go on, writes this into the SSA and leaves with
//                    "Resume"; the host's ERESUME then starts stage 2 with the interrupted code's vector registers.
//                    So CSSA is 0 again whenever C++ runs, and any number of exceptions can follow.
//   jmp *%gs:16      syscall_gate, from patched call sites, rcx = where to go on
//   return_to_user   the only way back to the program. Between its look at `work` and its jump an asynchronous exit
//                    may set `work`; stage 1 then restarts it, so no signal waits until the next system call.
//
// In SGX the host chooses rsp, rbp, rflags and every vector register at EENTER: flags are reset first, stacks
// are the kernel's own, and addresses the host gives are checked in C++ before use.
#include "enclave/arch/offsets.h"

  .text

// ---------------------------------------------------------------------------------------------------------------
  .globl enclave_entry
  .type enclave_entry, @function
  .balign 64
enclave_entry:
  cld
  test %rax, %rax
  jnz exception_entry
  cmpq $STATE_HOST_CALL, %gs:BLOCK_STATE
  je host_call_return
  mov $STATE_READY, %eax
  mov $STATE_RUNNING, %edx
  lock cmpxchg %rdx, %gs:BLOCK_STATE
  je 1f
  // The first entry of all: one idle TCS becomes the thread that boots.
  cmp $STATE_IDLE, %eax
  jne refuse_entry
  mov $1, %eax
  xchg %eax, boot_claimed(%rip)
  test %eax, %eax
  jnz refuse_entry
  movq $STATE_RUNNING, %gs:BLOCK_STATE
1:
  mov %rcx, %gs:BLOCK_HOST_RETURN
  mov %rsp, %gs:BLOCK_HOST_SP
  mov %rbp, %gs:BLOCK_HOST_BP
  mov %rdi, %rsi
  rdgsbase %rdi
  lea BLOCK_TO_STACK_TOP(%rdi), %rsp
  pushq $2
  popfq
  sub $FRAME_SIZE, %rsp           // where the program's registers will be
  mov %rsp, %rdx
  xor %ebp, %ebp
  call kernel_first_entry         // (block, untrusted block, frame)
  jmp return_to_user

host_call_return:
  movq $STATE_RUNNING, %gs:BLOCK_STATE
  mov %rcx, %gs:BLOCK_HOST_RETURN
  mov %rsp, %gs:BLOCK_HOST_SP
  mov %rbp, %gs:BLOCK_HOST_BP
  mov %gs:BLOCK_HOST_CALL_SP, %rsp
  pushq $2
  popfq
  pop %rdi
  call set_fs_base
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret

// A TCS that is not waiting for an entry: the host's mistake. Nothing of the enclave's state is touched.
refuse_entry:
  mov $4, %edi                    // LeaveReason::Refused
  mov %rcx, %rbx
  jmp exit_gate

// ---------------------------------------------------------------------------------------------------------------
// void leave_for_host(uint64_t reason): EEXIT; returns when the host enters again. Vector registers must have been
// cleared (host_call.cpp).
  .globl leave_for_host
  .type leave_for_host, @function
leave_for_host:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  rdfsbase %rax
  push %rax
  mov %rsp, %gs:BLOCK_HOST_CALL_SP
  mov %gs:BLOCK_HOST_RETURN, %rbx
  mov %gs:BLOCK_HOST_SP, %rsp
  mov %gs:BLOCK_HOST_BP, %rbp
  movq $STATE_HOST_CALL, %gs:BLOCK_STATE
  jmp clear_and_exit

// [[noreturn]] void leave_for_good(uint64_t reason, uint64_t new state): this TCS may be entered afresh later.
  .globl leave_for_good
  .type leave_for_good, @function
leave_for_good:
  mov %gs:BLOCK_HOST_RETURN, %rbx
  mov %gs:BLOCK_HOST_SP, %rsp
  mov %gs:BLOCK_HOST_BP, %rbp
  mov %rsi, %gs:BLOCK_STATE

clear_and_exit:
  xor %ecx, %ecx
  xor %edx, %edx
  xor %esi, %esi
  xor %r8d, %r8d
  xor %r9d, %r9d
  xor %r10d, %r10d
  xor %r11d, %r11d
  xor %r12d, %r12d
  xor %r13d, %r13d
  xor %r14d, %r14d
  xor %r15d, %r15d
// EEXIT to rbx. A back-end in software may replace the instructions here by a jump to its own code after measuring;
// they are never executed past enclu, so there is room for any jump.
  .globl exit_gate
  .type exit_gate, @function
  .balign 32
exit_gate:
  mov $4, %eax
  enclu
  .rept 24
  int3
  .endr
  .globl exit_gate_end
exit_gate_end:

// ---------------------------------------------------------------------------------------------------------------
// Stage 1. May change every register but rsp and rbp (the host's); rcx is where to EEXIT to.
exception_entry:
  cmp $1, %rax
  jne refuse_entry                // NSSA is 2, so the CPU cannot get here with more
  mov %rcx, %rbx
  mov %gs:BLOCK_SSA_REGISTERS, %r8
  movabs $USER_END, %r9
  mov SSA_RIP(%r8), %r10
  mov SSA_EXITINFO(%r8), %r11d
  test %r11d, %r11d
  js 2f
1: // Nothing happened inside: the host has news.
  movq $1, %gs:BLOCK_WORK
  cmp %r9, %r10
  jb 3f
  lea return_to_user(%rip), %rdx  // the look may have been taken, the jump not
  cmp %rdx, %r10
  jb 9f
  lea return_end(%rip), %rdx
  cmp %rdx, %r10
  jae 9f
  // Halfway back to the program: the frame is still whole, so go back once more.
  lea return_to_user(%rip), %rdx
  mov %rdx, SSA_RIP(%r8)
  mov %gs:BLOCK_STACK_TOP, %rdx
  sub $FRAME_SIZE, %rdx
  mov %rdx, SSA_RSP(%r8)
  jmp 9f

2: // An exception. But the CPU records every page fault (EXINFO), also those that the operating system resolves: pages
   // that it adds, maps or brings back. The kernel has no others outside of the program's memory, and none at EACCEPT.
   // So nothing has happened, until the very same has come too often for that: equal place, address and registers.
  cmp $VECTOR_PAGE_FAULT, %r11b
  jne 14f
  mov -SSA_EXINFO_BELOW(%r8), %rax
  lea page_leaf_enclu(%rip), %rdx
  cmp %rdx, %r10
  je 12f
  mov %rax, %rdx
  cmp %r9, %r10
  jae 11f
  and $-4096, %rdx                // of the kernel's pages, a program touches its thread's block: jmp *%gs:16
  cmp %gs:BLOCK_SELF, %rdx
  jne 14f
11:
  cmp %r9, %rdx
  jb 14f
12:
  xor %ecx, %ecx
13:
  rol $7, %rax
  add (%r8,%rcx), %rax
  add $8, %ecx
  cmp $SSA_RFLAGS, %ecx
  jb 13b
  rol $7, %rax
  add %r10, %rax
  xor %ecx, %ecx
  cmp %gs:BLOCK_FAULT_KEY, %rax
  mov %rax, %gs:BLOCK_FAULT_KEY
  cmove %gs:BLOCK_FAULT_COUNT, %rcx
  inc %rcx
  mov %rcx, %gs:BLOCK_FAULT_COUNT
  cmp $FAULT_TRIES, %rcx
  ja 15f
  movl $0, SSA_EXITINFO(%r8)
  jmp 1b
15: // It is real.
  cmp %r9, %r10
  jb 3f
  incq %gs:BLOCK_LOST_COUNT
  jmp 4f
14:
  cmp %r9, %r10
  jae 4f
3: // In the program: keep its registers, then enter the kernel at stage 2.
  mov %gs:BLOCK_SELF, %rdi
  add $BLOCK_EXCEPTION, %rdi
  lea 5f(%rip), %rdx
  jmp copy_record
5:
  lea user_exception(%rip), %rdx
  mov %rdx, SSA_RIP(%r8)
  mov %gs:BLOCK_STACK_TOP, %rdx
  mov %rdx, SSA_RSP(%r8)
  movq $2, SSA_RFLAGS(%r8)
9: // Done with this exit: when the host enters again before it resumes, nothing new has happened.
  movl $0, SSA_EXITINFO(%r8)
  mov $2, %edi                    // LeaveReason::Resume
10:
  xor %ecx, %ecx
  xor %edx, %edx
  xor %esi, %esi
  xor %r8d, %r8d
  xor %r9d, %r9d
  xor %r10d, %r10d
  xor %r11d, %r11d
  jmp exit_gate

4: // In the kernel: a fault in a copy of user memory, or our bug. The record goes below the interrupted frame.
  cmpq $LOST_TRIES, %gs:BLOCK_LOST_COUNT
  ja 8f
  mov SSA_RSP(%r8), %rdi
  cmp %gs:BLOCK_STACK_LOW, %rdi
  jb 6f
  cmp %gs:BLOCK_STACK_TOP, %rdi
  ja 6f
  sub $(RECORD_SIZE + 128), %rdi
  and $-64, %rdi
  lea 7f(%rip), %rdx
  jmp copy_record
7:
  mov %rdi, SSA_RDI(%r8)
  mov %rdi, SSA_RSP(%r8)
  lea kernel_fault_entry(%rip), %rdx
  mov %rdx, SSA_RIP(%r8)
  movq $2, SSA_RFLAGS(%r8)
  jmp 9b
6: // Not even on its stack: nothing can be saved. Start the panic on a fresh stack.
  incq %gs:BLOCK_LOST_COUNT
  mov SSA_RIP(%r8), %rdx
  mov %rdx, SSA_RDI(%r8)
  mov %gs:BLOCK_STACK_TOP, %rdx
  mov %rdx, SSA_RSP(%r8)
  lea kernel_lost(%rip), %rdx
  mov %rdx, SSA_RIP(%r8)
  movq $2, SSA_RFLAGS(%r8)
  jmp 9b
8: // It faults on the way to saying that it has faulted. The host ends the process when no resumption is wanted here.
  mov $4, %edi                    // LeaveReason::Refused
  jmp 10b

// Copies GPRSGX (r8) and EXINFO to an ExceptionRecord (rdi), goes on at rdx. Uses rax, rcx, rsi. The exception is
// taken out of the SSA: should the host enter once more before it resumes, that is an event, not the same again.
copy_record:
  xor %ecx, %ecx
1:
  mov (%r8,%rcx), %rax
  mov %rax, (%rdi,%rcx)
  add $8, %ecx
  cmp $REGISTERS_SIZE, %ecx
  jb 1b
  mov -SSA_EXINFO_BELOW(%r8), %rax
  mov %rax, RECORD_ADDRESS(%rdi)
  mov -SSA_EXINFO_BELOW+8(%r8), %rax
  mov %rax, RECORD_ERROR(%rdi)
  movl $0, SSA_EXITINFO(%r8)
  jmp *%rdx

// ---------------------------------------------------------------------------------------------------------------
// Stage 2 of an exception or event in the program: rsp is the top of the kernel stack.
user_exception:
  mov %gs:BLOCK_SELF, %r8
  add $BLOCK_EXCEPTION, %r8
  pushq $1                        // full_restore
  pushq SSA_RSP(%r8)
  pushq SSA_RFLAGS(%r8)
  pushq SSA_RIP(%r8)
  pushq $-1                       // original_rax
  pushq SSA_RDI(%r8)
  pushq SSA_RSI(%r8)
  pushq SSA_RDX(%r8)
  pushq SSA_RCX(%r8)
  pushq SSA_RAX(%r8)
  pushq SSA_R8(%r8)
  pushq SSA_R9(%r8)
  pushq SSA_R10(%r8)
  pushq SSA_R11(%r8)
  pushq SSA_RBX(%r8)
  pushq SSA_RBP(%r8)
  pushq SSA_R12(%r8)
  pushq SSA_R13(%r8)
  pushq SSA_R14(%r8)
  pushq SSA_R15(%r8)
  mov %rsp, %rdi
  mov %r8, %rsi
  xor %ebp, %ebp
  call kernel_user_exception      // (frame, record)
  jmp return_to_user

// Stage 2 of a fault in the kernel: rdi = rsp = record. Vector registers may hold the program's values or crypto in
// flight, and serving the fault may leave the enclave, so they are kept around it.
kernel_fault_entry:
  mov %rdi, %rbx
  mov %rsp, %rbp
  sub $KERNEL_FAULT_VECTORS, %rsp
  and $-64, %rsp
  // The header's reserved bytes must be zero for xrstor.
  movq $0, 512(%rsp)
  movq $0, 520(%rsp)
  movq $0, 528(%rsp)
  movq $0, 536(%rsp)
  movq $0, 544(%rsp)
  movq $0, 552(%rsp)
  movq $0, 560(%rsp)
  movq $0, 568(%rsp)
  mov %gs:BLOCK_VECTOR_MASK, %eax
  mov %gs:BLOCK_VECTOR_MASK+4, %edx
  xsave64 (%rsp)
  mov %rbx, %rdi
  call kernel_fault               // (record); returns when the record is where to go on
  mov %gs:BLOCK_VECTOR_MASK, %eax
  mov %gs:BLOCK_VECTOR_MASK+4, %edx
  xrstor64 (%rsp)
  // The interrupted code's stack has no red zone: its rip and flags fit below it.
  mov SSA_RSP(%rbx), %rax
  mov SSA_RIP(%rbx), %rcx
  mov %rcx, -8(%rax)
  mov SSA_RFLAGS(%rbx), %rcx
  mov %rcx, -16(%rax)
  mov %rbx, %r8
  mov SSA_RCX(%r8), %rcx
  mov SSA_RDX(%r8), %rdx
  mov SSA_RBX(%r8), %rbx
  mov SSA_RBP(%r8), %rbp
  mov SSA_RSI(%r8), %rsi
  mov SSA_RDI(%r8), %rdi
  mov SSA_R9(%r8), %r9
  mov SSA_R10(%r8), %r10
  mov SSA_R11(%r8), %r11
  mov SSA_R12(%r8), %r12
  mov SSA_R13(%r8), %r13
  mov SSA_R14(%r8), %r14
  mov SSA_R15(%r8), %r15
  lea -16(%rax), %rsp
  mov SSA_RAX(%r8), %rax
  mov SSA_R8(%r8), %r8
  popfq
  ret

// ---------------------------------------------------------------------------------------------------------------
// A system call from a patched site: rcx = the address behind the `syscall`, everything else is the program's.
  .globl syscall_gate
  .type syscall_gate, @function
  .balign 64
syscall_gate:
  mov %rsp, %gs:BLOCK_USER_SP
  mov %gs:BLOCK_STACK_TOP, %rsp
  pushq $0                        // full_restore
  pushq %gs:BLOCK_USER_SP
  pushfq
  push %rcx                       // rip
  push %rax                       // original_rax
  push %rdi
  push %rsi
  push %rdx
  push %rcx
  push %rax
  push %r8
  push %r9
  push %r10
  push %r11
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  cld
  mov %rsp, %rdi
  xor %ebp, %ebp
  call kernel_system_call         // (frame)

  .globl return_to_user
return_to_user:                   // rsp = frame, the top of the kernel stack
  cmpq $0, %gs:BLOCK_WORK
  jne work_to_do
  cmpq $VECTOR_IN_REGISTERS, %gs:BLOCK_VECTOR_SAVED
  jne restore_vectors
4:
  mov FRAME_R15(%rsp), %r15
  mov FRAME_R14(%rsp), %r14
  mov FRAME_R13(%rsp), %r13
  mov FRAME_R12(%rsp), %r12
  mov FRAME_RBP(%rsp), %rbp
  mov FRAME_RBX(%rsp), %rbx
  mov FRAME_R10(%rsp), %r10
  mov FRAME_R9(%rsp), %r9
  mov FRAME_R8(%rsp), %r8
  mov FRAME_RDX(%rsp), %rdx
  mov FRAME_RSI(%rsp), %rsi
  mov FRAME_RDI(%rsp), %rdi
  mov FRAME_RIP(%rsp), %rcx
  mov %rcx, %gs:BLOCK_USER_RIP
  cmpq $0, FRAME_FULL_RESTORE(%rsp)
  jne 5f
  mov FRAME_RFLAGS(%rsp), %r11    // as syscall leaves rcx and r11
  jmp 6f
5:
  mov FRAME_RCX(%rsp), %rcx
  mov FRAME_R11(%rsp), %r11
6:
  mov FRAME_RAX(%rsp), %rax
  pushq FRAME_RFLAGS(%rsp)
  popfq
  mov FRAME_RSP(%rsp), %rsp
  jmp *%gs:BLOCK_USER_RIP

restore_vectors:
  cmpq $VECTOR_MOVED, %gs:BLOCK_VECTOR_SAVED
  je 7f
  mov %gs:BLOCK_VECTOR_AREA, %rcx
  mov %gs:BLOCK_VECTOR_MASK, %eax
  mov %gs:BLOCK_VECTOR_MASK+4, %edx
  xrstor64 (%rcx)
  movq $VECTOR_IN_REGISTERS, %gs:BLOCK_VECTOR_SAVED
  jmp 4b
7:call kernel_move_vectors_in     // outside of this range: an exit there may have set `work`
  movq $VECTOR_IN_REGISTERS, %gs:BLOCK_VECTOR_SAVED
  jmp return_to_user
return_end:

work_to_do:
  mov %rsp, %rdi
  call kernel_exit_work           // (frame): signals; clears `work`
  jmp return_to_user

// ---------------------------------------------------------------------------------------------------------------
// size_t copy_bytes_catching(void* to, const void* from, size_t size): returns how many were not copied. A fault at
// copy_bytes_fault_point goes on at copy_bytes_caught (exceptions.cpp), with rcx = what was left.
  .globl copy_bytes_catching
  .type copy_bytes_catching, @function
copy_bytes_catching:
  mov %rdx, %rcx
  .globl copy_bytes_fault_point
copy_bytes_fault_point:
  rep movsb
  .globl copy_bytes_caught
copy_bytes_caught:
  mov %rcx, %rax
  ret

// size_t zero_bytes_catching(void* to, size_t size)
  .globl zero_bytes_catching
  .type zero_bytes_catching, @function
zero_bytes_catching:
  mov %rsi, %rcx
  xor %eax, %eax
  .globl zero_bytes_fault_point
zero_bytes_fault_point:
  rep stosb
  .globl zero_bytes_caught
zero_bytes_caught:
  mov %rcx, %rax
  ret

// uint32_t compare_exchange_catching(uint32_t* word, uint32_t expected, uint32_t desired, uint32_t* old)
// Returns 1 when the word could be reached (then *old is what it held), 0 on a fault.
  .globl compare_exchange_catching
  .type compare_exchange_catching, @function
compare_exchange_catching:
  mov %rcx, %r8
  mov %esi, %eax
  .globl compare_exchange_fault_point
compare_exchange_fault_point:
  lock cmpxchg %edx, (%rdi)
  mov %eax, (%r8)
  mov $1, %eax
  ret
  .globl compare_exchange_caught
compare_exchange_caught:
  xor %eax, %eax
  ret

// uint64_t page_leaf(uint64_t address, uint64_t end, uint64_t SECINFO.FLAGS, uint32_t leaf): EACCEPT or EMODPE of each
// page (SDM vol. 3D). 0, or the code with which EACCEPT refused a page; EMODPE has none. A fault at page_leaf_enclu
// ends the enclave (exceptions.cpp). A back-end in software may replace the nops by a jump after measuring.
  .globl page_leaf
  .type page_leaf, @function
  .balign 32
page_leaf:
  .byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
  .byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
  push %rbx
  sub $144, %rsp
  lea 63(%rsp), %rbx
  and $-64, %rbx                  // SECINFO is 64-byte aligned
  mov %rdx, (%rbx)
  movq $0, 8(%rbx)
  movq $0, 16(%rbx)
  movq $0, 24(%rbx)
  movq $0, 32(%rbx)
  movq $0, 40(%rbx)
  movq $0, 48(%rbx)
  movq $0, 56(%rbx)
  mov %ecx, %r8d
  mov %rdi, %rcx
1:
  xor %eax, %eax
  cmp %rsi, %rcx
  jae 3f
  mov %r8d, %eax
  .globl page_leaf_enclu
page_leaf_enclu:
  enclu
  cmp $5, %r8d
  jne 2f
  test %eax, %eax
  jnz 3f
2:
  add $4096, %rcx
  jmp 1b
3:
  add $144, %rsp
  pop %rbx
  ret

// void set_fs_base(uint64_t value): the only place where the kernel changes FS. A back-end in software whose operating
// system does not keep a value that was set by this instruction may replace it by a jump after measuring.
  .globl set_fs_base
  .type set_fs_base, @function
  .balign 32
set_fs_base:
  wrfsbase %rdi
  ret
  .rept 26
  int3
  .endr

  .section .note.GNU-stack, "", @progbits
