#include "host/enclave.h"

#include <cpuid.h>
#include <sys/mman.h>

#include <cstring>

namespace cloister::host {
namespace {

constexpr uint64_t kXfrmKept = 0xe7;  // x87, SSE, AVX, AVX-512: what an SSA frame of four pages holds

}  // namespace

Result<sgx::Secs> secs_of(const sgx::LoadedImage& image, uint64_t xfrm) {
  const sgx::SigStruct& signature = image.sigstruct;
  const sgx::Measurement& measured = image.plan.mrenclave;
  if (std::memcmp(signature.enclave_hash, measured.data(), measured.size()) != 0)
    return Error(Code::Integrity, "MRENCLAVE is not the one that SIGSTRUCT names");
  sgx::Secs secs{};
  secs.size = sgx::kElrangeSize;
  secs.ssa_frame_size = sgx::kSsaFramePages;
  secs.misc_select = image.plan.misc_select;
  secs.attributes = image.plan.attributes;
  secs.attributes.xfrm = xfrm;
  return secs;
}

uint64_t machine_xfrm() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  __cpuid(1, a, b, c, d);
  if ((c & bit_OSXSAVE) == 0) return sgx::kXfrmLegacy;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kXfrmKept) | sgx::kXfrmLegacy;
}

bool run_time_range(uint64_t address, uint64_t size) {
  if (address % sgx::kPageSize != 0 || size % sgx::kPageSize != 0 || size == 0) return false;
  const auto inside = [&](uint64_t begin, uint64_t end) {
    return address >= begin && address < end && size <= end - address;
  };
  return inside(sgx::kUserBegin, sgx::kUserEnd) || inside(sgx::kHeapBegin, sgx::kHeapEnd);
}

int system_protection(uint64_t permissions) {
  return ((permissions & sgx::kPageRead) != 0 ? PROT_READ : 0) |
         ((permissions & sgx::kPageWrite) != 0 ? PROT_WRITE : 0) |
         ((permissions & sgx::kPageExecute) != 0 ? PROT_EXEC : 0);
}

}  // namespace cloister::host
