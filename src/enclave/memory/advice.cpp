// What programs say about their areas by madvise, beyond giving pages back: what fork makes of them, and
// shared memory that is to be empty. And what is known about first stacks
// and sizes.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "enclave/arch/host.h"
#include "enclave/memory/space.h"

namespace cloister::enclave {

SysResult<void> memory_erase_shared(uint64_t address, uint64_t size) {
  constexpr uint32_t kOpen = kProtRead | kProtWrite;
  const uint64_t end = address + size;
  for (auto it = find_area(address); it != g_space->areas.end() && it->first < end; ++it) {
    const Area& area = it->second;
    if (area.source)
      return goes_to_file(area) && area.source->writable() ? Errno::NotSupported : Errno::Access;
    if (!area.shared) return Errno::Invalid;
  }
  for (auto it = find_area(address); it != g_space->areas.end() && it->first < end; ++it) {
    const Area& area = it->second;
    if (!area.committed) continue;
    const uint64_t begin = std::max(it->first, address), bytes = std::min(area.end, end) - begin;
    const bool open = (area.protection & kProtWrite) != 0;
    if (!open) TRY(host::memory_protect(begin, bytes, kOpen));
    std::memset(reinterpret_cast<void*>(begin), 0, bytes);
    if (!open) TRY(host::memory_protect(begin, bytes, area.protection));
  }
  return {};
}

uint64_t memory_size_of(int32_t owner, uint64_t from, uint64_t to) {
  uint64_t size = 0;
  for (const auto& [begin, area] : g_space->areas) {
    const uint64_t first = std::max(begin, from), end = std::min(area.end, to);
    if (area.owner == owner && first < end) size += end - first;
  }
  return size;
}

uint64_t memory_data_of(int32_t owner, uint64_t from, uint64_t to, bool writable) {
  uint64_t size = 0;
  for (const auto& [begin, area] : g_space->areas) {
    const uint64_t first = std::max(begin, from), end = std::min(area.end, to);
    if (area.owner != owner || first >= end || area.shared || area.name == kStackName) continue;
    if (((area.protection & kProtWrite) != 0) == writable) size += end - first;
  }
  return size;
}

bool memory_private_anonymous(uint64_t address, uint64_t size) {
  for (auto it = find_area(address); it != g_space->areas.end() && it->first < address + size; ++it) {
    if (it->second.file || it->second.shared) return false;
  }
  return true;
}

SysResult<void> memory_set_fork_rule(uint64_t address, uint64_t size, ForkRule rule) {
  const uint64_t end = address + size;
  if (rule == ForkRule::Wipe) {
    if (!memory_private_anonymous(address, size)) return Errno::Invalid;
    TRY(make_own(address, end));
  }
  split_areas(address);
  split_areas(end);
  for (auto it = g_space->areas.lower_bound(address); it != g_space->areas.end() && it->first < end; ++it) {
    Area& area = it->second;
    if (rule == ForkRule::Wipe || rule == ForkRule::Keep) area.wiped_by_fork = rule == ForkRule::Wipe;
    if (rule == ForkRule::Skip || rule == ForkRule::DoNotSkip) area.skipped_by_fork = rule == ForkRule::Skip;
  }
  merge_areas(address, end);
  return {};
}

uint64_t memory_stack_begin(uint64_t address) {
  auto it = find_area(address);
  if (it == g_space->areas.end() || it->second.name != kStackName) return 0;
  for (; it != g_space->areas.begin(); --it) {
    const auto& [below, area] = *std::prev(it);
    if (area.end != it->first || area.name != kStackName || area.owner != it->second.owner ||
        area.protection != it->second.protection)
      break;
  }
  return it->first;
}

uint64_t memory_overflowed_stack(int32_t owner, uint64_t address, uint64_t stack_pointer) {
  constexpr uint64_t kFarthest = 256 << 20, kBelowPointer = 64 << 10;
  // A frame that is larger than what is left moves the pointer out of the stack before anything is touched.
  const auto at = find_area(stack_pointer);
  if (at != g_space->areas.end() && at->second.name != kStackName) return 0;
  for (auto it = g_space->areas.upper_bound(address); it != g_space->areas.end(); ++it) {
    if (it->second.owner != owner || it->second.name != kStackName) continue;
    const bool overflown = it->first - address <= kFarthest && stack_pointer <= address + kBelowPointer;
    return overflown ? it->second.end - it->first : 0;
  }
  return 0;
}

}  // namespace cloister::enclave
