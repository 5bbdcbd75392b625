// For tests: what every ELF file of ours begins with.
#pragma once

#include <elf.h>

#include <cstring>

namespace cloister::sgx {

// Of a static position-independent program for x86-64 whose `segments` program headers follow at once.
inline Elf64_Ehdr elf_header(uint16_t segments) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_DYN;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = segments;
  return header;
}

}  // namespace cloister::sgx
