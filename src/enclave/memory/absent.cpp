// What absent memories mean for the present ones: see space.h.
#include <algorithm>

#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/memory/family.h"

namespace cloister::enclave {

uint64_t absent_area_in(uint64_t begin, uint64_t end) {
  uint64_t last = 0;
  for (const Memory* absent : g_absent) {
    const Areas& areas = absent->relative->areas;
    auto it = areas.lower_bound(end);
    if (it == areas.begin()) continue;
    --it;
    if (it->second.end > begin) last = std::max(last, it->first);
  }
  return last;
}

namespace {

// The last one that begins at or before `begin`, which may reach over it.
Areas::const_iterator first_area(const Areas& areas, uint64_t begin) {
  auto it = areas.upper_bound(begin);
  return it == areas.begin() ? it : std::prev(it);
}

// Common pages of absent memories go to their stores, and away.
SysResult<void> keep_for_absent(Family& family, Stretch range) {
  for (const Stretch& stretch : stretches(family, range)) {
    const Area* kept = nullptr;
    for (Memory* member : family.members) {
      if (member == family.present) continue;
      Relative& relative = *member->relative;
      const Area* area = area_at(relative.areas, stretch.begin);
      if (area == nullptr || !area->committed || kept_of(relative, stretch) != nullptr) continue;
      TRY(keep_own(relative, stretch, kUnknown));
      kept = area_at(relative.areas, stretch.begin);
    }
    if (kept == nullptr) continue;
    const uint64_t size = stretch.end - stretch.begin;
    must(host::memory_release(stretch.begin, size));
    if (counts(*kept)) g_space->heap_used -= size;
  }
  return {};
}

}  // namespace

bool absent_can_make_room(int32_t owner, bool shared, uint64_t begin, uint64_t end) {
  if (absent_area_in(begin, end) == 0) return true;
  const Family* family = family_with_absent(owner);
  for (const Memory* absent : g_absent) {
    const bool relative = family != nullptr && absent->relative->family.get() == family;
    const Areas& areas = absent->relative->areas;
    for (auto it = first_area(areas, begin); it != areas.end() && it->first < end; ++it) {
      const Area& area = it->second;
      if (area.end <= begin) continue;
      // What is shared has no other place, neither theirs nor the new one.
      if (!relative || shared || area.shared) return false;
    }
  }
  return true;
}

SysResult<void> take_from_absent(int32_t owner, bool shared, uint64_t begin, uint64_t end) {
  if (absent_area_in(begin, end) == 0) return {};
  if (!absent_can_make_room(owner, shared, begin, end)) return Errno::NoMemory;
  Family* family = family_with_absent(owner);
  // Stores must not grow into the range.
  const auto reserved = g_space->areas.emplace(begin, Area{.end = end, .name = {}, .source = {}}).first;
  SysResult<void> result = keep_for_absent(*family, {begin, end});
  g_space->areas.erase(reserved);
  return result;
}

SysResult<void> make_own(uint64_t begin, uint64_t end) {
  bool any = false;
  for (auto it = find_area(begin); it != g_space->areas.end() && it->first < end; ++it)
    any |= it->second.common;
  if (!any) return {};
  const int32_t owner = find_area(begin)->second.owner;
  if (const Family* family = g_absent.empty() ? nullptr : family_with_absent(owner)) {
    for (const Stretch& stretch : stretches(*family, {begin, end})) {
      const Area* own = area_of(*family, *family->present, stretch.begin);
      if (own == nullptr || !own->common) continue;
      const uint32_t protection = page_protection(*own);
      for (Memory* member : family->members) {
        if (member == family->present) continue;
        const Area* area = area_at(member->relative->areas, stretch.begin);
        if (area != nullptr && area->common) TRY(keep_own(*member->relative, stretch, protection));
      }
      split_areas(stretch.begin);
      split_areas(stretch.end);
      find_area(stretch.begin)->second.common = false;
    }
  }
  // Also where the last relative has gone since.
  split_areas(begin);
  split_areas(end);
  for (auto it = find_area(begin); it != g_space->areas.end() && it->first < end; ++it)
    it->second.common = false;
  return {};
}

namespace {

// Whether `areas` map `size` bytes of the file in one piece from `begin` on.
bool maps_whole(const Areas& areas, uint64_t begin, uint64_t size, const AreaInfo& info) {
  for (uint64_t at = begin; at < begin + size;) {
    const Area* area = area_at(areas, at);
    if (area == nullptr || !goes_to_file(*area) || !shows(*area, *info.source->inode())) return false;
    const auto first = std::prev(areas.upper_bound(at));
    if (area->file_offset + (at - first->first) != info.file_offset + (at - begin)) return false;
    at = area->end;
  }
  return true;
}

// Where `areas` have what `info` asks for, with room for it among the present ones; 0: nowhere.
uint64_t place_in(const Areas& areas, uint64_t size, const AreaInfo& info) {
  for (const auto& [begin, area] : areas) {
    if (!goes_to_file(area) || info.file_offset < area.file_offset) continue;
    const uint64_t lead = info.file_offset - area.file_offset;
    if (lead >= area.end - begin || !maps_whole(areas, begin + lead, size, info)) continue;
    if (present_free(begin + lead, begin + lead + size)) return begin + lead;
  }
  return 0;
}

}  // namespace

uint64_t share_with_absent(uint64_t size, const AreaInfo& info) {
  const Family* family = g_absent.empty() ? nullptr : family_with_absent(info.owner);
  if (family == nullptr) return 0;
  for (const Memory* member : family->members) {
    if (member == family->present) continue;
    const Areas& areas = member->relative->areas;
    const uint64_t begin = place_in(areas, size, info);
    if (begin == 0) continue;
    for (uint64_t at = begin; at < begin + size;) {
      Area area = *area_at(areas, at);
      area.end = std::min(area.end, begin + size);
      area.owner = info.owner;
      area.protection = info.protection;
      area.file_offset = info.file_offset + (at - begin);
      area.source = info.source;
      area.lazy = !area.committed;
      area.pristine = info.pristine;
      area.wiped_by_fork = info.wiped_by_fork;
      area.skipped_by_fork = info.skipped_by_fork;
      area.hidden = false;
      if (area.committed) must(host::memory_protect(at, area.end - at, page_protection(area)));
      at = g_space->areas.emplace(at, std::move(area)).first->second.end;
    }
    g_space->shared_bytes += size;
    catch_up(begin, begin + size);
    return begin;
  }
  return 0;
}

bool also_of_relative(uint64_t begin, const Area& area) {
  if (g_absent.empty() || !same_pages(area)) return false;
  const Family* family = family_with_absent(area.owner);
  return family != nullptr && others_map(*family, *family->present, begin);
}

void committed_for_relatives(uint64_t begin, uint64_t end, bool committed) {
  const Family* family = g_absent.empty() ? nullptr : family_with_absent(find_area(begin)->second.owner);
  if (family == nullptr) return;
  for (Memory* member : family->members) {
    if (member == family->present) continue;
    Areas& areas = member->relative->areas;
    split_at(areas, begin);
    split_at(areas, end);
    for (auto it = areas.lower_bound(begin); it != areas.end() && it->first < end; ++it) {
      if (!it->second.shared) continue;
      it->second.committed = committed;
      it->second.lazy |= !committed;
    }
  }
}

namespace {

bool all_present(uint64_t begin, uint64_t end) {
  for (uint64_t at = begin; at < end;) {
    const auto it = find_area(at);
    if (it == g_space->areas.end()) return false;
    at = it->second.end;
  }
  return true;
}

// What was written lies in the area at `begin`, or may have given pages to it.
bool misses(uint64_t begin, const Area& area, uint64_t offset, uint64_t size) {
  if (!area.committed) return true;
  const uint64_t from = std::max(offset, area.file_offset);
  const uint64_t to = std::min(offset + size, area.file_offset + (area.end - begin));
  return from < to && !all_present(begin + (from - area.file_offset), begin + (to - area.file_offset));
}

}  // namespace

void absent_file_written(Inode& inode, uint64_t offset, uint64_t size) {
  for (const Memory* absent : g_absent) {
    if (!absent->relative->awaits_files) continue;
    for (auto& [begin, area] : absent->relative->areas) {
      if (area.missed.has(offset, size) || !awaits_file(area) || !misses(begin, area, offset, size)) continue;
      if (shows(area, inode)) area.missed.written(offset, size);
    }
  }
}

void absent_file_resized(Inode& inode) {
  if (g_absent.empty()) return;
  const auto stat = inode.stat();
  const uint64_t file_size = stat.ok() ? stat->size : 0;
  for (const Memory* absent : g_absent) {
    for (auto& [begin, area] : absent->relative->areas) {
      if (area.source && shows(area, inode)) area.missed.resized(file_size);
    }
  }
}

void forget_absent_files(Released& files) {
  for (const Memory* absent : g_absent) {
    for (auto& [begin, area] : absent->relative->areas) {
      if (!area.source) continue;
      area.shared = area.missed.any = false;
      files.push_back(std::move(area.source));
    }
  }
}

void split_at_absent_borders(uint64_t begin, uint64_t end) {
  if (absent_area_in(begin, end) == 0) return;
  for (const Memory* absent : g_absent) {
    const Areas& areas = absent->relative->areas;
    for (auto it = first_area(areas, begin); it != areas.end() && it->first < end; ++it) {
      const auto& [at, area] = *it;
      if (at > begin) split_areas(at);
      if (area.end > begin && area.end < end) split_areas(area.end);
    }
  }
}

}  // namespace cloister::enclave
