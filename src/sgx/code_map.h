// What an ELF file says about its own code: which parts of it are executable, and where functions begin and
// end. From sections, symbols and unwind tables (.eh_frame), which stripped libraries still have. It is the
// frame in which patch_scan.h trusts a linear disassembly.
#pragma once

#include <vector>

#include "sgx/elf.h"

namespace cloister::sgx {

struct CodeRegion {
  uint64_t address, offset;  // virtual, in the file
  ByteView bytes;
};

struct CodeRange {
  uint64_t begin, end;  // virtual addresses
  bool contains(uint64_t address) const { return address >= begin && address < end; }
};

struct CodeMap {
  std::vector<CodeRegion> regions;   // ascending addresses; executable bytes that are in the file
  std::vector<CodeRange> functions;  // ascending begins; what symbols with a size and unwind tables tell
  std::vector<uint64_t> starts;      // ascending: begins of functions and every other symbol in code
};

// Never fails: what is malformed or absent is left out.
CodeMap map_code(const ElfFile& file);

// The functions that an .eh_frame section at `address` describes. Stops at the first malformed entry.
std::vector<CodeRange> read_unwind_table(ByteView section, uint64_t address);

}  // namespace cloister::sgx
