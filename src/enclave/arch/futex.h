// Futexes (futex(2)): waiting on a word of the program's memory. Private and shared are the same here: there
// is one address space.
#pragma once

#include <cstdint>

namespace cloister::enclave {

struct Thread;

int futex_wake(uint64_t address, int count, uint32_t bitset = ~uint32_t{0});

// The dying thread's robust mutexes are marked and their next owner woken (set_robust_list(2)).
void robust_list_release(Thread& thread);

}  // namespace cloister::enclave
