// What the files of file system calls share.
#pragma once

#include <cstdint>
#include <vector>

#include "enclave/arch/thread.h"
#include "enclave/process.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

// A new descriptor. `flags`: O_CLOEXEC and whatever the file has kept already.
inline SysResult<int64_t> add_file(SyscallArgs& args, const Ref<File>& file, uint32_t flags) {
  return TRY(args.thread.process->files.add(file, (flags & kOpenCloseOnExec) != 0));
}

struct UserVector {  // struct iovec
  uint64_t base, size;
};
inline constexpr uint64_t kMaxTransfer = 0x7ffff000;  // MAX_RW_COUNT: more is transferred in several calls
// At most 1024, together at most what one call transfers.
SysResult<std::vector<UserVector>> load_vectors(uint64_t address, uint64_t count);

enum class Direction : bool { Read, Write };
// Errors: BadFile, and IsDirectory for who wants to read one.
SysResult<FileUse> file_for(const Thread& thread, int32_t fd, Direction direction);
// For inotify, as far as anything was moved.
void notify_moved(File& file, Direction direction, uint64_t count);
// As much as RLIMIT_FSIZE allows; `offset` kCurrentPosition: at the file's own.
SysResult<size_t> write_limited(File& file, uint64_t offset, ByteView data);
// O_SYNC, O_DSYNC and their like of one call (RWF_…): it returns when the data are durable.
inline constexpr uint32_t kWriteDataSync = 2, kWriteSync = 4;
SysResult<void> written(File& file, uint64_t count, uint32_t flags = 0);

// AT_… flags (fcntl.h).
inline constexpr uint64_t kAtEmptyPath = 0x1000, kAtNoFollow = 0x100, kAtFollow = 0x400,
                          kAtRemoveFolder = 0x200, kAtNoAutomount = 0x800, kAtStatxSync = 0x6000;
inline SysResult<void> check_flags(uint64_t flags, uint64_t known) {
  return (flags & ~known) != 0 ? Errno::Invalid : SysResult<void>();
}

}  // namespace cloister::enclave
