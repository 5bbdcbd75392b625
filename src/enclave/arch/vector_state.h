// Who owns the vector registers. In the kernel they hold the program's values until somebody needs them:
// crypto (crypto/vector_scope.h) or a way out to the host, which must not see them and will overwrite them.
// From then on the thread's vector area has the program's state, and return_to_user loads it back. The area
// is of XSAVE's format where somebody may look at it; on the way to the host and back, plain moves are
// quicker.
#pragma once

#include <cstdint>

#include "enclave/arch/thread_block.h"

namespace cloister::enclave {

void vector_init();         // reads XCR0; once, at boot, before any other function here
void vector_allow_moves();  // once the CPU can be asked; a CPU with AVX-512 then hides registers by plain
                            // moves
uint64_t vector_mask();     // XCR0
uint32_t vector_size();     // bytes of an XSAVE area in standard format with these features

// Makes the vector area hold the program's state, in XSAVE's format; the registers are free afterwards.
void vector_save_user();
// Before the host has the registers: makes the area hold the program's state, in whatever format, and brings
// every register into its initial state (as after FNINIT, all zero).
void vector_hide_user();
// A new thread's or handler's state: the area becomes the initial state.
void vector_reset_user();
// The area itself, valid after vector_save_user(): standard XSAVE format, vector_size() bytes.
uint8_t* vector_user_area();
// After writing the area from outside: makes its header something xrstor accepts.
void vector_sanitise(uint8_t* area);

}  // namespace cloister::enclave
