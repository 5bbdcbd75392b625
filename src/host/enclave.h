// An initialised enclave and the way into it: what the software SGX (sim/) and the hardware (hw/) have in
// common. Both load the same image, so the code inside and its measurement are the same.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "host/thread.h"
#include "sgx/image.h"
#include "sgx/layout.h"
#include "sgx/structures.h"
#include "sgx/xsave.h"

namespace cloister::host {

class Enclave {
 public:
  virtual ~Enclave() = default;
  Enclave(const Enclave&) = delete;
  Enclave& operator=(const Enclave&) = delete;

  uint32_t thread_count() const { return static_cast<uint32_t>(tcs_.size()); }
  const sgx::Tcs& tcs(uint32_t index) const { return tcs_.at(index); }
  uint64_t tcs_address(uint32_t index) const { return tcs_address_.at(index); }
  const sgx::Secs& secs() const { return secs_; }

  // The operating system's part of MemoryCommit, MemoryProtect, MemoryRelease and MemorySettle
  // (boundary/host_calls.inc) for whole pages. Bits of `protection`: 1 read, 2 write, 4 execute. False with
  // errno set: outside the places for run-time pages, not in the state for it, or the operating system
  // refused. Any thread.
  virtual bool commit(uint64_t address, uint64_t size) = 0;
  virtual bool protect(uint64_t address, uint64_t size, uint32_t protection) = 0;
  virtual bool release(uint64_t address, uint64_t size) = 0;
  virtual bool settle(uint64_t address, uint64_t size, uint64_t kind) = 0;

  // Of the process, once, before the first thread.
  virtual void install_handlers() = 0;
  // The calling thread becomes the one of TCS `index`. Signals are blocked until then. Aborts when the
  // machine cannot.
  virtual HostThread* begin_thread(uint32_t index, boundary::HostCallFrame* block) = 0;
  // In, and everything that happens until the enclave leaves by itself: why it did (boundary::LeaveReason, or
  // whatever else it says). By the thread that began.
  virtual uint64_t enter(HostThread& thread) = 0;
  virtual void end_thread(HostThread* thread) = 0;

 protected:
  Enclave() = default;

  // Of the image's page list. Malformed: it has none.
  Result<void> adopt_threads(const sgx::ImagePlan& plan);
  // What SECS holds of the image once EINIT has succeeded.
  void adopt_identity(const sgx::LoadedImage& image);

  sgx::Secs secs_{};
  std::vector<sgx::Tcs> tcs_;  // what the CPU keeps; the pages themselves cannot be read inside
  std::vector<uint64_t> tcs_address_;
};

// Shared by the back-ends.

// What both put into SECS: everything but XFRM depends on the image alone (SDM vol. 3D, 37.7). Integrity:
// SIGSTRUCT does not name the measured MRENCLAVE.
Result<sgx::Secs> secs_of(const sgx::LoadedImage& image, uint64_t xfrm);
// XFRM for this machine: what XCR0 enables, as far as an SSA frame of the layout holds it.
inline constexpr uint64_t kXfrmKept = sgx::kXfrmAvx512;
static_assert(sgx::xsave_size(kXfrmKept) + sgx::kMiscSize + sgx::kGprSize <=
              sgx::kSsaFramePages * sgx::kPageSize);
uint64_t machine_xfrm();
// Run-time pages belong into the program's part of ELRANGE or into the kernel's heap; whole pages, at least
// one.
bool run_time_range(uint64_t address, uint64_t size);
int system_protection(uint64_t permissions);  // PROT_… of the lowest three bits
// The pages of an image, neighbours of one kind together.
struct PageRun {
  uint64_t address, size, secinfo_flags;
};
std::vector<PageRun> page_runs(const sgx::ImagePlan& plan);
inline bool is_tcs(uint64_t secinfo_flags) {
  return (secinfo_flags & sgx::kPageTypeMask) == sgx::kPageTypeTcs;
}

}  // namespace cloister::host
