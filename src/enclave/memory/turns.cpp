// Who is present, and how that changes: see turns.h and family.h.
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
#include "enclave/memory/family.h"
#include "enclave/memory/texts.h"
#include "enclave/process.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kTurn = kSecond / 100;

void keep_all(Memory& member, const std::vector<Stretch>& list) {
  Relative& relative = *member.relative;
  uint64_t size = 0;
  for (const Stretch& stretch : list) size += stretch.end - stretch.begin;
  if (!need_store(relative, relative.store_used + size).ok())
    end_enclave(70, "no memory is left for a forked process: build the image with a larger --heap");
  open_store(relative);
  for (const Stretch& stretch : list) {
    const Area& area = find_area(stretch.begin)->second;
    keep(relative, stretch, page_protection(area));
    relative.secret |= kept_from_children(area);
  }
  close_store(relative);
}

// After a write-back that failed: whoever comes next must not count on these stores.
void give_up_stores(uint64_t begin, Area& area) {
  if (!area.dirty) return;
  log(LogLevel::Error, "{}: what was stored to a mapping could not be written", area.name);
  g_space->dirty_bytes -= area.end - begin;
  area.dirty = false;
  must(host::memory_protect(begin, area.end - begin, page_protection(area)));
}

// What a child was not to get is not to be reached by it either: not by `member`, which runs next, where it
// maps nothing itself.
void hide_skipped(const Family& family, const Memory& member, const std::vector<Stretch>& list) {
  const auto before = [](const Stretch& stretch, uint64_t at) { return stretch.begin < at; };
  for (const Memory* other : family.members) {
    if (other == &member) continue;
    for (auto& [begin, area] : other->relative->areas) {
      if (!area.skipped_by_fork || !area.committed) continue;
      for (auto it = std::lower_bound(list.begin(), list.end(), begin, before);
           it != list.end() && it->begin < area.end; ++it) {
        if (area_at(member.relative->areas, it->begin) != nullptr ||
            kept_of(*other->relative, *it) != nullptr)
          continue;
        must(host::memory_protect(it->begin, it->end - it->begin, 0));
        area.hidden = true;
      }
    }
  }
}

void show_hidden(Areas& areas) {
  for (auto& [begin, area] : areas) {
    if (!std::exchange(area.hidden, false) || !area.committed) continue;
    must(host::memory_protect(begin, area.end - begin, page_protection(area)));
  }
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
  relative.awaits_files = false;
  keep_all(member, contended);
  for (auto it = g_space->areas.begin(); it != g_space->areas.end();) {
    if (it->second.owner != member.id) {
      ++it;
      continue;
    }
    if (goes_to_file(it->second)) g_space->shared_bytes -= it->second.end - it->first;
    relative.awaits_files |= awaits_file(it->second);
    give_up_stores(it->first, it->second);
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
  open_store(*member.relative);
  place(family, member, list, old != nullptr ? old->relative->areas : left, old);
  hide_skipped(family, member, list);
  Relative& relative = *member.relative;
  for (auto& [begin, area] : relative.areas) {
    if (goes_to_file(area)) g_space->shared_bytes += area.end - begin;
    g_space->private_ends |= awaits_file(area) && !area.shared;
  }
  show_hidden(relative.areas);
  g_space->areas.merge(relative.areas);
  relative.areas.clear();
  relative.kept.clear();
  relative.store_used = 0;
  std::erase(g_absent, &member);
  family.present = &member;
  if (family.members.size() == 1) drop_store(relative);
  catch_up(g_space->begin, g_space->end);
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
  texts_drop_reserved(0, UINT64_MAX);
  Family& family = found_family(present);
  const auto child = make_ref<Memory>(next_thread_id());
  child->relative = std::make_unique<Relative>();
  std::vector<Stretch> contended, common;
  uint64_t size = 0, own_size = 0;
  for (const Stretch& stretch : stretches(family)) {
    const Area* area = area_of(family, present, stretch.begin);
    if (area == nullptr || area->shared || !area->committed || area->skipped_by_fork) continue;
    if (area->wiped_by_fork) {
      own_size += stretch.end - stretch.begin;
      continue;
    }
    const bool others = others_map(family, present, stretch.begin);
    if (area->common && others) continue;
    const bool written = (area->protection & kProtWrite) != 0 || others;
    (written ? contended : common).push_back(stretch);
    if (written) size += stretch.end - stretch.begin;
  }
  // Both get room now for what they may differ in, so that a switch does not fail for want of it.
  TRY(need_store(*child->relative, size));
  if (auto room = need_store(*present.relative, size + own_size); !room.ok()) {
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
    if (area.owner != present.id || area.skipped_by_fork) continue;
    Area copy = area;
    copy.owner = child->id;
    copy.dirty = false;
    child->relative->awaits_files |= awaits_file(copy);
    if (area.wiped_by_fork) {
      copy.committed = false;
      copy.lazy = true;
    }
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
    give_up_stores(stretch.begin, find_area(stretch.begin)->second);
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
    texts_park(memory.id);
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

}  // namespace cloister::enclave
