// File locks. Record locks of fcntl (owner: a process's descriptor table) and of open descriptions (owner:
// the File) share one space and conflict with each other; flock has its own. All lockers are inside this
// enclave: a volume's storage is locked against other enclaves as a whole when it is mounted. Kernel lock
// held.
#pragma once

#include <cstdint>

#include "enclave/vfs/file.h"

namespace cloister::enclave {

enum class LockSpace : uint8_t { Record, Flock };
enum class LockType : uint8_t { Shared, Exclusive, None };

inline constexpr int32_t kDescriptionPid = -1;  // what F_GETLK says of a lock of an open description

struct FileLock {
  const void* owner = nullptr;
  int32_t pid = 0;  // or kDescriptionPid
  LockType type = LockType::None;
  uint64_t begin = 0, end = UINT64_MAX;  // end excluded
};

// Sets or (None) removes. Again: somebody else holds it and `wait` is false. Deadlock: whoever holds it waits
// for the owner.
SysResult<void> set_lock(File& file, LockSpace space, const FileLock& wanted, bool wait);
// The lock that `wanted` would wait for; type None: nobody's.
SysResult<FileLock> conflicting_lock(File& file, LockSpace space, const FileLock& wanted);
void release_record_locks(File& file, const FdTable* owner);
void release_description_locks(File& file);

}  // namespace cloister::enclave
