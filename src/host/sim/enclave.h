// A loaded enclave in simulation: ELRANGE mapped in this process, pages added and measured as the ECREATE,
// EADD and EEXTEND instructions would, SIGSTRUCT checked as EINIT would. After init() only MemoryCommit,
// MemoryProtect and MemoryRelease change what is mapped, and only above no page of the image.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "sgx/image.h"
#include "sgx/layout.h"
#include "sgx/sim_platform.h"
#include "sgx/structures.h"

namespace cloister::host {

class SimEnclave {
 public:
  // Maps, adds every page, measures, checks. Integrity: the measurement is not the signed one, or the
  // signature is wrong. Unsupported: ELRANGE is not free in this process.
  static Result<std::unique_ptr<SimEnclave>> load(const sgx::LoadedImage& image, sgx::SimPlatform platform);
  ~SimEnclave();
  SimEnclave(const SimEnclave&) = delete;
  SimEnclave& operator=(const SimEnclave&) = delete;

  const sgx::Secs& secs() const { return secs_; }
  const sgx::SimPlatform& platform() const { return platform_; }
  const sgx::Tcs& tcs(uint32_t index) const { return tcs_.at(index); }
  uint64_t tcs_address(uint32_t index) const { return tcs_address_.at(index); }
  uint32_t thread_count() const { return static_cast<uint32_t>(tcs_.size()); }

  // EAUG, EMODPR/EMODPE, EREMOVE of whole pages. False with errno set: outside the places for run-time pages,
  // or the operating system refused.
  bool commit(uint64_t address, uint64_t size, uint32_t protection);
  bool protect(uint64_t address, uint64_t size, uint32_t protection);
  bool release(uint64_t address, uint64_t size);

 private:
  explicit SimEnclave(sgx::SimPlatform platform) : platform_(std::move(platform)) {}
  Result<void> map_range();
  Result<void> add_pages(const sgx::LoadedImage& image);
  Result<void> seal_protections(const sgx::LoadedImage& image);

  sgx::SimPlatform platform_;
  sgx::Secs secs_{};
  std::vector<sgx::Tcs> tcs_;  // what the CPU keeps; the pages themselves cannot be read inside
  std::vector<uint64_t> tcs_address_;
  bool mapped_ = false;
};

}  // namespace cloister::host
