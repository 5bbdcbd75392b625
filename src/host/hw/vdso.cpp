#include "host/hw/vdso.h"

#include <elf.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

namespace cloister::host {
namespace {

constexpr uint8_t kEnclu[] = {0x0f, 0x01, 0xd7};
constexpr uint64_t kMaxFunction = 1024;  // bytes; of Linux 6 it has about 200
constexpr uint32_t kMaxHeaders = 64, kMaxSymbols = 4096;

Error malformed(const char* what) { return Error(Code::Malformed, std::string("vDSO: ") + what); }

template <class T>
std::optional<T> read(ByteView image, uint64_t offset) {
  if (offset > image.size() || image.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, image.data() + offset, sizeof(T));
  return value;
}

bool named(ByteView image, uint64_t strings, uint64_t strings_size, uint32_t name, const char* wanted) {
  const uint64_t size = std::strlen(wanted) + 1;
  if (name >= strings_size || strings_size - name < size) return false;
  return std::memcmp(image.data() + strings + name, wanted, size) == 0;
}

struct Tables {
  uint64_t strings = 0, strings_size = 0, symbols = 0, hash = 0, gnu_hash = 0;
};

// Addresses in the dynamic section are those of the file; the first loaded segment says what they are
// relative to.
Result<Tables> read_tables(ByteView image) {
  const auto header = read<Elf64_Ehdr>(image, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64)
    return malformed("not an ELF image for this machine");
  if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > kMaxHeaders)
    return malformed("program headers");
  std::optional<Elf64_Phdr> dynamic, load;
  for (uint32_t i = 0; i < header->e_phnum; ++i) {
    if (header->e_phoff > image.size()) return malformed("program headers");
    const auto entry = read<Elf64_Phdr>(image, header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!entry) return malformed("program headers");
    if (entry->p_type == PT_LOAD && !load) load = entry;
    if (entry->p_type == PT_DYNAMIC) dynamic = entry;
  }
  if (!dynamic || !load) return malformed("no dynamic section");
  const uint64_t base = load->p_vaddr - load->p_offset;
  Tables tables;
  for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic->p_filesz; at += sizeof(Elf64_Dyn)) {
    if (dynamic->p_offset > image.size()) return malformed("dynamic section");
    const auto entry = read<Elf64_Dyn>(image, dynamic->p_offset + at);
    if (!entry) return malformed("dynamic section");
    if (entry->d_tag == DT_NULL) break;
    // Some kernels have relocated the addresses in place by the time they are read; the vDSO's are never.
    const uint64_t offset = entry->d_un.d_ptr - base;
    if (entry->d_tag == DT_STRTAB) tables.strings = offset;
    if (entry->d_tag == DT_STRSZ) tables.strings_size = entry->d_un.d_val;
    if (entry->d_tag == DT_SYMTAB) tables.symbols = offset;
    if (entry->d_tag == DT_HASH) tables.hash = offset;
    if (entry->d_tag == DT_GNU_HASH) tables.gnu_hash = offset;
  }
  if (tables.strings == 0 || tables.symbols == 0) return malformed("no symbols");
  if (tables.strings > image.size() || tables.strings_size > image.size() - tables.strings)
    return malformed("names outside of the image");
  return tables;
}

// How many symbols there are is nowhere but in the hash tables. DT_HASH says it; DT_GNU_HASH only by its
// longest chain.
Result<uint32_t> count_symbols(ByteView image, const Tables& tables) {
  if (tables.hash != 0) {
    const auto count = read<uint32_t>(image, tables.hash + 4);
    if (!count) return malformed("hash table");
    return std::min(*count, kMaxSymbols);
  }
  if (tables.gnu_hash == 0) return malformed("no hash table");
  struct Header {
    uint32_t buckets, first, bloom_words, shift;
  };
  const auto header = read<Header>(image, tables.gnu_hash);
  if (!header || header->buckets > kMaxSymbols || header->bloom_words > kMaxSymbols)
    return malformed("hash table");
  const uint64_t buckets = tables.gnu_hash + sizeof(Header) + uint64_t{header->bloom_words} * 8;
  const uint64_t chains = buckets + uint64_t{header->buckets} * 4;
  uint32_t last = 0;
  for (uint32_t i = 0; i < header->buckets; ++i) {
    const auto first = read<uint32_t>(image, buckets + uint64_t{i} * 4);
    if (!first) return malformed("hash table");
    last = std::max(last, *first);
  }
  if (last < header->first) return uint32_t{0};
  for (; last < kMaxSymbols; ++last) {
    const auto link = read<uint32_t>(image, chains + uint64_t{last - header->first} * 4);
    if (!link) return malformed("hash table");
    if ((*link & 1) != 0) break;
  }
  return std::min(last + 1, kMaxSymbols);
}

}  // namespace

Result<VdsoSymbol> find_vdso_symbol(ByteView image, const char* name) {
  const Tables tables = TRY(read_tables(image));
  const uint32_t count = TRY(count_symbols(image, tables));
  const auto header = *read<Elf64_Ehdr>(image, 0);
  uint64_t base = 0;
  for (uint32_t i = 0; i < header.e_phnum; ++i) {
    const auto entry = *read<Elf64_Phdr>(image, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (entry.p_type != PT_LOAD) continue;
    base = entry.p_vaddr - entry.p_offset;
    break;
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (tables.symbols > image.size()) return malformed("symbols outside of the image");
    const auto symbol = read<Elf64_Sym>(image, tables.symbols + i * sizeof(Elf64_Sym));
    if (!symbol) return malformed("symbols outside of the image");
    if (symbol->st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC) continue;
    if (!named(image, tables.strings, tables.strings_size, symbol->st_name, name)) continue;
    const VdsoSymbol found{symbol->st_value - base, symbol->st_size};
    if (found.offset >= image.size() || found.size > image.size() - found.offset)
      return malformed("a function outside of the image");
    return found;
  }
  return Error(Code::NotFound, std::string("the vDSO has no ") + name);
}

Result<SgxEntry> find_entry(ByteView code, uint64_t address) {
  const auto first = std::search(code.begin(), code.end(), std::begin(kEnclu), std::end(kEnclu));
  const bool one = first != code.end() && std::search(first + sizeof(kEnclu), code.end(), std::begin(kEnclu),
                                                      std::end(kEnclu)) == code.end();
  if (!one)
    return Error(Code::Unsupported, "__vdso_sgx_enter_enclave is not as expected: not exactly one ENCLU",
                 "tell Cloister's authors the version of this kernel");
  return SgxEntry{address, address + static_cast<uint64_t>(first - code.begin())};
}

ByteView vdso_image() {
  const uint64_t begin = getauxval(AT_SYSINFO_EHDR);
  const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"), std::fclose);
  if (begin == 0 || maps == nullptr) return {};
  char line[512];
  while (std::fgets(line, sizeof(line), maps.get()) != nullptr) {
    uint64_t from = 0, to = 0;
    if (std::sscanf(line, "%lx-%lx", &from, &to) == 2 && from == begin && to > from)
      return {reinterpret_cast<const uint8_t*>(begin), to - from};
  }
  return {};
}

Result<SgxEntry> find_sgx_entry() {
  const ByteView image = vdso_image();
  const auto symbol = find_vdso_symbol(image, "__vdso_sgx_enter_enclave");
  if (!symbol.ok())
    return Error(Code::Unsupported, "this kernel has no way into SGX enclaves: " + symbol.error().message(),
                 "use Linux 5.11 or newer with CONFIG_X86_SGX (cloister doctor)");
  uint64_t size = std::min<uint64_t>(image.size() - symbol->offset, kMaxFunction);
  if (symbol->size != 0) size = std::min(size, symbol->size);
  const ByteView code = image.subspan(symbol->offset, size);
  return find_entry(code, reinterpret_cast<uint64_t>(image.data()) + symbol->offset);
}

}  // namespace cloister::host
