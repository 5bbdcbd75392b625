// Program text that is used again. A library's text costs most of an execve: fresh pages, a copy of the file,
// a jump at every system call. An enclave page has one address, so two programs cannot share it; but one
// after the other can. When a program ends, text that is exactly what the kernel made of a file of the root
// volume (which never changes) stays at its place, parked; the next mapping of that file is put so that its
// text falls on those pages, and takes them over.
//
// A parked text is an area of nobody's (kParked). Between the mapping of the whole file, which chooses the
// place, and that of its text, which takes the pages over, it is reserved: its pages lie under a mapping that
// has none of its own yet. Whatever else becomes of that range, the pages are released first. Kernel lock
// held.
#pragma once

#include <cstdint>

#include "enclave/memory/manager.h"

namespace cloister::enclave {

inline constexpr int32_t kParked = -1;  // AreaInfo::owner

// `owner`, which shares no addresses with anybody, is about to release its memory.
void texts_park(int32_t owner);
// Where to map [offset, offset + size) of the file so that a parked text is used; 0: there is none.
uint64_t texts_place(Inode& inode, uint64_t offset, uint64_t size);
// `size` bytes at `address` become the text that was reserved there; false: there is none like that.
bool texts_adopt(uint64_t address, uint64_t size, const AreaInfo& info);
// Parked and reserved texts in the range are released.
void texts_evict(uint64_t begin, uint64_t end);
// Only parked ones. Reserved text stays where something is mapped over it: that may be the one that takes it
// over, or drops it when it comes.
void texts_drop_parked(uint64_t begin, uint64_t end);
// Only reserved ones.
void texts_drop_reserved(uint64_t begin, uint64_t end);

}  // namespace cloister::enclave
