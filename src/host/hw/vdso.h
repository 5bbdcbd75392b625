// The way into an enclave that the operating system offers: __vdso_sgx_enter_enclave, found in the shared
// object that Linux maps into every process (vdso(7), AT_SYSINFO_EHDR). It executes EENTER or ERESUME and
// reports exceptions of the enclave as values instead of signals (<asm/sgx.h>).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace cloister::host {

// Where a dynamic symbol's code lies, relative to the image's begin.
struct VdsoSymbol {
  uint64_t offset = 0;
  uint64_t size = 0;  // 0: the image does not say
};

// Looks `name` up in a whole ELF image as it lies in memory. NotFound; Malformed when anything points outside
// of `image`. Reads nothing else. Source: ELF-64 Object File Format, System V ABI (gABI) chapters 4 and 5.
Result<VdsoSymbol> find_vdso_symbol(ByteView image, const char* name);

// The code that a thread can be interrupted in, for hw/entry.h.
struct SgxEntry {
  uint64_t function = 0;  // __vdso_sgx_enter_enclave
  uint64_t enclu = 0;     // its only ENCLU: also the asynchronous exit pointer
};

// The entry in code that lies at `address`. Unsupported: it is not one function with exactly one ENCLU.
Result<SgxEntry> find_entry(ByteView code, uint64_t address);
// Of this process. Unsupported: the kernel has no such function (before Linux 5.11, or without
// CONFIG_X86_SGX).
Result<SgxEntry> find_sgx_entry();

// The whole vDSO of this process; empty when there is none. Bounded by what /proc/self/maps says about it.
ByteView vdso_image();

}  // namespace cloister::host
