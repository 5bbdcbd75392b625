#include "host/sim/epcm.h"

#include <sys/mman.h>

#include <algorithm>

namespace cloister::host {
namespace {

constexpr uint64_t kPermissions = sgx::kPageRead | sgx::kPageWrite | sgx::kPageExecute;
constexpr uint64_t kStates = sgx::kPagePending | sgx::kPageModified | sgx::kPageRestricted;

// A valid regular page that waits for nothing but, perhaps, the acceptance of fewer permissions.
bool settled(uint8_t entry) {
  constexpr uint8_t kUnsettled = Epcm::kTrim | sgx::kPagePending | sgx::kPageModified;
  return (entry & Epcm::kValid) != 0 && (entry & kUnsettled) == 0;
}

}  // namespace

Result<Epcm> Epcm::create(uint64_t size) {
  const uint64_t count = size / sgx::kPageSize;
  void* entries =
      mmap(nullptr, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (entries == MAP_FAILED) return Error(Code::Unavailable, "no memory for the list of the enclave's pages");
  return Epcm(static_cast<uint8_t*>(entries), count);
}

Epcm::~Epcm() {
  if (entries_ != nullptr) munmap(entries_, count_);
}

bool Epcm::whole(uint64_t address, uint64_t size) const {
  return address / sgx::kPageSize < count_ && size / sgx::kPageSize <= count_ - address / sgx::kPageSize;
}

bool Epcm::add(uint64_t address, uint64_t secinfo_flags) {
  if (!whole(address, sgx::kPageSize)) return false;
  uint8_t& entry = entries_[address / sgx::kPageSize];
  if (entry != 0) return false;
  entry = static_cast<uint8_t>(kValid | (secinfo_flags & kPermissions));
  return true;
}

bool Epcm::augment(uint64_t address, uint64_t size) {
  constexpr uint8_t kFresh = kValid | sgx::kPagePending | sgx::kPageRead | sgx::kPageWrite;
  if (!whole(address, size)) return false;
  uint8_t* const begin = entries_ + address / sgx::kPageSize;
  uint8_t* const end = begin + size / sgx::kPageSize;
  uint8_t* const stop = std::find_if(begin, end, [](uint8_t entry) { return entry != 0; });
  std::fill(begin, stop, kFresh);
  return stop == end;
}

bool Epcm::restrict_permissions(uint64_t address, uint64_t size, uint64_t permissions) {
  if (!whole(address, size)) return false;
  const auto kept = static_cast<uint8_t>(kValid | (permissions & kPermissions));
  uint8_t* entry = entries_ + address / sgx::kPageSize;
  for (uint8_t* const end = entry + size / sgx::kPageSize; entry != end; ++entry) {
    if (!settled(*entry)) return false;
    *entry = static_cast<uint8_t>((*entry & kept) | sgx::kPageRestricted);
  }
  return true;
}

bool Epcm::trim(uint64_t address, uint64_t size) {
  if (!whole(address, size)) return false;
  uint8_t* entry = entries_ + address / sgx::kPageSize;
  for (uint8_t* const end = entry + size / sgx::kPageSize; entry != end; ++entry) {
    if (!settled(*entry)) return false;
    *entry = kValid | kTrim | sgx::kPageModified;
  }
  return true;
}

bool Epcm::remove(uint64_t address, uint64_t size) {
  if (!whole(address, size)) return false;
  uint8_t* const begin = entries_ + address / sgx::kPageSize;
  uint8_t* const end = begin + size / sgx::kPageSize;
  uint8_t* const stop = std::find_if(begin, end, [](uint8_t entry) { return entry != (kValid | kTrim); });
  std::fill(begin, stop, uint8_t{0});
  return stop == end;
}

Epcm::Answer Epcm::accept(uint64_t address, uint64_t secinfo_flags) {
  const uint64_t type = secinfo_flags & sgx::kPageTypeMask;
  const bool regular = type == sgx::kPageTypeRegular && (secinfo_flags & sgx::kPageModified) == 0;
  const bool trimmed = type == sgx::kPageTypeTrim &&
                       (secinfo_flags & (sgx::kPageModified | sgx::kPagePending)) == sgx::kPageModified;
  const bool writes_only = (secinfo_flags & (sgx::kPageRead | sgx::kPageWrite)) == sgx::kPageWrite;
  if (address % sgx::kPageSize != 0 || !whole(address, sgx::kPageSize) || !(regular || trimmed) ||
      writes_only)
    return {Outcome::Protection};
  uint8_t& entry = entries_[address / sgx::kPageSize];
  if ((entry & kValid) == 0) return {Outcome::PageFault};
  const auto wanted =
      static_cast<uint8_t>(kValid | (trimmed ? kTrim : 0) | (secinfo_flags & (kPermissions | kStates)));
  if (entry != wanted) return {Outcome::Status, kAttributesMismatch};
  entry = static_cast<uint8_t>(wanted & ~kStates);
  return {Outcome::Status, 0};
}

Epcm::Answer Epcm::extend(uint64_t address, uint64_t secinfo_flags) {
  if (address % sgx::kPageSize != 0 || !whole(address, sgx::kPageSize)) return {Outcome::Protection};
  uint8_t& entry = entries_[address / sgx::kPageSize];
  if (!settled(entry)) return {Outcome::PageFault};
  if ((secinfo_flags & sgx::kPageWrite) != 0 && ((secinfo_flags | entry) & sgx::kPageRead) == 0)
    return {Outcome::Protection};
  entry = static_cast<uint8_t>(entry | (secinfo_flags & kPermissions));
  return {Outcome::Status, 0};
}

uint8_t Epcm::entry(uint64_t address) const {
  return whole(address, sgx::kPageSize) ? entries_[address / sgx::kPageSize] : 0;
}

}  // namespace cloister::host
