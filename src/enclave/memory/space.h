// The areas behind manager.h, shared by its parts: manager.cpp places, commits and releases them,
// shared.cpp keeps shared mappings and their files together, file_end.cpp lets them end where files do.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "enclave/memory/manager.h"

namespace cloister::enclave {

// What has become of a mapped file, which the pages do not show, because their owner was absent.
struct Missed {
  bool any = false;
  uint64_t from = UINT64_MAX, to = 0;  // these bytes have been written
  uint64_t least = UINT64_MAX;         // it has had this size

  void written(uint64_t offset, uint64_t size) {
    any = true;
    from = std::min(from, offset);
    to = std::max(to, offset + size);
  }
  void resized(uint64_t size) {
    any = true;
    least = std::min(least, size);
  }
  bool has(uint64_t offset, uint64_t size) const { return any && from <= offset && offset + size <= to; }
};

struct Area {
  uint64_t end = 0;
  uint32_t protection = 0;
  bool committed = false;
  bool lazy = false;
  bool file = false;
  bool agent = false;
  int32_t owner = 0;
  bool shared = false;  // MAP_SHARED, of `source` or anonymous
  bool dirty = false;   // shared with a file: written since the last write-back, so its pages are writable
  bool common =
      false;  // not shared, but the same pages as in every relative that maps them: nobody writes them
  bool pristine = false;  // text as the kernel made it of its file: nobody could write it since
  bool wiped_by_fork = false, skipped_by_fork = false;  // see AreaInfo
  bool hidden = false;  // skipped by fork, and its owner is absent: nobody reaches some of its pages
  Missed missed;
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
  bool private_ends = false;                   // a private mapping may reach over its file's end
};
extern Space* g_space;

// Dropping the last reference to a file may commit its volume and wait for that, without the kernel lock:
// only where no iterator into the areas is in use.
using Released = std::vector<Ref<File>>;

inline uint8_t* bytes_at(uint64_t address) { return reinterpret_cast<uint8_t*>(address); }
inline bool goes_to_file(const Area& area) { return area.shared && area.source; }
// What others write to its file is to be seen in it, or may give pages to it.
inline bool awaits_file(const Area& area) { return area.source && (area.shared || !area.committed); }
// What the pages are protected with: the first write to a clean area that goes to a file has to be seen.
inline uint32_t page_protection(const Area& area) {
  return goes_to_file(area) && !area.dirty ? area.protection & ~kProtWrite : area.protection;
}

// The area that contains `address`, or end().
Areas::iterator find_area(uint64_t address);
bool present_free(uint64_t begin, uint64_t end);  // no area lies there
// Makes `address` a border between areas.
void split_areas(uint64_t address);
void merge_areas(uint64_t begin, uint64_t end);

SysResult<void> commit_pages(uint64_t begin, uint64_t end, Area& area);

// file_end.cpp. Where the pages of the area at `begin` end because its file does, or its own end.
uint64_t file_end(uint64_t begin, const Area& area);
// Enters an area that has no pages from `pages_end` on.
void place_area(uint64_t begin, uint64_t pages_end, Area area);
void protect_or_end(uint64_t begin, uint64_t end, uint32_t protection);
// shared.cpp. What a program may write in [from, to) of one area becomes dirty. Divides that area; no other
// one goes.
void open_for_stores(uint64_t from, uint64_t to);
// Runs `change` on bytes of one area. Its pages are opened for that, and closed afterwards, unless the
// program may write to them: a store at that time does not fault, so what goes to a file is dirty from then
// on.
template <typename Change>
void change_bytes(uint64_t from, uint64_t to, Change change) {
  const uint64_t begin = from & ~(kPage - 1), end = (to + kPage - 1) & ~(kPage - 1);
  open_for_stores(from, to);
  const uint32_t protection = page_protection(find_area(from)->second);
  const bool closed = (protection & kProtWrite) == 0;
  if (closed) protect_or_end(begin, end, kProtRead | kProtWrite);
  change(bytes_at(from));
  if (closed) protect_or_end(begin, end, protection);
}
// Brings areas of the range that have missed something to what their files hold now.
void catch_up(uint64_t begin, uint64_t end);
// The content of writable pages of one area: of those that have just come, or of bytes that have changed.
void bring_from_file(uint64_t from, uint64_t to);

// shared.cpp
bool shows(const Area& area, Inode& inode);  // which has a source
SysResult<void> write_back_range(uint64_t begin, uint64_t end);
bool make_dirty(uint64_t address);  // the first write to a clean piece
// The file's bytes into writable pages that are still zero.
SysResult<void> fill_from_file(File& file, uint64_t offset, uint64_t address, uint64_t size, bool text);
void warn_of_second_mapping(const Area& area, uint64_t begin);

// turns.cpp: what absent memories ask of the present ones.
//
// An absent memory maps something in [begin, end): the begin of the last such area, otherwise 0.
uint64_t absent_area_in(uint64_t begin, uint64_t end);
// take_from_absent would not fail for what absent memories have there.
bool absent_can_make_room(int32_t owner, bool shared, uint64_t begin, uint64_t end);
// [begin, end), where nothing is mapped now, gets a new mapping, shared or not. Errors: NoMemory, an absent
// memory needs it.
SysResult<void> take_from_absent(int32_t owner, bool shared, uint64_t begin, uint64_t end);
// The present areas of the range stop being common. Errors: NoMemory.
SysResult<void> make_own(uint64_t begin, uint64_t end);
// An absent relative has the same pages there; `area` does not reach over one of its borders.
bool also_of_relative(uint64_t begin, const Area& area);
void split_at_absent_borders(uint64_t begin, uint64_t end);
// A file's mapping that several are to see: where an absent relative has the same, the present one gets it,
// too, at the same address, and with the same pages. 0: none has, or something else is there.
uint64_t share_with_absent(uint64_t size, const AreaInfo& info);
// A present area of shared memory has got its pages, or lost them, which are those of its relatives, too.
void committed_for_relatives(uint64_t begin, uint64_t end, bool committed = true);
// The bytes of the file have changed. Pages that a present memory has, too, show that already.
void absent_file_written(Inode& inode, uint64_t offset, uint64_t size);
void absent_file_resized(Inode& inode);
void forget_absent_files(Released& files);

bool counts(const Area& area);  // as heap

}  // namespace cloister::enclave
