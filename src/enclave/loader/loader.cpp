// See loader.h. Every number of the file is checked before it is used; the file is measured, but another
// volume's program can be started too.
#include "enclave/loader/loader.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "crypto/random.h"
#include "enclave/arch/boot.h"
#include "enclave/arch/user_copy.h"
#include "enclave/loader/patcher.h"
#include "enclave/memory/manager.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kProgramBase = 0x100000000;  // of position-independent programs
constexpr uint64_t kProgramSpread = 0x40000000;
constexpr size_t kMaxHeaders = 128;
constexpr size_t kMaxArguments = size_t{8} << 20;  // bytes of all strings

constexpr uint64_t down(uint64_t value) { return value & ~(kPage - 1); }
constexpr uint64_t up(uint64_t value) { return (value + kPage - 1) & ~(kPage - 1); }

struct Loaded {
  uint64_t base = 0, entry = 0, headers = 0, begin = 0, end = 0;
  uint16_t header_count = 0;
  bool executable_stack = false;
  std::string interpreter;
};

SysResult<void> read_all(ProgramSource& source, uint64_t offset, MutableByteView out) {
  while (!out.empty()) {
    const size_t count = TRY(source.read(offset, out));
    if (count == 0) return Errno::NoExec;
    offset += count;
    out = out.subspan(count);
  }
  return {};
}

uint32_t protection_of(uint32_t flags) {
  uint32_t protection = 0;
  if ((flags & PF_R) != 0) protection |= kProtRead;
  if ((flags & PF_W) != 0) protection |= kProtWrite;
  if ((flags & PF_X) != 0) protection |= kProtExecute;
  return protection;
}

SysResult<void> map_segment(ProgramSource& source, const Elf64_Phdr& header, uint64_t base,
                            const ProgramImage& image, std::string_view name) {
  const uint64_t begin = down(base + header.p_vaddr);
  const uint64_t file_end = base + header.p_vaddr + header.p_filesz;
  const uint64_t end = up(base + header.p_vaddr + header.p_memsz);
  if (begin == end) return {};
  AreaInfo info;
  info.protection = kProtRead | kProtWrite;
  info.file = true;
  info.agent = image.agent;
  info.owner = image.owner;
  info.name = name;
  info.file_offset = down(header.p_offset);
  (void)TRY(memory_map(begin, end - begin, info, false, true));
  const uint64_t lead = base + header.p_vaddr - begin;
  const uint64_t from = header.p_offset >= lead ? header.p_offset - lead : header.p_offset;
  uint8_t* to = reinterpret_cast<uint8_t*>(header.p_offset >= lead ? begin : begin + lead);
  const uint64_t size = file_end - reinterpret_cast<uint64_t>(to);
  TRY(read_all(source, from, {to, size}));
  if ((header.p_flags & PF_X) != 0) patch_code(source.inode(), reinterpret_cast<uint64_t>(to), from, size);
  // Linux maps whole pages of the file: what follows a read-only segment stays, before bss it is zero.
  return memory_protect(begin, end - begin, protection_of(header.p_flags));
}

bool header_ok(const Elf64_Phdr& h, uint64_t span_limit) {
  return h.p_filesz <= h.p_memsz && h.p_memsz < span_limit && h.p_vaddr < span_limit &&
         h.p_vaddr + h.p_memsz < span_limit && h.p_offset < (uint64_t{1} << 40) &&
         h.p_offset % kPage == h.p_vaddr % kPage;
}

SysResult<std::vector<Elf64_Phdr>> read_headers(ProgramSource& source, Elf64_Ehdr& elf, std::string& why) {
  const auto bad = [&](const char* text) {
    why = text;
    return Errno::NoExec;
  };
  if (!read_all(source, 0, {reinterpret_cast<uint8_t*>(&elf), sizeof(elf)}).ok() ||
      std::memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) {
    return bad("not an ELF program");
  }
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_ident[EI_DATA] != ELFDATA2LSB ||
      elf.e_machine != EM_X86_64) {
    return bad("a program for another machine");
  }
  if (elf.e_type != ET_EXEC && elf.e_type != ET_DYN) return bad("neither a program nor a library");
  if (elf.e_phentsize != sizeof(Elf64_Phdr) || elf.e_phnum == 0 || elf.e_phnum > kMaxHeaders) {
    return bad("malformed program headers");
  }
  std::vector<Elf64_Phdr> headers(elf.e_phnum);
  TRY(read_all(source, elf.e_phoff,
               {reinterpret_cast<uint8_t*>(headers.data()), headers.size() * sizeof(Elf64_Phdr)}));
  return headers;
}

SysResult<std::string> read_interpreter(ProgramSource& source, const Elf64_Phdr& h) {
  if (h.p_filesz < 2 || h.p_filesz > 4096) return Errno::NoExec;
  std::string path(h.p_filesz, '\0');
  TRY(read_all(source, h.p_offset, {reinterpret_cast<uint8_t*>(path.data()), path.size()}));
  if (path.back() != 0) return Errno::NoExec;
  path.resize(std::strlen(path.c_str()));
  return path;
}

// A place for a position-independent file of this span.
SysResult<uint64_t> choose_base(uint64_t span, bool interpreter) {
  constexpr int kTries = 64;  // the agent may lie where the program was to go
  AreaInfo reserve;
  for (int i = 0; !interpreter && i < kTries; ++i) {
    uint64_t random = 0;
    crypto::random_bytes({reinterpret_cast<uint8_t*>(&random), sizeof(random)});
    const auto base = memory_map(kProgramBase + down(random % kProgramSpread), span, reserve, false, true);
    if (!base.ok()) continue;
    TRY(memory_unmap(base.value(), span));
    return base.value();
  }
  const uint64_t base = TRY(memory_map(0, span, reserve));
  TRY(memory_unmap(base, span));
  return base;
}

SysResult<Loaded> map_file(ProgramSource& source, const ProgramImage& image, std::string_view name,
                           bool interpreter, std::string& why) {
  Elf64_Ehdr elf{};
  const std::vector<Elf64_Phdr> headers = TRY(read_headers(source, elf, why));
  const uint64_t limit = boot_info().user_end;
  uint64_t low = ~uint64_t{0}, high = 0;
  Loaded loaded;
  for (const Elf64_Phdr& h : headers) {
    if (h.p_type == PT_INTERP && !interpreter) loaded.interpreter = TRY(read_interpreter(source, h));
    // Nested functions of C and internal procedures of Fortran run code there.
    if (h.p_type == PT_GNU_STACK) loaded.executable_stack = (h.p_flags & PF_X) != 0;
    if (h.p_type != PT_LOAD) continue;
    if (!header_ok(h, limit)) {
      why = "a segment is out of bounds";
      return Errno::NoExec;
    }
    low = std::min(low, down(h.p_vaddr));
    high = std::max(high, up(h.p_vaddr + h.p_memsz));
  }
  if (low >= high) {
    why = "nothing to load";
    return Errno::NoExec;
  }
  if (elf.e_type == ET_DYN) loaded.base = TRY(choose_base(high - low, interpreter)) - low;
  if (loaded.base + low < boot_info().user_begin || loaded.base + high > limit) {
    why = "its fixed addresses do not fit into an enclave";
    return Errno::NoExec;
  }
  for (const Elf64_Phdr& h : headers) {
    if (h.p_type != PT_LOAD) continue;
    if (auto mapped = map_segment(source, h, loaded.base, image, name); !mapped.ok()) {
      why = "a segment cannot be mapped";
      return mapped.error();
    }
    if (elf.e_phoff >= h.p_offset && elf.e_phoff - h.p_offset < h.p_filesz) {
      loaded.headers = loaded.base + h.p_vaddr + (elf.e_phoff - h.p_offset);
    }
  }
  loaded.entry = loaded.base + elf.e_entry;
  loaded.header_count = elf.e_phnum;
  loaded.begin = loaded.base + low;
  loaded.end = loaded.base + high;
  return loaded;
}

// Writes downwards from the top of a fresh stack.
class StackWriter {
 public:
  explicit StackWriter(uint64_t top, uint64_t low) : at_(top), low_(low) {}
  SysResult<uint64_t> put(const void* data, size_t size) {
    if (size > at_ - low_) return Errno::TooBig;
    at_ -= size;
    TRY(copy_to_user(at_, data, size));
    return at_;
  }
  SysResult<uint64_t> put_string(const std::string& text) { return put(text.c_str(), text.size() + 1); }
  void align(uint64_t step) { at_ &= ~(step - 1); }
  uint64_t at() const { return at_; }

 private:
  uint64_t at_, low_;
};

SysResult<std::vector<uint64_t>> put_strings(StackWriter& stack, std::span<const std::string> list) {
  std::vector<uint64_t> addresses(list.size());
  for (size_t i = list.size(); i > 0; --i) addresses[i - 1] = TRY(stack.put_string(list[i - 1]));
  return addresses;
}

SysResult<uint64_t> build_stack(const ProgramImage& image, const Loaded& program, uint64_t interpreter_base,
                                std::vector<uint64_t>& said) {
  size_t bytes = 0;
  for (const auto list : {image.arguments, image.environment}) {
    for (const std::string& text : list) bytes += text.size() + 9;
  }
  const uint64_t size = up(image.stack_size);
  if (bytes > kMaxArguments || bytes > size / 2) return Errno::TooBig;
  AreaInfo info;
  info.protection = kProtRead | kProtWrite | (program.executable_stack ? kProtExecute : 0);
  info.lazy = true;
  info.agent = image.agent;
  info.owner = image.owner;
  info.name = kStackName;
  const uint64_t low = TRY(memory_map(0, size, info));
  StackWriter stack(low + size, low);
  uint8_t random[16];
  crypto::random_bytes(random);
  const uint64_t path = TRY(stack.put_string(image.path));
  const uint64_t platform = TRY(stack.put("x86_64", 7));
  const std::vector<uint64_t> environment = TRY(put_strings(stack, image.environment));
  const std::vector<uint64_t> arguments = TRY(put_strings(stack, image.arguments));
  stack.align(16);
  const uint64_t random_at = TRY(stack.put(random, sizeof(random)));
  std::vector<uint64_t> words;
  words.push_back(arguments.size());
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.push_back(0);
  words.insert(words.end(), environment.begin(), environment.end());
  words.push_back(0);
  // HWCAP2 bit 1 says that the program may use FSGSBASE: FS is its own, GS is the kernel's.
  const uint64_t auxiliary[][2] = {{AT_PHDR, program.headers},
                                   {AT_PHENT, sizeof(Elf64_Phdr)},
                                   {AT_PHNUM, program.header_count},
                                   {AT_PAGESZ, kPage},
                                   {AT_BASE, interpreter_base},
                                   {AT_FLAGS, 0},
                                   {AT_ENTRY, program.entry},
                                   {AT_UID, 0},
                                   {AT_EUID, 0},
                                   {AT_GID, 0},
                                   {AT_EGID, 0},
                                   {AT_SECURE, 0},
                                   {AT_CLKTCK, 100},
                                   {AT_HWCAP, 0},
                                   {AT_RANDOM, random_at},
                                   {AT_PLATFORM, platform},
                                   {AT_EXECFN, path},
                                   {AT_NULL, 0}};
  for (const auto& entry : auxiliary) said.insert(said.end(), {entry[0], entry[1]});
  words.insert(words.end(), said.begin(), said.end());
  if (words.size() % 2 != 0) {
    // The stack pointer at entry is 16-byte aligned (ABI 3.4.1).
    stack.align(16);
    TRY(stack.put("\0\0\0\0\0\0\0", 8));
  }
  return stack.put(words.data(), words.size() * sizeof(uint64_t));
}

SysResult<std::unique_ptr<ProgramSource>> find_interpreter(const ProgramImage& image, const std::string& path,
                                                           std::string& why) {
  auto source = image.open_interpreter(path);
  if (!source.ok()) why = "its interpreter " + path + " is not in the image";
  return source;
}

}  // namespace

SysResult<void> check_program(const ProgramImage& image, std::string& why) {
  Elf64_Ehdr elf{};
  for (const Elf64_Phdr& header : TRY(read_headers(*image.program, elf, why))) {
    if (header.p_type != PT_INTERP) continue;
    const std::string path = TRY(read_interpreter(*image.program, header));
    const auto interpreter = TRY(find_interpreter(image, path, why));
    TRY(read_headers(*interpreter, elf, why));
    return {};
  }
  return {};
}

SysResult<UserEntry> load_program(const ProgramImage& image, std::string& why) {
  const Loaded program = TRY(map_file(*image.program, image, image.path, false, why));
  UserEntry entry{program.entry, 0, {}};
  uint64_t interpreter_base = 0;
  if (!program.interpreter.empty()) {
    const auto source = TRY(find_interpreter(image, program.interpreter, why));
    const Loaded interpreter = TRY(map_file(*source, image, program.interpreter, true, why));
    interpreter_base = interpreter.base;
    entry.rip = interpreter.entry;
  }
  if (!image.agent) memory_set_break_start(image.owner, patches_end(program.begin, program.end));
  auto stack = build_stack(image, program, interpreter_base, entry.auxiliary);
  if (!stack.ok()) {
    why = "arguments and environment do not fit on its stack";
    return stack.error();
  }
  entry.rsp = stack.value();
  return entry;
}

}  // namespace cloister::enclave
