// The areas behind manager.h, shared by its two parts: manager.cpp places, commits and releases them,
// shared.cpp keeps shared mappings and their files together.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "enclave/memory/manager.h"

namespace cloister::enclave {

struct Area {
  uint64_t end = 0;
  uint32_t protection = 0;
  bool committed = false;
  bool lazy = false;
  bool file = false;
  bool agent = false;
  int32_t owner = 0;
  bool shared = false;  // MAP_SHARED of `source`
  bool dirty = false;   // shared: written since the last write-back, so its pages are writable
  std::string name;
  uint64_t file_offset = 0;
  Ref<File> source;  // the mapped file, if it is one
};

using Areas = std::map<uint64_t, Area>;

struct Space {
  Areas areas;
  uint64_t heap_limit = 0, heap_used = 0;
  uint64_t top = 0;
  struct Break {
    uint64_t start = 0, end = 0;
  };
  std::map<int32_t, Break> breaks;  // by owner
  uint64_t begin = 0, end = 0;
  bool said = false;
  uint64_t shared_bytes = 0, dirty_bytes = 0;  // of shared mappings of files
};
extern Space* g_space;

// Dropping the last reference to a file may commit its volume and wait for that, without the kernel lock:
// only where no iterator into the areas is in use.
using Released = std::vector<Ref<File>>;

// What the pages are protected with: the first write to a clean shared area has to be seen.
inline uint32_t page_protection(const Area& area) {
  return area.shared && !area.dirty ? area.protection & ~kProtWrite : area.protection;
}

// The area that contains `address`, or end().
Areas::iterator find_area(uint64_t address);
// Makes `address` a border between areas.
void split_areas(uint64_t address);
void merge_areas(uint64_t begin, uint64_t end);

// shared.cpp
SysResult<void> write_back_range(uint64_t begin, uint64_t end);
bool make_dirty(uint64_t address);  // the first write to a clean piece
// The file's bytes into writable pages that are still zero.
SysResult<void> fill_from_file(File& file, uint64_t offset, uint64_t address, uint64_t size);
void warn_of_second_mapping(const Area& area, uint64_t begin);

}  // namespace cloister::enclave
