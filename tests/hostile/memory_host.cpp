// The host of a real enclave that says it has changed the enclave's pages, and has not, or has otherwise. The
// enclave looks (EACCEPT), and ends before the program can use such a page.
//
// Usage: memory_host LIE N IMAGE. The N-th call that the lie is about is answered falsely (from 1); with LIE
// none the host is honest. Exit code: of the enclave; 97 the host failed, 96 there was no N-th call.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "host/process.h"
#include "host_options.h"

namespace cloister::host {
namespace {

using boundary::HostCall;

struct Lie {
  const char* name;
  HostCall about;
  void (*tell)(Enclave& enclave, uint64_t address, uint64_t size, uint64_t third);
};

constexpr uint64_t kPage = sgx::kPageSize;

constexpr Lie kLies[] = {
    {"none", HostCall::Exit, nullptr},
    // Nothing is there at all.
    {"commit-nothing", HostCall::MemoryCommit, [](Enclave&, uint64_t, uint64_t, uint64_t) {}},
    // All but the last page.
    {"commit-short", HostCall::MemoryCommit,
     [](Enclave& enclave, uint64_t address, uint64_t size, uint64_t) {
       if (size > kPage) enclave.commit(address, size - kPage);
     }},
    // The page tables may say so, the CPU does not.
    {"protect-nothing", HostCall::MemoryProtect, [](Enclave&, uint64_t, uint64_t, uint64_t) {}},
    {"protect-less", HostCall::MemoryProtect,
     [](Enclave& enclave, uint64_t address, uint64_t size, uint64_t) {
       if (size > kPage) enclave.protect(address, size - kPage, 1);
     }},
    // What was writable stays so, for whoever can get at it.
    {"protect-more", HostCall::MemoryProtect,
     [](Enclave& enclave, uint64_t address, uint64_t size, uint64_t asked) {
       if ((asked & sgx::kPageWrite) == 0) enclave.protect(address, size, 7);
     }},
    // The pages stay, with what is on them.
    {"release-nothing", HostCall::MemoryRelease, [](Enclave&, uint64_t, uint64_t, uint64_t) {}},
    {"release-short", HostCall::MemoryRelease,
     [](Enclave& enclave, uint64_t address, uint64_t size, uint64_t) {
       if (size > kPage) enclave.release(address, size - kPage);
     }},
};

const Lie* g_lie = nullptr;
uint64_t g_when = 0;
std::atomic<uint64_t> g_calls{0};

}  // namespace

// In place of the one of cloister_host.
void serve(HostProcess& process, HostThread& thread) {
  boundary::HostCallFrame& frame = *thread.block;
  const bool now = g_lie->tell != nullptr && static_cast<HostCall>(frame.number) == g_lie->about &&
                   g_calls.fetch_add(1) + 1 == g_when;
  if (!now) return answer(process, thread);
  g_lie->tell(*process.enclave, frame.arguments[0], frame.arguments[1], frame.arguments[2]);
  frame.result = 0;
}

}  // namespace cloister::host

int main(int count, char** words) {
  using namespace cloister::host;
  if (count != 4) return 2;
  for (const Lie& lie : kLies) {
    if (lie.name == std::string(words[1])) g_lie = &lie;
  }
  g_when = std::strtoull(words[2], nullptr, 0);
  if (g_lie == nullptr || (g_lie->tell != nullptr && g_when == 0)) return 2;
  RunOptions options = options_of(words + 3);
  options.sim_exact = std::getenv("MEMORY_HOST_EXACT") != nullptr;
  const auto end = run_enclave(options);
  if (!end.ok()) std::fprintf(stderr, "memory_host: %s\n", end.error().message().c_str());
  std::fflush(nullptr);
  if (end.ok() && g_calls.load() < g_when) _exit(96);
  _exit(end.ok() ? end->status : 97);
}
