// In and out of an enclave in hardware by one host thread: the calls of __vdso_sgx_enter_enclave (vdso.h),
// what follows an exception, and signals that come while the enclave runs.
//
// As in simulation (sim/cpu.h), whatever interrupts the enclave is shown to it by an EENTER of its own (CSSA
// 1), which answers "Resume", and then ERESUME goes on. An interrupt that needs no look never comes here: the
// CPU leaves to the vDSO's ENCLU, and the operating system resumes there by itself. Only a signal's handler
// can tell that a look is wanted: it makes the thread go on at hw_look instead of at that ENCLU.
//
// All calls are made at one stack address, because the enclave leaves to the stack that it was entered from,
// and an exception ends the call during which it happened (entry.S of this folder).
//
// Has not been run on SGX hardware.
#pragma once

#include <asm/sgx.h>

#include "host/hw/entry_offsets.h"
#include "host/hw/vdso.h"
#include "host/thread.h"

namespace cloister::host {

struct HwThread {
  uint64_t host_sp;
  uint64_t stage;   // HW_…
  uint64_t notice;  // a signal came that the enclave has not been shown
  SgxEntry entry;   // of the vDSO
  uint64_t reason;  // rdi when the enclave left
  sgx_enclave_run run;
  HostThread host;
};

#define CLOISTER_OFFSET(member, value) static_assert(offsetof(HwThread, member) == (value))
CLOISTER_OFFSET(host_sp, HW_HOST_SP);
CLOISTER_OFFSET(stage, HW_STAGE);
CLOISTER_OFFSET(notice, HW_NOTICE);
CLOISTER_OFFSET(entry.function, HW_FUNCTION);
CLOISTER_OFFSET(reason, HW_REASON);
CLOISTER_OFFSET(run, HW_RUN);
CLOISTER_OFFSET(host.block, HW_BLOCK);
#undef CLOISTER_OFFSET

// EENTER, and all until the enclave leaves by itself: the value of rdi then. entry.S. Aborts with a diagnosis
// when the enclave is lost, or leaves its exception entry in another way than it must.
extern "C" uint64_t hw_enter(HwThread* thread);

// The calling thread becomes the one of the TCS at `tcs`. Free with hw_thread_end, by the same thread.
HwThread* hw_thread_begin(const SgxEntry& entry, uint64_t tcs, uint32_t index,
                          boundary::HostCallFrame* block);
void hw_thread_end(HwThread* thread);
// Of the process; once.
void hw_install_handlers();

}  // namespace cloister::host
