// The calls of the vDSO. See entry.h. At host_sp lies the thread, above it what the caller wants back.
#include "host/hw/entry_offsets.h"

  .text

// uint64_t hw_enter(HwThread*)
  .globl hw_enter
  .type hw_enter, @function
hw_enter:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  push %rdi
  mov %rsp, HW_HOST_SP(%rdi)
  movq $HW_ENTERING, HW_STAGE(%rdi)
  mov $HW_EENTER, %ecx
  call hw_call
1:
  mov (%rsp), %rdi
  mov %eax, %esi
  call hw_left                   // (thread, status): whether an exception has to be shown
  test %eax, %eax
  jnz hw_look
  pop %rdi
  movq $HW_OUTSIDE, HW_STAGE(%rdi)
  mov HW_REASON(%rdi), %rax
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret

// A look because of `notice`. From here on rsp = host_sp, and no other register matters.
  .globl hw_look_at_notice
hw_look_at_notice:
  mov (%rsp), %rdi
  movq $HW_LOOKING, HW_STAGE(%rdi)
  movq $0, HW_NOTICE(%rdi)

// A look because of an exception. It hides what came besides, so `notice` stays for a look of its own.
  .globl hw_look
hw_look:
  cld
  mov (%rsp), %rdi
  movq $HW_LOOKING, HW_STAGE(%rdi)
  mov $HW_EENTER, %ecx
  call hw_call
  mov (%rsp), %rdi
  mov %eax, %esi
  call hw_looked                 // (thread, status)
  mov (%rsp), %rdi
  movq $HW_RESUMING, HW_STAGE(%rdi)

// A signal between here and ERESUME starts a look (entry.cpp), so that none is missed after the comparison.
  .globl hw_resume
hw_resume:
  cmpq $0, HW_NOTICE(%rdi)
  jne hw_look_at_notice
  mov $HW_ERESUME, %ecx
  call hw_call
  .globl hw_resume_end
hw_resume_end:
  jmp 1b

// ecx = ENCLU leaf; rsp = host_sp - 8. eax = what the vDSO returns.
  .globl hw_call
hw_call:
  mov 8(%rsp), %rax
  lea HW_RUN(%rax), %rdi
  push %rdi
  mov HW_BLOCK(%rax), %rdi
  xor %esi, %esi
  xor %edx, %edx
  xor %r8d, %r8d
  xor %r9d, %r9d
  call *HW_FUNCTION(%rax)
  .globl hw_called
hw_called:
  cld
  mov 16(%rsp), %rcx
  mov %rdi, HW_REASON(%rcx)
  add $8, %rsp
  ret

  .section .note.GNU-stack, "", @progbits
