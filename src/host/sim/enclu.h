// ENCLU inside the enclave, emulated when its #UD arrives: EREPORT, EGETKEY, EEXIT, and EACCEPT and EMODPE of
// one page.
#pragma once

#include <ucontext.h>

#include "host/sim/cpu.h"

namespace cloister::host {

enum class EncluOutcome : uint8_t {
  Other,   // another instruction or leaf: an ordinary #UD
  Served,  // goes on behind it
  Left,    // EEXIT: goes on outside
  Fault,   // `vector` (13 #GP, 14 #PF) at `address`
};
struct EncluResult {
  EncluOutcome outcome;
  uint32_t vector = 0;
  uint64_t address = 0;
};

// Async-signal-safe as far as it must be: the interrupted code is the enclave's, which holds none of the
// host's locks.
EncluResult emulate_enclu(SimThread& thread, ucontext_t& context);

}  // namespace cloister::host
