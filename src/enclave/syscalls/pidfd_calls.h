// CLONE_PIDFD: the parent gets a descriptor of its child. It is there before the child, which may not fail
// any more once it runs.
#pragma once

#include "enclave/vfs/pidfd.h"

namespace cloister::enclave {

class ChildHandle {
 public:
  // And its number goes to the program. Errors: TooManyFiles, Fault.
  SysResult<void> make(Process& parent, uint64_t address);
  // The child, which has inherited it, does not get one of itself.
  void attach(Process& child);
  void drop(Process& process);

 private:
  Ref<PidFile> file_;
  int32_t descriptor_ = -1;
};

}  // namespace cloister::enclave
