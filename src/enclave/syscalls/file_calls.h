// What the files of file system calls share.
#pragma once

#include <cstdint>
#include <vector>

#include "enclave/sys_result.h"

namespace cloister::enclave {

struct UserVector {  // struct iovec
  uint64_t base, size;
};
// At most 1024, together at most what one call transfers.
SysResult<std::vector<UserVector>> load_vectors(uint64_t address, uint64_t count);

// AT_… flags (fcntl.h).
inline constexpr uint64_t kAtEmptyPath = 0x1000, kAtNoFollow = 0x100, kAtFollow = 0x400,
                          kAtRemoveFolder = 0x200;

}  // namespace cloister::enclave
