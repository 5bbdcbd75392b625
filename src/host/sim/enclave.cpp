#include "host/sim/enclave.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <span>

#include "host/fatal.h"
#include "host/sim/cpu.h"

namespace cloister::host {
namespace {

void* at(uint64_t address) { return reinterpret_cast<void*>(address); }

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

// Where bases are slow the kernel cannot set FS itself.
void redirect_fs(const sgx::ImagePlan& plan) {
  constexpr uint8_t kSetFs[] = {0xf3, 0x48, 0x0f, 0xae, 0xd7, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc};
  uint8_t* set_fs = find_code(plan, kSetFs, 32);
  if (set_fs == nullptr)
    fatal("this image's kernel cannot run on a machine without FSGSBASE: build the image again");
  write_jump(set_fs, reinterpret_cast<uint64_t>(&sim_set_fs_base));
}

// The places that entry.S sets apart for a back-end in software. Without them everything still works, by
// traps.
void add_shortcuts(const sgx::ImagePlan& plan) {
  constexpr uint8_t kGate[] = {0xb8, 0x04, 0, 0, 0, 0x0f, 0x01, 0xd7, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc};
  if (uint8_t* gate = find_code(plan, kGate, 32)) write_jump(gate, reinterpret_cast<uint64_t>(&sim_eexit));
  constexpr uint8_t kLeaf[] = {0x0f, 0x1f, 0x84, 0, 0, 0, 0,    0,    0x0f, 0x1f,
                               0x84, 0,    0,    0, 0, 0, 0x53, 0x48, 0x81, 0xec};
  uint8_t* leaf = find_code(plan, kLeaf, 32);
  if (leaf == nullptr) return;
  sim_page_leaf_slowly = reinterpret_cast<uint64_t>(leaf) + 16;
  write_jump(leaf, reinterpret_cast<uint64_t>(&sim_page_leaf));
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

Result<std::unique_ptr<SimEnclave>> SimEnclave::load(sgx::LoadedImage& image, sgx::SimPlatform platform,
                                                     bool shortcuts) {
  // In this thread, later, when there cannot be another one.
  auto measured =
      std::async(std::launch::async | std::launch::deferred, [&] { return sgx::measure(image.plan); });
  Epcm epcm = TRY(Epcm::create(sgx::kElrangeSize));
  std::unique_ptr<SimEnclave> enclave(new SimEnclave(std::move(platform), std::move(epcm)));
  TRY(enclave->map_range());
  TRY(enclave->add_pages(image.plan));
  TRY(sgx::accept_measurement(image, measured.get()));
  TRY(enclave->init(image, shortcuts));
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
    // The kernel's own heap is used from its beginning: large pages save it a fault for each small one.
    madvise(at(sgx::kHeapBegin), sgx::kHeapEnd - sgx::kHeapBegin, MADV_HUGEPAGE);
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
Result<void> SimEnclave::add_pages(const sgx::ImagePlan& plan) {
  const auto& pages = plan.pages;
  for (size_t i = 0; i < pages.size();) {
    size_t end = i + 1;
    while (end < pages.size() && pages[end].offset == pages[end - 1].offset + sgx::kPageSize) ++end;
    if (mprotect(at(pages[i].offset), (end - i) * sgx::kPageSize, PROT_READ | PROT_WRITE) != 0)
      return Error(Code::Unavailable, std::string("no memory for the enclave: ") + std::strerror(errno));
    copy_content({pages.data() + i, end - i});
    for (; i < end; ++i) {
      if (!epcm_.add(pages[i].offset, pages[i].secinfo_flags))
        return Error(Code::Malformed, "the image has a page twice, or outside of ELRANGE");
    }
  }
  return adopt_threads(plan);
}

// EINIT, of an image whose measurement has been accepted.
Result<void> SimEnclave::init(const sgx::LoadedImage& image, bool shortcuts) {
  secs_ = TRY(secs_of(image, machine_xfrm()));
  adopt_identity(image);
  sim_epcm_entries = epcm_.entries();
  if (sim_slow_bases != 0) redirect_fs(image.plan);
  if (shortcuts) add_shortcuts(image.plan);
  for (const PageRun& run : page_runs(image.plan)) {
    // A TCS has no permissions: nobody inside reads it.
    if (mprotect(at(run.address), run.size, system_protection(run.secinfo_flags)) != 0)
      return Error(Code::Unavailable,
                   std::string("cannot protect the enclave's pages: ") + std::strerror(errno));
  }
  return {};
}

bool SimEnclave::commit(uint64_t address, uint64_t size) {
  errno = EINVAL;
  return run_time_range(address, size) && epcm_.augment(address, size) &&
         mprotect(at(address), size, PROT_READ | PROT_WRITE) == 0;
}

bool SimEnclave::protect(uint64_t address, uint64_t size, uint32_t protection) {
  errno = EINVAL;
  return run_time_range(address, size) &&
         epcm_.restrict_permissions(address, size, protection | sgx::kPageRead) &&
         mprotect(at(address), size, system_protection(protection)) == 0;
}

bool SimEnclave::release(uint64_t address, uint64_t size) {
  errno = EINVAL;
  return run_time_range(address, size) && epcm_.trim(address, size);
}

bool SimEnclave::settle(uint64_t address, uint64_t size, uint64_t kind) {
  errno = EINVAL;
  if (kind == boundary::kSettleClose) return run_time_range(address, size);  // as protect has left them
  return kind == boundary::kSettleRemove && run_time_range(address, size) && epcm_.remove(address, size) &&
         mmap(at(address), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) !=
             MAP_FAILED;
}

void SimEnclave::install_handlers() { sim_install_handlers(); }

HostThread* SimEnclave::begin_thread(uint32_t index, boundary::HostCallFrame* block) {
  SimThread* thread = sim_thread_begin(this);
  const sgx::Tcs& control = tcs(index);
  thread->host.index = index;
  thread->host.block = thread->block = block;
  thread->tcs = tcs_address(index);
  thread->entry = control.oentry;
  thread->tcs_fs = control.ofs_base;
  thread->tcs_gs = control.ogs_base;
  thread->ssa = control.ossa;
  thread->ssa_frame_size = sgx::kSsaFramePages * sgx::kPageSize;
  thread->xfrm = secs_.attributes.xfrm;
  sim_adopt_gs(*thread);
  return &thread->host;
}

uint64_t SimEnclave::enter(HostThread& thread) { return sim_eenter(around<SimThread>(thread)); }
void SimEnclave::end_thread(HostThread* thread) { sim_thread_end(around<SimThread>(*thread)); }

}  // namespace cloister::host
