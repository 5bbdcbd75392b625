// The transitions of the software CPU. See cpu.h for the state, entry.S of the kernel for the other side.
#include "host/sim/cpu_offsets.h"

#define SYS_ARCH_PRCTL 158
#define ARCH_SET_FS 0x1002

  .text

// FS := rsi by a system call, for operating systems that do not keep what wrfsbase sets (sim_slow_bases, cpu.h).
// Changes rax, rcx, rdi, r11.
.macro set_fs_by_system_call
  mov $ARCH_SET_FS, %edi
  mov $SYS_ARCH_PRCTL, %eax
  syscall
.endm

// uint64_t sim_eenter(SimThread*). rax = CSSA, rbx = TCS, rcx = the address behind EENTER (SDM vol. 3D, EENTER).
  .globl sim_eenter
  .type sim_eenter, @function
sim_eenter:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  pushq CPU_HOST_SP(%rdi)        // EENTER nests while an exception is looked at
  push %rdi
  mov %rsp, CPU_HOST_SP(%rdi)
  mov CPU_TCS(%rdi), %rbx
  mov CPU_CSSA(%rdi), %rax
  mov CPU_ENTRY(%rdi), %rdx
  mov CPU_TCS_FS(%rdi), %r8
  mov CPU_TCS_GS(%rdi), %r9
  mov CPU_BLOCK(%rdi), %rdi
  lea 1f(%rip), %rcx
  cmpl $0, sim_slow_bases(%rip)
  jne 2f                         // GS is the enclave's all the time, and FS is the kernel's own business
  wrfsbase %r8
  wrgsbase %r9
2:
  jmp *%rdx
1: // EEXIT came here: rdi = reason, rsp as above
  cld
  mov %rdi, %rax
  pop %rdi
  popq CPU_HOST_SP(%rdi)
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret

// EEXIT: back to rbx with the host's FS and GS. The enclave has put rsp back to where it was at EENTER.
  .globl sim_eexit
  .type sim_eexit, @function
sim_eexit:
  mov (%rsp), %rax
  cmpl $0, sim_slow_bases(%rip)
  jne 3f
  mov CPU_HOST_FS(%rax), %rcx
  wrfsbase %rcx
  mov CPU_HOST_GS(%rax), %rcx
  wrgsbase %rcx
  jmp *%rbx
3:
  mov %rdi, %r12
  mov CPU_HOST_FS(%rax), %rsi
  set_fs_by_system_call
  mov %r12, %rdi
  jmp *%rbx

// What set_fs_base of the kernel is replaced by when bases are slow: rdi = value. It is called inside the enclave, so
// a signal here is an asynchronous exit like any other (sim_on_signal).
  .globl sim_set_fs_base
  .type sim_set_fs_base, @function
sim_set_fs_base:
  mov %rdi, %rsi
  set_fs_by_system_call
  ret

// What page_leaf of the kernel is replaced by: rdi = address, rsi = end, rdx = SECINFO.FLAGS, ecx = leaf (epcm.h has
// the entries, and what is said there of EACCEPT and EMODPE holds here). General registers only, and no stack.
  .globl sim_page_leaf
  .type sim_page_leaf, @function
sim_page_leaf:
  mov sim_epcm_entries(%rip), %r8
  mov %rdi, %r9
  shr $12, %r9
  mov %rsi, %r10
  shr $12, %r10
  cmp $ELRANGE_PAGES, %r10
  ja 4f
  mov %edx, %eax
  and $0x3f, %eax
  or $0x80, %eax
  mov %edx, %r11d
  shr $8, %r11d
  cmp $6, %ecx
  je 5f
  cmp $2, %r11d
  je 1f
  cmp $4, %r11d
  jne 4f
  or $0x40, %eax
1:
  mov %eax, %r11d
  and $0xc7, %r11d
2:
  cmp %r10, %r9
  jae 3f
  cmp %al, (%r8,%r9)
  jne 4f
  mov %r11b, (%r8,%r9)
  inc %r9
  jmp 2b
3:
  xor %eax, %eax
  ret
4: // The rest by the instruction itself.
  mov %r9, %rdi
  shl $12, %rdi
  jmp *sim_page_leaf_slowly(%rip)
5:
  and $7, %eax
6:
  cmp %r10, %r9
  jae 3b
  movzbl (%r8,%r9), %r11d
  and $0xd8, %r11d
  cmp $0x80, %r11d
  jne 4b
  or %al, (%r8,%r9)
  inc %r9
  jmp 6b
  .globl sim_inside_end
sim_inside_end:

// The asynchronous exit pointer. The signal handler has saved the state into the SSA and made us go on here with
// rsp = host_sp, below the frame of the EENTER that was left, which must stay intact for the EEXIT to come.
  .globl sim_aep
  .type sim_aep, @function
sim_aep:
  mov %rsp, %rbx
  mov (%rsp), %rdi
  and $-16, %rsp
  call sim_after_aex             // (thread)
  mov %rbx, %rsp
  mov (%rsp), %rdi

// ERESUME. A signal in here starts it again (sim_on_signal), so that nothing is missed between the look at `notice`
// and the enclave. rdi = thread, rsp = host_sp.
  .globl sim_eresume
sim_eresume:
  cmpq $0, CPU_NOTICE(%rdi)
  jne sim_aep
  mov CPU_CSSA(%rdi), %rax
  dec %rax
  imul CPU_SSA_FRAME_SIZE(%rdi), %rax
  add CPU_SSA(%rdi), %rax        // XSAVE area
  mov %rax, %rsi
  mov CPU_SSA_FRAME_SIZE(%rdi), %rbx
  lea -184(%rsi,%rbx), %rbx      // GPRSGX
  mov CPU_XFRM(%rdi), %eax
  mov CPU_XFRM+4(%rdi), %edx
  xrstor64 (%rsi)
  mov 136(%rbx), %rax
  mov %rax, CPU_IRET(%rdi)
  mov %cs, %eax
  mov %rax, CPU_IRET+8(%rdi)
  mov 128(%rbx), %rax
  mov %rax, CPU_IRET+16(%rdi)
  mov 32(%rbx), %rax
  mov %rax, CPU_IRET+24(%rdi)
  mov %ss, %eax
  mov %rax, CPU_IRET+32(%rdi)
  cmpl $0, sim_slow_bases(%rip)
  jne 1f
  mov 168(%rbx), %rax
  wrfsbase %rax
  mov 176(%rbx), %rax
  wrgsbase %rax
  jmp 2f
1:
  mov %rdi, %r12
  mov 168(%rbx), %rsi
  set_fs_by_system_call
  mov %r12, %rdi
2:
  lea CPU_IRET(%rdi), %rsp
  mov 0(%rbx), %rax
  mov 8(%rbx), %rcx
  mov 16(%rbx), %rdx
  mov 40(%rbx), %rbp
  mov 48(%rbx), %rsi
  mov 56(%rbx), %rdi
  mov 64(%rbx), %r8
  mov 72(%rbx), %r9
  mov 80(%rbx), %r10
  mov 88(%rbx), %r11
  mov 96(%rbx), %r12
  mov 104(%rbx), %r13
  mov 112(%rbx), %r14
  mov 120(%rbx), %r15
  mov 24(%rbx), %rbx
  decq (CPU_CSSA - CPU_IRET)(%rsp)
  .globl sim_eresume_last
sim_eresume_last:
  iretq
  .globl sim_eresume_end
sim_eresume_end:

// void handler(int, siginfo_t*, void* context), on the alternate stack: FS may be anybody's.
  .globl sim_signal_entry
  .type sim_signal_entry, @function
sim_signal_entry:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  sub $16, %rsp
  mov %rsp, %r13
  and $ALT_STACK_MASK, %r13
  rdfsbase %rbx
  rdgsbase %r12
  cmpl $0, sim_slow_bases(%rip)
  jne 3f
  mov CPU_HOST_FS(%r13), %rax
  wrfsbase %rax
  mov CPU_HOST_GS(%r13), %rax
  wrgsbase %rax
1:
  mov %r13, %rcx
  mov %rbx, %r8
  mov %r12, %r9
  call sim_on_signal             // (signal, info, context, thread, fs, gs): whether FS and GS stay the host's
  test %eax, %eax
  jne 2f
  cmpl $0, sim_slow_bases(%rip)
  jne 4f
  wrfsbase %rbx
  wrgsbase %r12
2:
  add $16, %rsp
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
3:
  cmp CPU_HOST_FS(%r13), %rbx
  je 1b
  mov %rdi, %r14
  mov %rsi, (%rsp)
  mov CPU_HOST_FS(%r13), %rsi
  set_fs_by_system_call
  mov %r14, %rdi
  mov (%rsp), %rsi
  jmp 1b
4:
  cmp CPU_HOST_FS(%r13), %rbx
  je 2b
  mov %rbx, %rsi
  set_fs_by_system_call
  jmp 2b

  .section .note.GNU-stack, "", @progbits
