// What /proc says about a program's memory.
#include <algorithm>
#include <charconv>

#include "enclave/memory/family.h"
#include "enclave/memory/manager.h"

namespace cloister::enclave {
namespace {

// Of a memory that waits for its turn, too.
const Areas& areas_of(const Memory& memory) {
  const bool absent = memory.relative != nullptr && memory.relative->family->present != &memory;
  return absent ? memory.relative->areas : g_space->areas;
}

// `next`, which begins at `at`, was mapped together with `area`, as far as the program can tell.
bool one_mapping(const Area& area, uint64_t begin, const Area& next, uint64_t at) {
  return area.protection == next.protection && area.name == next.name && area.owner == next.owner &&
         area.shared == next.shared && area.file == next.file &&
         (!area.file || next.file_offset == area.file_offset + (at - begin));
}

std::string hex(uint64_t value, size_t digits) {
  char buffer[16];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, 16).ptr;
  const std::string text(buffer, end);
  return std::string(digits - std::min(digits, text.size()), '0') + text;
}

std::string line_of(uint64_t begin, uint64_t end, const Area& area) {
  std::string text = hex(begin, 8) + "-" + hex(end, 8) + " ";
  text += (area.protection & kProtRead) != 0 ? 'r' : '-';
  text += (area.protection & kProtWrite) != 0 ? 'w' : '-';
  text += (area.protection & kProtExecute) != 0 ? 'x' : '-';
  text += area.shared ? "s " : "p ";
  text += hex(area.file ? area.file_offset : 0, 8) + " 00:00 0 ";
  if (!area.name.empty()) text += "                   " + area.name;
  return text + "\n";
}

// visit(begin, end, area, bytes that are there) for each mapping. Which pages are there already is not in
// `maps`: C libraries find a thread's stack as one line.
template <class Visit>
void for_each_mapping(const Memory& memory, const Visit& visit) {
  const Areas& areas = areas_of(memory);
  for (auto it = areas.begin(); it != areas.end();) {
    const auto& [begin, area] = *it;
    uint64_t end = area.end, there = area.committed ? end - begin : 0;
    if (area.owner != memory.id) {
      ++it;
      continue;
    }
    while (++it != areas.end() && it->first == end && one_mapping(area, begin, it->second, end)) {
      if (it->second.committed) there += it->second.end - end;
      end = it->second.end;
    }
    visit(begin, end, area, there);
  }
}

// The rows of smaps: those of a mapping whose pages are all its own.
std::string amounts(uint64_t there, bool shared, bool anonymous) {
  const auto row = [](const char* name, uint64_t bytes) {
    const std::string text = std::to_string(bytes / 1024), label = std::string(name) + ":";
    return label + std::string(24 - std::min<size_t>(24, label.size() + text.size()), ' ') + text + " kB\n";
  };
  return row("Rss", there) + row("Pss", there) + row("Shared_Clean", 0) +
         row("Shared_Dirty", shared ? there : 0) + row("Private_Clean", 0) +
         row("Private_Dirty", shared ? 0 : there) + row("Referenced", there) +
         row("Anonymous", anonymous ? there : 0) + row("AnonHugePages", 0) + row("Swap", 0) +
         row("SwapPss", 0) + row("Locked", 0);
}

}  // namespace

std::string memory_describe(const Memory& memory) {
  std::string text;
  for_each_mapping(memory, [&](uint64_t begin, uint64_t end, const Area& area, uint64_t) {
    text += line_of(begin, end, area);
  });
  return text;
}

std::string memory_describe_amounts(const Memory& memory) {
  std::string text;
  for_each_mapping(memory, [&](uint64_t begin, uint64_t end, const Area& area, uint64_t there) {
    std::string size = std::to_string((end - begin) / 1024);
    size.insert(0, 19 - std::min<size_t>(19, size.size()), ' ');
    text += line_of(begin, end, area) + "Size:" + size +
            " kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n" +
            amounts(there, area.shared, !area.file) + "VmFlags:";
    if ((area.protection & kProtRead) != 0) text += " rd";
    if ((area.protection & kProtWrite) != 0) text += " wr";
    if ((area.protection & kProtExecute) != 0) text += " ex";
    if (area.shared) text += " sh";
    text += " mr mw me\n";
  });
  return text;
}

MemoryUse memory_use(const Memory& memory) {
  MemoryUse use;
  for_each_mapping(memory, [&](uint64_t begin, uint64_t end, const Area& area, uint64_t there) {
    use.mapped += end - begin;
    use.there += there;
    if (area.file || area.shared) use.of_files += there;
    if ((area.protection & kProtExecute) != 0) use.code += end - begin;
    if (area.name == "[stack]") use.stack += end - begin;
    if ((area.protection & kProtWrite) != 0 && !area.shared) use.data += end - begin;
  });
  return use;
}

}  // namespace cloister::enclave
