// A loaded enclave in simulation: ELRANGE mapped in this process, with the pages that ECREATE and EADD would
// put there. While they are copied, a second thread measures the list that they come from; open_image
// (sgx/image.h) has verified SIGSTRUCT, and init() compares the two, as EINIT would. After init() only
// commit, protect, release and settle change what is mapped and what the EPCM says, and no page of the image;
// the enclave's EACCEPT and EMODPE change the EPCM.
#pragma once

#include <memory>

#include "host/enclave.h"
#include "host/sim/epcm.h"
#include "sgx/sim_platform.h"

namespace cloister::host {

class SimEnclave final : public Enclave {
 public:
  // Maps, adds every page, measures, checks. `shortcuts`: the padded places of the kernel's code become
  // jumps, so that leaving and accepting pages need no trap; without them the code runs as it was measured.
  // Integrity: the measurement is not the signed one. Unsupported: ELRANGE is not free in this process.
  static Result<std::unique_ptr<SimEnclave>> load(sgx::LoadedImage& image, sgx::SimPlatform platform,
                                                  bool shortcuts = true);
  ~SimEnclave() override;

  const sgx::SimPlatform& platform() const { return platform_; }
  Epcm& epcm() { return epcm_; }

  bool commit(uint64_t address, uint64_t size) override;
  bool protect(uint64_t address, uint64_t size, uint32_t protection) override;
  bool release(uint64_t address, uint64_t size) override;
  bool settle(uint64_t address, uint64_t size, uint64_t kind) override;

  void install_handlers() override;
  HostThread* begin_thread(uint32_t index, boundary::HostCallFrame* block) override;
  uint64_t enter(HostThread& thread) override;
  void end_thread(HostThread* thread) override;

 private:
  SimEnclave(sgx::SimPlatform platform, Epcm epcm) : platform_(std::move(platform)), epcm_(std::move(epcm)) {}
  Result<void> map_range();
  Result<void> add_pages(const sgx::ImagePlan& plan);
  Result<void> init(const sgx::LoadedImage& image, bool shortcuts);

  sgx::SimPlatform platform_;
  Epcm epcm_;
  bool mapped_ = false;
};

}  // namespace cloister::host
