// What follows a call of the vDSO, and the handler of signals. See entry.h.
#include "host/hw/entry.h"

#include <ucontext.h>

#include <cerrno>
#include <cstdio>

#include "host/fatal.h"
#include "host/hw/enclave.h"

extern "C" {
extern const char hw_look_at_notice[], hw_look[], hw_resume[], hw_resume_end[], hw_call[], hw_called[];
int hw_left(cloister::host::HwThread* thread, int status);
void hw_looked(cloister::host::HwThread* thread, int status);
}

namespace cloister::host {
namespace {

constexpr uint32_t kEexit = 4;
constinit thread_local HwThread* t_thread = nullptr;

uint64_t address(const char* label) { return reinterpret_cast<uint64_t>(label); }
bool between(uint64_t rip, uint64_t begin, uint64_t end) { return rip >= begin && rip < end; }

[[noreturn]] void lost(const HwThread& thread, const char* what) {
  char text[200];
  std::snprintf(text, sizeof(text), "%s (vector %u, error code 0x%x, address 0x%llx)", what,
                thread.run.exception_vector, thread.run.exception_error_code,
                static_cast<unsigned long long>(thread.run.exception_addr));
  fatal(text);
}

// Whether the call ended by EEXIT; false: by an exception, of ERESUME or inside.
bool left(const HwThread& thread, int status) {
  if (status != 0 && status != -EFAULT) fatal("the kernel refuses to enter the enclave: cloister doctor");
  if (status == 0 && thread.run.function == kEexit) return true;
  if (thread.run.function == HW_EENTER)
    lost(thread,
         "the enclave cannot be entered: its protected memory is lost, as when the machine has slept");
  return false;
}

void go_on_at(ucontext_t& context, const char* label, const HwThread& thread) {
  auto& g = context.uc_mcontext.gregs;
  g[REG_RIP] = static_cast<greg_t>(address(label));
  g[REG_RSP] = static_cast<greg_t>(thread.host_sp);
}

void on_signal(int signal, siginfo_t* info, void* raw) {
  HwThread* const thread = t_thread;
  if (thread == nullptr) return;
  const int saved_errno = errno;
  auto& context = *static_cast<ucontext_t*>(raw);
  const auto& g = context.uc_mcontext.gregs;
  const auto rip = static_cast<uint64_t>(g[REG_RIP]);
  note_signal(thread->host, signal);
  // #DB and #BP inside are the two exceptions that the vDSO does not report (<asm/sgx.h>).
  const bool trap = signal == SIGTRAP && info->si_code > 0;
  const bool inside = rip == thread->entry.enclu && g[REG_RAX] == HW_ERESUME;
  const bool shown = thread->stage == HW_ENTERING || thread->stage == HW_RESUMING;
  if (trap) {
    if (!inside || !shown) fatal("a trap in the host part, or in the enclave's exception entry");
    go_on_at(context, hw_look, *thread);
    return;
  }
  const bool before_resume =
      thread->stage == HW_RESUMING && (between(rip, address(hw_resume), address(hw_resume_end)) ||
                                       between(rip, address(hw_call), address(hw_called)) ||
                                       between(rip, thread->entry.function, thread->entry.enclu));
  thread->notice = 1;
  if ((inside && shown) || before_resume) go_on_at(context, hw_look_at_notice, *thread);
  wake(thread->host);
  errno = saved_errno;
}

}  // namespace

HwThread* hw_thread_begin(const SgxEntry& entry, uint64_t tcs, uint32_t index,
                          boundary::HostCallFrame* block) {
  auto* thread = new HwThread{};
  thread->entry = entry;
  thread->run.tcs = tcs;
  thread->host.index = index;
  thread->host.block = block;
  begin_host_thread(thread->host);
  t_thread = thread;
  return thread;
}

void hw_thread_end(HwThread* thread) {
  t_thread = nullptr;
  end_host_thread(thread->host);
  delete thread;
}

void hw_install_handlers() {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO;
  sigfillset(&action.sa_mask);
  bool ok = sigaction(SIGTRAP, &action, nullptr) == 0 && sigaction(kick_signal(), &action, nullptr) == 0;
  for (const int signal : kForwarded) ok = ok && sigaction(signal, &action, nullptr) == 0;
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ok = ok && sigaction(SIGPIPE, &ignore, nullptr) == 0;  // the kernel makes its own
  if (!ok) fatal("cannot install signal handlers");
}

void HwEnclave::install_handlers() { hw_install_handlers(); }

HostThread* HwEnclave::begin_thread(uint32_t index, boundary::HostCallFrame* block) {
  return &hw_thread_begin(entry_, tcs_address(index), index, block)->host;
}

uint64_t HwEnclave::enter(HostThread& thread) { return hw_enter(around<HwThread>(thread)); }
void HwEnclave::end_thread(HostThread* thread) { hw_thread_end(around<HwThread>(*thread)); }

}  // namespace cloister::host

using cloister::host::HwThread;

int hw_left(HwThread* thread, int status) { return cloister::host::left(*thread, status) ? 0 : 1; }

void hw_looked(HwThread* thread, int status) {
  using namespace cloister;
  if (!host::left(*thread, status)) host::lost(*thread, "the enclave faulted in its exception entry");
  host::check_resumable(thread->reason);
}
