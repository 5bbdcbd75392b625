// What the files of socket calls share.
#pragma once

#include <utility>

#include "enclave/arch/frame.h"
#include "enclave/vfs/file.h"

namespace cloister::enclave {

// The file of the descriptor in argument `index`; it is a socket.
SysResult<FileUse> socket_of(SyscallArgs& args, int index);
// Two descriptors into the int[2] at `out`.
SysResult<int64_t> install_pair(SyscallArgs& args, std::pair<Ref<File>, Ref<File>> pair, uint64_t out,
                                bool close_on_exec);

}  // namespace cloister::enclave
