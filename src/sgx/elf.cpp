#include "sgx/elf.h"

#include <elf.h>

namespace cloister::sgx {
namespace {

constexpr size_t kMaxHeaders = 1024;
constexpr size_t kMaxSymbols = 4u << 20;

template <class T>
bool read_at(ByteView bytes, uint64_t offset, T& out) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return false;
  std::memcpy(&out, bytes.data() + offset, sizeof(T));
  return true;
}

std::string string_at(ByteView table, uint64_t offset) {
  if (offset >= table.size()) return {};
  const std::string_view rest = as_text(table.subspan(offset));
  return std::string(rest.substr(0, rest.find('\0')));
}

std::string_view machine_name(uint16_t machine) {
  switch (machine) {
    case EM_386:
      return "32-bit x86";
    case EM_AARCH64:
      return "AArch64";
    case EM_ARM:
      return "32-bit ARM";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "PowerPC 64";
    case EM_S390:
      return "s390";
    default:
      return "another machine";
  }
}

Error malformed(std::string_view name, std::string_view what) {
  return Error(Code::Malformed, std::string(name) + ": " + std::string(what));
}

struct DynamicTable {
  uint64_t strings = 0, strings_size = 0;
  std::vector<uint64_t> needed;
  uint64_t rpath = 0, runpath = 0, soname = 0;
};

void read_dynamic_entry(const Elf64_Dyn& entry, DynamicTable& table, ElfFile& file) {
  switch (entry.d_tag) {
    case DT_STRTAB:
      table.strings = entry.d_un.d_ptr;
      break;
    case DT_STRSZ:
      table.strings_size = entry.d_un.d_val;
      break;
    case DT_NEEDED:
      table.needed.push_back(entry.d_un.d_val);
      break;
    case DT_RPATH:
      table.rpath = entry.d_un.d_val;
      break;
    case DT_RUNPATH:
      table.runpath = entry.d_un.d_val;
      break;
    case DT_SONAME:
      table.soname = entry.d_un.d_val;
      break;
    case DT_RELA:
      file.rela_address = entry.d_un.d_ptr;
      break;
    case DT_RELASZ:
      file.rela_size = entry.d_un.d_val;
      break;
    case DT_REL:
    case DT_JMPREL:
    case DT_TEXTREL:
    case 36 /* DT_RELR */:
      file.other_relocations = true;
      break;
    default:
      break;
  }
}

Result<void> read_dynamic(ElfFile& file, const ElfSegment& segment, std::string_view name) {
  DynamicTable table;
  for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= segment.file_size; at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry;
    if (!read_at(file.bytes, segment.offset + at, entry))
      return malformed(name, "dynamic table outside the file");
    if (entry.d_tag == DT_NULL) break;
    read_dynamic_entry(entry, table, file);
    if (table.needed.size() > kMaxHeaders) return malformed(name, "too many needed libraries");
  }
  if (table.strings == 0) return {};
  const ByteView strings = TRY(file.at_address(table.strings, table.strings_size));
  for (const uint64_t offset : table.needed) file.needed.push_back(string_at(strings, offset));
  if (table.rpath != 0) file.rpath = string_at(strings, table.rpath);
  if (table.runpath != 0) file.runpath = string_at(strings, table.runpath);
  if (table.soname != 0) file.soname = string_at(strings, table.soname);
  return {};
}

Result<void> read_segments(ElfFile& file, const Elf64_Ehdr& header, std::string_view name) {
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMaxHeaders) {
    return malformed(name, "program headers have a wrong size or number");
  }
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr raw;
    if (header.e_phoff > file.bytes.size() || !read_at(file.bytes, header.e_phoff + i * sizeof(raw), raw)) {
      return malformed(name, "program headers lie outside the file");
    }
    if (raw.p_type != PT_LOAD && raw.p_filesz == 0) continue;
    if (raw.p_offset > file.bytes.size() || raw.p_filesz > file.bytes.size() - raw.p_offset) {
      return malformed(name, "a segment lies outside the file");
    }
    if (raw.p_type == PT_LOAD && (raw.p_memsz < raw.p_filesz || raw.p_vaddr + raw.p_memsz < raw.p_vaddr)) {
      return malformed(name, "a segment has impossible sizes");
    }
    file.segments.push_back(
        {raw.p_type, raw.p_flags, raw.p_offset, raw.p_vaddr, raw.p_filesz, raw.p_memsz, raw.p_align});
  }
  return {};
}

}  // namespace

bool is_elf(ByteView bytes) {
  return bytes.size() >= SELFMAG && std::memcmp(bytes.data(), ELFMAG, SELFMAG) == 0;
}

Result<ByteView> ElfFile::at_address(uint64_t address, uint64_t size) const {
  for (const ElfSegment& segment : segments) {
    if (segment.type != PT_LOAD || address < segment.address) continue;
    const uint64_t into = address - segment.address;
    if (into <= segment.file_size && size <= segment.file_size - into) {
      return bytes.subspan(segment.offset + into, size);
    }
  }
  return Error(Code::Malformed, "ELF: address outside the file's segments");
}

Result<ElfFile> parse_elf(ByteView bytes, std::string_view name) {
  Elf64_Ehdr header;
  if (!is_elf(bytes)) return malformed(name, "not an ELF program");
  if (bytes.size() > EI_CLASS && bytes[EI_CLASS] == ELFCLASS32) {
    return Error(Code::Unsupported,
                 std::string(name) + " is a 32-bit program; Cloister runs x86-64 programs");
  }
  if (!read_at(bytes, 0, header)) return malformed(name, "ELF header ends early");
  if (header.e_machine != EM_X86_64) {
    return Error(Code::Unsupported, std::string(name) + " is built for " +
                                        std::string(machine_name(header.e_machine)) +
                                        "; Cloister runs x86-64 programs");
  }
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) return malformed(name, "not a program or library");
  ElfFile file;
  file.bytes = bytes;
  file.type = header.e_type;
  file.entry = header.e_entry;
  TRY(read_segments(file, header, name));
  for (const ElfSegment& segment : file.segments) {
    if (segment.type == PT_INTERP)
      file.interpreter = string_at(bytes.subspan(segment.offset, segment.file_size), 0);
    if (segment.type == PT_DYNAMIC) TRY(read_dynamic(file, segment, name));
  }
  return file;
}

std::vector<ElfSection> ElfFile::sections() const {
  std::vector<ElfSection> out;
  Elf64_Ehdr header;
  if (!read_at(bytes, 0, header) || header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shnum > 4096)
    return out;
  std::vector<Elf64_Shdr> raw(header.e_shnum);
  for (size_t i = 0; i < raw.size(); ++i) {
    if (header.e_shoff > bytes.size() || !read_at(bytes, header.e_shoff + i * sizeof(Elf64_Shdr), raw[i]))
      return {};
    const bool in_file = raw[i].sh_type == SHT_NOBITS || (raw[i].sh_offset <= bytes.size() &&
                                                          raw[i].sh_size <= bytes.size() - raw[i].sh_offset);
    if (!in_file) return {};
  }
  ByteView names;
  if (header.e_shstrndx < raw.size() && raw[header.e_shstrndx].sh_type == SHT_STRTAB) {
    names = bytes.subspan(raw[header.e_shstrndx].sh_offset, raw[header.e_shstrndx].sh_size);
  }
  for (const Elf64_Shdr& section : raw) {
    out.push_back({string_at(names, section.sh_name), section.sh_type, section.sh_flags, section.sh_addr,
                   section.sh_offset, section.sh_size});
  }
  return out;
}

std::vector<ElfSymbol> ElfFile::symbols(const std::vector<ElfSection>& all) const {
  std::vector<ElfSymbol> out;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].type != SHT_SYMTAB && all[i].type != SHT_DYNSYM) continue;
    const std::string_view wanted = all[i].type == SHT_SYMTAB ? ".strtab" : ".dynstr";
    ByteView strings;
    for (const ElfSection& section : all) {
      if (section.name == wanted && section.type == SHT_STRTAB)
        strings = bytes.subspan(section.offset, section.size);
    }
    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= all[i].size && out.size() < kMaxSymbols;
         at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol;
      if (!read_at(bytes, all[i].offset + at, symbol)) break;
      if (symbol.st_value != 0)
        out.push_back({string_at(strings, symbol.st_name), symbol.st_value, symbol.st_size});
    }
  }
  return out;
}

}  // namespace cloister::sgx
