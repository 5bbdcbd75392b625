// Memories that take turns: see turns.h. A switch looks at stretches, the pieces between all borders of the
// family's areas. In one stretch every member maps one thing or nothing, and that is
//  - common: the same pages for all that map it, shared or written by nobody; they stay where they are,
//  - single: mapped by one member only; it stays where it is even while that member is absent,
//  - contended: what the absent have there is kept in their stores.
#include "enclave/memory/turns.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/wait.h"
#include "enclave/loader/patcher.h"
#include "enclave/memory/space.h"
#include "enclave/process.h"

namespace cloister::enclave {

struct Kept {               // a contended stretch of an absent memory
  uint64_t begin, end, at;  // at: in the store
};

struct Family;

struct Relative {
  Ref<Family> family;
  Areas areas;  // while absent; while present they are with everybody's
  std::vector<Kept> kept;
  uint64_t store = 0, store_size = 0, store_used = 0;  // an area of nobody's
};

struct Family : Counted {
  std::vector<Memory*> members;
  Memory* present = nullptr;
  Areas left;  // contended areas of a member that is gone: its pages are still at their addresses
  WaitQueue waiting;
};

namespace {

constexpr uint64_t kTurn = kSecond / 100;
std::vector<Memory*> g_absent;

uint8_t* bytes_at(uint64_t address) { return reinterpret_cast<uint8_t*>(address); }
constexpr uint64_t round_up(uint64_t size) { return (size + kPage - 1) & ~(kPage - 1); }

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

bool same_pages(const Area& area) { return area.shared || area.common; }

// Splits the entry of `areas` at `address`.
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

struct Stretch {
  uint64_t begin, end;
};

void add_borders(std::vector<uint64_t>& borders, const Areas& areas, int32_t owner, Stretch within) {
  for (const auto& [begin, area] : areas) {
    if (area.owner != owner || area.end <= within.begin || begin >= within.end) continue;
    borders.push_back(std::max(begin, within.begin));
    borders.push_back(std::min(area.end, within.end));
  }
}

// Everywhere between two borders of areas, and of what is kept, the same holds.
std::vector<Stretch> stretches(const Family& family, Stretch within = {0, UINT64_MAX}) {
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
    for (const Kept& kept : member->relative->kept) add(kept.begin, kept.end);
  }
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
  std::vector<Stretch> list;
  for (size_t i = 1; i < borders.size(); ++i) list.push_back({borders[i - 1], borders[i]});
  return list;
}

// What the absent member has of the stretch; nullptr: its pages are where they belong, or it has none.
const Kept* kept_of(const Relative& relative, Stretch stretch) {
  const auto found = std::find_if(relative.kept.begin(), relative.kept.end(), [&](const Kept& kept) {
    return kept.begin <= stretch.begin && stretch.end <= kept.end;
  });
  return found == relative.kept.end() ? nullptr : &*found;
}

// Stores have their pages before they are used: while areas are walked, nothing may fault.
SysResult<void> need_store(Relative& relative, uint64_t size) {
  if (size <= relative.store_size) return {};
  AreaInfo info;
  info.protection = kProtRead | kProtWrite;
  info.name = "[absent]";
  size = round_up(size);
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
    std::memcpy(bytes_at(fresh), bytes_at(relative.store), relative.store_used);
    must(memory_unmap(relative.store, relative.store_size));
  }
  relative.store = fresh;
  relative.store_size = size;
  return {};
}

void drop_store(Relative& relative) {
  if (relative.store != 0) must(memory_unmap(relative.store, relative.store_size));
  relative.store = relative.store_size = relative.store_used = 0;
}

// What lies at the stretch now goes to the member's store, which has room. `protection` is what the pages
// have; kUnknown: whatever the last of several members gave them, and they will be readable afterwards.
constexpr uint32_t kUnknown = ~uint32_t{0};
void keep(Relative& relative, Stretch stretch, uint32_t protection) {
  const uint64_t size = stretch.end - stretch.begin;
  const bool open = protection != kUnknown && (protection & kProtRead) != 0;
  if (!open) must(host::memory_protect(stretch.begin, size, kProtRead));
  std::memcpy(bytes_at(relative.store + relative.store_used), bytes_at(stretch.begin), size);
  if (!open && protection != kUnknown) must(host::memory_protect(stretch.begin, size, protection));
  relative.kept.push_back({stretch.begin, stretch.end, relative.store_used});
  relative.store_used += size;
}

// The same for common pages, which the absent member has for itself from now on.
SysResult<void> keep_own(Relative& relative, Stretch stretch, uint32_t protection) {
  TRY(need_store(relative, relative.store_used + (stretch.end - stretch.begin)));
  keep(relative, stretch, protection);
  split_at(relative.areas, stretch.begin);
  split_at(relative.areas, stretch.end);
  relative.areas.find(stretch.begin)->second.common = false;
  return {};
}

void keep_all(Memory& member, const std::vector<Stretch>& list) {
  Relative& relative = *member.relative;
  uint64_t size = 0;
  for (const Stretch& stretch : list) size += stretch.end - stretch.begin;
  if (!need_store(relative, relative.store_used + size).ok())
    end_enclave(70, "no memory is left for a forked process: build the image with a larger --heap");
  for (const Stretch& stretch : list)
    keep(relative, stretch, page_protection(find_area(stretch.begin)->second));
}

// Out of the way of a relative.
void make_absent(Family& family) {
  Memory& member = *family.present;
  static_cast<void>(write_back_range(g_space->begin, g_space->end));  // absent stores would be lost track of
  std::vector<Stretch> contended;
  for (const Stretch& stretch : stretches(family)) {
    const Area* area = area_of(family, member, stretch.begin);
    if (area != nullptr && area->committed && !same_pages(*area) && others_map(family, member, stretch.begin))
      contended.push_back(stretch);
  }
  Relative& relative = *member.relative;
  relative.kept.clear();
  relative.store_used = 0;
  keep_all(member, contended);
  for (auto it = g_space->areas.begin(); it != g_space->areas.end();) {
    if (it->second.owner != member.id) {
      ++it;
      continue;
    }
    if (goes_to_file(it->second)) g_space->shared_bytes -= it->second.end - it->first;
    if (it->second.dirty) {
      log(LogLevel::Error, "{}: what was stored to a mapping could not be written", it->second.name);
      g_space->dirty_bytes -= it->second.end - it->first;
      it->second.dirty = false;
      must(host::memory_protect(it->first, it->second.end - it->first, page_protection(it->second)));
    }
    auto node = g_space->areas.extract(it++);
    relative.areas.insert(std::move(node));
  }
  g_absent.push_back(&member);
}

// One stretch, from what `before` left there to what `after` needs; null: nothing.
void change_pages(Stretch stretch, const Area* before, const Area* after) {
  const uint64_t size = stretch.end - stretch.begin;
  const bool there = before != nullptr && before->committed;
  const bool wanted = after != nullptr && after->committed;
  if (wanted && same_pages(*after)) {
    if (before == nullptr || page_protection(*before) != page_protection(*after))
      must(host::memory_protect(stretch.begin, size, page_protection(*after)));
    return;
  }
  if (there && same_pages(*before)) return;  // stays for those that map it
  if (there && !wanted) {
    must(host::memory_release(stretch.begin, size));
    if (counts(*before)) g_space->heap_used -= size;
  } else if (wanted && !there) {
    must(host::memory_commit(stretch.begin, size, kProtRead | kProtWrite));
    if (counts(*after)) g_space->heap_used += size;
  }
}

void restore(const Relative& relative, const Kept& kept, Stretch stretch, const Area& area, const Area* was) {
  constexpr uint32_t kOpen = kProtRead | kProtWrite;
  const uint64_t size = stretch.end - stretch.begin;
  const bool stayed = was != nullptr && was->committed;
  uint32_t protection = stayed ? page_protection(*was) : kOpen;
  if ((protection & kOpen) != kOpen) {
    must(host::memory_protect(stretch.begin, size, kOpen));
    protection = kOpen;
  }
  std::memcpy(bytes_at(stretch.begin), bytes_at(relative.store + kept.at + (stretch.begin - kept.begin)),
              size);
  if (protection != page_protection(area))
    must(host::memory_protect(stretch.begin, size, page_protection(area)));
}

// The pages of `member`, for which `before` made room: the areas of the memory that was present, if `old` is
// that memory, or of one that is gone.
void place(const Family& family, const Memory& member, const std::vector<Stretch>& list, const Areas& before,
           const Memory* old) {
  const Relative& relative = *member.relative;
  for (const Stretch& stretch : list) {
    const Area* was = area_at(before, stretch.begin);
    const Area* area = area_at(relative.areas, stretch.begin);
    const bool old_alone = area == nullptr && old != nullptr && !others_map(family, *old, stretch.begin);
    const Kept* kept = kept_of(relative, stretch);
    const bool alone = area != nullptr && was == nullptr && !same_pages(*area) && kept == nullptr;
    if (!old_alone && !alone) change_pages(stretch, was, area);
    if (kept != nullptr) restore(relative, *kept, stretch, *area, was);
  }
}

void make_present(Family& family, Memory& member) {
  const Memory* old = family.present;
  if (old != nullptr) make_absent(family);
  family.present = nullptr;
  const auto list = stretches(family);
  const Areas left = std::exchange(family.left, {});
  place(family, member, list, old != nullptr ? old->relative->areas : left, old);
  Relative& relative = *member.relative;
  for (auto& [begin, area] : relative.areas) {
    if (goes_to_file(area)) g_space->shared_bytes += area.end - begin;
  }
  g_space->areas.merge(relative.areas);
  relative.areas.clear();
  relative.kept.clear();
  relative.store_used = 0;
  std::erase(g_absent, &member);
  family.present = &member;
  if (family.members.size() == 1) drop_store(relative);
}

void wake_first(Family& family) {
  if (family.waiting.first() != nullptr) wake_thread(*family.waiting.first()->thread, false);
}

void interrupt_threads(const Memory& memory) {
  for (uint32_t i = 0; i < thread_limit(); ++i) {
    Thread* thread = thread_slot(i);
    if (thread != nullptr && thread->process->memory.get() == &memory) wake_thread(*thread, true);
  }
}

void wait_for_turn(Memory& memory) {
  const Ref<Family> family = memory.relative->family;
  if (family->present == &memory && family->waiting.empty()) return;
  Thread& self = current();
  WaitNode node;
  family->waiting.enter(node);
  for (uint64_t asked = monotonic_ns();;) {
    const bool free =
        family->present == nullptr || family->present == &memory || family->present->running == 0;
    if (family->waiting.first() == &node && free) break;
    self.parked = true;
    kernel_unlock();
    host::park(kTurn);
    kernel_lock();
    self.parked = false;
    if (monotonic_ns() - asked < kTurn) continue;
    asked = monotonic_ns();
    if (family->waiting.first() == &node && family->present != nullptr) interrupt_threads(*family->present);
  }
  WaitQueue::leave(node);
  if (family->present != &memory) make_present(*family, memory);
  wake_first(*family);  // it may be one of the same memory
}

Family& found_family(Memory& memory) {
  if (!memory.relative) {
    memory.relative = std::make_unique<Relative>();
    memory.relative->family = make_ref<Family>();
    memory.relative->family->members.push_back(&memory);
    memory.relative->family->present = &memory;
  }
  return *memory.relative->family;
}

Family* family_with_absent(int32_t owner) {
  for (const Memory* absent : g_absent) {
    Family& family = *absent->relative->family;
    if (family.present != nullptr && family.present->id == owner) return &family;
  }
  return nullptr;
}

}  // namespace

Memory::Memory(int32_t owner) : id(owner) {}
Memory::~Memory() = default;

void turn_take() {
  const Ref<Memory> memory = current().process->memory;
  if (memory->relative) wait_for_turn(*memory);
  ++memory->running;
}

void turn_give() {
  Memory& memory = *current().process->memory;
  --memory.running;
  if (memory.relative && memory.running == 0) wake_first(*memory.relative->family);
}

void turn_offer() {
  const Memory& memory = *current().process->memory;
  if (!memory.relative || memory.relative->family->waiting.empty()) return;
  turn_give();
  turn_take();
}

bool memory_has_relatives(const Memory& memory) {
  return memory.relative && memory.relative->family->members.size() > 1;
}

SysResult<Ref<Memory>> memory_fork(Memory& present) {
  Family& family = found_family(present);
  const auto child = make_ref<Memory>(next_thread_id());
  child->relative = std::make_unique<Relative>();
  std::vector<Stretch> contended, common;
  uint64_t size = 0;
  for (const Stretch& stretch : stretches(family)) {
    const Area* area = area_of(family, present, stretch.begin);
    if (area == nullptr || area->shared || !area->committed) continue;
    const bool others = others_map(family, present, stretch.begin);
    if (area->common && others) continue;
    const bool written = (area->protection & kProtWrite) != 0 || others;
    (written ? contended : common).push_back(stretch);
    if (written) size += stretch.end - stretch.begin;
  }
  // Both get room now for what they may differ in, so that a switch does not fail for want of it.
  TRY(need_store(*child->relative, size));
  if (auto room = need_store(*present.relative, size); !room.ok()) {
    drop_store(*child->relative);
    return room.error();
  }
  for (const Stretch& stretch : common) {
    split_areas(stretch.begin);
    split_areas(stretch.end);
    find_area(stretch.begin)->second.common = true;
  }
  for (const Stretch& stretch : contended)
    keep(*child->relative, stretch, page_protection(find_area(stretch.begin)->second));
  for (const auto& [begin, area] : g_space->areas) {
    if (area.owner != present.id) continue;
    Area copy = area;
    copy.owner = child->id;
    copy.dirty = false;
    child->relative->areas.emplace(begin, std::move(copy));
  }
  g_space->breaks[child->id] = g_space->breaks[present.id];
  child->relative->family = Ref<Family>(&family);
  family.members.push_back(child.get());
  g_absent.push_back(child.get());
  return child;
}

Ref<Memory> memory_join(Memory& present) {
  const auto fresh = make_ref<Memory>(next_thread_id());
  fresh->relative = std::make_unique<Relative>();
  fresh->relative->family = Ref<Family>(&found_family(present));
  fresh->relative->family->members.push_back(fresh.get());
  g_absent.push_back(fresh.get());
  return fresh;
}

void memory_exchange(Ref<Memory>& from, Ref<Memory> to) {
  ++to->running;
  --from->running;
  if (from->relative && from->running == 0) wake_first(*from->relative->family);
  from = std::move(to);
}

namespace {

// Contended and common pages stay: the next one to be present finds them there.
void leave_to_relatives(Family& family, Memory& present, Released& files) {
  static_cast<void>(write_back_range(g_space->begin, g_space->end));
  for (const Stretch& stretch : stretches(family)) {
    if (area_of(family, present, stretch.begin) == nullptr) continue;
    split_areas(stretch.begin);
    split_areas(stretch.end);
    if (!others_map(family, present, stretch.begin)) continue;
    auto node = g_space->areas.extract(stretch.begin);
    if (goes_to_file(node.mapped())) g_space->shared_bytes -= stretch.end - stretch.begin;
    files.push_back(std::move(node.mapped().source));
    family.left.insert(std::move(node));
  }
  family.present = nullptr;
  wake_first(family);
}

// Its trampolines go to somebody who has the code that they belong to.
void leave_patches(const Family& family, const Memory& memory) {
  patches_inherited(memory.id, [&](uint64_t code) {
    for (const Memory* other : family.members) {
      if (other != &memory && area_of(family, *other, code) != nullptr) return other->id;
    }
    return 0;
  });
}

// What it has in its places is released, unless others have it, too.
void leave_absent(const Family& family, const Memory& memory, Relative& relative, Released& files) {
  for (const Stretch& stretch : stretches(family)) {
    const Area* area = area_at(relative.areas, stretch.begin);
    if (area == nullptr || !area->committed || kept_of(relative, stretch) != nullptr) continue;
    if (others_map(family, memory, stretch.begin)) continue;
    must(host::memory_release(stretch.begin, stretch.end - stretch.begin));
    if (counts(*area)) g_space->heap_used -= stretch.end - stretch.begin;
  }
  for (auto& [begin, area] : relative.areas) files.push_back(std::move(area.source));
}

}  // namespace

void memory_leave(Memory& memory) {
  Released files;
  if (!memory.relative) {
    patches_cleared(memory.id);
    return memory_clear(memory.id);
  }
  Relative* relative = memory.relative.get();
  const Ref<Family> family = relative->family;
  leave_patches(*family, memory);
  if (family->present != &memory)
    leave_absent(*family, memory, *relative, files);
  else if (family->members.size() > 1)
    leave_to_relatives(*family, memory, files);
  std::erase(family->members, &memory);
  std::erase(g_absent, &memory);
  drop_store(*relative);
  if (family->members.size() == 1 && family->present == family->members.front())
    drop_store(*family->present->relative);
  const std::unique_ptr<Relative> dropped = std::move(memory.relative);
  memory_clear(memory.id);
}

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

bool absent_can_make_room(int32_t owner, uint64_t begin, uint64_t end) {
  if (absent_area_in(begin, end) == 0) return true;
  const Family* family = family_with_absent(owner);
  for (const Memory* absent : g_absent) {
    const bool relative = family != nullptr && absent->relative->family.get() == family;
    for (const auto& [at, area] : absent->relative->areas) {
      if (area.end <= begin || at >= end) continue;
      // What several share has no other place.
      if (!relative || area.shared) return false;
    }
  }
  return true;
}

SysResult<void> take_from_absent(int32_t owner, uint64_t begin, uint64_t end) {
  if (absent_area_in(begin, end) == 0) return {};
  if (!absent_can_make_room(owner, begin, end)) return Errno::NoMemory;
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

bool also_of_relative(uint64_t begin, const Area& area) {
  if (g_absent.empty() || !same_pages(area)) return false;
  const Family* family = family_with_absent(area.owner);
  return family != nullptr && others_map(*family, *family->present, begin);
}

void committed_for_relatives(uint64_t begin, uint64_t end) {
  const Family* family = g_absent.empty() ? nullptr : family_with_absent(find_area(begin)->second.owner);
  if (family == nullptr) return;
  for (Memory* member : family->members) {
    if (member == family->present) continue;
    Areas& areas = member->relative->areas;
    split_at(areas, begin);
    split_at(areas, end);
    for (auto it = areas.lower_bound(begin); it != areas.end() && it->first < end; ++it) {
      if (it->second.shared) it->second.committed = true;
    }
  }
}

void forget_absent_files(Released& files) {
  for (const Memory* absent : g_absent) {
    for (auto& [begin, area] : absent->relative->areas) {
      if (!area.source) continue;
      area.shared = false;
      files.push_back(std::move(area.source));
    }
  }
}

void split_at_absent_borders(uint64_t begin, uint64_t end) {
  if (absent_area_in(begin, end) == 0) return;
  for (const Memory* absent : g_absent) {
    for (const auto& [at, area] : absent->relative->areas) {
      if (at > begin && at < end) split_areas(at);
      if (area.end > begin && area.end < end) split_areas(area.end);
    }
  }
}

}  // namespace cloister::enclave
