// Shared mappings and their files. Every mapping has pages of its own, so this part decides when bytes move:
// stores go to the file at a write-back, and whatever changes the file goes to its other mappings. Writing to
// a volume never gives up the kernel lock, so iterators into the areas stay valid here.
#include <algorithm>
#include <cstring>

#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/arch/wait.h"
#include "enclave/memory/family.h"
#include "enclave/memory/space.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kDirtyStep = 16 << 10;  // of a shared mapping, found written at once

bool maps(const Area& area, Inode& inode) { return goes_to_file(area) && shows(area, inode); }

// Another shared mapping shows a part of what `area` at `begin` shows of its file.
bool shown_twice(const Area& area, uint64_t begin) {
  const uint64_t end = area.file_offset + (area.end - begin);
  return std::any_of(g_space->areas.begin(), g_space->areas.end(), [&](const Areas::value_type& entry) {
    const Area& other = entry.second;
    return &other != &area && goes_to_file(other) && other.file_offset < end &&
           other.file_offset + (other.end - entry.first) > area.file_offset &&
           maps(other, *area.source->inode());
  });
}

void copy_to_mapping(Areas::iterator it, Inode& inode, uint64_t offset, ByteView data) {
  auto& [begin, area] = *it;
  if (!area.committed || !maps(area, inode)) return;
  if (area.missed.any) return area.missed.written(offset, data.size());
  const uint64_t from = std::max(offset, area.file_offset);
  const uint64_t to = std::min(offset + data.size(), area.file_offset + (area.end - begin));
  if (from >= to) return;
  const uint64_t at = begin + (from - area.file_offset);
  change_bytes(at, at + (to - from),
               [&](uint8_t* bytes) { std::memcpy(bytes, data.data() + (from - offset), to - from); });
}

void copy_to_mappings(Inode& inode, uint64_t offset, ByteView data, const Area* except) {
  for (auto it = g_space->areas.begin(); it != g_space->areas.end();) {
    const uint64_t end = it->second.end;
    if (&it->second != except) copy_to_mapping(it, inode, offset, data);
    while (it != g_space->areas.end() && it->first < end) ++it;  // it may have been divided
  }
}

SysResult<void> write_all(Inode& inode, uint64_t offset, ByteView data) {
  while (!data.empty()) {
    const size_t count = TRY(inode.write(offset, data));
    if (count == 0) return Errno::NoSpace;
    absent_file_written(inode, offset, count);
    offset += count;
    data = data.subspan(count);
  }
  return {};
}

// Writes only what differs from the file, and shows it to the file's other mappings: what they have stored in
// the same piece stays.
SysResult<void> write_changes(Inode& inode, uint64_t offset, ByteView data, const Area& area) {
  Bytes old(data.size());
  for (size_t done = 0; done < old.size();) {
    const size_t count = TRY(inode.read(offset + done, MutableByteView(old).subspan(done)));
    if (count == 0) break;
    done += count;
  }
  for (size_t at = 0; at < data.size();) {
    if (data[at] == old[at]) {
      ++at;
      continue;
    }
    size_t end = at + 1;
    while (end < data.size() && data[end] != old[end]) ++end;
    const ByteView changed = data.subspan(at, end - at);
    TRY(write_all(inode, offset + at, changed));
    copy_to_mappings(inode, offset + at, changed, &area);
    at = end;
  }
  return {};
}

SysResult<void> copy_to_file(uint64_t begin, Area& area) {
  constexpr size_t kPiece = 64 << 10;
  Inode& inode = *area.source->inode();
  const uint64_t file_size = TRY(area.source->stat()).size;  // what lies behind the end is nobody's
  const bool twice = shown_twice(area, begin);
  Bytes buffer(std::min<uint64_t>(kPiece, area.end - begin));
  for (uint64_t at = begin; at < area.end; at += buffer.size()) {
    const uint64_t offset = area.file_offset + (at - begin);
    if (offset >= file_size) break;
    const MutableByteView piece =
        MutableByteView(buffer).first(std::min<uint64_t>({buffer.size(), area.end - at, file_size - offset}));
    std::memcpy(piece.data(), bytes_at(at), piece.size());
    TRY(twice ? write_changes(inode, offset, piece, area) : write_all(inode, offset, piece));
  }
  return {};
}

// Closed for writing before its bytes are read: a store that comes later faults and makes it dirty again.
SysResult<void> write_back(uint64_t begin, Area& area) {
  area.dirty = false;
  const uint32_t protection = page_protection(area);
  protect_or_end(begin, area.end, protection | kProtRead);
  auto result = copy_to_file(begin, area);
  if (result.ok())
    g_space->dirty_bytes -= area.end - begin;
  else
    area.dirty = true;
  if (page_protection(area) != (protection | kProtRead))
    protect_or_end(begin, area.end, page_protection(area));
  return result;
}

}  // namespace

bool shows(const Area& area, Inode& inode) {
  if (area.source->inode() == nullptr) return false;
  Inode& other = *area.source->inode();
  if (&other == &inode) return true;
  if (other.file_system() != inode.file_system()) return false;
  const auto a = other.stat(), b = inode.stat();
  return a.ok() && b.ok() && a->inode == b->inode;
}

SysResult<void> write_back_range(uint64_t begin, uint64_t end) {
  SysResult<void> result;
  if (g_space->dirty_bytes == 0) return result;
  split_areas(begin);
  split_areas(end);
  for (auto it = g_space->areas.lower_bound(begin); it != g_space->areas.end() && it->first < end; ++it) {
    if (!it->second.dirty) continue;
    if (auto done = write_back(it->first, it->second); !done.ok()) result = std::move(done);
  }
  merge_areas(begin, end);
  return result;
}

// All steps of the area that [from, to) reaches into.
static bool open_steps(uint64_t from, uint64_t to) {
  const auto it = find_area(from);
  const uint64_t begin = std::max(it->first, from & ~(kDirtyStep - 1));
  const uint64_t end = std::min(it->second.end, (to + kDirtyStep - 1) & ~(kDirtyStep - 1));
  split_areas(begin);
  split_areas(end);
  Area& part = find_area(begin)->second;
  if (!host::memory_protect(begin, end - begin, part.protection).ok()) return false;
  part.dirty = true;
  g_space->dirty_bytes += end - begin;
  return true;
}

bool make_dirty(uint64_t address) {
  if (!open_steps(address, address + 1)) return false;
  const uint64_t step = address & ~(kDirtyStep - 1);
  merge_areas(step, step + kDirtyStep);
  return true;
}

void open_for_stores(uint64_t from, uint64_t to) {
  const Area& area = find_area(from)->second;
  if (!goes_to_file(area) || area.dirty || (area.protection & kProtWrite) == 0) return;
  if (!open_steps(from, to)) end_enclave(70, "the host cannot protect memory");
}

SysResult<void> fill_from_file(File& file, uint64_t offset, uint64_t address, uint64_t size, bool text) {
  TRY(memory_write_back_file(*file.inode()));
  const uint64_t step = text ? size : kKeptRead;  // texts stay in memory (texts.h)
  for (uint64_t done = 0; done < size;) {
    const uint64_t part = std::min(size - done, step);
    const size_t count = TRY(file.inode()->read(offset + done, {bytes_at(address + done), part}));
    if (count == 0) break;
    done += count;
  }
  return {};
}

void warn_of_second_mapping(const Area& area, uint64_t begin) {
  static bool said = false;
  if (said || (!area.source->writable() && g_space->dirty_bytes == 0) || !shown_twice(area, begin)) return;
  said = true;
  log(LogLevel::Warning,
      "{} is mapped twice with MAP_SHARED: its mappings show each other's stores after msync only",
      area.name);
}

SysResult<void> memory_write_back(uint64_t address, uint64_t size) {
  return write_back_range(address, address + size);
}

void memory_write_back_all() { static_cast<void>(write_back_range(g_space->begin, g_space->end)); }

SysResult<void> memory_write_back_file(Inode& inode) {
  SysResult<void> result;
  if (g_space->dirty_bytes == 0) return result;
  for (auto& [begin, area] : g_space->areas) {
    if (!area.dirty || !maps(area, inode)) continue;
    if (auto done = write_back(begin, area); !done.ok()) result = std::move(done);
  }
  merge_areas(g_space->begin, g_space->end);
  return result;
}

SysResult<void> memory_sync_files(uint64_t address, uint64_t size) {
  Released files;  // a sync waits, and the areas may change meanwhile
  for (auto it = g_space->areas.lower_bound(address);
       it != g_space->areas.end() && it->first < address + size; ++it) {
    const Ref<File>& file = it->second.source;
    if (goes_to_file(it->second) && (files.empty() || files.back().get() != file.get()))
      files.push_back(file);
  }
  for (const Ref<File>& file : files) TRY(file->inode()->sync());
  return {};
}

void memory_file_written(Inode& inode, uint64_t offset, ByteView data) {
  absent_file_written(inode, offset, data.size());
  if (g_space->shared_bytes == 0 && !g_space->private_ends) return;
  g_space->private_ends = false;
  bool grown = false;
  for (const auto& [begin, area] : g_space->areas) {
    if (area.committed || !area.source) continue;
    g_space->private_ends |= !area.shared;
    grown |= shows(area, inode) && file_end(begin, area) > begin;
  }
  if (grown) memory_file_resized(inode);
  const uint64_t dirty_before = g_space->dirty_bytes;
  copy_to_mappings(inode, offset, data, nullptr);
  if (g_space->dirty_bytes != dirty_before) merge_areas(g_space->begin, g_space->end);
}

bool memory_maps_to_write(Inode& inode) {
  const auto writes = [&](const Areas& areas) {
    return std::any_of(areas.begin(), areas.end(), [&](const auto& entry) {
      const Area& area = entry.second;
      return goes_to_file(area) && area.source->writable() && shows(area, inode);
    });
  };
  return writes(g_space->areas) || std::any_of(g_absent.begin(), g_absent.end(), [&](const Memory* memory) {
           return writes(memory->relative->areas);
         });
}

void memory_forget_files() {
  Released files;
  for (auto& [begin, area] : g_space->areas) {
    if (!area.source) continue;
    area.shared = area.dirty = false;
    files.push_back(std::move(area.source));
  }
  forget_absent_files(files);
  g_space->shared_bytes = g_space->dirty_bytes = 0;
}

}  // namespace cloister::enclave
