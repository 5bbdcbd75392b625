// Offsets that entry.S and C++ share; thread_block.h asserts each of them. Plain macros: the assembler reads
// this.
#ifndef CLOISTER_ENCLAVE_ARCH_OFFSETS_H
#define CLOISTER_ENCLAVE_ARCH_OFFSETS_H

// ThreadBlock, at GS.
#define BLOCK_SELF 0
#define BLOCK_THREAD 8
#define BLOCK_GATE 16
#define BLOCK_STACK_TOP 24
#define BLOCK_STACK_LOW 32
#define BLOCK_STATE 40
#define BLOCK_WORK 48
#define BLOCK_VECTOR_SAVED 56
#define BLOCK_VECTOR_AREA 64
#define BLOCK_VECTOR_MASK 72
#define BLOCK_HOST_CALL_SP 80
#define BLOCK_HOST_RETURN 88
#define BLOCK_HOST_SP 96
#define BLOCK_HOST_BP 104
#define BLOCK_HOST_BLOCK 112
#define BLOCK_SSA_REGISTERS 120
#define BLOCK_USER_SP 128
#define BLOCK_USER_RIP 136
#define BLOCK_EXCEPTION 256
#define BLOCK_INITIAL_FS 144
#define BLOCK_FAULT_KEY 168
#define BLOCK_FAULT_COUNT 176
#define BLOCK_LOST_COUNT 184

// ThreadBlock::state
#define STATE_IDLE 0
#define STATE_READY 1
#define STATE_RUNNING 2
#define STATE_HOST_CALL 3

// ThreadBlock::vector_saved: who has the program's vector state (vector_state.h).
#define VECTOR_IN_REGISTERS 0
#define VECTOR_IN_AREA 1
#define VECTOR_MOVED 2

// ExceptionRecord: a copy of GPRSGX (SDM vol. 3D, 38.9.1.1) and EXINFO.
#define REGISTERS_SIZE 184
#define RECORD_ADDRESS 184
#define RECORD_ERROR 192
#define RECORD_SIZE 208

// From the block to the top of the same thread's kernel stack (sgx/layout.h).
#define BLOCK_TO_STACK_TOP 0x15000

// UserFrame
#define FRAME_SIZE 160
#define FRAME_R15 0
#define FRAME_R14 8
#define FRAME_R13 16
#define FRAME_R12 24
#define FRAME_RBP 32
#define FRAME_RBX 40
#define FRAME_R11 48
#define FRAME_R10 56
#define FRAME_R9 64
#define FRAME_R8 72
#define FRAME_RAX 80
#define FRAME_RCX 88
#define FRAME_RDX 96
#define FRAME_RSI 104
#define FRAME_RDI 112
#define FRAME_ORIGINAL_RAX 120
#define FRAME_RIP 128
#define FRAME_RFLAGS 136
#define FRAME_RSP 144
#define FRAME_FULL_RESTORE 152

// GPRSGX in the SSA
#define SSA_RAX 0
#define SSA_RCX 8
#define SSA_RDX 16
#define SSA_RBX 24
#define SSA_RSP 32
#define SSA_RBP 40
#define SSA_RSI 48
#define SSA_RDI 56
#define SSA_R8 64
#define SSA_R9 72
#define SSA_R10 80
#define SSA_R11 88
#define SSA_R12 96
#define SSA_R13 104
#define SSA_R14 112
#define SSA_R15 120
#define SSA_RFLAGS 128
#define SSA_RIP 136
#define SSA_EXITINFO 160
#define VECTOR_PAGE_FAULT 14
#define SSA_EXINFO_BELOW 16

// User programs live below this address, the kernel above (layout.h asserts it).
#define USER_END 0xE00000000
#define ELRANGE_END 0x1000000000

// A page fault that may be nothing is tried again this often; it is real when the same comes once more.
#define FAULT_TRIES 1000
// So many faults that leave no way on may be met on the way to saying so.
#define LOST_TRIES 8

// Room for an XSAVE area on the kernel stack during a fault of the kernel.
#define KERNEL_FAULT_VECTORS 12288

#endif
