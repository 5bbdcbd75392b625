#include "host/hw/enclave.h"

#include <asm/sgx.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

namespace cloister::host {
namespace {

constexpr uint64_t kRangeSize = sgx::kElrangeSize - sgx::kUserBegin;
// A request that makes no progress is tried this often before it counts as failed. Between tries the
// operating system has brought a page back or served a signal.
constexpr int kTries = 1000;

// Zero pages and the copies that requests read must lie on page borders, in memory that may be executable
// (private anonymous memory may).
struct alignas(sgx::kPageSize) Page {
  uint8_t bytes[sgx::kPageSize];
};

bool again(int number) { return number == EINTR || number == EAGAIN || number == EBUSY; }

std::string hex(uint64_t value) {
  char text[19];
  std::snprintf(text, sizeof(text), "0x%lx", value);
  return text;
}

// Memory can be lost only where it was there before.
enum class Stage : uint8_t { Creating, Filled };

Error failed(const std::string& what, int number, Stage stage = Stage::Filled) {
  const std::string message = "SGX: " + what + ": " + std::strerror(number);
  if (number == ENOMEM)
    return Error(Code::Unavailable, message, "the machine has no protected memory left: stop other enclaves");
  if (number == EIO && stage == Stage::Filled)
    return Error(Code::Unavailable, message, "protected memory is lost when the machine sleeps: start again");
  return Error(Code::Unavailable, message, "cloister doctor says what this machine lacks for SGX");
}

// One of the three requests that change pages of a running enclave, on all of [address, address + size). The
// kernel says how far it came (`count`), and wants its output fields zero.
template <class Request>
bool change_all(SgxDevice& device, unsigned long number, Request request, uint64_t address, uint64_t size) {
  for (int tries = 0; size != 0;) {
    Request part = request;
    part.offset = address;  // ELRANGE starts at 0
    part.length = size;
    const int status = device.request(number, &part);
    const int reason = errno;
    const bool sane = part.count <= size && part.count % sgx::kPageSize == 0;
    if (!sane) {
      errno = EPROTO;
      return false;
    }
    address += part.count;
    size -= part.count;
    if (size == 0) break;
    if (part.count != 0) tries = 0;
    if ((status != 0 && !again(reason)) || ++tries > kTries) {
      errno = status != 0 ? reason : EPROTO;
      return false;
    }
  }
  return true;
}

}  // namespace

Result<uint64_t> hardware_xfrm(uint64_t enabled, const Cpuid& cpuid) {
  const auto leaf = cpuid(0x12, 1);
  const uint64_t said = leaf[2] | uint64_t{leaf[3]} << 32;
  uint64_t xfrm = enabled & (said != 0 ? said : UINT64_MAX);
  if ((xfrm & sgx::kXfrmLegacy) != sgx::kXfrmLegacy)
    return Error(Code::Unsupported,
                 "the CPU does not let enclaves have x87 and SSE (XFRM): the system enables " + hex(enabled) +
                     " (XCR0), enclaves may have " + hex(said) + " (CPUID leaf 12H)",
                 "a hypervisor that passes SGX through must pass this leaf through as well");
  // All of AVX-512 or nothing of it, and not without AVX.
  if ((xfrm & sgx::kXfrmAvx512) != sgx::kXfrmAvx512) xfrm &= ~(sgx::kXfrmAvx512 & ~sgx::kXfrmAvx);
  return xfrm;
}

Result<std::unique_ptr<HwEnclave>> HwEnclave::load(const sgx::LoadedImage& image,
                                                   std::unique_ptr<SgxDevice> device, const SgxEntry& entry) {
  TRY(check_edmm(*device));
  std::unique_ptr<HwEnclave> enclave(new HwEnclave(std::move(device), entry));
  TRY(enclave->create(image));
  TRY(enclave->add_pages(image.plan));
  TRY(enclave->init(image));
  TRY(enclave->map_pages(image.plan));
  return enclave;
}

HwEnclave::~HwEnclave() {
  if (mapped_) device_->unmap(sgx::kUserBegin, kRangeSize);
}

// ECREATE. The addresses first: without them there is no enclave.
Result<void> HwEnclave::create(const sgx::LoadedImage& image) {
  const uint64_t xfrm = TRY(hardware_xfrm(machine_xfrm(), real_cpuid()));
  secs_ = TRY(secs_of(image, xfrm));
  if (device_->map(sgx::kUserBegin, kRangeSize) != 0) {
    return Error(Code::Unsupported,
                 std::string("the lowest 64 GiB of the address space are not free for the enclave: ") +
                     std::strerror(errno),
                 "look at ulimit -v and at vm.mmap_min_addr (65536 or less)");
  }
  mapped_ = true;
  const auto page = std::make_unique<Page>();
  std::memcpy(page->bytes, &secs_, sizeof(secs_));
  sgx_enclave_create request{};
  request.src = reinterpret_cast<uint64_t>(page->bytes);
  if (device_->request(SGX_IOC_ENCLAVE_CREATE, &request) != 0)
    return failed("the enclave cannot be created (ECREATE)", errno, Stage::Creating);
  return {};
}

// EADD and EEXTEND: the list in its order, neighbours of one kind in one request.
Result<void> HwEnclave::add_pages(const sgx::ImagePlan& plan) {
  const auto& pages = plan.pages;
  for (size_t i = 0; i < pages.size();) {
    size_t end = i + 1;
    while (end < pages.size() && end - i < 256 &&
           pages[end].offset == pages[end - 1].offset + sgx::kPageSize &&
           pages[end].secinfo_flags == pages[i].secinfo_flags && pages[end].measured == pages[i].measured)
      ++end;
    TRY(add_run(&pages[i], end - i));
    i = end;
  }
  return adopt_threads(plan);
}

Result<void> HwEnclave::add_run(const sgx::ImagePage* pages, size_t count) {
  const auto copies = std::make_unique<Page[]>(count);
  for (size_t i = 0; i < count; ++i) {
    if (pages[i].content != nullptr) std::memcpy(copies[i].bytes, pages[i].content, sgx::kPageSize);
  }
  sgx::SecInfo info{};
  info.flags = pages[0].secinfo_flags;
  const uint64_t size = count * sgx::kPageSize;
  uint64_t done = 0;
  for (int tries = 0; done < size;) {
    sgx_enclave_add_pages request{};
    request.src = reinterpret_cast<uint64_t>(copies.get()) + done;
    request.offset = pages[0].offset + done;
    request.length = size - done;
    request.secinfo = reinterpret_cast<uint64_t>(&info);
    request.flags = pages[0].measured ? SGX_PAGE_MEASURE : 0;
    const int status = device_->request(SGX_IOC_ENCLAVE_ADD_PAGES, &request);
    const int reason = errno;
    const auto refused = [&](int number) {
      return failed("page " + hex(pages[0].offset + done) + " cannot be added (EADD)", number);
    };
    if (request.count > size - done || request.count % sgx::kPageSize != 0) return refused(EPROTO);
    done += request.count;
    if (done == size) break;
    if (request.count != 0) tries = 0;
    if (status != 0 && !again(reason)) return refused(reason);
    if (++tries > kTries) return refused(status != 0 ? reason : EPROTO);
  }
  return {};
}

// EINIT: here the CPU compares what it has measured with what SIGSTRUCT names.
Result<void> HwEnclave::init(const sgx::LoadedImage& image) {
  const auto page = std::make_unique<Page>();
  std::memcpy(page->bytes, &image.sigstruct, sizeof(image.sigstruct));
  sgx_enclave_init request{};
  request.sigstruct = reinterpret_cast<uint64_t>(page->bytes);
  for (int tries = 0; device_->request(SGX_IOC_ENCLAVE_INIT, &request) != 0;) {
    if (again(errno) && ++tries <= kTries) continue;
    if (errno == EPERM)
      return Error(Code::Integrity, "SGX: the CPU refuses the image's measurement or signature (EINIT)",
                   "build the image again; flexible launch control must be on (cloister doctor)");
    return failed("the enclave cannot be initialised (EINIT)", errno);
  }
  adopt_identity(image);
  return {};
}

// The page tables get the permissions that the pages have. A TCS is the CPU's own to read and write.
Result<void> HwEnclave::map_pages(const sgx::ImagePlan& plan) {
  for (const PageRun& run : page_runs(plan)) {
    const int protection =
        is_tcs(run.secinfo_flags) ? PROT_READ | PROT_WRITE : system_protection(run.secinfo_flags);
    if (device_->protect(run.address, run.size, protection) != 0)
      return failed("page " + hex(run.address) + " cannot be mapped", errno);
  }
  return {};
}

bool HwEnclave::commit(uint64_t address, uint64_t size) {
  errno = EINVAL;
  return run_time_range(address, size) && device_->protect(address, size, PROT_READ | PROT_WRITE) == 0;
}

bool HwEnclave::protect(uint64_t address, uint64_t size, uint32_t protection) {
  errno = EINVAL;
  if (!run_time_range(address, size)) return false;
  // Readable, so that EACCEPT reaches the pages; settle closes what is to be closed.
  sgx_enclave_restrict_permissions request{};
  request.permissions =
      (protection & (sgx::kPageRead | sgx::kPageWrite | sgx::kPageExecute)) | sgx::kPageRead;
  return change_all(*device_, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, request, address, size) &&
         device_->protect(address, size, system_protection(request.permissions)) == 0;
}

bool HwEnclave::release(uint64_t address, uint64_t size) {
  errno = EINVAL;
  if (!run_time_range(address, size)) return false;
  sgx_enclave_modify_types request{};
  request.page_type = sgx::kPageTypeTrim >> 8;
  return device_->protect(address, size, PROT_READ | PROT_WRITE) == 0 &&
         change_all(*device_, SGX_IOC_ENCLAVE_MODIFY_TYPES, request, address, size);
}

bool HwEnclave::remove_pages(uint64_t address, uint64_t size) {
  return change_all(*device_, SGX_IOC_ENCLAVE_REMOVE_PAGES, sgx_enclave_remove_pages{}, address, size);
}

bool HwEnclave::settle(uint64_t address, uint64_t size, uint64_t kind) {
  errno = EINVAL;
  if (!run_time_range(address, size)) return false;
  if (kind == boundary::kSettleClose) return device_->protect(address, size, PROT_NONE) == 0;
  return kind == boundary::kSettleRemove && remove_pages(address, size) &&
         device_->protect(address, size, PROT_NONE) == 0;
}

}  // namespace cloister::host
