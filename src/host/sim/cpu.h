// The software CPU of one host thread: EENTER, EEXIT, asynchronous exits (AEX) and ERESUME, with the state
// that SGX keeps in the TCS. Entering and leaving are ordinary jumps plus the swap of FS and GS; everything
// that makes SGX leave an enclave (exceptions, interrupts, `syscall`) arrives as a signal on the thread's
// alternate stack.
//
// How the handler finds the thread: alternate stacks are 64 KiB long and aligned, and SimThread lies at
// their base. FS cannot be used, because inside the enclave it is the program's. How `syscall` traps: Syscall
// User Dispatch with everything above ELRANGE as the allowed range, so no selector byte needs to be switched.
#pragma once

#include <signal.h>

#include <cstddef>
#include <cstdint>

#include "host/sim/cpu_offsets.h"
#include "host/thread.h"

namespace cloister::host {

class SimEnclave;

struct SimThread {
  uint64_t host_fs;
  uint64_t host_gs;
  uint64_t host_sp;  // at the last EENTER
  uint64_t tcs;      // address; 0: not an enclave thread
  uint64_t cssa;
  uint64_t entry;  // base + OENTRY
  uint64_t tcs_fs;
  uint64_t tcs_gs;
  boundary::HostCallFrame* block;
  uint64_t ssa;             // address of frame 0
  uint64_t ssa_frame_size;  // bytes
  uint64_t xfrm;
  uint64_t notice;  // a signal came while the host part was running: look again before ERESUME
  uint64_t reserved;
  uint64_t iret[5];  // rip, cs, rflags, rsp, ss for ERESUME
  uint64_t after;    // keeps the frame's end readable

  SimEnclave* enclave;
  HostThread host;
};

#define CLOISTER_OFFSET(member, value) static_assert(offsetof(SimThread, member) == (value))
CLOISTER_OFFSET(host_fs, CPU_HOST_FS);
CLOISTER_OFFSET(host_gs, CPU_HOST_GS);
CLOISTER_OFFSET(host_sp, CPU_HOST_SP);
CLOISTER_OFFSET(tcs, CPU_TCS);
CLOISTER_OFFSET(cssa, CPU_CSSA);
CLOISTER_OFFSET(entry, CPU_ENTRY);
CLOISTER_OFFSET(tcs_fs, CPU_TCS_FS);
CLOISTER_OFFSET(tcs_gs, CPU_TCS_GS);
CLOISTER_OFFSET(block, CPU_BLOCK);
CLOISTER_OFFSET(ssa, CPU_SSA);
CLOISTER_OFFSET(ssa_frame_size, CPU_SSA_FRAME_SIZE);
CLOISTER_OFFSET(xfrm, CPU_XFRM);
CLOISTER_OFFSET(notice, CPU_NOTICE);
CLOISTER_OFFSET(iret, CPU_IRET);
#undef CLOISTER_OFFSET

// EENTER with CSSA as it stands. Returns rdi at EEXIT (boundary::LeaveReason). cpu.S.
extern "C" uint64_t sim_eenter(SimThread* thread);
extern "C" void sim_eexit();  // where the kernel's exit gate is made to jump

// Not zero where the operating system gives no HWCAP2_FSGSBASE although the instructions work: it restores
// the bases that it knows at every context switch, so each change must be a system call. GS then is the
// enclave's from the thread's first moment on (host code never uses it), and only FS moves.
extern "C" uint32_t sim_slow_bases;
extern "C" void sim_set_fs_base(uint64_t value);  // where the kernel's set_fs_base is made to jump, if so

// Where the kernel's page_leaf is made to jump: EACCEPT and EMODPE of a range of pages, on the entries of
// epcm.h. What is not as it must be is left to the instruction, at sim_page_leaf_slowly. It runs inside the
// enclave, as far as signals are concerned.
extern "C" void sim_page_leaf();
extern "C" uint8_t* sim_epcm_entries;
extern "C" uint64_t sim_page_leaf_slowly;

// Finds out which of the two this machine needs. Before SimEnclave::load; aborts when it can neither.
void sim_check_machine();
// Gives a thread the GS base that it has inside, where bases are slow; otherwise EENTER does.
void sim_adopt_gs(const SimThread& thread);

// Sets up the calling thread: alternate stack with a SimThread, Syscall User Dispatch, FS and GS. `enclave`
// may be null for a thread that only must survive the process's signal handlers. Aborts with a message when
// the machine cannot (no FSGSBASE, no Syscall User Dispatch).
SimThread* sim_thread_begin(SimEnclave* enclave);
void sim_thread_end(SimThread* thread);

// Installs the process's signal handlers; once.
void sim_install_handlers();

}  // namespace cloister::host
