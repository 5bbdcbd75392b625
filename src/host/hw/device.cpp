#include "host/hw/device.h"

#include <asm/sgx.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/descriptor.h"

namespace cloister::host {
namespace {

void* at(uint64_t address) { return reinterpret_cast<void*>(address); }

class RealDevice final : public SgxDevice {
 public:
  explicit RealDevice(Descriptor device) : device_(std::move(device)) {}

  int request(unsigned long number, void* argument) override {
    return ::ioctl(device_.get(), number, argument);
  }

  int map(uint64_t address, uint64_t size) override {
    void* const got =
        ::mmap(at(address), size, PROT_NONE, MAP_SHARED | MAP_FIXED_NOREPLACE, device_.get(), 0);
    if (got == at(address)) return 0;
    if (got == MAP_FAILED) return -1;
    ::munmap(got, size);  // a kernel that does not know MAP_FIXED_NOREPLACE takes it for a wish
    errno = EEXIST;
    return -1;
  }
  int protect(uint64_t address, uint64_t size, int protection) override {
    return ::mprotect(at(address), size, protection);
  }
  int unmap(uint64_t address, uint64_t size) override { return ::munmap(at(address), size); }

 private:
  Descriptor device_;
};

}  // namespace

Result<void> check_edmm(SgxDevice& device) {
  sgx_enclave_restrict_permissions nothing{};
  if (device.request(SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &nothing) == 0 || errno == EINVAL) return {};
  const bool processor = errno == ENODEV;
  return Error(Code::Unsupported,
               std::string("this machine cannot add memory to a running enclave (EDMM): ") +
                   (processor         ? "the CPU has no SGX2"
                    : errno == ENOTTY ? "the kernel does not know it"
                                      : std::strerror(errno)),
               processor ? "no option of cloister build replaces it: use a CPU with SGX2 (cloister doctor)"
                         : "use Linux 6.0 or newer (cloister doctor)");
}

Result<std::unique_ptr<SgxDevice>> open_sgx_device(const std::string& path) {
  Descriptor device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (device.valid()) return std::unique_ptr<SgxDevice>(std::make_unique<RealDevice>(std::move(device)));
  return Error(Code::Unsupported, "cannot open " + path + ": " + std::strerror(errno),
               "cloister doctor says what this machine lacks for SGX");
}

}  // namespace cloister::host
