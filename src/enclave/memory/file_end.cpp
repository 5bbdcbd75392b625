// Where a mapped file ends, its mapping has no pages any more: a touch is SIGBUS (mmap(2)). Such pages are
// like those that are not there yet, because the file may grow: those of shared mappings come at once then,
// so that no thread sees one without its content later; those of private ones, too, or when they are touched
// by a program's only thread. Private executable mappings are patched as a whole and keep all their pages.
#include <algorithm>
#include <cstring>
#include <utility>

#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/wait.h"
#include "enclave/memory/family.h"
#include "enclave/memory/space.h"
#include "enclave/process.h"

namespace cloister::enclave {

void protect_or_end(uint64_t begin, uint64_t end, uint32_t protection) {
  if (!host::memory_protect(begin, end - begin, protection).ok())
    end_enclave(70, "the host cannot protect memory");
}

namespace {

uint64_t page_begin(uint64_t address) { return address & ~(kPage - 1); }
uint64_t page_end(uint64_t address) { return (address + kPage - 1) & ~(kPage - 1); }

uint64_t end_of_pages(uint64_t begin, const Area& area, uint64_t file_size) {
  const uint64_t shown = file_size - std::min(file_size, area.file_offset);
  return begin + page_end(std::min(area.end - begin, shown));
}

// Nothing of the file is behind `from`.
void clear_behind(uint64_t from, uint64_t to) {
  if (from >= to) return;
  change_bytes(from, to, [&](uint8_t* bytes) { std::memset(bytes, 0, to - from); });
}

// A memory's threads, besides one, would see pages that have no content yet.
bool several_threads(int32_t owner) {
  int count = 0;
  for (uint32_t i = 0; i < thread_limit(); ++i) {
    const Thread* thread = thread_slot(i);
    if (thread != nullptr && thread->process->memory->id == owner) ++count;
  }
  return count > 1;
}

// Absent relatives get pages of their own, if they have the same ones: their mappings end at their turn.
void drop_behind(uint64_t begin, uint64_t end) {
  if (!find_area(begin)->second.shared && !make_own(begin, end).ok())
    end_enclave(70, "no memory is left for a forked process: build the image with a larger --heap");
  split_areas(begin);
  if (!host::memory_release(begin, end - begin).ok()) end_enclave(70, "the host cannot release memory");
  for (auto it = find_area(begin); it != g_space->areas.end() && it->first < end; ++it) {
    Area& area = it->second;
    if (area.dirty) g_space->dirty_bytes -= area.end - it->first;
    area.committed = area.dirty = false;
    area.lazy = true;
    g_space->private_ends |= !area.shared;
  }
  if (find_area(begin)->second.shared) committed_for_relatives(begin, end, false);
}

// Other threads reach pages from the moment that they are there, and no instruction fills them before: so
// their content is at hand by then, and what is stored to them before they are closed for that is looked for.
void take_filled(uint64_t begin, uint64_t end) {
  const auto it = find_area(begin);
  const Ref<File> source = it->second.source;
  const uint64_t offset = it->second.file_offset + (begin - it->first);
  Bytes content(end - begin);
  const auto buffer = reinterpret_cast<uint64_t>(content.data());
  if (!fill_from_file(*source, offset, buffer, content.size(), false).ok())
    end_enclave(70, "a mapped file that the program uses cannot be read");
  split_areas(begin);  // a write-back may have merged it
  split_areas(end);
  Area& area = find_area(begin)->second;
  area.lazy = false;
  if (!commit_pages(begin, end, area).ok()) end_enclave(70, "the host refuses memory that the program uses");
  std::memcpy(bytes_at(begin), content.data(), content.size());
  if (area.shared) committed_for_relatives(begin, end);
  const uint32_t protection = page_protection(area);
  if (protection != (kProtRead | kProtWrite)) protect_or_end(begin, end, protection);
  const bool as_filled =
      (protection & kProtRead) != 0 && std::memcmp(bytes_at(begin), content.data(), content.size()) == 0;
  if (!as_filled) open_for_stores(begin, end);
}

void take_grown(uint64_t begin, uint64_t end) {
  constexpr uint64_t kStep = 64 << 10;
  for (uint64_t at = begin; at < end; at += kStep) take_filled(at, std::min(at + kStep, end));
}

// The area at `begin`, which does not reach over a border of an absent relative's.
void fit_piece(uint64_t begin) {
  const Area& area = find_area(begin)->second;
  const auto stat = area.source->stat();
  if (!stat.ok()) return;
  const uint64_t pages_end = file_end(begin, area);
  if (!area.committed) {
    if (pages_end > begin && (area.shared || several_threads(area.owner))) take_grown(begin, pages_end);
    return;
  }
  if (!area.shared && (area.protection & kProtExecute) != 0) return;
  const uint64_t shown =
      begin + std::min(stat->size - std::min(stat->size, area.file_offset), area.end - begin);
  const bool shared = area.shared;
  if (pages_end < area.end) drop_behind(pages_end, area.end);
  if (shared) clear_behind(shown, pages_end);
}

void fit(uint64_t begin) {
  const auto found = find_area(begin);
  if (found == g_space->areas.end() || found->first != begin) return;
  const uint64_t end = found->second.end;
  if (same_pages(found->second)) split_at_absent_borders(begin, end);
  for (uint64_t at = begin; at < end;) {
    split_areas(at);  // what comes from a file may have merged it
    const uint64_t next = find_area(at)->second.end;
    fit_piece(at);
    at = next;
  }
}

// Of a shared mapping the bytes that have changed, no more: others may have stored something to the pages.
void read_again(uint64_t begin) {
  const Ref<File> source = find_area(begin)->second.source;
  // May be more of what was missed.
  static_cast<void>(memory_write_back_file(*source->inode()));
  const Area& area = find_area(begin)->second;
  const uint64_t first = std::min(area.missed.from, area.missed.least);
  const uint64_t last = area.missed.least != UINT64_MAX ? UINT64_MAX : area.missed.to;
  const uint64_t from = std::max(first, area.file_offset);
  const uint64_t to = std::min(last, area.file_offset + (area.end - begin));
  if (!area.committed || from >= to) return;
  const uint64_t at = begin + (from - area.file_offset), end = at + (to - from);
  if (page_protection(area) != (kProtRead | kProtWrite))
    protect_or_end(page_begin(at), page_end(end), kProtRead | kProtWrite);
  bring_from_file(at, end);
}

// Pages behind what was a file's end for a while are gone from private mappings, though it may have grown.
void drop_cut(uint64_t begin, uint64_t file_size) {
  const Area& area = find_area(begin)->second;
  if (!area.committed || area.shared || (area.protection & kProtExecute) != 0) return;
  const uint64_t pages_end = end_of_pages(begin, area, file_size);
  if (pages_end < area.end) drop_behind(pages_end, area.end);
}

void catch_up_area(uint64_t begin) {
  const auto it = find_area(begin);
  if (it == g_space->areas.end() || it->first != begin || !it->second.missed.any) return;
  const uint64_t end = it->second.end;
  if (goes_to_file(it->second)) read_again(begin);
  const Missed missed = std::exchange(find_area(begin)->second.missed, {});
  drop_cut(begin, missed.least);
  fit(begin);
  merge_areas(begin, end);
}

}  // namespace

uint64_t file_end(uint64_t begin, const Area& area) {
  const auto stat = area.source ? area.source->stat() : SysResult<Stat>(Errno::BadFile);
  if (!stat.ok()) return area.end;                             // the read of its bytes will say why
  if ((stat->mode & kTypeMask) != kTypeFile) return area.end;  // /dev/zero
  return end_of_pages(begin, area, stat->size);
}

void place_area(uint64_t begin, uint64_t pages_end, Area area) {
  if (pages_end < area.end) {
    g_space->private_ends |= !area.shared;
    Area rest = area;
    rest.committed = false;
    rest.lazy = true;
    rest.file_offset += pages_end - begin;
    g_space->areas.emplace(pages_end, std::move(rest));
    area.end = pages_end;
  }
  if (area.end > begin) g_space->areas.emplace(begin, std::move(area));
}

void catch_up(uint64_t begin, uint64_t end) {
  std::vector<uint64_t> late;
  for (auto it = g_space->areas.lower_bound(begin); it != g_space->areas.end() && it->first < end; ++it) {
    if (it->second.missed.any) late.push_back(it->first);
  }
  for (const uint64_t at : late) catch_up_area(at);
}

void bring_from_file(uint64_t from, uint64_t to) {
  const auto it = find_area(from);
  const Ref<File> source = it->second.source;
  const uint64_t offset = it->second.file_offset + (from - it->first);
  // No signal that the host could raise.
  if (!fill_from_file(*source, offset, from, to - from, false).ok())
    end_enclave(70, "a mapped file that the program uses cannot be read");
  const uint32_t protection = page_protection(find_area(from)->second);
  if (protection != (kProtRead | kProtWrite)) protect_or_end(page_begin(from), page_end(to), protection);
}

SysResult<void> memory_settle(int32_t owner) {
  std::vector<uint64_t> begins;
  for (const auto& [begin, area] : g_space->areas) {
    if (area.owner == owner && area.source && area.lazy) begins.push_back(begin);
  }
  for (const uint64_t begin : begins) {
    const Area& whole = find_area(begin)->second;
    const uint64_t end = whole.committed ? whole.end : file_end(begin, whole);
    if (end == begin) continue;
    split_areas(end);
    Area& area = find_area(begin)->second;
    if (!area.committed) {
      TRY(commit_pages(begin, end, area));
      if (area.shared) committed_for_relatives(begin, end);
      bring_from_file(begin, end);
    }
    find_area(begin)->second.lazy = false;
  }
  if (!begins.empty()) merge_areas(begins.front(), begins.back());
  return {};
}

void memory_file_resized(Inode& inode) {
  absent_file_resized(inode);
  std::vector<uint64_t> begins;
  for (const auto& [begin, area] : g_space->areas) {
    if (area.source && shows(area, inode)) begins.push_back(begin);
  }
  for (const uint64_t begin : begins) fit(begin);
  if (!begins.empty()) merge_areas(begins.front(), begins.back());
}

bool memory_behind_file(uint64_t address, bool write) {
  const auto it = find_area(address);
  if (it == g_space->areas.end() || !it->second.source || it->second.committed) return false;
  if ((it->second.protection & (write ? kProtWrite : kProtRead)) == 0) return false;
  return address >= file_end(it->first, it->second);
}

}  // namespace cloister::enclave
