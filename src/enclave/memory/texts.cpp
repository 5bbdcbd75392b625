#include "enclave/memory/texts.h"

#include <algorithm>
#include <vector>

#include "enclave/arch/host.h"
#include "enclave/loader/patcher.h"
#include "enclave/memory/family.h"
#include "enclave/memory/space.h"
#include "enclave/vfs/mounts.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kMostParked = 32 << 20;  // bytes; the oldest go first

struct Text {
  uint64_t begin, end, inode, offset;
  uint32_t protection;
  bool reserved;
  uint64_t size() const { return end - begin; }
};
std::vector<Text> g_texts;  // parked ones, oldest first, and reserved ones

bool overlaps(const Text& text, uint64_t begin, uint64_t end) { return text.begin < end && begin < text.end; }

// Takes those out of the list for which `test` is true, and gives their pages back, with the trampolines of
// the code in them. In this order, because unmapping the trampolines looks at the list.
template <class Test>
void release_if(Test test) {
  if (g_texts.empty()) return;
  const auto rest =
      std::stable_partition(g_texts.begin(), g_texts.end(), [&](const Text& t) { return !test(t); });
  const std::vector<Text> gone(rest, g_texts.end());
  g_texts.erase(rest, g_texts.end());
  for (const Text& text : gone) {
    patches_unmapped(text.begin, text.size());
    if (!text.reserved) g_space->areas.erase(text.begin);
    must(host::memory_release(text.begin, text.size()));
  }
}

// Text as the kernel made it of a file that cannot change: its inode's number; otherwise 0.
uint64_t parkable(const Area& area) {
  const bool text = area.pristine && area.committed && !area.shared && !area.common && area.source &&
                    area.protection == (kProtRead | kProtExecute);
  if (!text || area.source->inode()->file_system() != root_inode()->file_system()) return 0;
  const auto stat = area.source->stat();
  return stat.ok() ? stat->inode : 0;
}

bool alone_in(uint64_t begin, uint64_t end, const Text& text) {
  if (begin < g_space->begin || end > g_space->top || absent_area_in(begin, end) != 0) return false;
  for (auto it = g_space->areas.lower_bound(begin); it != g_space->areas.end() && it->first < end; ++it) {
    if (it->first != text.begin) return false;
  }
  const auto first = find_area(begin);
  return first == g_space->areas.end() || first->first == text.begin;
}

}  // namespace

void texts_park(int32_t owner) {
  texts_drop_reserved(0, UINT64_MAX);
  uint64_t total = 0;
  for (const Text& text : g_texts) total += text.size();
  for (auto& [begin, area] : g_space->areas) {
    if (area.owner != owner) continue;
    const uint64_t inode = parkable(area);
    if (inode == 0 || area.end - begin > kMostParked || patches_reach_over(begin, area.end)) continue;
    area.owner = kParked;
    patches_parked(begin, area.end, kParked);
    g_texts.push_back({begin, area.end, inode, area.file_offset, area.protection, false});
    total += area.end - begin;
  }
  release_if([&](const Text& text) {
    if (total <= kMostParked) return false;
    total -= text.size();
    return true;
  });
}

uint64_t texts_place(Inode& inode, uint64_t offset, uint64_t size) {
  if (g_texts.empty() || inode.file_system() != root_inode()->file_system()) return 0;
  const auto stat = inode.stat();
  if (!stat.ok()) return 0;
  for (Text& text : g_texts) {
    if (text.reserved || text.inode != stat->inode || text.offset < offset) continue;
    const uint64_t lead = text.offset - offset;
    if (lead > size || text.size() > size - lead || lead > text.begin) continue;
    const uint64_t base = text.begin - lead;
    if (!alone_in(base, base + size, text)) continue;
    // Whoever reads there before it is taken over sees the file, not the jumps in it.
    must(host::memory_protect(text.begin, text.size(), 0));
    text.reserved = true;
    const Ref<File> source = std::move(g_space->areas.find(text.begin)->second.source);
    g_space->areas.erase(text.begin);
    return base;
  }
  return 0;
}

bool texts_adopt(uint64_t address, uint64_t size, const AreaInfo& info) {
  const auto found = std::find_if(g_texts.begin(), g_texts.end(), [&](const Text& text) {
    return text.reserved && text.begin == address && text.size() == size;
  });
  if (found == g_texts.end() || found->offset != info.file_offset || found->protection != info.protection)
    return false;
  const auto stat = info.source->stat();
  const bool same_file = stat.ok() && stat->inode == found->inode &&
                         info.source->inode()->file_system() == root_inode()->file_system();
  if (!same_file || !memory_belongs(info.owner, address, size)) return false;
  g_texts.erase(found);
  must(memory_unmap(address, size));
  must(host::memory_protect(address, size, info.protection));
  Area area;
  area.end = address + size;
  area.protection = info.protection;
  area.committed = area.file = area.pristine = true;
  area.owner = info.owner;
  area.agent = info.agent;
  area.name = std::string(info.name);
  area.file_offset = info.file_offset;
  area.source = info.source;
  g_space->areas.emplace(address, std::move(area));
  patches_parked(address, address + size, info.owner);
  return true;
}

void texts_evict(uint64_t begin, uint64_t end) {
  release_if([&](const Text& text) { return overlaps(text, begin, end); });
}

void texts_drop_parked(uint64_t begin, uint64_t end) {
  release_if([&](const Text& text) { return !text.reserved && overlaps(text, begin, end); });
}

void texts_drop_reserved(uint64_t begin, uint64_t end) {
  release_if([&](const Text& text) { return text.reserved && overlaps(text, begin, end); });
}

}  // namespace cloister::enclave
