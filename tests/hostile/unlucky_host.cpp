// An honest host of a real enclave at its unluckiest moments: what happens seldom in hardware happens at each
// chance. The page faults that an operating system resolves by itself are recorded by the CPU all the same
// (EXINFO), and here the enclave always sees the record of one that is over: the handler of the signal first
// makes the asynchronous exit, then brings the page.
//
// Usage: unlucky_host KIND IMAGE [ARGUMENTS]. Exit code: of the enclave; 97 the host failed, 96 the moment
// never came.
//   late    an added page is there only after the fault of its EACCEPT
//   absent  before each tenth host call the kernel's pages are taken; each comes back after a fault
//   heap, stack, text   at the 20th host call these pages of the kernel go for good
//   undefined, protected   the same for the code, which becomes one exception (#UD, #GP) after the other:
//   also what
//           serves exceptions
//   early   SIGUSR1 reaches each further thread before its first entry
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "host/process.h"
#include "host_options.h"
#include "sgx/image.h"

namespace cloister::host {
namespace {

using boundary::HostCall;
using Handler = void (*)(int, siginfo_t*, void*);

constexpr uint64_t kPage = sgx::kPageSize;

struct Pages {
  uint64_t size;
  int protection;
};

std::string g_kind;
Enclave* g_enclave = nullptr;
std::atomic<uint64_t> g_calls{0}, g_moments{0};
std::atomic<uint64_t> g_late_begin{0}, g_late_size{0};
std::mutex g_mutex;
std::map<uint64_t, Pages> g_kernel;  // that may be taken
std::array<Handler, 65> g_handlers{};

bool takes(const char* kind) { return g_kind == kind; }
bool breaks_code() { return takes("text") || takes("undefined") || takes("protected"); }

// FS changes below this function, so the compiler may not keep a canary in it.
__attribute__((no_stack_protector)) void on_fault(int signal, siginfo_t* info, void* context) {
  const auto& g = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const bool accept = signal == SIGILL && static_cast<uint32_t>(g[REG_RAX]) == sgx::kEaccept;
  const auto address = reinterpret_cast<uint64_t>(info->si_addr) & ~(kPage - 1);
  g_handlers[static_cast<size_t>(signal)](signal, info, context);
  if (accept && g_late_size != 0) {
    ++g_moments;
    g_enclave->commit(g_late_begin, g_late_size);
    g_late_size = 0;
  }
  if (signal != SIGSEGV || !takes("absent")) return;
  auto next = g_kernel.upper_bound(address);
  if (next == g_kernel.begin()) return;
  const auto& [begin, pages] = *--next;
  if (address >= begin + pages.size) return;
  ++g_moments;
  ::mprotect(reinterpret_cast<void*>(address), kPage, pages.protection);
}

void wrap(int signal) {
  struct sigaction action {};
  ::sigaction(signal, nullptr, &action);
  g_handlers[static_cast<size_t>(signal)] = action.sa_sigaction;
  action.sa_sigaction = on_fault;
  ::sigaction(signal, &action, nullptr);
}

// Everything that the kernel has from its image, but for what the entry of an exception itself uses (in
// hardware the operating system resolves those faults without another look): its code, SSA and block.
void find_kernel(const sgx::LoadedImage& image, const Enclave& enclave) {
  const uint64_t entry = enclave.tcs(0).oentry & ~(kPage - 1);
  for (const sgx::ImagePage& page : image.plan.pages) {
    const uint64_t at = page.offset;
    const bool code = (page.secinfo_flags & sgx::kPageExecute) != 0;
    const bool stack = at >= sgx::kThreadAddress && (at & (sgx::kThreadStride - 1)) >= sgx::kStackOffset &&
                       (at & (sgx::kThreadStride - 1)) < sgx::kStackOffset + sgx::kStackSize;
    const bool data = at >= sgx::kKernelAddress && at < sgx::kThreadAddress && !code;
    const bool text = code && (at < entry - kPage || at > entry + kPage);
    if ((takes("absent") && (stack || data || text)) || (takes("stack") && stack) || (breaks_code() && text))
      g_kernel[at] = {kPage, system_protection(page.secinfo_flags)};
  }
}

void take_kernel() {
  const std::scoped_lock guard(g_mutex);
  if (takes("undefined") || takes("protected")) {
    constexpr int kPushEs = 0x06, kHlt = 0xf4;  // one byte each: wherever one goes on, it is the same
    for (const auto& [begin, pages] : g_kernel) {
      auto* const code = reinterpret_cast<void*>(begin);
      ::mprotect(code, pages.size, PROT_READ | PROT_WRITE);
      std::memset(code, takes("undefined") ? kPushEs : kHlt, pages.size);
      ::mprotect(code, pages.size, pages.protection);
    }
    return;
  }
  for (const auto& [begin, pages] : g_kernel)
    ::mprotect(reinterpret_cast<void*>(begin), pages.size, PROT_NONE);
}

// Signals that come between a thread's start and its first entry.
class EarlySignals final : public Enclave {
 public:
  explicit EarlySignals(std::unique_ptr<Enclave> inner) : inner_(std::move(inner)) {
    for (uint32_t i = 0; i < inner_->thread_count(); ++i) {
      tcs_.push_back(inner_->tcs(i));
      tcs_address_.push_back(inner_->tcs_address(i));
    }
  }
  bool commit(uint64_t at, uint64_t size) override { return inner_->commit(at, size); }
  bool protect(uint64_t at, uint64_t size, uint32_t bits) override { return inner_->protect(at, size, bits); }
  bool release(uint64_t at, uint64_t size) override { return inner_->release(at, size); }
  bool settle(uint64_t at, uint64_t size, uint64_t kind) override { return inner_->settle(at, size, kind); }
  void install_handlers() override { inner_->install_handlers(); }
  HostThread* begin_thread(uint32_t index, boundary::HostCallFrame* block) override {
    HostThread* const thread = inner_->begin_thread(index, block);
    ++g_moments;
    ::usleep(50'000);  // until whoever started it waits, so that nothing makes it call the host
    note_signal(*thread, SIGUSR1);
    return thread;
  }
  uint64_t enter(HostThread& thread) override { return inner_->enter(thread); }
  void end_thread(HostThread* thread) override { inner_->end_thread(thread); }

 private:
  std::unique_ptr<Enclave> inner_;
};

// At the first host call, which the only thread makes.
void begin(HostProcess& process) {
  g_enclave = process.enclave.get();
  if (takes("early")) process.enclave = std::make_unique<EarlySignals>(std::move(process.enclave));
  const auto image = sgx::load_image(process.options->image);
  if (image.ok()) find_kernel(*image, *g_enclave);
  wrap(SIGILL);
  wrap(SIGSEGV);
}

void note_heap(const boundary::HostCallFrame& frame) {
  if (frame.arguments[0] < sgx::kHeapBegin || !(takes("absent") || takes("heap"))) return;
  const std::scoped_lock guard(g_mutex);
  g_kernel[frame.arguments[0]] = {frame.arguments[1], PROT_READ | PROT_WRITE};
}

}  // namespace

// In place of the one of cloister_host.
void serve(HostProcess& process, HostThread& thread) {
  const uint64_t calls = g_calls.fetch_add(1);
  if (calls == 0) begin(process);
  boundary::HostCallFrame& frame = *thread.block;
  const bool commits = static_cast<HostCall>(frame.number) == HostCall::MemoryCommit;
  if (commits) note_heap(frame);
  if (commits && takes("late")) {
    g_late_begin = frame.arguments[0];
    g_late_size = frame.arguments[1];
    frame.result = 0;
    return;
  }
  answer(process, thread);
  if (takes("absent") ? calls % 10 == 9 : calls == 20) {
    if (!takes("absent")) ++g_moments;
    take_kernel();
  }
}

}  // namespace cloister::host

int main(int count, char** words) {
  using namespace cloister::host;
  if (count < 3) return 2;
  g_kind = words[1];
  const RunOptions options = options_of(words + 2);
  const auto end = run_enclave(options);
  if (!end.ok()) std::fprintf(stderr, "unlucky_host: %s\n", end.error().message().c_str());
  std::fflush(nullptr);
  if (end.ok() && g_moments == 0) _exit(96);
  _exit(end.ok() ? end->status : 97);
}
