// See manager.h. Neighbouring areas with the same properties are merged, so that page-wise commits of a
// reserved area leave few entries.
#include "enclave/memory/manager.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "crypto/random.h"
#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/arch/wait.h"
#include "enclave/memory/space.h"
#include "enclave/memory/texts.h"

namespace cloister::enclave {

Space* g_space;

namespace {

constexpr uint64_t kLazyStep = 128 << 10;            // committed around a touched address
constexpr uint64_t kHugeStep = 2 << 20;              // the same in areas of kHugeArea and more
constexpr uint64_t kHugeArea = uint64_t{256} << 20;  // anonymous areas of this size are lazy
constexpr uint64_t kMmapTop = 0xDF0000000;
constexpr uint64_t kMmapSpread = uint64_t{1} << 32;  // of random placement
constexpr uint64_t kMmapBottom = 0x1000000;
constexpr uint64_t kLowEnd = uint64_t{1} << 31;  // MAP_32BIT
constexpr uint64_t kMaxAreas = 65530;            // as Linux's vm.max_map_count
// Below a first stack, where only what names its address is mapped: who runs over the end is to fault.
constexpr uint64_t kStackGap = 32 << 20;

constexpr uint64_t round_down(uint64_t value, uint64_t step) { return value & ~(step - 1); }
constexpr uint64_t round_up(uint64_t value, uint64_t step) { return (value + step - 1) & ~(step - 1); }

bool range_ok(uint64_t address, uint64_t size) {
  return address % kPage == 0 && size % kPage == 0 && size != 0 && address >= g_space->begin &&
         address < g_space->end && size <= g_space->end - address;
}

// A file's pages are filled through writable ones and protected afterwards.
uint32_t commit_protection(const Area& area) {
  return area.source ? kProtRead | kProtWrite : area.protection;
}

bool within_limit(const Area& area, uint64_t size) {
  if (!counts(area) || g_space->heap_used + size <= g_space->heap_limit) return true;
  if (!g_space->said) {
    log(LogLevel::Warning,
        "the program needs more than {} MiB of memory: build the image with a larger --heap",
        g_space->heap_limit >> 20);
    g_space->said = true;
  }
  return false;
}

// Takes the pages of [begin, end) away; the range lies in whole areas.
void drop_pages(uint64_t begin, uint64_t end) {
  for (auto it = g_space->areas.lower_bound(begin); it != g_space->areas.end() && it->first < end; ++it) {
    if (!it->second.committed || also_of_relative(it->first, it->second)) continue;
    const uint64_t size = it->second.end - it->first;
    if (!host::memory_release(it->first, size).ok()) end_enclave(70, "the host cannot release memory");
    if (counts(it->second)) g_space->heap_used -= size;
    it->second.committed = false;
  }
}

[[nodiscard]] Released remove(uint64_t begin, uint64_t end) {
  texts_drop_reserved(begin, end);
  static_cast<void>(write_back_range(begin, end));  // munmap(2) has no error for this
  split_areas(begin);
  split_areas(end);
  split_at_absent_borders(begin, end);
  drop_pages(begin, end);
  Released files;
  auto it = g_space->areas.lower_bound(begin);
  while (it != g_space->areas.end() && it->first < end) {
    Area& area = it->second;
    if (goes_to_file(area)) g_space->shared_bytes -= area.end - it->first;
    if (area.dirty) g_space->dirty_bytes -= area.end - it->first;
    if (area.source) files.push_back(std::move(area.source));
    it = g_space->areas.erase(it);
  }
  return files;
}

bool same(const Areas::value_type& left, const Areas::value_type& right) {
  const Area& a = left.second;
  const Area& b = right.second;
  return a.end == right.first && a.protection == b.protection && a.committed == b.committed &&
         a.lazy == b.lazy && a.file == b.file && a.agent == b.agent && a.owner == b.owner &&
         a.name == b.name && a.shared == b.shared && a.dirty == b.dirty && a.common == b.common &&
         a.pristine == b.pristine && a.wiped_by_fork == b.wiped_by_fork &&
         a.skipped_by_fork == b.skipped_by_fork && !a.missed.any && !b.missed.any &&
         a.source.get() == b.source.get() &&
         (a.name.empty() || !a.file || b.file_offset == a.file_offset + (right.first - left.first));
}

bool free_range(uint64_t begin, uint64_t end) {
  return present_free(begin, end) && absent_area_in(begin, end) == 0;
}

// The highest gap of `size` bytes of the present areas below `ceiling`; 0: none.
uint64_t find_present_gap(uint64_t ceiling, uint64_t size) {
  auto it = g_space->areas.lower_bound(ceiling);
  while (it != g_space->areas.begin()) {
    --it;
    if (it->second.end <= ceiling && ceiling - it->second.end >= size) return ceiling - size;
    const uint64_t gap = it->second.name == kStackName ? std::min(it->first, kStackGap) : 0;
    ceiling = std::min(ceiling, it->first - gap);
  }
  return ceiling >= kMmapBottom + size ? ceiling - size : 0;
}

// Makes room where only absent relatives are in the way.
bool claim(int32_t owner, bool shared, uint64_t begin, uint64_t end) {
  texts_evict(begin, end);
  return present_free(begin, end) && take_from_absent(owner, shared, begin, end).ok();
}

uint64_t find_gap(uint64_t size, uint64_t ceiling) {
  for (;;) {
    const uint64_t gap = find_present_gap(ceiling, size);
    const uint64_t absent = gap == 0 ? 0 : absent_area_in(gap, gap + size);
    if (absent == 0) return gap;
    ceiling = absent;
  }
}

// Nothing in [begin, end) belongs to somebody else.
bool all_of(int32_t owner, uint64_t begin, uint64_t end) {
  auto it = g_space->areas.upper_bound(begin);
  if (it != g_space->areas.begin() && std::prev(it)->second.end > begin) --it;
  for (; it != g_space->areas.end() && it->first < end; ++it) {
    if (it->second.owner != owner) return false;
  }
  return true;
}

// Every area of [begin, end) exists without a hole.
bool covered(uint64_t begin, uint64_t end) {
  for (uint64_t at = begin; at < end;) {
    auto it = find_area(at);
    if (it == g_space->areas.end()) return false;
    at = it->second.end;
  }
  return true;
}

}  // namespace

SysResult<void> commit_pages(uint64_t begin, uint64_t end, Area& area) {
  const uint64_t size = end - begin;
  if (!within_limit(area, size)) return Errno::NoMemory;
  texts_drop_reserved(begin, end);
  if (!host::memory_commit(begin, size, commit_protection(area)).ok()) return Errno::NoMemory;
  if (counts(area)) g_space->heap_used += size;
  area.committed = true;
  return {};
}

bool counts(const Area& area) { return !area.file && !area.agent; }

Areas::iterator find_area(uint64_t address) {
  auto it = g_space->areas.upper_bound(address);
  if (it == g_space->areas.begin()) return g_space->areas.end();
  --it;
  return address < it->second.end ? it : g_space->areas.end();
}

bool present_free(uint64_t begin, uint64_t end) {
  auto it = g_space->areas.lower_bound(begin);
  if (it != g_space->areas.end() && it->first < end) return false;
  return find_area(begin) == g_space->areas.end();
}

void split_areas(uint64_t address) {
  auto it = find_area(address);
  if (it == g_space->areas.end() || it->first == address) return;
  Area right = it->second;
  right.file_offset += address - it->first;
  it->second.end = address;
  g_space->areas.emplace(address, std::move(right));
}

void merge_areas(uint64_t begin, uint64_t end) {
  auto it = g_space->areas.lower_bound(begin);
  if (it != g_space->areas.begin()) --it;
  while (it != g_space->areas.end() && it->first <= end) {
    auto next = std::next(it);
    if (next != g_space->areas.end() && same(*it, *next)) {
      it->second.end = next->second.end;
      g_space->areas.erase(next);
    } else {
      it = next;
    }
  }
}

void memory_init(const sgx::BootInfo& boot, uint64_t heap_limit) {
  g_space = new Space;
  g_space->begin = boot.user_begin;
  g_space->end = boot.user_end;
  g_space->heap_limit = heap_limit;
  uint64_t random = 0;
  crypto::random_bytes({reinterpret_cast<uint8_t*>(&random), sizeof(random)});
  g_space->top = kMmapTop - round_down(random % kMmapSpread, kPage);
}

SysResult<uint64_t> memory_map(uint64_t address, uint64_t size, const AreaInfo& info, bool fixed,
                               bool no_replace) {
  if (size == 0 || size > g_space->end) return Errno::NoMemory;
  Released replaced;
  if (fixed || no_replace) {
    if (address % kPage != 0) return Errno::Invalid;
    if (!range_ok(address, size)) return Errno::NoMemory;
    texts_drop_parked(address, address + size);
    if (!all_of(info.owner, address, address + size) ||
        !absent_can_make_room(info.owner, info.shared, address, address + size)) {
      return no_replace ? Errno::Exists : Errno::NoMemory;
    }
    if (no_replace && !claim(info.owner, info.shared, address, address + size)) return Errno::Exists;
    replaced = remove(address, address + size);
    TRY(take_from_absent(info.owner, info.shared, address, address + size));
  } else {
    if (info.shared && info.source && address == 0 && !info.low) {
      if (const uint64_t common = share_with_absent(size, info); common != 0) return common;
    }
    address = round_down(address, kPage);
    const bool hint = address != 0 && range_ok(address, size) && free_range(address, address + size);
    const uint64_t ceiling = info.low ? std::min(g_space->top, kLowEnd) : g_space->top;
    if (!hint || address + size > ceiling) address = find_gap(size, ceiling);
    if (address == 0) {
      texts_evict(0, UINT64_MAX);
      address = find_gap(size, ceiling);
    }
    if (address == 0) return Errno::NoMemory;
  }
  if (g_space->areas.size() >= kMaxAreas) return Errno::NoMemory;
  Area area;
  area.end = address + size;
  area.protection = info.protection;
  area.file = info.file;
  area.agent = info.agent;
  area.owner = info.owner;
  area.lazy = info.file ? info.source && info.lazy : info.lazy || size >= kHugeArea;
  area.name = std::string(info.name);
  area.file_offset = info.file_offset;
  area.shared = info.shared;
  area.source = info.source;
  area.pristine = info.pristine;
  area.wiped_by_fork = info.wiped_by_fork;
  area.skipped_by_fork = info.skipped_by_fork;
  // Without those that lie behind the file's end (file_end.cpp).
  const uint64_t pages_end = info.ends_with_file && !area.lazy ? file_end(address, area) : area.end;
  const uint64_t pages = pages_end - address;
  if (!area.lazy && pages != 0 && (info.source || info.protection != 0))
    TRY(commit_pages(address, pages_end, area));
  if (info.source && !area.lazy && pages != 0) {
    const bool text = (info.protection & kProtExecute) != 0;
    if (auto filled = fill_from_file(*info.source, info.file_offset, address, pages, text); !filled.ok()) {
      if (!host::memory_release(address, pages).ok()) end_enclave(70, "the host cannot release memory");
      return filled.error();
    }
    const uint32_t protection = page_protection(area);
    if (protection != commit_protection(area) && !host::memory_protect(address, pages, protection).ok())
      end_enclave(70, "the host cannot protect memory");
  }
  if (goes_to_file(area)) {
    g_space->shared_bytes += size;
    warn_of_second_mapping(area, address);
  }
  place_area(address, pages_end, std::move(area));
  merge_areas(address, address + size);
  return address;
}

SysResult<void> memory_unmap(uint64_t address, uint64_t size) {
  size = round_up(size, kPage);
  if (!range_ok(address, size)) return Errno::Invalid;
  const Released files = remove(address, address + size);
  return {};
}

SysResult<void> memory_protect(uint64_t address, uint64_t size, uint32_t protection) {
  if (address % kPage != 0) return Errno::Invalid;
  if (size == 0) return {};
  size = round_up(size, kPage);
  if (!range_ok(address, size) || !covered(address, address + size)) return Errno::NoMemory;
  const uint64_t end = address + size;
  if ((protection & kProtWrite) != 0) TRY(make_own(address, end));
  split_areas(address);
  split_areas(end);
  texts_drop_reserved(address, end);
  for (auto it = g_space->areas.lower_bound(address); it != g_space->areas.end() && it->first < end; ++it) {
    Area& area = it->second;
    if (goes_to_file(area) && (protection & kProtWrite) != 0 && !area.source->writable())
      return Errno::Access;
    if ((protection & kProtWrite) != 0) area.pristine = false;
    if (area.committed) {
      const bool changes = area.protection != protection;
      area.protection = protection;
      if (changes && !host::memory_protect(it->first, area.end - it->first, page_protection(area)).ok()) {
        return Errno::NoMemory;
      }
    } else {
      area.protection = protection;
      if (protection != 0 && !area.lazy) {
        TRY(commit_pages(it->first, area.end, area));
        if (area.shared) committed_for_relatives(it->first, area.end);
      }
    }
  }
  merge_areas(address, end);
  return {};
}

SysResult<void> memory_discard(uint64_t address, uint64_t size) {
  if (address % kPage != 0) return Errno::Invalid;
  if (size == 0) return {};
  size = round_up(size, kPage);
  if (!range_ok(address, size) || !covered(address, address + size)) return Errno::NoMemory;
  const uint64_t end = address + size;
  TRY(make_own(address, end));
  split_areas(address);
  split_areas(end);
  for (auto it = g_space->areas.lower_bound(address); it != g_space->areas.end() && it->first < end; ++it) {
    Area& area = it->second;
    if (area.file || area.shared || !area.committed) continue;
    const uint64_t bytes = area.end - it->first;
    if (!host::memory_release(it->first, bytes).ok()) return Errno::NoMemory;
    area.committed = false;
    if (counts(area)) g_space->heap_used -= bytes;
    // What was accessible stays so: the next touch brings a zero page.
    area.lazy = true;
  }
  merge_areas(address, end);
  return {};
}

bool memory_belongs(int32_t owner, uint64_t address, uint64_t size) {
  return !range_ok(address, size) || all_of(owner, address, address + size);
}

bool memory_mapped(uint64_t address, uint64_t size) {
  return range_ok(address, size) && covered(address, address + size);
}

namespace {

// The two belong to one mapping, though pages of it may have come one by one.
bool continues(const Areas::value_type& left, const Areas::value_type& right) {
  const Area& a = left.second;
  const Area& b = right.second;
  const bool next_of_file = !a.source || b.file_offset == a.file_offset + (right.first - left.first);
  return a.end == right.first && a.protection == b.protection && a.owner == b.owner && a.agent == b.agent &&
         a.file == b.file && a.shared == b.shared && a.name == b.name && a.source.get() == b.source.get() &&
         a.wiped_by_fork == b.wiped_by_fork && a.skipped_by_fork == b.skipped_by_fork && next_of_file;
}

bool one_mapping(uint64_t begin, uint64_t end) {
  for (auto it = find_area(begin); it->second.end < end; ++it) {
    if (!continues(*it, *std::next(it))) return false;
  }
  return true;
}

// Some of the range's pages have one place, because several memories have them.
bool any_of_relative(uint64_t begin, uint64_t end) {
  split_areas(begin);
  split_at_absent_borders(begin, end);
  for (auto it = find_area(begin); it != g_space->areas.end() && it->first < end; ++it) {
    if (also_of_relative(it->first, it->second)) return true;
  }
  return false;
}

SysResult<uint64_t> move_area(uint64_t address, uint64_t old_size, uint64_t new_size, const Area& from,
                              uint64_t target, bool fixed) {
  AreaInfo info;
  info.protection = kProtRead | kProtWrite;
  info.lazy = from.lazy;
  info.file = from.file;
  info.agent = from.agent;
  info.owner = from.owner;
  info.name = from.name;
  info.file_offset = from.file_offset;
  info.shared = from.shared;
  info.source = from.source;
  info.ends_with_file = goes_to_file(from) || (from.source && (from.protection & kProtExecute) == 0);
  info.wiped_by_fork = from.wiped_by_fork;
  info.skipped_by_fork = from.skipped_by_fork;
  const uint32_t protection = from.protection;
  if (from.shared && !from.source && any_of_relative(address, address + old_size)) return Errno::NoMemory;
  Area whole = from;
  whole.end = address + new_size;
  const uint64_t pages = file_end(address, whole) - address;
  const uint64_t to = TRY(memory_map(target, new_size, info, fixed));
  // What a shared one has stored came to the new place through the file.
  uint64_t bytes = goes_to_file(from) ? 0 : std::min(old_size, new_size);
  if (info.ends_with_file) bytes = std::min(bytes, pages);
  for (uint64_t at = address; at < address + bytes;) {
    auto it = find_area(at);
    const uint64_t part_end = std::min(it->second.end, address + bytes);
    if (it->second.committed) {
      if (from.lazy) {
        // The new place is reserved only: commit what has content.
        for (uint64_t p = at; p < part_end; p += kPage) {
          if (memory_handle_fault(to + (p - address), true, false)) continue;
          TRY(memory_unmap(to, new_size));
          return Errno::NoMemory;
        }
      }
      if ((it->second.protection & kProtRead) == 0 &&
          !host::memory_protect(at, part_end - at, kProtRead).ok()) {
        return Errno::NoMemory;
      }
      std::memcpy(reinterpret_cast<void*>(to + (at - address)), reinterpret_cast<void*>(at), part_end - at);
    }
    at = part_end;
  }
  if (protection != info.protection) TRY(memory_protect(to, new_size, protection));
  TRY(memory_unmap(address, old_size));
  return to;
}

}  // namespace

SysResult<uint64_t> memory_remap(uint64_t address, uint64_t old_size, uint64_t new_size, uint64_t flags,
                                 uint64_t new_address) {
  constexpr uint64_t kMayMove = 1, kFixed = 2;
  if (address % kPage != 0 || (flags & ~(kMayMove | kFixed)) != 0 || new_size == 0) return Errno::Invalid;
  if ((flags & kFixed) != 0 && (flags & kMayMove) == 0) return Errno::Invalid;
  old_size = round_up(old_size, kPage);
  new_size = round_up(new_size, kPage);
  if (old_size == 0 || new_size == 0 || new_size > g_space->end) return Errno::Invalid;
  if (!range_ok(address, old_size) || !covered(address, address + old_size)) return Errno::Fault;
  const bool fixed = (flags & kFixed) != 0;
  if (fixed) {
    if (!range_ok(new_address, new_size)) return Errno::Invalid;
    if (new_address < address + old_size && address < new_address + new_size) return Errno::Invalid;
  } else if (new_size <= old_size) {
    if (new_size < old_size) TRY(memory_unmap(address + new_size, old_size - new_size));
    return address;
  }
  if (!one_mapping(address, address + std::min(old_size, new_size))) return Errno::Fault;
  if (!fixed) {
    auto last = find_area(address + old_size - kPage);
    const uint64_t grow = new_size - old_size;
    const bool room = last->second.end == address + old_size && range_ok(address, new_size) &&
                      claim(last->second.owner, last->second.shared, address + old_size, address + new_size);
    if (room) {
      AreaInfo info;
      info.protection = last->second.protection;
      info.lazy = last->second.lazy;
      info.file = last->second.file;
      info.agent = last->second.agent;
      info.owner = last->second.owner;
      const std::string name = last->second.name;
      info.name = name;
      info.file_offset = last->second.file_offset + (address + old_size - last->first);
      info.shared = last->second.shared;
      info.source = last->second.source;
      info.ends_with_file = info.source && (info.protection & kProtExecute) == 0;
      info.wiped_by_fork = last->second.wiped_by_fork;
      info.skipped_by_fork = last->second.skipped_by_fork;
      TRY(memory_map(address + old_size, grow, info, true));
      return address;
    }
    if ((flags & kMayMove) == 0) return Errno::NoMemory;
  }
  split_areas(address);  // its offset in the file is that of `address`
  const Area from = find_area(address)->second;
  return move_area(address, old_size, new_size, from, fixed ? new_address : 0, fixed);
}

void memory_set_break_start(int32_t owner, uint64_t address) {
  g_space->breaks[owner] = {round_up(address, kPage), round_up(address, kPage)};
}

uint64_t memory_break(int32_t owner, uint64_t address) {
  Space::Break& space = g_space->breaks[owner];
  if (address < space.start || address >= g_space->end) return space.end;
  const uint64_t old_top = round_up(space.end, kPage);
  const uint64_t new_top = round_up(address, kPage);
  if (new_top > old_top) {
    if (!claim(owner, false, old_top, new_top)) return space.end;
    AreaInfo info;
    info.protection = kProtRead | kProtWrite;
    info.name = "[heap]";
    info.owner = owner;
    if (!memory_map(old_top, new_top - old_top, info, true).ok()) return space.end;
  } else if (new_top < old_top) {
    if (!memory_unmap(new_top, old_top - new_top).ok()) return space.end;
  }
  space.end = address;
  return address;
}

bool memory_handle_fault(uint64_t address, bool write, bool execute) {
  auto it = find_area(address);
  if (it == g_space->areas.end()) return false;
  Area& area = it->second;
  const uint32_t needed = execute ? kProtExecute : write ? kProtWrite : kProtRead;
  if ((area.protection & needed) == 0) return false;
  if (area.committed && write && goes_to_file(area) && !area.dirty) return make_dirty(address);
  if (area.committed) {
    // Another thread was faster; but a fault that keeps coming is the program's.
    return true;
  }
  const uint64_t pages_end = file_end(it->first, area);
  if (address >= pages_end) return false;
  const uint64_t step = area.end - it->first >= kHugeArea ? kHugeStep : kLazyStep;
  const uint64_t begin = std::max(it->first, round_down(address, step));
  const uint64_t end = std::min(pages_end, round_down(address, step) + step);
  split_areas(begin);
  split_areas(end);
  Area& part = find_area(begin)->second;
  const bool ok = within_limit(part, end - begin);
  // A signal now would be one that the host can raise at any access it likes.
  if (ok && !commit_pages(begin, end, part).ok())
    end_enclave(70, "the host refuses memory that the program uses");
  if (ok && part.shared) committed_for_relatives(begin, end);
  if (ok && part.source) bring_from_file(begin, end);
  merge_areas(begin, end);
  return ok;
}

void memory_clear(int32_t owner) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [begin, area] : g_space->areas) {
    if (area.owner == owner) ranges.emplace_back(begin, area.end);
  }
  Released files;
  for (const auto& [begin, end] : ranges) {
    for (Ref<File>& file : remove(begin, end)) files.push_back(std::move(file));
  }
  g_space->breaks.erase(owner);
}

int32_t memory_owner(uint64_t address) {
  const auto it = find_area(address);
  return it == g_space->areas.end() ? 0 : it->second.owner;
}

uint32_t memory_word_owner(uint64_t address) {
  const auto it = find_area(address);
  return it == g_space->areas.end() || it->second.shared ? 0 : static_cast<uint32_t>(it->second.owner);
}

uint64_t memory_heap_used() { return g_space->heap_used; }
uint64_t memory_heap_limit() { return g_space->heap_limit; }

}  // namespace cloister::enclave
