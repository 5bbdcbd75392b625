// See code_map.h. .eh_frame: Linux Standard Base Core 5.0, 10.6; pointer encodings: 10.5.1.
#include "sgx/code_map.h"

#include <elf.h>

#include <algorithm>
#include <map>

namespace cloister::sgx {
namespace {

constexpr size_t kMaxFunctions = 4u << 20;
constexpr uint8_t kPcRelative = 0x10;

// How a CIE's FDEs are written.
struct UnwindFormat {
  uint8_t encoding = 0;       // of the code addresses
  bool signal_frame = false;  // its FDEs begin one byte early, for unwinders that look one byte back
};

Result<uint64_t> read_uleb(ByteReader& in) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const uint8_t byte = TRY(in.le<uint8_t>());
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return Error(Code::Malformed, "unwind table: a number without end");
}

template <class Int>
Result<uint64_t> widened(Result<Int> value, unsigned sign_bits = 0) {
  if (!value.ok()) return value.error();
  if (sign_bits == 0) return uint64_t{*value};
  const unsigned shift = 64 - sign_bits;
  return static_cast<uint64_t>(static_cast<int64_t>(uint64_t{*value} << shift) >> shift);
}

// The plain value of an encoded pointer; sign-extended where the encoding says so.
Result<uint64_t> read_encoded(ByteReader& in, uint8_t encoding) {
  switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c:
      return in.le<uint64_t>();
    case 0x02:
      return widened(in.le<uint16_t>());
    case 0x03:
      return widened(in.le<uint32_t>());
    case 0x0a:
      return widened(in.le<uint16_t>(), 16);
    case 0x0b:
      return widened(in.le<uint32_t>(), 32);
    case 0x01:
      return read_uleb(in);
    default:
      return Error(Code::Unsupported, "unwind table: pointer encoding");
  }
}

Result<UnwindFormat> read_cie(ByteReader in) {
  UnwindFormat format;
  TRY(in.le<uint8_t>());  // version
  std::string augmentation;
  for (uint8_t c = TRY(in.le<uint8_t>()); c != 0; c = TRY(in.le<uint8_t>()))
    augmentation += static_cast<char>(c);
  if (augmentation.empty()) return format;
  if (augmentation[0] != 'z') return Error(Code::Unsupported, "unwind table: augmentation");
  TRY(read_uleb(in));  // code alignment
  TRY(read_uleb(in));  // data alignment: signed, but as long
  TRY(read_uleb(in));  // return address register
  TRY(read_uleb(in));  // size of what follows
  for (const char c : augmentation.substr(1)) {
    if (c == 'R') {
      format.encoding = TRY(in.le<uint8_t>());
    } else if (c == 'L') {
      TRY(in.le<uint8_t>());
    } else if (c == 'P') {
      const uint8_t encoding = TRY(in.le<uint8_t>());
      TRY(read_encoded(in, encoding));
    } else if (c == 'S') {
      format.signal_frame = true;
    } else if (c != 'B') {
      return Error(Code::Unsupported, "unwind table: augmentation");
    }
  }
  return format;
}

Result<CodeRange> read_fde(ByteReader in, const UnwindFormat& format, uint64_t address) {
  uint64_t begin = TRY(read_encoded(in, format.encoding));
  if ((format.encoding & 0x70) == kPcRelative) {
    begin += address;
  } else if ((format.encoding & 0x70) != 0) {
    return Error(Code::Unsupported, "unwind table: relative to something else");
  }
  const uint64_t size = TRY(read_encoded(in, format.encoding & 0x0f));
  if (begin + size < begin) return Error(Code::Malformed, "unwind table: a function without end");
  if (format.signal_frame && size != 0) return CodeRange{begin + 1, begin + size};
  return CodeRange{begin, begin + size};
}

void add_regions(const ElfFile& file, const std::vector<ElfSection>& sections, CodeMap& map) {
  constexpr uint32_t kExecutable = 1;
  const auto add = [&](uint64_t address, uint64_t offset, uint64_t size) {
    if (size != 0) map.regions.push_back({address, offset, file.bytes.subspan(offset, size)});
  };
  // Sections are narrower than segments, which may hold headers and constants, too.
  for (const ElfSection& section : sections) {
    if (section.type != SHT_PROGBITS || (section.flags & SHF_EXECINSTR) == 0) continue;
    for (const ElfSegment& segment : file.segments) {
      const bool inside = segment.type == PT_LOAD && (segment.flags & kExecutable) != 0 &&
                          section.offset >= segment.offset &&
                          section.offset - segment.offset <= segment.file_size &&
                          section.size <= segment.file_size - (section.offset - segment.offset) &&
                          section.address - segment.address == section.offset - segment.offset;
      if (inside) add(section.address, section.offset, section.size);
    }
  }
  if (map.regions.empty()) {
    for (const ElfSegment& segment : file.segments) {
      if (segment.type == PT_LOAD && (segment.flags & kExecutable) != 0) {
        add(segment.address, segment.offset, segment.file_size);
      }
    }
  }
  std::sort(map.regions.begin(), map.regions.end(),
            [](const CodeRegion& a, const CodeRegion& b) { return a.address < b.address; });
  // Overlapping regions would be decoded twice, perhaps differently.
  const auto overlap = std::adjacent_find(
      map.regions.begin(), map.regions.end(),
      [](const CodeRegion& a, const CodeRegion& b) { return b.address - a.address < a.bytes.size(); });
  if (overlap != map.regions.end()) map.regions.clear();
}

bool in_code(const CodeMap& map, uint64_t address) {
  return std::any_of(map.regions.begin(), map.regions.end(), [&](const CodeRegion& region) {
    return address >= region.address && address - region.address < region.bytes.size();
  });
}

}  // namespace

std::vector<CodeRange> read_unwind_table(ByteView section, uint64_t address) {
  std::vector<CodeRange> out;
  std::map<uint64_t, UnwindFormat> formats;  // by the CIE's offset
  uint64_t at = 0;
  while (section.size() - at >= 8 && out.size() < kMaxFunctions) {
    const uint32_t length = load_le<uint32_t>(section.data() + at);
    // 0 ends the table; the 64-bit form is for entries that no file here has.
    if (length < 4 || length > section.size() - at - 4) break;
    const uint32_t id = load_le<uint32_t>(section.data() + at + 4);
    const ByteReader body(section.subspan(at + 8, length - 4), "unwind table");
    if (id == 0) {
      if (auto format = read_cie(body); format.ok()) formats[at] = *format;
    } else if (id <= at + 4) {
      const auto format = formats.find(at + 4 - id);
      if (format != formats.end()) {
        const auto range = read_fde(body, format->second, address + at + 8);
        if (range.ok() && range->begin < range->end) out.push_back(*range);
      }
    }
    at += 4 + uint64_t{length};
  }
  return out;
}

CodeMap map_code(const ElfFile& file) {
  CodeMap map;
  const std::vector<ElfSection> sections = file.sections();
  add_regions(file, sections, map);
  if (map.regions.empty()) return map;
  for (const ElfSection& section : sections) {
    if (section.name != ".eh_frame" || section.type == SHT_NOBITS) continue;
    map.functions = read_unwind_table(file.bytes.subspan(section.offset, section.size), section.address);
  }
  for (const ElfSymbol& symbol : file.symbols(sections)) {
    if (!in_code(map, symbol.address)) continue;
    map.starts.push_back(symbol.address);
    if (symbol.size != 0 && symbol.address + symbol.size > symbol.address) {
      map.functions.push_back({symbol.address, symbol.address + symbol.size});
    }
  }
  std::erase_if(map.functions, [&](const CodeRange& range) { return !in_code(map, range.begin); });
  if (in_code(map, file.entry)) map.starts.push_back(file.entry);
  for (const CodeRange& range : map.functions) map.starts.push_back(range.begin);
  std::sort(map.starts.begin(), map.starts.end());
  map.starts.erase(std::unique(map.starts.begin(), map.starts.end()), map.starts.end());
  std::sort(map.functions.begin(), map.functions.end(), [](const CodeRange& a, const CodeRange& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  return map;
}

}  // namespace cloister::sgx
