#include "enclave/arch/heap.h"

#include <cstring>
#include <new>

#include "base/result.h"
#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/arch/spin.h"

namespace cloister::enclave {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kSlab = 64 * 1024;              // a size class grows by this much
constexpr size_t kCommitStep = size_t{2} << 20;  // a large page, where the host has them
constexpr size_t kLargestClass = 8192;
constexpr size_t kHeader = 16;  // before every block; keeps 16-byte alignment

// Sizes, header included. Steps of about a quarter bound the waste.
constexpr uint32_t kClasses[] = {32,  48,  64,   80,   96,   128,  160,  192,  256,  320,  384,  512,
                                 640, 768, 1024, 1280, 1536, 2048, 2560, 3072, 4096, 5120, 6144, 8192};
constexpr size_t kClassCount = sizeof(kClasses) / sizeof(kClasses[0]);

struct Header {
  uint64_t size;   // of the whole block with header; a class size, or pages
  uint64_t magic;  // 0xa110… in use, 0xf4ee… free: a double free is our bug and must not become an exploit
};
constexpr uint64_t kInUse = 0xa110ca7edb10c001;
constexpr uint64_t kFree = 0xf4eeb10c00000001;

struct FreeBlock {
  Header header;
  FreeBlock* next;
};

// Free runs of pages, by address; a first-fit list is enough because large blocks are few.
struct FreeRun {
  FreeRun* next;
  size_t size;
};

// What was never handed out of a class's newest slab.
struct Slab {
  uint8_t* next = nullptr;
  uint8_t* end = nullptr;
};

struct Heap {
  SpinLock lock{LockRank::Heap};
  uint64_t next = 0;       // never handed out from here on
  uint64_t committed = 0;  // end of what the host has added
  uint64_t end = 0;
  uint64_t in_use = 0;
  FreeBlock* classes[kClassCount] = {};
  Slab slabs[kClassCount];
  FreeRun* runs = nullptr;
};
Heap g_heap;

size_t class_of(size_t size) {
  size_t low = 0;
  while (kClasses[low] < size) ++low;
  return low;
}

void* take_run(size_t size) {
  for (FreeRun** link = &g_heap.runs; *link != nullptr; link = &(*link)->next) {
    FreeRun* run = *link;
    if (run->size < size) continue;
    if (run->size == size) {
      *link = run->next;
      return run;
    }
    run->size -= size;
    return reinterpret_cast<uint8_t*>(run) + run->size;
  }
  if (size > g_heap.end - g_heap.next) {
    end_enclave(70, "the kernel's heap is exhausted");
  }
  while (g_heap.next + size > g_heap.committed) {
    const uint64_t missing = g_heap.next + size - g_heap.committed;
    uint64_t step = (missing + kCommitStep - 1) & ~(kCommitStep - 1);
    if (step > g_heap.end - g_heap.committed) step = g_heap.end - g_heap.committed;
    if (!host::memory_commit(g_heap.committed, step, 3).ok()) {
      end_enclave(70, "the host refuses memory for the kernel's heap");
    }
    g_heap.committed += step;
  }
  void* run = reinterpret_cast<void*>(g_heap.next);
  g_heap.next += size;
  return run;
}

void give_run(void* pages, size_t size) {
  auto* run = static_cast<FreeRun*>(pages);
  run->size = size;
  // Keep the list sorted and join neighbours, so that growing vectors do not leave a trail of useless runs.
  FreeRun** link = &g_heap.runs;
  FreeRun* before = nullptr;
  while (*link != nullptr && *link < run) {
    before = *link;
    link = &(*link)->next;
  }
  run->next = *link;
  *link = run;
  if (run->next != nullptr &&
      reinterpret_cast<uint8_t*>(run) + run->size == reinterpret_cast<uint8_t*>(run->next)) {
    run->size += run->next->size;
    run->next = run->next->next;
  }
  if (before != nullptr &&
      reinterpret_cast<uint8_t*>(before) + before->size == reinterpret_cast<uint8_t*>(run)) {
    before->size += run->size;
    before->next = run->next;
  }
}

// Block by block, so that of a slab only what is used becomes memory of the machine.
FreeBlock* carve(size_t index) {
  const size_t size = kClasses[index];
  Slab& slab = g_heap.slabs[index];
  if (static_cast<size_t>(slab.end - slab.next) < size) {
    slab.next = static_cast<uint8_t*>(take_run(kSlab));
    slab.end = slab.next + kSlab;
  }
  auto* block = reinterpret_cast<FreeBlock*>(slab.next);
  block->header.size = size;
  slab.next += size;
  return block;
}

void* allocate(size_t wanted) {
  SpinGuard guard(g_heap.lock);
  if (wanted > g_heap.end) end_enclave(70, "a kernel allocation is impossibly large");
  const size_t size = wanted + kHeader;
  if (size > kLargestClass) {
    const size_t whole = (size + kPage - 1) & ~(kPage - 1);
    auto* header = static_cast<Header*>(take_run(whole));
    *header = {whole, kInUse};
    g_heap.in_use += whole;
    return header + 1;
  }
  const size_t index = class_of(size);
  FreeBlock* block = g_heap.classes[index];
  if (block == nullptr) {
    block = carve(index);
  } else {
    CLOISTER_CHECK(block->header.magic == kFree);
    g_heap.classes[index] = block->next;
  }
  block->header.magic = kInUse;
  g_heap.in_use += kClasses[index];
  return &block->header + 1;
}

void release(void* memory) {
  if (memory == nullptr) return;
  SpinGuard guard(g_heap.lock);
  Header* header = static_cast<Header*>(memory) - 1;
  CLOISTER_CHECK(header->magic == kInUse);
  g_heap.in_use -= header->size;
  if (header->size > kLargestClass) {
    header->magic = kFree;
    give_run(header, header->size);
    return;
  }
  header->magic = kFree;
  auto* block = reinterpret_cast<FreeBlock*>(header);
  const size_t index = class_of(header->size);
  block->next = g_heap.classes[index];
  g_heap.classes[index] = block;
}

}  // namespace

void heap_init(uint64_t begin, uint64_t end) {
  g_heap.next = begin;
  g_heap.committed = begin;
  g_heap.end = end;
}

uint64_t heap_in_use() { return g_heap.in_use; }

void* allocate_pages(size_t count) {
  SpinGuard guard(g_heap.lock);
  void* pages = take_run(count * kPage);
  std::memset(pages, 0, count * kPage);
  g_heap.in_use += count * kPage;
  return pages;
}

void free_pages(void* pages, size_t count) {
  SpinGuard guard(g_heap.lock);
  g_heap.in_use -= count * kPage;
  give_run(pages, count * kPage);
}

}  // namespace cloister::enclave

using cloister::enclave::allocate;
using cloister::enclave::release;

// Alignments above 16 are served by allocating more and remembering the start in front of the aligned block.
static void* allocate_aligned(size_t size, size_t alignment) {
  auto* raw = static_cast<uint8_t*>(allocate(size + alignment + sizeof(void*)));
  const uint64_t aligned =
      (reinterpret_cast<uint64_t>(raw) + sizeof(void*) + alignment - 1) & ~(alignment - 1);
  reinterpret_cast<void**>(aligned)[-1] = raw;
  return reinterpret_cast<void*>(aligned);
}
static void release_aligned(void* memory) {
  if (memory != nullptr) release(static_cast<void**>(memory)[-1]);
}

void* operator new(size_t size) { return allocate(size); }
void* operator new[](size_t size) { return allocate(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, size_t) noexcept { release(memory); }
void operator delete[](void* memory, size_t) noexcept { release(memory); }
void* operator new(size_t size, std::align_val_t alignment) {
  return allocate_aligned(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return allocate_aligned(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory, std::align_val_t) noexcept { release_aligned(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release_aligned(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { release_aligned(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { release_aligned(memory); }
