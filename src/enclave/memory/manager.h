// The program's memory: one map of areas over the user part of ELRANGE, for all
// processes together.
//
// An area is either committed (the enclave owns its pages) or only reserved (an address range that costs
// nothing). Ordinary mappings are committed at once; reservations (PROT_NONE, MAP_NORESERVE, thread stacks,
// huge ones) page by page when they are touched. The manifest's heap size bounds what anonymous memory is
// committed. Every function here needs the kernel lock.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "enclave/sys_result.h"
#include "enclave/vfs/file.h"
#include "sgx/layout.h"

namespace cloister::enclave {

inline constexpr uint64_t kPage = 4096;
// Programs and libraries are read in parts of this size, which a volume keeps: they are started again and
// again.
inline constexpr uint64_t kKeptRead = 28 << 10;
inline constexpr uint32_t kProtRead = 1, kProtWrite = 2, kProtExecute = 4;
// The area of a program's first stack, which has the only pages that count as growing down.
inline constexpr std::string_view kStackName = "[stack]";

struct AreaInfo {
  uint32_t protection = 0;
  bool lazy = false;      // pages appear when touched; for files: see memory_settle
  bool file = false;      // not counted as heap
  bool agent = false;     // the agent's: not counted as heap
  int32_t owner = 0;      // Memory::id: whose end or execve releases it
  std::string_view name;  // for /proc/self/maps
  uint64_t file_offset = 0;
  Ref<File> source;             // the mapping starts with this file's bytes from file_offset
  bool pristine = false;        // text that only the kernel writes, before anybody runs it
  bool ends_with_file = false;  // behind the end of `source` there are no pages
  bool low = false;             // MAP_32BIT
  bool shared = false;  // MAP_SHARED: what is written goes back to `source`, and forked processes share it
  bool wiped_by_fork = false;    // a forked child finds zero here: MADV_WIPEONFORK
  bool skipped_by_fork = false;  // a forked child has nothing here: MADV_DONTFORK
};

void memory_init(const sgx::BootInfo& boot, uint64_t heap_limit);

// Page-aligned `size`. address 0: anywhere. `fixed` replaces what is there, `no_replace` refuses (EEXIST).
SysResult<uint64_t> memory_map(uint64_t address, uint64_t size, const AreaInfo& info, bool fixed = false,
                               bool no_replace = false);
SysResult<void> memory_unmap(uint64_t address, uint64_t size);
SysResult<void> memory_protect(uint64_t address, uint64_t size, uint32_t protection);
SysResult<uint64_t> memory_remap(uint64_t address, uint64_t old_size, uint64_t new_size, uint64_t flags,
                                 uint64_t new_address);
// MADV_DONTNEED: anonymous pages read as zero afterwards.
SysResult<void> memory_discard(uint64_t address, uint64_t size);
// MADV_REMOVE: anonymous shared memory reads as zero afterwards, for all that have it. Errors: Invalid
// (private), NotSupported (a shared mapping of a file), Access (another one of a file).
SysResult<void> memory_erase_shared(uint64_t address, uint64_t size);
// What fork makes of the range.
enum class ForkRule : uint8_t {
  Wipe,
  Keep,
  Skip,
  DoNotSkip
};  // MADV_WIPEONFORK, KEEPONFORK, DONTFORK, DOFORK
SysResult<void> memory_set_fork_rule(uint64_t address, uint64_t size, ForkRule rule);
// Private and of no file, as a whole.
bool memory_private_anonymous(uint64_t address, uint64_t size);
// Nothing in the (page-aligned) range is another program's, or the kernel's: what calls of one may change.
bool memory_belongs(int32_t owner, uint64_t address, uint64_t size);
bool memory_mapped(uint64_t address, uint64_t size);  // every page belongs to an area
// Where the piece of a first stack begins that `address` lies in; 0: in none.
uint64_t memory_stack_begin(uint64_t address);
// Bytes of the first stack whose overflow a fault at `address` with this stack pointer is; 0: of none.
uint64_t memory_overflowed_stack(int32_t owner, uint64_t address, uint64_t stack_pointer);

// Shared mappings of files. There is no page cache that two addresses could show, so every mapping has pages
// of its own, but for forked processes that map the same, which get the same address: written ones are found
// by write protection and go back at msync, fsync, munmap, exit and before the file is read; what is written
// to the file by other ways is copied into its mappings.
SysResult<void> memory_write_back(uint64_t address, uint64_t size);  // msync(2)
SysResult<void> memory_sync_files(uint64_t address, uint64_t size);  // and then durable: MS_SYNC
SysResult<void> memory_write_back_file(Inode& inode);                // what any mapping has stored
void memory_write_back_all();
void memory_file_written(Inode& inode, uint64_t offset, ByteView data);
// The file has another size. Its mappings lose the pages behind its end, or get those that it has grown to.
void memory_file_resized(Inode& inode);
// A fault there is SIGBUS: the page is mapped, but the file ends before it.
bool memory_behind_file(uint64_t address, bool write);
// Somebody, who may be absent, has mapped the file to share what it stores there, or could at any time.
bool memory_maps_to_write(Inode& inode);
// The end of everything: mappings let go of their files, which close.
void memory_forget_files();

// A program break, one for each owner. memory_set_break_start after loading; address 0 asks.
void memory_set_break_start(int32_t owner, uint64_t address);
uint64_t memory_break(int32_t owner, uint64_t address);

// Everything that files are still to bring comes now, and what mremap makes of these mappings comes at once.
// Pages appear before their content does, so no second thread may be there that could see them without it.
// Errors: NoMemory.
SysResult<void> memory_settle(int32_t owner);

// A fault of the program, or of a kernel copy of its memory. True: the page is there now, try again.
bool memory_handle_fault(uint64_t address, bool write, bool execute);

// The owner's program is gone (execve, exit): everything that it had mapped is released.
void memory_clear(int32_t owner);
int32_t memory_owner(uint64_t address);  // 0: nobody's
// Whose word there is, for futexes; 0: of all that map it, or nobody's.
uint32_t memory_word_owner(uint64_t address);

uint64_t memory_heap_used();                                         // bytes
uint64_t memory_heap_limit();                                        // bytes
uint64_t memory_size_of(int32_t owner, uint64_t from, uint64_t to);  // bytes of its areas there
// Of them, what Linux counts as data: private, not a first stack, and writable, or not writable yet.
uint64_t memory_data_of(int32_t owner, uint64_t from, uint64_t to, bool writable = true);

// describe.cpp: for /proc. Texts of maps and smaps.
struct Memory;
std::string memory_describe(const Memory& memory);
std::string memory_describe_amounts(const Memory& memory);
struct MemoryUse {  // bytes
  uint64_t mapped = 0, there = 0, of_files = 0, code = 0, stack = 0, data = 0;
};
MemoryUse memory_use(const Memory& memory);

}  // namespace cloister::enclave
