// The enclave page cache map of the software CPU: what the hardware keeps about each page of an enclave, and
// what ENCLS (the operating system's side) and ENCLU (the enclave's side) do to it. The page tables are
// mprotect's business (enclave.h); what is here decides whether the enclave accepts what the host says it has
// done.
//
// One byte per page of ELRANGE, so that cpu.S can serve whole ranges without leaving the enclave.
#pragma once

#include <cstdint>
#include <utility>

#include "base/result.h"
#include "sgx/structures.h"

namespace cloister::host {

class Epcm {
 public:
  // Bits of an entry. The lower six are those of SECINFO.FLAGS (SDM vol. 3D, 37.12).
  static constexpr uint8_t kValid = 0x80, kTrim = 0x40;

  // Unavailable: no memory for `size` bytes of enclave.
  static Result<Epcm> create(uint64_t size);
  Epcm(Epcm&& other) noexcept
      : entries_(std::exchange(other.entries_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Epcm& operator=(Epcm&&) = delete;
  ~Epcm();

  // ENCLS, for each page of [address, address + size), which the caller has aligned. False: one of them is in
  // a state in which the instruction does nothing (SDM vol. 3D: EADD, EAUG, EMODPR, EMODT, EREMOVE); the
  // pages before it are done, as with the device's ioctls.
  bool add(uint64_t address, uint64_t secinfo_flags);
  bool augment(uint64_t address, uint64_t size);
  bool restrict_permissions(uint64_t address, uint64_t size, uint64_t permissions);
  bool trim(uint64_t address, uint64_t size);
  bool remove(uint64_t address, uint64_t size);

  // ENCLU of one page. Status is what the instruction leaves in RAX; the others are the exceptions that it
  // raises.
  enum class Outcome : uint8_t { Status, PageFault, Protection };
  struct Answer {
    Outcome outcome;
    uint64_t status = 0;
  };
  static constexpr uint64_t kAttributesMismatch = 19;  // SGX_PAGE_ATTRIBUTES_MISMATCH
  Answer accept(uint64_t address, uint64_t secinfo_flags);
  Answer extend(uint64_t address, uint64_t secinfo_flags);

  uint8_t entry(uint64_t address) const;
  uint8_t* entries() const { return entries_; }

 private:
  Epcm(uint8_t* entries, uint64_t count) : entries_(entries), count_(count) {}
  bool whole(uint64_t address, uint64_t size) const;

  uint8_t* entries_;
  uint64_t count_;
};

}  // namespace cloister::host
