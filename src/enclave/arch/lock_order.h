// The order of the kernel's locks. A thread that holds one may take only those that come later here: then no
// two threads can wait for each other. Kernels that are not for release check it at every lock
// (CLOISTER_LOCK_CHECKS) and end with the names of both, whether or not the deadlock would have come.
#pragma once

#include <cstdint>

namespace cloister::enclave {

enum class LockRank : uint8_t {
  Kernel,    // wait.h: nearly everything happens under it
  Random,    // the generator
  Clock,     // the host's readings
  Heap,      // of the kernel: any of the above may need memory
  Sleepers,  // threads that wait for the kernel lock
  Count,
};
const char* lock_name(LockRank rank);

#ifdef CLOISTER_LOCK_CHECKS
inline constexpr bool kLockChecks = true;
#else
inline constexpr bool kLockChecks = false;
#endif

// Before a lock is taken, and after it has been given back, by the calling thread. `tried`: it would not have
// been waited for, so the order does not matter.
void lock_taken(LockRank rank, bool tried = false);
void lock_released(LockRank rank);

}  // namespace cloister::enclave
