// The kernel's heap: operator new and delete. Small blocks come from size classes, large ones are runs of
// pages; the region is committed from the host in steps as it grows. Memory from the host is accepted, so it
// is zero and ours. Not for the program: its memory is the memory manager's (enclave/memory).
#pragma once

#include <cstddef>
#include <cstdint>

namespace cloister::enclave {

void heap_init(uint64_t begin, uint64_t end);
uint64_t heap_in_use();  // bytes handed out, rounded up

// Page-aligned, zeroed. For caches and stacks. Never fails: an exhausted heap ends the enclave and says so.
void* allocate_pages(size_t count);
void free_pages(void* pages, size_t count);

}  // namespace cloister::enclave
