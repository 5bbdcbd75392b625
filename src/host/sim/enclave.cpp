#include "host/sim/enclave.h"

#include <cpuid.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>

#include "host/fatal.h"
#include "host/sim/cpu.h"

namespace cloister::host {
namespace {

constexpr uint64_t kXfrmKept = 0xe7;  // x87, SSE, AVX, AVX-512: what an SSA frame of four pages holds

void* at(uint64_t address) { return reinterpret_cast<void*>(address); }

int protection_of(uint64_t flags) {
  int protection = PROT_NONE;
  if ((flags & sgx::kPageTypeTcs) != 0 && (flags & sgx::kPageTypeRegular) == 0) return protection;
  if ((flags & sgx::kPageRead) != 0) protection |= PROT_READ;
  if ((flags & sgx::kPageWrite) != 0) protection |= PROT_WRITE;
  if ((flags & sgx::kPageExecute) != 0) protection |= PROT_EXEC;
  return protection;
}

bool is_tcs(const sgx::ImagePage& page) { return (page.secinfo_flags & 0xff00) == sgx::kPageTypeTcs; }

// The first executable page range in which `pattern` stands, at an address that is a multiple of `alignment`.
uint8_t* find_code(const sgx::ImagePlan& plan, ByteView pattern, size_t alignment) {
  for (const sgx::ImagePage& page : plan.pages) {
    if ((page.secinfo_flags & sgx::kPageExecute) == 0) continue;
    auto* code = static_cast<uint8_t*>(at(page.offset));
    for (size_t i = 0; i + pattern.size() <= sgx::kPageSize; i += alignment) {
      if (std::memcmp(code + i, pattern.data(), pattern.size()) == 0) return code + i;
    }
  }
  return nullptr;
}

void write_jump(uint8_t* code, uint64_t target) {
  uint8_t jump[] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};  // movabs $target, %rax; jmp *%rax
  std::memcpy(jump + 2, &target, sizeof(target));
  std::memcpy(code, jump, sizeof(jump));
}

// The places that entry.S sets apart for a back-end in software. Without the first two everything still
// works, by traps; the third is needed where bases are slow.
void shorten_exits(const sgx::ImagePlan& plan) {
  constexpr uint8_t kGate[] = {0xb8, 0x04, 0, 0, 0, 0x0f, 0x01, 0xd7, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc};
  if (uint8_t* gate = find_code(plan, kGate, 32)) write_jump(gate, reinterpret_cast<uint64_t>(&sim_eexit));
  constexpr uint8_t kSetFs[] = {0xf3, 0x48, 0x0f, 0xae, 0xd7, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc};
  uint8_t* set_fs = sim_slow_bases != 0 ? find_code(plan, kSetFs, 32) : nullptr;
  if (set_fs != nullptr) write_jump(set_fs, reinterpret_cast<uint64_t>(&sim_set_fs_base));
  if (sim_slow_bases != 0 && set_fs == nullptr)
    fatal("this image's kernel cannot run on a machine without FSGSBASE: build the image again");
  constexpr uint8_t kAccept[] = {0x53, 0x48, 0x81, 0xec, 0x90, 0,    0,    0,   0x48,
                                 0x8d, 0x5c, 0x24, 0x3f, 0x48, 0x83, 0xe3, 0xc0};
  if (uint8_t* accept = find_code(plan, kAccept, 16)) *accept = 0xc3;  // ret
}

uint64_t machine_xfrm() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  __cpuid(1, a, b, c, d);
  if ((c & bit_OSXSAVE) == 0) return sgx::kXfrmLegacy;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kXfrmKept) | sgx::kXfrmLegacy;
}

// Run-time pages belong into the program's part of ELRANGE or into the kernel's heap.
bool run_time_range(uint64_t address, uint64_t size) {
  if (address % sgx::kPageSize != 0 || size % sgx::kPageSize != 0 || size == 0) return false;
  const auto inside = [&](uint64_t begin, uint64_t end) {
    return address >= begin && address < end && size <= end - address;
  };
  return inside(sgx::kUserBegin, sgx::kUserEnd) || inside(sgx::kHeapBegin, sgx::kHeapEnd);
}

int system_protection(uint32_t protection) {
  return ((protection & 1) != 0 ? PROT_READ : 0) | ((protection & 2) != 0 ? PROT_WRITE : 0) |
         ((protection & 4) != 0 ? PROT_EXEC : 0);
}

// Of consecutive pages. Those with content get their memory first and at once: a page fault for each would
// be a good part of a start.
void copy_content(std::span<const sgx::ImagePage> pages) {
  for (size_t i = 0; i < pages.size();) {
    size_t end = i + 1;
    if (pages[i].content != nullptr) {
      while (end < pages.size() && pages[end].content == pages[end - 1].content + sgx::kPageSize) ++end;
      const size_t size = (end - i) * sgx::kPageSize;
      if (end - i > 1) madvise(at(pages[i].offset), size, MADV_POPULATE_WRITE);  // Linux 5.14; else as needed
      std::memcpy(at(pages[i].offset), pages[i].content, size);
    }
    i = end;
  }
}

}  // namespace

Result<std::unique_ptr<SimEnclave>> SimEnclave::load(const sgx::LoadedImage& image,
                                                     sgx::SimPlatform platform) {
  std::unique_ptr<SimEnclave> enclave(new SimEnclave(std::move(platform)));
  TRY(enclave->map_range());
  TRY(enclave->add_pages(image));
  TRY(enclave->seal_protections(image));
  return enclave;
}

SimEnclave::~SimEnclave() {
  if (mapped_) munmap(at(sgx::kUserBegin), sgx::kElrangeSize - sgx::kUserBegin);
}

Result<void> SimEnclave::map_range() {
  const size_t size = sgx::kElrangeSize - sgx::kUserBegin;
  void* got = mmap(at(sgx::kUserBegin), size, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (got == at(sgx::kUserBegin)) {
    mapped_ = true;
    return {};
  }
  const int number = errno;
  if (got != MAP_FAILED) munmap(got, size);
  return Error(Code::Unsupported,
               std::string("the lowest 64 GiB of the address space are not free for the enclave: ") +
                   std::strerror(number),
               "look at ulimit -v and at vm.mmap_min_addr (65536 or less)");
}

// ECREATE, EADD and EEXTEND: what is copied is what is measured, page by page.
Result<void> SimEnclave::add_pages(const sgx::LoadedImage& image) {
  const auto& pages = image.plan.pages;
  for (size_t i = 0; i < pages.size();) {
    size_t end = i + 1;
    while (end < pages.size() && pages[end].offset == pages[end - 1].offset + sgx::kPageSize) ++end;
    if (mprotect(at(pages[i].offset), (end - i) * sgx::kPageSize, PROT_READ | PROT_WRITE) != 0)
      return Error(Code::Unavailable, std::string("no memory for the enclave: ") + std::strerror(errno));
    copy_content({pages.data() + i, end - i});
    for (; i < end; ++i) {
      if (!is_tcs(pages[i])) continue;
      sgx::Tcs tcs;
      std::memcpy(&tcs, pages[i].content, sizeof(tcs));
      tcs_.push_back(tcs);
      tcs_address_.push_back(pages[i].offset);
    }
  }
  if (tcs_.empty()) return Error(Code::Malformed, "the image has no thread");
  return {};
}

// EINIT: the signature is valid, names this measurement, and allows these attributes.
Result<void> SimEnclave::seal_protections(const sgx::LoadedImage& image) {
  // load_image has verified the signature and measured the page list from which add_pages copied.
  const sgx::SigStruct& signature = image.sigstruct;
  const sgx::Measurement& measured = image.plan.mrenclave;
  if (std::memcmp(signature.enclave_hash, measured.data(), measured.size()) != 0)
    return Error(Code::Integrity, "MRENCLAVE is not the one that SIGSTRUCT names");
  secs_.size = sgx::kElrangeSize;
  secs_.ssa_frame_size = sgx::kSsaFramePages;
  secs_.misc_select = image.plan.misc_select;
  secs_.attributes = image.plan.attributes;
  secs_.attributes.xfrm = machine_xfrm();
  secs_.attributes.flags |= sgx::kFlagInit;
  const sgx::Measurement signer = sgx::mrsigner_of(signature);
  std::memcpy(secs_.mrenclave, measured.data(), measured.size());
  std::memcpy(secs_.mrsigner, signer.data(), signer.size());
  secs_.isv_prod_id = signature.isv_prod_id;
  secs_.isv_svn = signature.isv_svn;
  shorten_exits(image.plan);
  const auto& pages = image.plan.pages;
  for (size_t i = 0; i < pages.size();) {
    size_t end = i + 1;
    while (end < pages.size() && pages[end].offset == pages[end - 1].offset + sgx::kPageSize &&
           pages[end].secinfo_flags == pages[i].secinfo_flags)
      ++end;
    if (mprotect(at(pages[i].offset), (end - i) * sgx::kPageSize, protection_of(pages[i].secinfo_flags)) != 0)
      return Error(Code::Unavailable,
                   std::string("cannot protect the enclave's pages: ") + std::strerror(errno));
    i = end;
  }
  return {};
}

bool SimEnclave::commit(uint64_t address, uint64_t size, uint32_t protection) {
  errno = EINVAL;
  return run_time_range(address, size) && mprotect(at(address), size, system_protection(protection)) == 0;
}

bool SimEnclave::protect(uint64_t address, uint64_t size, uint32_t protection) {
  return commit(address, size, protection);
}

bool SimEnclave::release(uint64_t address, uint64_t size) {
  errno = EINVAL;
  return run_time_range(address, size) &&
         mmap(at(address), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) !=
             MAP_FAILED;
}

}  // namespace cloister::host
