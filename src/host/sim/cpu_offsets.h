// Offsets into SimThread that cpu.S uses; cpu.h asserts them.
#ifndef CLOISTER_HOST_SIM_CPU_OFFSETS_H
#define CLOISTER_HOST_SIM_CPU_OFFSETS_H

#define CPU_HOST_FS 0
#define CPU_HOST_GS 8
#define CPU_HOST_SP 16
#define CPU_TCS 24
#define CPU_CSSA 32
#define CPU_ENTRY 40
#define CPU_TCS_FS 48
#define CPU_TCS_GS 56
#define CPU_BLOCK 64
#define CPU_SSA 72
#define CPU_SSA_FRAME_SIZE 80
#define CPU_XFRM 88
#define CPU_NOTICE 96
#define CPU_IRET 112

#define LEAVE_AEX 16

#define ELRANGE_PAGES 0x1000000

#define ALT_STACK_SIZE 0x10000
#define ALT_STACK_MASK 0xffffffffffff0000

#endif
