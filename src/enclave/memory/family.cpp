#include "enclave/memory/family.h"

#include <algorithm>
#include <cstring>

#include "enclave/arch/host.h"
#include "enclave/arch/log.h"

namespace cloister::enclave {

std::vector<Memory*> g_absent;

void must(const SysResult<void>& result) {
  if (!result.ok()) end_enclave(70, "the host refuses what a change of memories needs");
}

const Area* area_at(const Areas& areas, uint64_t address) {
  auto it = areas.upper_bound(address);
  if (it == areas.begin()) return nullptr;
  --it;
  return address < it->second.end ? &it->second : nullptr;
}

const Area* area_of(const Family& family, const Memory& member, uint64_t address) {
  const Area* area = area_at(&member == family.present ? g_space->areas : member.relative->areas, address);
  return area != nullptr && area->owner == member.id ? area : nullptr;
}

bool others_map(const Family& family, const Memory& member, uint64_t address) {
  return std::any_of(family.members.begin(), family.members.end(), [&](const Memory* other) {
    return other != &member && area_of(family, *other, address) != nullptr;
  });
}

void split_at(Areas& areas, uint64_t address) {
  auto it = areas.upper_bound(address);
  if (it == areas.begin()) return;
  --it;
  if (it->first == address || address >= it->second.end) return;
  Area right = it->second;
  right.file_offset += address - it->first;
  it->second.end = address;
  areas.emplace(address, std::move(right));
}

static void add_borders(std::vector<uint64_t>& borders, const Areas& areas, int32_t owner, Stretch within) {
  auto it = areas.upper_bound(within.begin);
  if (it != areas.begin()) --it;
  for (; it != areas.end() && it->first < within.end; ++it) {
    const auto& [begin, area] = *it;
    if (area.owner != owner || area.end <= within.begin) continue;
    borders.push_back(std::max(begin, within.begin));
    borders.push_back(std::min(area.end, within.end));
  }
}

// The first that ends behind `address`.
static std::vector<Kept>::const_iterator first_kept(const std::vector<Kept>& kept, uint64_t address) {
  return std::upper_bound(kept.begin(), kept.end(), address,
                          [](uint64_t at, const Kept& one) { return at < one.end; });
}

std::vector<Stretch> stretches(const Family& family, Stretch within) {
  std::vector<uint64_t> borders;
  for (const Memory* member : family.members)
    add_borders(borders, member == family.present ? g_space->areas : member->relative->areas, member->id,
                within);
  const auto add = [&](uint64_t begin, uint64_t end) {
    borders.push_back(std::clamp(begin, within.begin, within.end));
    borders.push_back(std::clamp(end, within.begin, within.end));
  };
  for (const auto& [begin, area] : family.left) add(begin, area.end);
  for (const Memory* member : family.members) {
    const std::vector<Kept>& kept = member->relative->kept;
    for (auto it = first_kept(kept, within.begin); it != kept.end() && it->begin < within.end; ++it)
      add(it->begin, it->end);
  }
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
  std::vector<Stretch> list;
  for (size_t i = 1; i < borders.size(); ++i) list.push_back({borders[i - 1], borders[i]});
  return list;
}

const Kept* kept_of(const Relative& relative, Stretch stretch) {
  const auto found = first_kept(relative.kept, stretch.begin);
  const bool holds =
      found != relative.kept.end() && found->begin <= stretch.begin && stretch.end <= found->end;
  return holds ? &*found : nullptr;
}

SysResult<void> need_store(Relative& relative, uint64_t size) {
  if (size <= relative.store_size) return {};
  AreaInfo info;
  info.protection = kProtRead | kProtWrite;
  info.name = "[absent]";
  size = (size + kPage - 1) & ~(kPage - 1);
  const uint64_t fresh = TRY(memory_map(0, size, info));
  for (uint64_t at = fresh; at < fresh + size;) {
    const auto it = find_area(at);
    if (!it->second.committed && !memory_handle_fault(at, true, false)) {
      must(memory_unmap(fresh, size));
      return Errno::NoMemory;
    }
    at = find_area(at)->second.end;
  }
  if (relative.store != 0) {
    open_store(relative);
    std::memcpy(bytes_at(fresh), bytes_at(relative.store), relative.store_used);
    must(memory_unmap(relative.store, relative.store_size));
  }
  relative.store = fresh;
  relative.store_size = size;
  return {};
}

void drop_store(Relative& relative) {
  if (relative.store != 0) must(memory_unmap(relative.store, relative.store_size));
  relative.secret = false;
  relative.store = relative.store_size = relative.store_used = 0;
}

void open_store(const Relative& relative) {
  if (relative.secret) must(memory_protect(relative.store, relative.store_size, kProtRead | kProtWrite));
}

void close_store(const Relative& relative) {
  if (relative.secret) must(memory_protect(relative.store, relative.store_size, 0));
}

void keep(Relative& relative, Stretch stretch, uint32_t protection) {
  const uint64_t size = stretch.end - stretch.begin;
  const bool open = protection != kUnknown && (protection & kProtRead) != 0;
  if (!open) must(host::memory_protect(stretch.begin, size, kProtRead));
  std::memcpy(bytes_at(relative.store + relative.store_used), bytes_at(stretch.begin), size);
  if (!open && protection != kUnknown) must(host::memory_protect(stretch.begin, size, protection));
  // Mostly behind all others, as stretches are gone through in their order.
  relative.kept.insert(first_kept(relative.kept, stretch.begin),
                       {stretch.begin, stretch.end, relative.store_used});
  relative.store_used += size;
}

SysResult<void> keep_own(Relative& relative, Stretch stretch, uint32_t protection) {
  TRY(need_store(relative, relative.store_used + (stretch.end - stretch.begin)));
  open_store(relative);
  keep(relative, stretch, protection);
  relative.secret |= kept_from_children(*area_at(relative.areas, stretch.begin));
  close_store(relative);
  split_at(relative.areas, stretch.begin);
  split_at(relative.areas, stretch.end);
  relative.areas.find(stretch.begin)->second.common = false;
  return {};
}

Family* family_with_absent(int32_t owner) {
  for (const Memory* absent : g_absent) {
    Family& family = *absent->relative->family;
    if (family.present != nullptr && family.present->id == owner) return &family;
  }
  return nullptr;
}

}  // namespace cloister::enclave
