// Call-site patching (docs/adr/0002): where freshly mapped code of the root volume has a row in the patch
// table, the instruction in front of its `syscall` becomes a jump to a trampoline, and the trampoline enters
// the kernel through its gate in place of a trap.
//
// The one idea: a trampoline is invisible. It changes no memory of the program and no register that `syscall`
// would not change, and whenever the kernel looks at a program that was interrupted inside one, it first puts
// the program back to the site (unpatched_rip). So signal handlers, cancellation and restarts see addresses
// of the program's own code only.
//
// Every function needs the kernel lock.
#pragma once

#include <cstdint>
#include <functional>

namespace cloister::enclave {

class Inode;

// `size` bytes of the file `inode` from `offset` on have just been copied to `address`, are still writable
// and will be executable. Patches what the table names and can be reached; everything else will trap.
// nullptr: not a file.
void patch_code(Inode* inode, uint64_t address, uint64_t offset, uint64_t size);

// Where a program that was interrupted at `rip` is in its own code.
uint64_t unpatched_rip(uint64_t rip);

// The program has unmapped this range: trampolines of code that is wholly inside it are released.
void patches_unmapped(uint64_t address, uint64_t size);

// The first address behind every trampoline of the code in [begin, end), at least `end`: the program break
// starts behind them.
uint64_t patches_end(uint64_t begin, uint64_t end);

// `from` is gone: heir(address of its code) says whose the code is from now on; 0: nobody's.
void patches_inherited(int32_t from, const std::function<int32_t(uint64_t)>& heir);

// Trampolines of code in [begin, end) belong to code outside of it, too: they go with that.
bool patches_reach_over(uint64_t begin, uint64_t end);

// The code in [begin, end) is this owner's from now on (memory/texts.h).
void patches_parked(uint64_t begin, uint64_t end, int32_t owner);

// All memory of this owner (AreaInfo::owner) is about to be released.
void patches_cleared(int32_t owner);

}  // namespace cloister::enclave
