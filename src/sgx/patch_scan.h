// Finding the `syscall` instructions of an ELF file that a jump in front of them can replace (docs/adr/0002).
//
// The one idea: only one instruction is ever displaced, the one right in front of the `syscall`, and the
// `syscall` itself stays. (One of two bytes has room for a short jump only: it goes to bytes nearby that
// merely align the code behind them, which nobody ever runs or jumps to.) So nothing must be known about
// indirect jumps: no program jumps into the middle of an instruction, a jump to the displaced instruction
// meets our jump, and one to the `syscall` meets `0f 05`, which traps and is served. All that must be certain
// is where the displaced instruction begins. Where it is not, the site is left out, which costs time and
// nothing else.
#pragma once

#include <cstddef>
#include <vector>

#include "sgx/elf.h"
#include "sgx/patch_table.h"

namespace cloister::sgx {

struct PatchScan {
  std::vector<PatchRow> rows;  // ascending
  // Instructions `syscall` that were met, and why some have no row.
  size_t sites = 0;
  size_t too_short = 0;       // the instruction in front is unknown or too short, with no pad nearby
  size_t not_movable = 0;     // it would mean something else elsewhere
  size_t uncertain = 0;       // where it begins is not beyond doubt
  size_t signal_returns = 0;  // known by their bytes
};

PatchScan scan_for_patches(const ElfFile& file);

}  // namespace cloister::sgx
