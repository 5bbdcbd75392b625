// Reading ELF files for x86-64: only what image building needs, every offset checked. Not for running
// anything.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace cloister::sgx {

struct ElfSegment {
  uint32_t type;   // PT_…
  uint32_t flags;  // PF_X 1, PF_W 2, PF_R 4
  uint64_t offset, address, file_size, memory_size, alignment;
};

struct ElfSection {
  std::string name;
  uint32_t type;
  uint64_t flags, address, offset, size;
};

struct ElfSymbol {
  std::string name;
  uint64_t address, size;
};

struct ElfFile {
  ByteView bytes;
  uint16_t type = 0;  // ET_EXEC 2, ET_DYN 3
  uint64_t entry = 0;
  std::vector<ElfSegment> segments;
  std::string interpreter;          // PT_INTERP
  std::vector<std::string> needed;  // DT_NEEDED
  std::string rpath, runpath, soname;
  uint64_t rela_address = 0, rela_size = 0;  // DT_RELA
  bool other_relocations = false;            // DT_REL, DT_RELR, DT_JMPREL, DT_TEXTREL

  // Bytes of the file at a virtual address; Malformed when no segment's file part holds all of them.
  Result<ByteView> at_address(uint64_t address, uint64_t size) const;
  std::vector<ElfSection> sections() const;  // empty when stripped of headers or malformed
  // .symtab and .dynsym functions and marks; `all` are the file's sections().
  std::vector<ElfSymbol> symbols(const std::vector<ElfSection>& all) const;
};

bool is_elf(ByteView bytes);
// `bytes` must outlive the result. Unsupported for another machine (named) or class, Malformed otherwise.
Result<ElfFile> parse_elf(ByteView bytes, std::string_view name);

}  // namespace cloister::sgx
