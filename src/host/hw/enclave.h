// An enclave in hardware: the page list of the image, given to the CPU through the operating system's device.
// What the CPU measures is what the list says, so MRENCLAVE is the image's; nothing of the image is changed
// before or after.
//
// Has not been run on SGX hardware. Tests stand in for the device (enclave_test.cpp) and for the vDSO
// (entry_test.cpp).
#pragma once

#include <memory>

#include "host/enclave.h"
#include "host/hw/device.h"
#include "host/hw/vdso.h"
#include "host/machine.h"

namespace cloister::host {

// XFRM for an enclave of this machine: what the operating system enables (`enabled`, of XCR0) and the CPU
// lets enclaves have too (CPUID.(12H,1).ECX:EDX; everything where it does not say), in such combinations as
// ECREATE takes (SDM vol. 3D, 36.7 and 37.7: those of XSETBV, x87 and SSE always). Unsupported: it lets them
// not even have x87 and SSE.
Result<uint64_t> hardware_xfrm(uint64_t enabled, const Cpuid& cpuid);

class HwEnclave final : public Enclave {
 public:
  // ECREATE, EADD, EEXTEND, EINIT. Nothing is left mapped on failure. Integrity: SIGSTRUCT does not name this
  // MRENCLAVE, or the CPU refuses it; Unsupported: the machine lacks something (EDMM, free addresses), with
  // advice; Unavailable: no protected memory is left, or a request failed (the message names it, the page and
  // the reason).
  static Result<std::unique_ptr<HwEnclave>> load(const sgx::LoadedImage& image,
                                                 std::unique_ptr<SgxDevice> device, const SgxEntry& entry);
  ~HwEnclave() override;

  // As host/enclave.h says. Pages are added by the fault that EACCEPT takes on them, so commit only opens the
  // addresses. What is interrupted, or served in part, is continued.
  bool commit(uint64_t address, uint64_t size) override;
  bool protect(uint64_t address, uint64_t size, uint32_t protection) override;
  bool release(uint64_t address, uint64_t size) override;
  bool settle(uint64_t address, uint64_t size, uint64_t kind) override;

  void install_handlers() override;
  HostThread* begin_thread(uint32_t index, boundary::HostCallFrame* block) override;
  uint64_t enter(HostThread& thread) override;
  void end_thread(HostThread* thread) override;

 private:
  HwEnclave(std::unique_ptr<SgxDevice> device, const SgxEntry& entry)
      : device_(std::move(device)), entry_(entry) {}
  Result<void> create(const sgx::LoadedImage& image);
  Result<void> add_pages(const sgx::ImagePlan& plan);
  Result<void> add_run(const sgx::ImagePage* pages, size_t count);
  Result<void> init(const sgx::LoadedImage& image);
  Result<void> map_pages(const sgx::ImagePlan& plan);
  bool remove_pages(uint64_t address, uint64_t size);

  std::unique_ptr<SgxDevice> device_;
  SgxEntry entry_;
  bool mapped_ = false;
};

}  // namespace cloister::host
