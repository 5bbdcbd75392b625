// The vector registers of AVX-512 by plain moves: XSAVE and XRSTOR take four times as long, for however little they
// have to do. Only for vector_state.cpp, which knows when this is all there is. `parts`: XSTATE_BV, SDM vol. 1, 13.1.
//
// The area, 64-byte aligned: ZMM0 to ZMM31, K0 to K7, MXCSR.
#define PART_AVX 2
#define PART_OPMASK 5
#define PART_ZMM_UPPER 6
#define PART_ZMM_16_31 7
#define AREA_K 2048
#define AREA_MXCSR 2112

  .text

// void vector_move_out(void* area, uint32_t parts)
  .globl vector_move_out
  .hidden vector_move_out
  .type vector_move_out, @function
vector_move_out:
  stmxcsr AREA_MXCSR(%rdi)
  bt $PART_ZMM_UPPER, %esi
  jnc 1f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  vmovdqa64 %zmm\n, \n * 64(%rdi)
  .endr
  jmp 3f
1:bt $PART_AVX, %esi
  jnc 2f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  vmovdqa %ymm\n, \n * 64(%rdi)
  .endr
  jmp 3f
2:
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  movdqa %xmm\n, \n * 64(%rdi)
  .endr
3:bt $PART_ZMM_16_31, %esi
  jnc 4f
  .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
  vmovdqa64 %zmm\n, \n * 64(%rdi)
  .endr
4:bt $PART_OPMASK, %esi
  jnc 5f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7
  kmovq %k\n, AREA_K + \n * 8(%rdi)
  .endr
5:ret

// void vector_zero(): initial state. Nothing of what the registers held is left in them.
  .globl vector_zero
  .hidden vector_zero
  .type vector_zero, @function
vector_zero:
  vzeroall
  .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
  vpxord %zmm\n, %zmm\n, %zmm\n
  .endr
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7
  kxorq %k\n, %k\n, %k\n
  .endr
  ldmxcsr initial_mxcsr(%rip)
  ret

// void vector_move_in(const void* area, uint32_t parts): what is not among the parts becomes zero.
  .globl vector_move_in
  .hidden vector_move_in
  .type vector_move_in, @function
vector_move_in:
  call vector_zero
  bt $PART_ZMM_UPPER, %esi
  jnc 1f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  vmovdqa64 \n * 64(%rdi), %zmm\n
  .endr
  jmp 3f
1:bt $PART_AVX, %esi
  jnc 2f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  vmovdqa \n * 64(%rdi), %ymm\n
  .endr
  jmp 3f
2:
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  movdqa \n * 64(%rdi), %xmm\n
  .endr
3:bt $PART_ZMM_16_31, %esi
  jnc 4f
  .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
  vmovdqa64 \n * 64(%rdi), %zmm\n
  .endr
4:bt $PART_OPMASK, %esi
  jnc 5f
  .irp n, 0, 1, 2, 3, 4, 5, 6, 7
  kmovq AREA_K + \n * 8(%rdi), %k\n
  .endr
5:ldmxcsr AREA_MXCSR(%rdi)
  ret

  .section .rodata
  .balign 4
initial_mxcsr:
  .long 0x1f80

  .section .note.GNU-stack, "", @progbits
