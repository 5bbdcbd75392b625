// Signals as asynchronous exits. See cpu.h.
#include "host/sim/cpu.h"

#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "host/fatal.h"
#include "host/sim/enclave.h"
#include "host/sim/enclu.h"
#include "sgx/layout.h"
#include "sgx/structures.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif

extern "C" {
extern const char sim_aep[];
extern const char sim_eresume[];
extern const char sim_eresume_last[];
extern const char sim_eresume_end[];
extern const char sim_inside_end[];
uint32_t sim_slow_bases = 0;
uint8_t* sim_epcm_entries = nullptr;
uint64_t sim_page_leaf_slowly = 0;
void sim_signal_entry(int signal, siginfo_t* info, void* context);
void sim_after_aex(cloister::host::SimThread* thread);
int sim_on_signal(int signal, siginfo_t* info, ucontext_t* context, cloister::host::SimThread* thread,
                  uint64_t fs, uint64_t gs);
}

namespace cloister::host {
namespace {

constexpr size_t kRecordRoom = 4096;
constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
constexpr uint32_t kExitInfoValid = uint32_t{1} << 31;
constexpr int kSysUserDispatch = 2;  // SYS_USER_DISPATCH
constexpr uint32_t kExtendedMagic = 0x46505853;

static_assert(sizeof(SimThread) <= kRecordRoom);
static_assert(ELRANGE_PAGES == sgx::kElrangeSize / sgx::kPageSize);

bool in_elrange(uint64_t address) { return address < sgx::kElrangeSize; }

// GPRSGX of the frame that the next exit uses.
uint8_t* ssa_frame(const SimThread& thread, uint64_t number) {
  return reinterpret_cast<uint8_t*>(thread.ssa + number * thread.ssa_frame_size);
}

bool holds_exception(const SimThread& thread, uint64_t frame) {
  sgx::SsaRegisters registers;
  std::memcpy(&registers, ssa_frame(thread, frame) + thread.ssa_frame_size - sgx::kGprSize,
              sizeof(registers));
  return (registers.exit_info & kExitInfoValid) != 0;
}

struct ExitInfo {
  uint32_t info = 0;
  uint64_t address = 0;
  uint32_t error = 0;
};

ExitInfo describe(int signal, const siginfo_t& info, const ucontext_t& context) {
  ExitInfo exit;
  if (signal == SIGSYS) {
    exit.info = kExitInfoValid | 3u << 8 | 6;
    return exit;
  }
  // A signal that some process sent is not an exception, whatever its number.
  if (info.si_code <= 0) return exit;
  const auto vector = static_cast<uint32_t>(context.uc_mcontext.gregs[REG_TRAPNO]);
  if (vector >= 32) return exit;
  exit.info = kExitInfoValid | (vector == 3 ? 6u : 3u) << 8 | vector;
  if (vector == 13 || vector == 14) {
    exit.error = static_cast<uint32_t>(context.uc_mcontext.gregs[REG_ERR]);
    exit.address = vector == 14 ? static_cast<uint64_t>(context.uc_mcontext.gregs[REG_CR2]) : 0;
  }
  return exit;
}

// Vector state into the SSA, then the initial state into the registers that the handler's return loads.
void save_vectors(SimThread& thread, ucontext_t& context, uint8_t* frame) {
  auto* state = reinterpret_cast<uint8_t*>(context.uc_mcontext.fpregs);
  uint32_t magic = 0;
  uint32_t size = 0;
  std::memcpy(&magic, state + 464, sizeof(magic));
  std::memcpy(&size, state + 480, sizeof(size));
  if (magic != kExtendedMagic || size < 576)
    fatal("the operating system did not save the extended vector state");
  const size_t room = thread.ssa_frame_size - sgx::kGprSize - sgx::kMiscSize;
  uint64_t present = 0;
  std::memcpy(&present, state + 512, sizeof(present));
  if (size > room && (present & ~thread.xfrm) != 0) fatal("the vector state does not fit into an SSA frame");
  std::memcpy(frame, state, std::min<size_t>(size, room));
  present &= thread.xfrm;
  std::memcpy(frame + 512, &present, sizeof(present));
  std::memset(state + 512, 0, 8);
  const uint32_t mxcsr = 0x1f80;
  std::memcpy(state + 24, &mxcsr, sizeof(mxcsr));
}

void asynchronous_exit(SimThread& thread, ucontext_t& context, const ExitInfo& exit, uint64_t fs,
                       uint64_t gs) {
  if (thread.cssa >= sgx::kSsaFrames) fatal("no free SSA frame: the enclave faulted in its exception entry");
  uint8_t* frame = ssa_frame(thread, thread.cssa);
  save_vectors(thread, context, frame);
  const auto& g = context.uc_mcontext.gregs;
  uint64_t gpr[23] = {};
  const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                         REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  for (int i = 0; i < 16; ++i) gpr[i] = static_cast<uint64_t>(g[order[i]]);
  gpr[16] = static_cast<uint64_t>(g[REG_EFL]);
  gpr[17] = static_cast<uint64_t>(g[REG_RIP]);
  gpr[18] = thread.host_sp;
  gpr[20] = exit.info;
  gpr[21] = fs;
  gpr[22] = gs;
  uint8_t* end = frame + thread.ssa_frame_size;
  std::memcpy(end - sgx::kGprSize, gpr, sizeof(gpr));
  const uint64_t misc[2] = {exit.address, exit.error};
  std::memcpy(end - sgx::kGprSize - sgx::kMiscSize, misc, sizeof(misc));
  ++thread.cssa;
  for (const int reg : order) context.uc_mcontext.gregs[reg] = 0;
  context.uc_mcontext.gregs[REG_RSP] = static_cast<greg_t>(thread.host_sp);
  context.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(sim_aep);
  context.uc_mcontext.gregs[REG_EFL] = 2;
}

[[noreturn]] void host_fault(int signal, const siginfo_t& info, const ucontext_t& context) {
  char text[160];
  format_fault(text, sizeof(text), signal, reinterpret_cast<uint64_t>(info.si_addr),
               static_cast<uint64_t>(context.uc_mcontext.gregs[REG_RIP]),
               reinterpret_cast<uint64_t>(sim_aep));
  fatal(text);
}

// Whether the processor has the instructions, whatever the operating system says of them.
bool base_instructions_work() {
  static sigjmp_buf failed;
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) { siglongjmp(failed, 1); };
  sigaction(SIGILL, &action, &before);
  bool work = false;
  if (sigsetjmp(failed, 1) == 0) {
    uint64_t base = 0;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    work = true;
  }
  sigaction(SIGILL, &before, nullptr);
  return work;
}

}  // namespace

void sim_check_machine() {
  constexpr unsigned long kFsGsBase = 2;  // HWCAP2_FSGSBASE
  if ((getauxval(AT_HWCAP2) & kFsGsBase) != 0) return;
  if (!base_instructions_work())
    fatal("the simulation needs FSGSBASE (a CPU since 2012, and a system that does not switch it off)");
  sim_slow_bases = 1;
}

void sim_adopt_gs(const SimThread& thread) {
  constexpr int kArchSetGs = 0x1001;
  if (sim_slow_bases != 0 && syscall(SYS_arch_prctl, kArchSetGs, thread.tcs_gs) != 0)
    fatal("the operating system refuses a GS base");
}

SimThread* sim_thread_begin(SimEnclave* enclave) {
  // Twice the size, so that an aligned part is inside.
  void* raw = mmap(nullptr, size_t{2} * ALT_STACK_SIZE, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) fatal("no memory for a signal stack");
  const uint64_t start = reinterpret_cast<uint64_t>(raw);
  const uint64_t base = (start + ALT_STACK_SIZE - 1) & ALT_STACK_MASK;
  if (base > start) munmap(raw, base - start);
  if (base < start + ALT_STACK_SIZE) {
    munmap(reinterpret_cast<void*>(base + ALT_STACK_SIZE), start + ALT_STACK_SIZE - base);
  }
  if (mprotect(reinterpret_cast<void*>(base), ALT_STACK_SIZE, PROT_READ | PROT_WRITE) != 0) {
    fatal("no memory for a signal stack");
  }
  auto* thread = new (reinterpret_cast<void*>(base)) SimThread{};
  uint64_t fs = 0;
  uint64_t gs = 0;
  __asm__ volatile("rdfsbase %0" : "=r"(fs));
  __asm__ volatile("rdgsbase %0" : "=r"(gs));
  thread->host_fs = fs;
  thread->host_gs = gs;
  thread->enclave = enclave;
  begin_host_thread(thread->host);
  stack_t stack{};
  stack.ss_sp = reinterpret_cast<void*>(base + kRecordRoom);
  stack.ss_size = ALT_STACK_SIZE - kRecordRoom;
  if (sigaltstack(&stack, nullptr) != 0) fatal("sigaltstack failed");
  if (enclave != nullptr) {
    constexpr uint64_t kAllowed = (uint64_t{1} << 47) - sgx::kElrangeSize;
    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, sgx::kElrangeSize, kAllowed, 0) != 0) {
      fatal("the simulation needs Syscall User Dispatch (Linux 5.11 or newer)");
    }
  }
  return thread;
}

void sim_thread_end(SimThread* thread) {
  prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
  stack_t off{};
  off.ss_flags = SS_DISABLE;
  sigaltstack(&off, nullptr);
  end_host_thread(thread->host);
  munmap(reinterpret_cast<void*>(thread), ALT_STACK_SIZE);
}

void sim_install_handlers() {
  struct sigaction action {};
  action.sa_sigaction = sim_signal_entry;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (const int signal : kFaults) sigdelset(&action.sa_mask, signal);
  bool ok = true;
  for (const int signal : kFaults) ok = ok && sigaction(signal, &action, nullptr) == 0;
  for (const int signal : kForwarded) ok = ok && sigaction(signal, &action, nullptr) == 0;
  ok = ok && sigaction(kick_signal(), &action, nullptr) == 0;
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ok = ok && sigaction(SIGPIPE, &ignore, nullptr) == 0;  // the kernel makes its own
  if (!ok) fatal("cannot install signal handlers");
}

}  // namespace cloister::host

using cloister::host::SimThread;

// An asynchronous exit has brought us to the AEP: show it to the enclave, unless it is in its exception entry
// now.
void sim_after_aex(SimThread* thread) {
  using namespace cloister;
  if (thread->cssa > 1) {
    if (host::holds_exception(*thread, thread->cssa - 1))
      host::fatal("the enclave faulted in its exception entry");
    // Stage 1 was interrupted. Let it finish; the outer call below looks again.
    thread->notice = 0;
    thread->reserved = 1;
    return;
  }
  bool again = false;
  do {
    // An exception hides what came between it and this look, so that is shown by an entry of its own.
    again = __atomic_exchange_n(&thread->notice, 0, __ATOMIC_SEQ_CST) != 0;
    thread->reserved = 0;
    host::check_resumable(sim_eenter(thread));
  } while (again || thread->reserved != 0);
}

int sim_on_signal(int signal, siginfo_t* info, ucontext_t* context, SimThread* thread, uint64_t fs,
                  uint64_t gs) {
  using namespace cloister::host;
  auto& g = context->uc_mcontext.gregs;
  const auto rip = static_cast<uint64_t>(g[REG_RIP]);
  const int saved_errno = errno;
  const bool forwarded = note_signal(thread->host, signal);
  const bool in_stub =
      rip >= reinterpret_cast<uint64_t>(&sim_set_fs_base) && rip < reinterpret_cast<uint64_t>(sim_inside_end);
  if ((in_elrange(rip) || in_stub) && thread->tcs != 0) {
    if (signal == SIGILL && info->si_code > 0) {
      const EncluResult done = emulate_enclu(*thread, *context);
      if (done.outcome == EncluOutcome::Served || done.outcome == EncluOutcome::Left) {
        errno = saved_errno;
        return done.outcome == EncluOutcome::Left ? 1 : 0;
      }
      if (done.outcome == EncluOutcome::Fault) {
        asynchronous_exit(*thread, *context, {kExitInfoValid | 3u << 8 | done.vector, done.address, 0}, fs,
                          gs);
        errno = saved_errno;
        return 1;
      }
    }
    if (signal == SIGSYS && info->si_code == kSysUserDispatch) g[REG_RIP] -= 2;
    asynchronous_exit(*thread, *context, describe(signal, *info, *context), fs, gs);
    errno = saved_errno;
    return 1;
  }
  const bool fault = !forwarded && signal != kick_signal() && info->si_code > 0;
  if (fault) host_fault(signal, *info, *context);
  thread->notice = 1;
  wake(thread->host);
  const auto resume = reinterpret_cast<uint64_t>(sim_eresume);
  if (rip >= resume && rip < reinterpret_cast<uint64_t>(sim_eresume_end)) {
    if (rip == reinterpret_cast<uint64_t>(sim_eresume_last)) ++thread->cssa;
    g[REG_RIP] = static_cast<greg_t>(resume);
    g[REG_RDI] = reinterpret_cast<greg_t>(thread);
    g[REG_RSP] = static_cast<greg_t>(thread->host_sp);
    errno = saved_errno;
    return 1;
  }
  errno = saved_errno;
  return 0;
}
