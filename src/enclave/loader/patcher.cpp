// See patcher.h.
//
// A jump is e9 and a displacement of four bytes. In front of a `syscall` it takes the place of the
// instruction there:
//
//   5 or more bytes   e9 dd dd dd dd cc…  0f 05     any displacement
//   4 bytes           e9 dd dd dd        [0f] 05    0x0fdddddd: 240 to 256 MiB further on
//   3 bytes           e9 dd dd        [0f 05]       0x050fdddd: a window of 64 KiB, 80.9 MiB further on
//   2 bytes           eb dd            0f 05        a pad of 5 bytes nearby, which holds the jump of 5 bytes
//
// The bytes in brackets are those of the `syscall`: they stay, whoever jumps there still finds it, and read
// as part of the jump they fix how far away the trampoline must be. The memory manager keeps 256 MiB above
// its mappings free, and programs get their break behind their trampolines, so these places are nearly always
// free. Where one is not, the site stays as it is.
//
// A trampoline:   the displaced instruction
//                 lea  behind_the_syscall(%rip), %rcx
//                 jmp  *%gs:BLOCK_GATE
// Nothing is pushed (the red zone belongs to the program) and the flags stay. Trampolines of one mapping have
// pages of their own, which are filled before anyone can run them and never written again: other threads may
// be running older ones.
#include "enclave/loader/patcher.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "enclave/arch/boot.h"
#include "enclave/arch/log.h"
#include "enclave/arch/offsets.h"
#include "enclave/memory/manager.h"
#include "enclave/vfs/mounts.h"
#include "sgx/patch_table.h"

namespace cloister::enclave {
namespace {

using sgx::PatchRow;

constexpr uint64_t kSlotSize = 32;  // the longest instruction, 7 of lea, 8 of jmp
constexpr size_t kSlots = kPage / kSlotSize;
constexpr size_t kJumpSize = 5;
constexpr uint64_t kReach = uint64_t{0x7fff0000};  // of a displacement, with room for lengths
constexpr int kTries = 16;                         // pages in a window before a site is given up
static_assert(kSlotSize >= sgx::kMaxDisplaced + 7 + 8);

constexpr uint64_t page_of(uint64_t address) { return address & ~(kPage - 1); }

// Where a site's trampoline may begin.
struct Window {
  uint64_t begin, end;
  uint64_t step;  // between the pages that are tried, from the end downwards
  bool contains(uint64_t address) const { return address >= begin && address < end; }
};

struct Slot {
  uint64_t site = 0;  // address of the displaced instruction
  uint8_t length = 0;
  uint64_t pad = 0;  // address of the pad of a site of two bytes
};

// The trampolines of one mapping.
struct Batch {
  uint64_t begin = 0, end = 0;  // of the code they belong to
  int32_t owner = 0;            // of that code's memory
  std::vector<uint64_t> pages;
};

struct Patches {
  sgx::PatchTable table;
  std::map<uint64_t, std::vector<Slot>> pages;  // by address: the trampolines in it
  std::vector<Batch> batches;
  std::map<uint64_t, uint64_t> pads;  // in use, and whose sites they belong to
};
Patches* g_patches;

SysResult<Bytes> read_table() {
  const Ref<Inode> folder = TRY(root_inode()->lookup(sgx::kPatchFolder));
  const Ref<Inode> file = TRY(folder->lookup(sgx::kPatchFile));
  const uint64_t size = TRY(file->stat()).size;
  if (size > sgx::kMaxPatchTable) return Errno::FileTooBig;
  Bytes bytes(size);
  for (size_t done = 0; done < bytes.size();) {
    const size_t count = TRY(file->read(done, MutableByteView(bytes).subspan(done)));
    if (count == 0) return Errno::Io;
    done += count;
  }
  return bytes;
}

Patches& patches() {
  if (g_patches != nullptr) return *g_patches;
  g_patches = new Patches;
  const auto bytes = read_table();
  if (!bytes.ok()) {
    log(LogLevel::Info, "the image has no patch table: every system call traps");
    return *g_patches;
  }
  auto table = sgx::decode_patch_table(bytes.value());
  if (table.ok()) {
    g_patches->table = std::move(table).value();
  } else {
    log(LogLevel::Warning, "{}: every system call traps", table.error().message());
  }
  return *g_patches;
}

Window window_of(uint64_t site, uint8_t length) {
  const uint64_t next = site + kJumpSize;
  if (length == 3) return {next + 0x050f0000, next + 0x05100000, kPage};
  if (length == 4) return {next + 0x0f000000, next + 0x10000000, 0x100000};
  return {site > kReach ? site - kReach : 0, site + kReach, 0};
}

uint64_t pad_of(uint64_t site, const PatchRow& row) {
  return site + row.length + static_cast<uint64_t>(int64_t{row.pad_distance});
}

class Patcher {
 public:
  Patcher(Patches& all, Batch& batch) : all_(all), batch_(batch) {}

  // Takes a slot for the site; false: no place can be had.
  bool place(uint64_t site, const PatchRow& row) {
    const Window window = window_of(site, row.length);
    for (const uint64_t page : batch_.pages) {
      if (take(page, window, site, row)) return true;
    }
    const uint64_t page = new_page(window);
    if (page == 0) return false;
    batch_.pages.push_back(page);
    all_.pages[page];
    return take(page, window, site, row);
  }

  // Makes trampolines executable, then lets sites jump to them.
  void finish() {
    for (const uint64_t page : batch_.pages) {
      if (!memory_protect(page, kPage, kProtRead | kProtExecute).ok()) return;
    }
    for (const uint64_t page : batch_.pages) {
      const std::vector<Slot>& slots = all_.pages[page];
      for (size_t i = 0; i < slots.size(); ++i) write_jump(slots[i], page + i * kSlotSize);
    }
  }

 private:
  bool take(uint64_t page, const Window& window, uint64_t site, const PatchRow& row) {
    std::vector<Slot>& slots = all_.pages[page];
    const uint64_t address = page + slots.size() * kSlotSize;
    if (slots.size() == kSlots || !window.contains(address)) return false;
    slots.push_back({site, row.length, row.length == sgx::kToPad ? pad_of(site, row) : 0});
    if (row.length == sgx::kToPad) all_.pads[pad_of(site, row)] = site;
    auto* code = reinterpret_cast<uint8_t*>(address);
    std::memset(code, 0xcc, kSlotSize);
    std::memcpy(code, row.displaced.data(), row.length);
    code += row.length;
    const uint8_t load[3] = {0x48, 0x8d, 0x0d};  // lea rel32(%rip), %rcx
    const uint8_t jump[8] = {0x65, 0xff, 0x24, 0x25, BLOCK_GATE, 0, 0, 0};
    std::memcpy(code, load, sizeof(load));
    const uint64_t behind = site + row.length + 2;
    store_le(code + 3, static_cast<uint32_t>(behind - (address + row.length + 7)));
    std::memcpy(code + 7, jump, sizeof(jump));
    return true;
  }

  static uint64_t map_page(uint64_t address) {
    AreaInfo info;
    info.protection = kProtRead | kProtWrite;
    info.file = true;  // not the program's heap
    info.name = "[trampolines]";
    const auto mapped = memory_map(address, kPage, info, false, address != 0);
    return mapped.ok() ? mapped.value() : 0;
  }

  static uint64_t new_page(const Window& window) {
    if (window.step != 0) {
      uint64_t page = page_of(window.end) - kPage;
      for (int i = 0; i < kTries && page >= window.begin; ++i, page -= window.step) {
        if (const uint64_t mapped = map_page(page); mapped != 0) return mapped;
      }
      return 0;
    }
    // Any place will do. Where a 4-byte site's would be nothing of the program's is in the way.
    const uint64_t middle = window.begin + (window.end - window.begin) / 2;
    for (uint64_t i = 0; i < kTries; ++i) {
      const uint64_t page = map_page(page_of(middle + 0x0ff00000) - i * 0x100000);
      if (page != 0) return page;
    }
    const uint64_t page = map_page(0);
    if (page == 0 || window.contains(page)) return page;
    (void)memory_unmap(page, kPage);
    return 0;
  }

  static void write_jump(const Slot& slot, uint64_t trampoline) {
    auto* code = reinterpret_cast<uint8_t*>(slot.site);
    uint8_t jump[sgx::kMaxDisplaced];
    std::memset(jump, 0xcc, sizeof(jump));
    jump[0] = 0xe9;
    if (slot.pad != 0) {
      store_le(jump + 1, static_cast<uint32_t>(trampoline - (slot.pad + kJumpSize)));
      std::memcpy(reinterpret_cast<uint8_t*>(slot.pad), jump, kJumpSize);
      code[0] = 0xeb;
      code[1] = static_cast<uint8_t>(slot.pad - (slot.site + sgx::kToPad));
      return;
    }
    store_le(jump + 1, static_cast<uint32_t>(trampoline - (slot.site + kJumpSize)));
    // Of a short site's jump the last bytes are there already.
    std::memcpy(code, jump, slot.length);
  }

  Patches& all_;
  Batch& batch_;
};

bool as_expected(uint64_t site, const PatchRow& row) {
  const auto* code = reinterpret_cast<const uint8_t*>(site);
  if (row.length == sgx::kToPad &&
      std::memcmp(code + row.length + row.pad_distance, row.pad.data(), sgx::kPadSize) != 0)
    return false;
  return std::memcmp(code, row.displaced.data(), row.length) == 0 && code[row.length] == 0x0f &&
         code[row.length + 1] == 0x05;
}

void release(const Batch& batch) {
  for (const uint64_t page : batch.pages) {
    for (const Slot& slot : g_patches->pages[page]) g_patches->pads.erase(slot.pad);
    g_patches->pages.erase(page);
    (void)memory_unmap(page, kPage);
  }
}

// The row's bytes are in the part [offset, offset + size) of the file that is mapped.
bool inside(const PatchRow& row, uint64_t offset, uint64_t size) {
  const auto holds = [&](uint64_t begin, uint64_t end) { return begin >= offset && end - offset <= size; };
  return holds(row.offset, row.end()) &&
         (row.length != sgx::kToPad || holds(row.pad_offset(), row.pad_offset() + sgx::kPadSize));
}

}  // namespace

void patch_code(Inode* inode, uint64_t address, uint64_t offset, uint64_t size) {
  if (inode == nullptr || !launch_record().patch_system_calls) return;
  if (inode->file_system() != root_inode()->file_system()) return;
  const auto stat = inode->stat();
  if (!stat.ok()) return;
  Patches& all = patches();
  const sgx::PatchedFile* file = all.table.find(stat->inode);
  if (file == nullptr) return;
  Batch batch;
  Patcher patcher(all, batch);
  size_t applied = 0, seen = 0;
  // Short sites first: they need certain places, the others then use what is left there.
  for (const bool is_short : {true, false}) {
    for (const PatchRow& row : file->rows) {
      if ((row.length < kJumpSize && row.length != sgx::kToPad) != is_short) continue;
      if (!inside(row, offset, size)) continue;
      const uint64_t site = address + (row.offset - offset);
      if (!as_expected(site, row)) continue;
      ++seen;
      if (patcher.place(site, row)) ++applied;
    }
  }
  if (batch.pages.empty()) return;
  patcher.finish();
  batch.owner = memory_owner(address);
  batch.begin = address;
  batch.end = address + size;
  log(LogLevel::Debug, "{} of {} system-call sites patched at {x}", applied, seen, address);
  all.batches.push_back(std::move(batch));
}

uint64_t unpatched_rip(uint64_t rip) {
  if (g_patches == nullptr) return rip;
  if (const auto pad = g_patches->pads.find(rip); pad != g_patches->pads.end()) return pad->second;
  const auto page = g_patches->pages.find(page_of(rip));
  if (page == g_patches->pages.end()) return rip;
  const size_t index = (rip - page->first) / kSlotSize;
  if (index >= page->second.size()) return rip;
  const Slot& slot = page->second[index];
  // The displaced instruction has not run yet, or only the `syscall` is left; it will trap.
  return rip == page->first + index * kSlotSize ? slot.site : slot.site + slot.length;
}

void patches_unmapped(uint64_t address, uint64_t size) {
  if (g_patches == nullptr) return;
  const uint64_t end = address + ((size + kPage - 1) & ~(kPage - 1));
  std::vector<Batch>& batches = g_patches->batches;
  for (size_t i = 0; i < batches.size();) {
    if (batches[i].begin < address || batches[i].end > end) {
      ++i;
      continue;
    }
    release(batches[i]);
    batches.erase(batches.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

uint64_t patches_end(uint64_t begin, uint64_t end) {
  uint64_t last = end;
  if (g_patches == nullptr) return last;
  for (const Batch& batch : g_patches->batches) {
    if (batch.begin < begin || batch.end > end) continue;
    for (const uint64_t page : batch.pages) last = std::max(last, page + kPage);
  }
  return last;
}

void patches_inherited(int32_t from, const std::function<int32_t(uint64_t)>& heir) {
  if (g_patches == nullptr) return;
  std::erase_if(g_patches->batches, [&](Batch& batch) {
    if (batch.owner != from) return false;
    batch.owner = heir(batch.begin);
    if (batch.owner == 0) release(batch);
    return batch.owner == 0;
  });
}

bool patches_reach_over(uint64_t begin, uint64_t end) {
  if (g_patches == nullptr) return false;
  return std::any_of(g_patches->batches.begin(), g_patches->batches.end(), [&](const Batch& batch) {
    return batch.begin < end && batch.end > begin && (batch.begin < begin || batch.end > end);
  });
}

void patches_parked(uint64_t begin, uint64_t end, int32_t owner) {
  if (g_patches == nullptr) return;
  for (Batch& batch : g_patches->batches) {
    if (batch.begin >= begin && batch.end <= end) batch.owner = owner;
  }
}

void patches_cleared(int32_t owner) {
  if (g_patches == nullptr) return;
  std::erase_if(g_patches->batches, [&](const Batch& batch) {
    if (batch.owner != owner) return false;
    release(batch);
    return true;
  });
}

}  // namespace cloister::enclave
