// The end of the host process when the enclave or the machine leaves no way on. Async-signal-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cloister::host {

// Prints "cloister: text" and ends the process with code 70 at once.
[[noreturn]] void fatal(const char* text);

// "signal N in the host part at rip X (aep+Y), address Z", without allocation.
void format_fault(char* out, size_t size, int signal, uint64_t address, uint64_t rip, uint64_t reference);

}  // namespace cloister::host
