#include "host/enclave.h"

#include <cpuid.h>
#include <sys/mman.h>

#include <cstring>

namespace cloister::host {

Result<void> Enclave::adopt_threads(const sgx::ImagePlan& plan) {
  for (const sgx::ImagePage& page : plan.pages) {
    if (!is_tcs(page.secinfo_flags)) continue;
    sgx::Tcs tcs;
    std::memcpy(&tcs, page.content, sizeof(tcs));
    tcs_.push_back(tcs);
    tcs_address_.push_back(page.offset);
  }
  if (tcs_.empty()) return Error(Code::Malformed, "the image has no thread");
  return {};
}

void Enclave::adopt_identity(const sgx::LoadedImage& image) {
  const sgx::Measurement signer = sgx::mrsigner_of(image.sigstruct);
  secs_.attributes.flags |= sgx::kFlagInit;
  std::memcpy(secs_.mrenclave, image.plan.mrenclave.data(), image.plan.mrenclave.size());
  std::memcpy(secs_.mrsigner, signer.data(), signer.size());
  secs_.isv_prod_id = image.sigstruct.isv_prod_id;
  secs_.isv_svn = image.sigstruct.isv_svn;
}

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

std::vector<PageRun> page_runs(const sgx::ImagePlan& plan) {
  std::vector<PageRun> runs;
  for (const sgx::ImagePage& page : plan.pages) {
    const bool next = !runs.empty() && page.offset == runs.back().address + runs.back().size &&
                      page.secinfo_flags == runs.back().secinfo_flags;
    if (!next) runs.push_back({page.offset, 0, page.secinfo_flags});
    runs.back().size += sgx::kPageSize;
  }
  return runs;
}

int system_protection(uint64_t permissions) {
  return ((permissions & sgx::kPageRead) != 0 ? PROT_READ : 0) |
         ((permissions & sgx::kPageWrite) != 0 ? PROT_WRITE : 0) |
         ((permissions & sgx::kPageExecute) != 0 ? PROT_EXEC : 0);
}

}  // namespace cloister::host
