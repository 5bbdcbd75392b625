// Signal frames exactly as Linux builds them (uapi asm/sigcontext.h, asm/ucontext.h): programs read and
// change them. Everything that comes back through rt_sigreturn is the program's and cannot name kernel state:
// rip is bounded, flags are masked, the vector area is made fit for xrstor.
#include "enclave/syscalls/signal_delivery.h"

#include <cstring>

#include "enclave/arch/boot.h"
#include "enclave/arch/host_call.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread_block.h"
#include "enclave/arch/timers.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/vector_state.h"
#include "enclave/process.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kSaSiginfo = 4, kSaOnStack = 0x08000000, kSaRestart = 0x10000000, kSaNoDefer = 0x40000000,
                   kSaResetHand = 0x80000000;
constexpr uint32_t kSsOnStack = 1, kSsDisable = 2;
constexpr uint64_t kDefault = 0, kIgnore = 1;
constexpr uint64_t kUserFlags = 0x40dd5;  // of RFLAGS: CF PF AF ZF SF TF DF OF AC
constexpr uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;
constexpr uint64_t kRedZone = 128;

struct SigContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
};
struct UserContext {
  uint64_t flags, link;
  uint64_t stack_address;
  uint32_t stack_flags, pad;
  uint64_t stack_size;
  SigContext context;
  uint64_t mask;
};
struct Frame {
  uint64_t return_address;
  UserContext user;
  uint8_t info[128];
};
static_assert(sizeof(SigContext) == 256 && sizeof(Frame) % 8 == 0);

enum class Default { Terminate, Ignore, Core, Stop };
Default default_action(int signal) {
  switch (signal) {
    case kSigChild:
    case kSigContinue:
    case kSigUrgent:
    case kSigWindow:
      return Default::Ignore;
    case kSigStop:
    case kSigTerminalStop:
    case kSigTtyIn:
    case kSigTtyOut:
      return Default::Stop;
    case kSigQuit:
    case kSigIll:
    case kSigTrap:
    case kSigAbort:
    case kSigBus:
    case kSigFpe:
    case kSigSegv:
    case kSigSys:
      return Default::Core;
    default:
      return Default::Terminate;
  }
}

bool on_alternate_stack(const Thread& thread, uint64_t rsp) {
  return (thread.alternate_stack_flags & kSsDisable) == 0 && rsp > thread.alternate_stack &&
         rsp - thread.alternate_stack <= thread.alternate_stack_size;
}

uint64_t code_limit(uint64_t rip) { return rip < boot_info().user_end ? rip : 0; }

// Vector state below `top`; returns its address or 0 when the stack is not writable.
uint64_t push_vectors(uint64_t top) {
  vector_save_user();
  const uint32_t size = vector_size();
  const uint64_t address = (top - size - 4) & ~uint64_t{63};
  uint8_t* area = vector_user_area();
  const uint32_t reserved[12] = {kMagic1, size + 4, static_cast<uint32_t>(vector_mask()),
                                 static_cast<uint32_t>(vector_mask() >> 32), size};
  std::memcpy(area + 464, reserved, sizeof(reserved));
  if (!copy_to_user(address, area, size).ok()) return 0;
  if (!store_user(address + size, kMagic2).ok()) return 0;
  return address;
}

void fill_context(const Thread& thread, const UserFrame& frame, SigContext& c) {
  c = SigContext{frame.r8,  frame.r9,  frame.r10, frame.r11, frame.r12, frame.r13,
                 frame.r14, frame.r15, frame.rdi, frame.rsi, frame.rbp, frame.rbx,
                 frame.rdx, frame.rax, frame.rcx, frame.rsp, frame.rip, frame.rflags};
  c.cs = 0x33;
  c.ss = 0x2b;
  c.oldmask = thread.signal_mask;
  // Of the last exception, whatever the signal is.
  c.trapno = thread.trap_number;
  c.err = thread.trap_error;
  c.cr2 = thread.trap_address;
}

bool push_frame(Thread& thread, UserFrame& frame, const SignalInfo& info, const SignalAction& action) {
  uint64_t top = frame.rsp - kRedZone;
  const bool alternate = (action.flags & kSaOnStack) != 0 && (thread.alternate_stack_flags & kSsDisable) == 0;
  if (alternate && !on_alternate_stack(thread, frame.rsp)) {
    top = thread.alternate_stack + thread.alternate_stack_size;
  }
  // As a system call leaves rcx and r11, so does a signal in one.
  if (frame.full_restore == 0) {
    frame.rcx = frame.rip;
    frame.r11 = frame.rflags;
  }
  const uint64_t vectors = push_vectors(top);
  if (vectors == 0) return false;
  Frame out{};
  out.return_address = action.restorer;
  out.user.flags = 7;  // UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
  out.user.stack_address = thread.alternate_stack;
  out.user.stack_size = thread.alternate_stack_size;
  out.user.stack_flags = (thread.alternate_stack_flags & kSsDisable) != 0 ? kSsDisable
                         : on_alternate_stack(thread, frame.rsp)          ? kSsOnStack
                                                                          : 0;
  fill_context(thread, frame, out.user.context);
  out.user.context.fpstate = vectors;
  out.user.mask = thread.restore_saved_mask ? thread.saved_mask : thread.signal_mask;
  store_signal_info(out.info, info);
  const uint64_t address = ((vectors - sizeof(Frame)) & ~uint64_t{15}) - 8;
  if (!copy_to_user(address, &out, sizeof(out)).ok()) return false;
  vector_reset_user();
  frame.rsp = address;
  frame.rip = code_limit(action.handler);
  frame.rdi = static_cast<uint64_t>(info.signal);
  frame.rsi = address + offsetof(Frame, info);
  frame.rdx = address + offsetof(Frame, user);
  frame.rax = 0;
  frame.rflags &= ~uint64_t{0x500};  // DF, TF
  frame.full_restore = 1;
  return true;
}

[[noreturn]] void end_by_signal(int signal) {
  log(LogLevel::Info, "the program ended by signal {}", signal);
  end_process(static_cast<uint32_t>(signal));
}

void run_handler(Thread& thread, UserFrame& frame, const SignalInfo& info) {
  SignalAction& action = thread.process->signals.actions[static_cast<size_t>(info.signal - 1)];
  const SignalAction used = action;
  if (frame.original_rax != ~uint64_t{0} &&
      frame.rax == static_cast<uint64_t>(-static_cast<int64_t>(Errno::RestartSystemCall))) {
    if ((used.flags & kSaRestart) != 0) {
      restart_system_call(frame);
    } else {
      frame.rax = static_cast<uint64_t>(-static_cast<int64_t>(Errno::Interrupted));
    }
  }
  if ((used.flags & kSaResetHand) != 0) action.handler = kDefault;
  if (!push_frame(thread, frame, info, used)) end_by_signal(kSigSegv);
  thread.restore_saved_mask = false;
  thread.signal_mask |= used.mask;
  if ((used.flags & kSaNoDefer) == 0) thread.signal_mask |= signal_bit(info.signal);
  thread.signal_mask &= ~(signal_bit(kSigKill) | signal_bit(kSigStop));
}

}  // namespace

void store_signal_info(uint8_t (&out)[128], const SignalInfo& info) {
  std::memset(out, 0, sizeof(out));
  const int32_t head[3] = {info.signal, 0, info.code};
  std::memcpy(out, head, sizeof(head));
  const bool fault = info.signal == kSigSegv || info.signal == kSigBus || info.signal == kSigFpe ||
                     info.signal == kSigIll || info.signal == kSigTrap;
  if (fault && info.code > 0) {
    std::memcpy(out + 16, &info.address, 8);
    return;
  }
  std::memcpy(out + 16, &info.pid, 4);
  std::memcpy(out + 20, &info.uid, 4);
  std::memcpy(out + 24, &info.value, 8);
}

bool take_signal(Thread& thread, uint64_t set, SignalInfo& info) {
  PendingSignals* const sets[] = {&thread.pending, &thread.process->signals.pending};
  for (PendingSignals* pending : sets) {
    const uint64_t ready = pending->set & set;
    if (ready == 0) continue;
    const int signal = __builtin_ctzll(ready) + 1;
    info = pending->info[static_cast<size_t>(signal - 1)];
    if (!pending->take_queued(signal)) pending->set &= ~signal_bit(signal);
    return true;
  }
  return false;
}

bool ending_signal_pending(const Thread& thread) {
  uint64_t ready = (thread.pending.set | thread.process->signals.pending.set) & ~thread.signal_mask;
  for (; ready != 0; ready &= ready - 1) {
    const int signal = __builtin_ctzll(ready) + 1;
    const bool by_default =
        thread.process->signals.actions[static_cast<size_t>(signal - 1)].handler == kDefault;
    if (signal == kSigKill || (by_default && default_action(signal) == Default::Terminate)) return true;
  }
  return false;
}

void restart_system_call(UserFrame& frame) {
  frame.rax = frame.original_rax;
  frame.rip -= 2;
}

void deliver_signals(Thread& thread, UserFrame& frame) {
  SignalInfo info;
  while (!thread.exiting && take_signal(thread, ~thread.signal_mask, info)) {
    const SignalAction& action = thread.process->signals.actions[static_cast<size_t>(info.signal - 1)];
    if (action.handler == kIgnore && info.signal != kSigKill) continue;
    if (action.handler == kDefault || info.signal == kSigKill) {
      const Default action_taken = default_action(info.signal);
      if (action_taken == Default::Ignore) continue;
      if (action_taken != Default::Stop) end_by_signal(info.signal);
      stop_process(*thread.process, info.signal);
      hold_while_stopped();
      continue;
    }
    run_handler(thread, frame, info);
    frame.original_rax = ~uint64_t{0};
  }
  if (frame.original_rax != ~uint64_t{0} &&
      frame.rax == static_cast<uint64_t>(-static_cast<int64_t>(Errno::RestartSystemCall))) {
    restart_system_call(frame);
    frame.original_rax = ~uint64_t{0};
  }
  if (thread.restore_saved_mask) {
    thread.signal_mask = thread.saved_mask;
    thread.restore_saved_mask = false;
    if (pending_interrupt()) deliver_signals(thread, frame);
  }
}

void force_signal(Thread& thread, const SignalInfo& info) {
  SignalAction& action = thread.process->signals.actions[static_cast<size_t>(info.signal - 1)];
  const bool blocked = (thread.signal_mask & signal_bit(info.signal)) != 0;
  if (blocked || action.handler <= kIgnore) {
    log(LogLevel::Info, "signal {} at {x}, address {x}", info.signal, thread.frame->rip, info.address);
    end_by_signal(info.signal);
  }
  run_handler(thread, *thread.frame, info);
  thread.frame->original_rax = ~uint64_t{0};
}

void take_host_events() {
  const uint64_t noted = exchange_host_events();
  // Its clock may be ahead of ours, so a ring may come a little before the deadline.
  if ((noted & signal_bit(kSigAlarm)) != 0) alarm_rang();
  const uint64_t events = noted & boundary::kForwardedSignals;
  Process* process = user_process();
  if (events == 0 || process == nullptr) return;
  for (int signal = 1; signal <= kSignalCount; ++signal) {
    if ((events & signal_bit(signal)) == 0) continue;
    SignalInfo info;
    info.signal = signal;
    info.code = 0x80;
    send_signal(*process, info);
  }
}

SysResult<int64_t> sys_rt_sigreturn(SyscallArgs& args) {
  UserFrame& frame = args.frame;
  Thread& thread = args.thread;
  UserContext user{};
  // rsp is behind the return address.
  if (!copy_from_user(&user, frame.rsp - 8 + offsetof(Frame, user), sizeof(user)).ok()) {
    end_by_signal(kSigSegv);
  }
  const SigContext& c = user.context;
  const uint64_t flags = frame.rflags;
  frame = UserFrame{c.r15,
                    c.r14,
                    c.r13,
                    c.r12,
                    c.rbp,
                    c.rbx,
                    c.r11,
                    c.r10,
                    c.r9,
                    c.r8,
                    c.rax,
                    c.rcx,
                    c.rdx,
                    c.rsi,
                    c.rdi,
                    ~uint64_t{0},
                    code_limit(c.rip)};
  frame.rflags = (flags & ~kUserFlags) | (c.eflags & kUserFlags);
  frame.rsp = c.rsp;
  frame.full_restore = 1;
  thread.signal_mask = user.mask & ~(signal_bit(kSigKill) | signal_bit(kSigStop));
  if (c.fpstate != 0) {
    vector_save_user();
    uint8_t* area = vector_user_area();
    if (!copy_from_user(area, c.fpstate, vector_size()).ok()) end_by_signal(kSigSegv);
    vector_sanitise(area);
  }
  __atomic_store_n(&thread.block->work, 1, __ATOMIC_SEQ_CST);
  return static_cast<int64_t>(c.rax);
}

}  // namespace cloister::enclave
