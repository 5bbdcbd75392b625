// See manager.h. Neighbouring areas with the same properties are merged, so that page-wise commits of a
// reserved area leave few entries.
#include "enclave/memory/manager.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "crypto/random.h"
#include "enclave/arch/host.h"
#include "enclave/arch/log.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kLazyStep = 128 << 10;            // committed around a touched address
constexpr uint64_t kDirtyStep = 16 << 10;            // of a shared mapping, found written at once
constexpr uint64_t kHugeStep = 2 << 20;              // the same in areas of kHugeArea and more
constexpr uint64_t kHugeArea = uint64_t{256} << 20;  // anonymous areas of this size are lazy
constexpr uint64_t kMmapTop = 0xDF0000000;
constexpr uint64_t kMmapSpread = uint64_t{1} << 32;  // of random placement
constexpr uint64_t kMmapBottom = 0x1000000;
constexpr uint64_t kMaxAreas = 65530;  // as Linux's vm.max_map_count

struct Area {
  uint64_t end = 0;
  uint32_t protection = 0;
  bool committed = false;
  bool lazy = false;
  bool file = false;
  bool agent = false;
  int32_t owner = 0;
  bool dirty = false;  // shared: written since the last write-back, so its pages are writable
  std::string name;
  uint64_t file_offset = 0;
  Ref<File> shared;
};

using Areas = std::map<uint64_t, Area>;

struct Space {
  Areas areas;
  uint64_t heap_limit = 0, heap_used = 0;
  uint64_t top = kMmapTop;
  struct Break {
    uint64_t start = 0, end = 0;
  };
  std::map<int32_t, Break> breaks;  // by owner
  uint64_t begin = 0, end = 0;
  bool said = false;
  uint32_t shared_maps = 0;  // not 0: there may be shared mappings of files
};
Space* g_space;

constexpr uint64_t round_down(uint64_t value, uint64_t step) { return value & ~(step - 1); }
constexpr uint64_t round_up(uint64_t value, uint64_t step) { return (value + step - 1) & ~(step - 1); }

bool range_ok(uint64_t address, uint64_t size) {
  return address % kPage == 0 && size % kPage == 0 && size != 0 && address >= g_space->begin &&
         address < g_space->end && size <= g_space->end - address;
}

// What the pages are protected with: the first write to a clean shared area has to be seen.
uint32_t page_protection(const Area& area) {
  return area.shared && !area.dirty ? area.protection & ~kProtWrite : area.protection;
}

bool counts(const Area& area) { return !area.file && !area.agent; }

// The entry that contains `address`, or end().
Areas::iterator find(uint64_t address) {
  auto it = g_space->areas.upper_bound(address);
  if (it == g_space->areas.begin()) return g_space->areas.end();
  --it;
  return address < it->second.end ? it : g_space->areas.end();
}

// Makes `address` a border between areas.
void split(uint64_t address) {
  auto it = find(address);
  if (it == g_space->areas.end() || it->first == address) return;
  Area right = it->second;
  right.file_offset += address - it->first;
  it->second.end = address;
  g_space->areas.emplace(address, std::move(right));
}

bool same(const Areas::value_type& left, const Areas::value_type& right) {
  const Area& a = left.second;
  const Area& b = right.second;
  return a.end == right.first && a.protection == b.protection && a.committed == b.committed &&
         a.lazy == b.lazy && a.file == b.file && a.agent == b.agent && a.owner == b.owner &&
         a.name == b.name && a.shared.get() == b.shared.get() && a.dirty == b.dirty &&
         (a.name.empty() || !a.file || b.file_offset == a.file_offset + (right.first - left.first));
}

void merge_around(uint64_t begin, uint64_t end) {
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

SysResult<void> commit(uint64_t begin, uint64_t end, Area& area) {
  const uint64_t size = end - begin;
  if (counts(area) && g_space->heap_used + size > g_space->heap_limit) {
    if (!g_space->said) {
      log(LogLevel::Warning,
          "the program needs more than {} MiB of memory: build the image with a larger --heap",
          g_space->heap_limit >> 20);
      g_space->said = true;
    }
    return Errno::NoMemory;
  }
  if (!host::memory_commit(begin, size, page_protection(area)).ok()) return Errno::NoMemory;
  if (counts(area)) g_space->heap_used += size;
  area.committed = true;
  return {};
}

// Takes the pages of [begin, end) away; the range lies in whole areas.
void drop_pages(uint64_t begin, uint64_t end) {
  for (auto it = g_space->areas.lower_bound(begin); it != g_space->areas.end() && it->first < end; ++it) {
    if (!it->second.committed) continue;
    const uint64_t size = it->second.end - it->first;
    if (!host::memory_release(it->first, size).ok()) end_enclave(70, "the host cannot release memory");
    if (counts(it->second)) g_space->heap_used -= size;
    it->second.committed = false;
  }
}

// The content of a dirty area goes to its file, as far as the file reaches.
SysResult<void> write_back(uint64_t begin, Area& area) {
  constexpr size_t kPiece = 64 << 10;
  File& file = *area.shared;
  const uint64_t file_size = TRY(file.stat()).size;
  if ((area.protection & kProtRead) == 0 && !host::memory_protect(begin, area.end - begin, kProtRead).ok())
    return Errno::Io;
  Bytes buffer(std::min<uint64_t>(kPiece, area.end - begin));
  for (uint64_t at = begin; at < area.end; at += buffer.size()) {
    const uint64_t offset = area.file_offset + (at - begin);
    if (offset >= file_size) break;
    const size_t size = std::min<uint64_t>({buffer.size(), area.end - at, file_size - offset});
    std::memcpy(buffer.data(), reinterpret_cast<void*>(at), size);
    for (size_t done = 0; done < size;) {
      const size_t count =
          TRY(file.inode()->write(offset + done, ByteView(buffer).subspan(done, size - done)));
      if (count == 0) return Errno::NoSpace;
      done += count;
    }
  }
  area.dirty = false;
  return host::memory_protect(begin, area.end - begin, page_protection(area));
}

SysResult<void> write_back_range(uint64_t begin, uint64_t end) {
  SysResult<void> result;
  if (g_space->shared_maps == 0) return result;
  split(begin);
  split(end);
  for (auto it = g_space->areas.lower_bound(begin); it != g_space->areas.end() && it->first < end; ++it) {
    if (!it->second.dirty) continue;
    if (auto done = write_back(it->first, it->second); !done.ok()) result = std::move(done);
  }
  return result;
}

bool maps(const Area& area, Inode& inode) {
  if (!area.shared || area.shared->inode() == nullptr) return false;
  Inode& other = *area.shared->inode();
  if (&other == &inode) return true;
  if (other.file_system() != inode.file_system()) return false;
  const auto a = other.stat(), b = inode.stat();
  return a.ok() && b.ok() && a->inode == b->inode;
}

void remove(uint64_t begin, uint64_t end) {
  split(begin);
  split(end);
  static_cast<void>(write_back_range(begin, end));  // munmap(2) has no error for this
  drop_pages(begin, end);
  g_space->areas.erase(g_space->areas.lower_bound(begin), g_space->areas.lower_bound(end));
}

bool free_range(uint64_t begin, uint64_t end) {
  auto it = g_space->areas.lower_bound(begin);
  if (it != g_space->areas.end() && it->first < end) return false;
  return find(begin) == g_space->areas.end();
}

// The highest gap of `size` bytes below `top`; 0: none.
uint64_t find_gap(uint64_t size) {
  uint64_t ceiling = g_space->top;
  auto it = g_space->areas.lower_bound(ceiling);
  for (;;) {
    if (it == g_space->areas.begin()) break;
    --it;
    if (it->second.end <= ceiling && ceiling - it->second.end >= size) return ceiling - size;
    ceiling = std::min(ceiling, it->first);
  }
  return ceiling >= kMmapBottom + size ? ceiling - size : 0;
}

// Every area of [begin, end) exists without a hole.
bool covered(uint64_t begin, uint64_t end) {
  for (uint64_t at = begin; at < end;) {
    auto it = find(at);
    if (it == g_space->areas.end()) return false;
    at = it->second.end;
  }
  return true;
}

}  // namespace

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
  if (fixed || no_replace) {
    if (address % kPage != 0) return Errno::Invalid;
    if (!range_ok(address, size)) return Errno::NoMemory;
    if (no_replace && !free_range(address, address + size)) return Errno::Exists;
    remove(address, address + size);
  } else {
    address = round_down(address, kPage);
    const bool hint = address != 0 && range_ok(address, size) && free_range(address, address + size);
    if (!hint) address = find_gap(size);
    if (address == 0) return Errno::NoMemory;
  }
  if (g_space->areas.size() >= kMaxAreas) return Errno::NoMemory;
  Area area;
  area.end = address + size;
  area.protection = info.protection;
  area.file = info.file;
  area.agent = info.agent;
  area.owner = info.owner;
  area.lazy = !info.file && (info.lazy || size >= kHugeArea);
  area.name = std::string(info.name);
  area.file_offset = info.file_offset;
  area.shared = info.shared;
  if (info.shared) {
    ++g_space->shared_maps;
    area.dirty = true;  // being filled; memory_mark_clean when that is done
  }
  if (info.protection != 0 && !area.lazy) TRY(commit(address, address + size, area));
  g_space->areas.emplace(address, std::move(area));
  merge_around(address, address + size);
  return address;
}

SysResult<void> memory_unmap(uint64_t address, uint64_t size) {
  size = round_up(size, kPage);
  if (!range_ok(address, size)) return Errno::Invalid;
  remove(address, address + size);
  return {};
}

SysResult<void> memory_protect(uint64_t address, uint64_t size, uint32_t protection) {
  if (address % kPage != 0) return Errno::Invalid;
  if (size == 0) return {};
  size = round_up(size, kPage);
  if (!range_ok(address, size) || !covered(address, address + size)) return Errno::NoMemory;
  const uint64_t end = address + size;
  split(address);
  split(end);
  for (auto it = g_space->areas.lower_bound(address); it != g_space->areas.end() && it->first < end; ++it) {
    Area& area = it->second;
    if (area.committed) {
      const bool changes = area.protection != protection;
      area.protection = protection;
      if (changes && !host::memory_protect(it->first, area.end - it->first, page_protection(area)).ok()) {
        return Errno::NoMemory;
      }
    } else {
      area.protection = protection;
      if (protection != 0 && !area.lazy) TRY(commit(it->first, area.end, area));
    }
  }
  merge_around(address, end);
  return {};
}

SysResult<void> memory_discard(uint64_t address, uint64_t size) {
  if (address % kPage != 0) return Errno::Invalid;
  if (size == 0) return {};
  size = round_up(size, kPage);
  if (!range_ok(address, size) || !covered(address, address + size)) return Errno::NoMemory;
  const uint64_t end = address + size;
  split(address);
  split(end);
  for (auto it = g_space->areas.lower_bound(address); it != g_space->areas.end() && it->first < end; ++it) {
    Area& area = it->second;
    if (area.file || !area.committed) continue;
    const uint64_t bytes = area.end - it->first;
    if (!host::memory_release(it->first, bytes).ok()) return Errno::NoMemory;
    area.committed = false;
    if (counts(area)) g_space->heap_used -= bytes;
    // What was accessible stays so: the next touch brings a zero page.
    area.lazy = true;
  }
  merge_around(address, end);
  return {};
}

SysResult<void> memory_write_back(uint64_t address, uint64_t size) {
  TRY(write_back_range(address, address + size));
  merge_around(address, address + size);
  return {};
}

void memory_write_back_all() { static_cast<void>(write_back_range(g_space->begin, g_space->end)); }

void memory_mark_clean(uint64_t address, uint64_t size) {
  for (auto it = g_space->areas.lower_bound(address);
       it != g_space->areas.end() && it->first < address + size; ++it) {
    Area& area = it->second;
    area.dirty = false;
    if (area.committed && !host::memory_protect(it->first, area.end - it->first, page_protection(area)).ok())
      end_enclave(70, "the host cannot protect memory");
  }
}

void memory_before_file_read(Inode& inode) {
  if (g_space->shared_maps == 0) return;
  for (auto& [begin, area] : g_space->areas) {
    if (area.dirty && maps(area, inode)) static_cast<void>(write_back(begin, area));
  }
}

void memory_file_written(Inode& inode, uint64_t offset, ByteView data) {
  if (g_space->shared_maps == 0) return;
  for (auto& [begin, area] : g_space->areas) {
    if (!area.committed || !maps(area, inode)) continue;
    const uint64_t from = std::max(offset, area.file_offset);
    const uint64_t to = std::min(offset + data.size(), area.file_offset + (area.end - begin));
    if (from >= to) continue;
    const bool closed = (page_protection(area) & kProtWrite) == 0;
    if (closed && !host::memory_protect(begin, area.end - begin, kProtRead | kProtWrite).ok()) continue;
    std::memcpy(reinterpret_cast<void*>(begin + (from - area.file_offset)), data.data() + (from - offset),
                to - from);
    if (closed && !host::memory_protect(begin, area.end - begin, page_protection(area)).ok())
      end_enclave(70, "the host cannot protect memory");
  }
}

bool memory_mapped(uint64_t address, uint64_t size) {
  return range_ok(address, size) && covered(address, address + size);
}

namespace {

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
  const uint32_t protection = from.protection;
  const uint64_t to = TRY(memory_map(target, new_size, info, fixed));
  const uint64_t bytes = std::min(old_size, new_size);
  for (uint64_t at = address; at < address + bytes;) {
    auto it = find(at);
    const uint64_t part_end = std::min(it->second.end, address + bytes);
    if (it->second.committed) {
      if (from.lazy) {
        // The new place is reserved only: commit what has content.
        for (uint64_t p = at; p < part_end; p += kPage) memory_handle_fault(to + (p - address), true, false);
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
  } else {
    auto last = find(address + old_size - kPage);
    const uint64_t grow = new_size - old_size;
    const bool room = last->second.end == address + old_size && range_ok(address, new_size) &&
                      free_range(address + old_size, address + new_size);
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
      TRY(memory_map(address + old_size, grow, info, true));
      return address;
    }
    if ((flags & kMayMove) == 0) return Errno::NoMemory;
  }
  const Area from = find(address)->second;
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
    if (!free_range(old_top, new_top)) return space.end;
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
  auto it = find(address);
  if (it == g_space->areas.end()) return false;
  Area& area = it->second;
  const uint32_t needed = execute ? kProtExecute : write ? kProtWrite : kProtRead;
  if ((area.protection & needed) == 0) return false;
  if (area.committed && write && area.shared && !area.dirty) {
    const uint64_t begin = std::max(it->first, round_down(address, kDirtyStep));
    const uint64_t end = std::min(area.end, round_down(address, kDirtyStep) + kDirtyStep);
    split(begin);
    split(end);
    Area& part = find(begin)->second;
    part.dirty = true;
    return host::memory_protect(begin, end - begin, part.protection).ok();
  }
  if (area.committed) {
    // Another thread was faster; but a fault that keeps coming is the program's.
    return true;
  }
  const uint64_t step = area.end - it->first >= kHugeArea ? kHugeStep : kLazyStep;
  const uint64_t begin = std::max(it->first, round_down(address, step));
  const uint64_t end = std::min(area.end, round_down(address, step) + step);
  split(begin);
  split(end);
  Area& part = find(begin)->second;
  const bool ok = commit(begin, end, part).ok();
  merge_around(begin, end);
  return ok;
}

void memory_clear(int32_t owner) {
  for (auto it = g_space->areas.begin(); it != g_space->areas.end();) {
    const uint64_t begin = it->first, end = it->second.end;
    ++it;
    if (find(begin)->second.owner == owner) remove(begin, end);
  }
  g_space->breaks.erase(owner);
}

int32_t memory_owner(uint64_t address) {
  const auto it = find(address);
  return it == g_space->areas.end() ? 0 : it->second.owner;
}

uint64_t memory_heap_used() { return g_space->heap_used; }
uint64_t memory_heap_limit() { return g_space->heap_limit; }

std::string memory_describe() {
  std::string text;
  auto hex = [&](uint64_t value, int digits) {
    char buffer[17];
    int n = 0;
    do {
      buffer[n++] = "0123456789abcdef"[value & 15];
      value >>= 4;
    } while (value != 0);
    while (n < digits) buffer[n++] = '0';
    while (n > 0) text += buffer[--n];
  };
  for (const auto& [begin, area] : g_space->areas) {
    hex(begin, 8);
    text += '-';
    hex(area.end, 8);
    text += ' ';
    text += (area.protection & kProtRead) != 0 ? 'r' : '-';
    text += (area.protection & kProtWrite) != 0 ? 'w' : '-';
    text += (area.protection & kProtExecute) != 0 ? 'x' : '-';
    text += "p ";
    hex(area.file ? area.file_offset : 0, 8);
    text += " 00:00 0 ";
    if (!area.name.empty()) text += "                   " + area.name;
    text += '\n';
  }
  return text;
}

}  // namespace cloister::enclave
