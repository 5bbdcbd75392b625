// ENCLU inside the enclave, emulated when its #UD arrives: EREPORT, EGETKEY, EEXIT, and EACCEPT/EMODPE, which
// have nothing to do here because the operating system's page tables are the only ones.
#pragma once

#include <ucontext.h>

#include "host/sim/cpu.h"

namespace cloister::host {

// False when the instruction at RIP is another one; then it is an ordinary #UD. Async-signal-safe as far as
// it must be: the interrupted code is the enclave's, which holds none of the host's locks.
bool emulate_enclu(HostThread& thread, ucontext_t& context);

}  // namespace cloister::host
