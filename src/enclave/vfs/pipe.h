// Pipes and event counters: files that are not in a file system. Nothing of them leaves the enclave. Kernel
// lock held.
#pragma once

#include <utility>

#include "enclave/vfs/file.h"

namespace cloister::enclave {

// {read end, write end}
std::pair<Ref<File>, Ref<File>> make_pipe(uint32_t flags);
// An end of the pipe that has this name; `fifo` is made at its first use. Waits for the other side, as flags
// say. Errors: NoDeviceAddress, nobody would read.
SysResult<Ref<File>> open_fifo(Ref<Counted>& fifo, const Ref<Inode>& name, uint32_t flags);
Ref<File> make_event_counter(uint64_t value, bool semaphore, uint32_t flags);

}  // namespace cloister::enclave
