// What the calls that wait for files share.
#pragma once

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

// Runs `call` under the mask at `address` (0: the thread's own) as ppoll, pselect6 and epoll_pwait do.
template <class Call>
SysResult<int64_t> with_mask(uint64_t address, uint64_t size, Call call) {
  if (address == 0) return call();
  if (size != sizeof(uint64_t)) return Errno::Invalid;
  set_temporary_mask(TRY(load_user<uint64_t>(address)));
  auto result = call();
  end_temporary_mask(!result.ok() && result.error() == Errno::Interrupted);
  return result;
}

}  // namespace cloister::enclave
