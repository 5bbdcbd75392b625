// What entry.S calls: system calls from patched sites, exceptions and events in the program, faults in the
// kernel.
//
// An exception in the program is a system call (`syscall` faults inside an enclave), a page to supply, or a
// signal for the program. One in the kernel is a page to supply in a copy of user memory, a bad address in
// such a copy, or our bug.
#include <cstring>

#include "enclave/arch/boot.h"
#include "enclave/arch/cpuid.h"
#include "enclave/arch/entry.h"
#include "enclave/arch/host_call.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/thread_block.h"
#include "enclave/arch/timers.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/vector_state.h"
#include "enclave/arch/wait.h"
#include "enclave/loader/patcher.h"
#include "enclave/memory/manager.h"
#include "enclave/memory/turns.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/signal_delivery.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

// Vectors (SDM vol. 3A, table 6-1) and bits of the page-fault error code.
enum Vector : uint32_t {
  kDivide = 0,
  kDebug = 1,
  kBreakpoint = 3,
  kBound = 5,
  kUndefined = 6,
  kProtection = 13,
  kPageFault = 14,
  kFloat = 16,
  kAlignment = 17,
  kSimdFloat = 19
};
constexpr uint32_t kErrorPresent = 1, kErrorWrite = 2, kErrorFetch = 16;
constexpr uint64_t kFlagTrap = 0x100;

void serve(Thread& thread, UserFrame& frame) {
  thread.frame = &frame;
  dispatch_system_call(thread, frame);
}

constexpr uint16_t kSyscallCode = 0x050f, kCpuidCode = 0xa20f;

// The two bytes at which an undefined instruction was met; 0: they cannot be read.
uint16_t code_at(const UserFrame& frame) {
  if (!user_range_ok(frame.rip, 2)) return 0;
  const auto code = load_user<uint16_t>(frame.rip);
  return code.ok() ? code.value() : uint16_t{0};
}

// si_code of a floating-point exception: the first of those that are raised and not masked.
int32_t float_code(bool simd) {
  enum : uint32_t { kInvalid = 1, kDenormal = 2, kByZero = 4, kOverflow = 8, kUnderflow = 16, kInexact = 32 };
  vector_save_user();
  const uint8_t* area = vector_user_area();  // of FXSAVE: control and status word, MXCSR at 24
  uint16_t control = 0, status = 0;
  uint32_t mxcsr = 0;
  std::memcpy(&control, area, sizeof(control));
  std::memcpy(&status, area + 2, sizeof(status));
  std::memcpy(&mxcsr, area + 24, sizeof(mxcsr));
  const uint32_t raised = simd ? mxcsr & ~(mxcsr >> 7) : status & ~uint32_t{control};
  if ((raised & kInvalid) != 0) return 7;                  // FPE_FLTINV
  if ((raised & kByZero) != 0) return 3;                   // FPE_FLTDIV
  if ((raised & kOverflow) != 0) return 4;                 // FPE_FLTOVF
  if ((raised & (kDenormal | kUnderflow)) != 0) return 5;  // FPE_FLTUND
  return (raised & kInexact) != 0 ? 6 : 0;                 // FPE_FLTRES
}

// What a signal frame says of an exception.
void note_exception(Thread& thread, const ExceptionRecord& record) {
  thread.trap_number = record.vector();
  thread.trap_error = record.vector() == kPageFault ? record.fault_error : 0;
  if (record.vector() == kPageFault) thread.trap_address = record.fault_address;
}

SignalInfo signal_for(const ExceptionRecord& record) {
  SignalInfo info;
  info.address = record.rip;
  switch (record.vector()) {
    case kDivide:
      info.signal = kSigFpe;
      info.code = 1;  // FPE_INTDIV
      break;
    case kFloat:
    case kSimdFloat:
      info.signal = kSigFpe;
      info.code = float_code(record.vector() == kSimdFloat);
      break;
    case kDebug:
    case kBreakpoint:
      info.signal = kSigTrap;
      info.code = record.vector() == kBreakpoint ? 0x80 : 2;  // SI_KERNEL, TRAP_TRACE
      break;
    case kUndefined:
      info.signal = kSigIll;
      info.code = 2;  // ILL_ILLOPN
      break;
    case kAlignment:
      info.signal = kSigBus;
      info.code = 1;  // BUS_ADRALN
      break;
    case kPageFault:
      info.signal = kSigSegv;
      info.code = memory_mapped(record.fault_address & ~(kPage - 1), kPage) ? 2 : 1;  // ACCERR, MAPERR
      info.address = record.fault_address;
      if (memory_behind_file(record.fault_address, (record.fault_error & kErrorWrite) != 0)) {
        info.signal = kSigBus;
        info.code = 2;  // BUS_ADRERR
      }
      break;
    default:
      info.signal = kSigSegv;
      info.code = 0x80;
      info.address = 0;
  }
  return info;
}

void explain_overflow(const Thread& thread, const UserFrame& frame, uint64_t address) {
  static bool said = false;
  if (said || memory_mapped(address & ~(kPage - 1), kPage)) return;
  const uint64_t size = memory_overflowed_stack(thread.process->memory->id, address, frame.rsp);
  if (size == 0) return;
  said = true;
  log(LogLevel::Warning,
      "the program needs more than {} KiB of stack: build the image with a larger --stack, or raise its "
      "limit",
      size >> 10);
}

void handle_exception(Thread& thread, UserFrame& frame, const ExceptionRecord& record) {
  // A single step must make progress, so it alone may show a trampoline.
  if (record.vector() != kDebug) frame.rip = unpatched_rip(frame.rip);
  const uint16_t code = record.vector() == kUndefined ? code_at(frame) : uint16_t{0};
  if (code == kCpuidCode) {
    frame.rip += 2;
    return emulate_cpuid(frame.rax, frame.rbx, frame.rcx, frame.rdx);
  }
  if (code == kSyscallCode) {
    frame.rip += 2;
    frame.rcx = frame.rip;
    frame.r11 = frame.rflags;
    frame.original_rax = frame.rax;
    return serve(thread, frame);
  }
  if (record.vector() == kPageFault &&
      memory_handle_fault(record.fault_address, (record.fault_error & kErrorWrite) != 0,
                          (record.fault_error & kErrorFetch) != 0)) {
    return;
  }
  if (record.vector() == kPageFault) explain_overflow(thread, frame, record.fault_address);
  note_exception(thread, record);
  thread.frame = &frame;
  force_signal(thread, signal_for(record));
}

// Where a faulting copy goes on, or 0 when `rip` is not one.
uint64_t caught_at(uint64_t rip) {
  const auto address = [](const char* label) { return reinterpret_cast<uint64_t>(label); };
  if (rip == address(copy_bytes_fault_point)) return address(copy_bytes_caught);
  if (rip == address(zero_bytes_fault_point)) return address(zero_bytes_caught);
  if (rip == address(compare_exchange_fault_point)) return address(compare_exchange_caught);
  return 0;
}

}  // namespace
}  // namespace cloister::enclave

using namespace cloister;           // NOLINT: the labels of entry.S are global
using namespace cloister::enclave;  // NOLINT

void kernel_system_call(UserFrame* frame) {
  kernel_lock();
  serve(current(), *frame);
  kernel_unlock();
}

void kernel_user_exception(UserFrame* frame, const ExceptionRecord* record) {
  if (!record->valid()) return;  // an event: return_to_user looks at `work`
  kernel_lock();
  handle_exception(current(), *frame, *record);
  kernel_unlock();
}

void kernel_fault(ExceptionRecord* record) {
  // It has come too often (entry.S). Whoever answers it with another commit would fault here for ever.
  if (record->rip == reinterpret_cast<uint64_t>(page_leaf_enclu))
    end_enclave(3, "the host says that a page is there, and it is not");
  if (record->valid() && record->vector() == kUndefined && record->rip >= boot_info().kernel_address &&
      record->rip < boot_info().kernel_address + boot_info().kernel_size &&
      *reinterpret_cast<const uint16_t*>(record->rip) == kCpuidCode) {
    record->rip += 2;
    return emulate_cpuid(record->rax, record->rbx, record->rcx, record->rdx);
  }
  const bool page_fault = record->valid() && record->vector() == kPageFault;
  if (page_fault && record->fault_address < boot_info().user_end) {
    const bool held = kernel_lock_held();
    if (!held) kernel_lock();
    const bool supplied = memory_handle_fault(record->fault_address, (record->fault_error & kErrorWrite) != 0,
                                              (record->fault_error & kErrorFetch) != 0);
    if (!held) kernel_unlock();
    if (supplied) return;
    if (const uint64_t next = caught_at(record->rip); next != 0) {
      record->rip = next;
      return;
    }
  }
  log(LogLevel::Fatal, "kernel fault: vector {}, address {x}, at {x}, stack {x}", record->vector(),
      record->fault_address, record->rip, record->rsp);
  panic("exceptions", 0, "fault in the kernel");
}

void kernel_lost(uint64_t rip) {
  log(LogLevel::Fatal, "kernel fault off its stack at {x}", rip);
  panic("exceptions", 0, "lost its stack");
}

void kernel_exit_work(UserFrame* frame) {
  kernel_lock();
  turn_offer();
  Thread& thread = current();
  thread.frame = frame;
  frame->rip = unpatched_rip(frame->rip);
  __atomic_store_n(&thread.block->work, 0, __ATOMIC_SEQ_CST);
  take_host_events();
  run_timers();
  hold_while_stopped();
  if (thread.exiting) end_current_thread();
  deliver_signals(thread, *frame);
  if (thread.exiting) end_current_thread();
  kernel_unlock();
}
