#include "host/hw/vdso.h"

#include <dlfcn.h>
#include <elf.h>
#include <gtest/gtest.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <random>

namespace cloister::host {
namespace {

Bytes copy_of_vdso() {
  const ByteView image = vdso_image();
  return Bytes(image.begin(), image.end());
}

// The test's own end of the world: a copy that ends at its last byte, so that a sanitizer sees every byte too
// many.
Result<VdsoSymbol> find(const Bytes& image, const char* name) { return find_vdso_symbol(Bytes(image), name); }

TEST(Vdso, FindsTheFunctionsOfThisProcess) {
  const ByteView image = vdso_image();
  ASSERT_GE(image.size(), 4096U);
  const auto symbol = find_vdso_symbol(image, "__vdso_clock_gettime");
  ASSERT_TRUE(symbol.ok()) << symbol.error().message();
  const auto function =
      reinterpret_cast<int (*)(clockid_t, timespec*)>(const_cast<uint8_t*>(image.data() + symbol->offset));
  timespec by_vdso{}, by_libc{};
  ASSERT_EQ(function(CLOCK_MONOTONIC, &by_vdso), 0);
  ASSERT_EQ(clock_gettime(CLOCK_MONOTONIC, &by_libc), 0);
  EXPECT_LE(by_libc.tv_sec - by_vdso.tv_sec, 1);
  EXPECT_GE(by_libc.tv_sec, by_vdso.tv_sec);
  EXPECT_GT(symbol->size, 0U);
}

TEST(Vdso, DoesNotFindWhatIsNotThere) {
  for (const char* name : {"__vdso_clock_gettim", "__vdso_clock_gettime2", "", "x"}) {
    const auto symbol = find_vdso_symbol(vdso_image(), name);
    ASSERT_FALSE(symbol.ok()) << name;
    EXPECT_EQ(symbol.error().code(), Code::NotFound);
  }
  EXPECT_EQ(find_vdso_symbol({}, "x").error().code(), Code::Malformed);
}

// This kernel has it or not; where not, the message says what is missing.
TEST(Vdso, SaysWhenTheKernelHasNoWayIn) {
  const auto entry = find_sgx_entry();
  if (entry.ok()) {
    EXPECT_EQ(std::memcmp(reinterpret_cast<const void*>(entry->enclu), "\x0f\x01\xd7", 3), 0);
    return;
  }
  EXPECT_EQ(entry.error().code(), Code::Unsupported);
  EXPECT_NE(entry.error().message().find("__vdso_sgx_enter_enclave"), std::string::npos);
  EXPECT_NE(entry.error().hint().find("cloister doctor"), std::string::npos);
}

// Where what every look needs ends: headers, dynamic section up to its end mark, names; and the whole of it.
struct Needed {
  size_t least = sizeof(Elf64_Ehdr), all = sizeof(Elf64_Ehdr);
};
Needed needed_by_a_look(const Bytes& image) {
  const auto at = [&](size_t offset) { return image.data() + offset; };
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(at(0));
  const auto* segments = reinterpret_cast<const Elf64_Phdr*>(at(header->e_phoff));
  Needed needed;
  needed.least = header->e_phoff + header->e_phnum * sizeof(Elf64_Phdr);
  uint64_t base = 0, names = 0, names_size = 0, symbols = 0, hash = 0;
  const Elf64_Dyn* dynamic = nullptr;
  for (int i = header->e_phnum; i-- > 0;) {
    if (segments[i].p_type == PT_LOAD) base = segments[i].p_vaddr - segments[i].p_offset;
    if (segments[i].p_type == PT_DYNAMIC)
      dynamic = reinterpret_cast<const Elf64_Dyn*>(at(segments[i].p_offset));
  }
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    if (dynamic->d_tag == DT_STRTAB) names = dynamic->d_un.d_ptr - base;
    if (dynamic->d_tag == DT_STRSZ) names_size = dynamic->d_un.d_val;
    if (dynamic->d_tag == DT_SYMTAB) symbols = dynamic->d_un.d_ptr - base;
    if (dynamic->d_tag == DT_HASH || dynamic->d_tag == DT_GNU_HASH)
      hash = std::max(hash, dynamic->d_un.d_ptr - base);
  }
  const auto dynamic_end = static_cast<size_t>(reinterpret_cast<const uint8_t*>(dynamic + 1) - at(0));
  needed.least = std::max({needed.least, dynamic_end, size_t{names + names_size}});
  // How long the tables of symbols are is what the look finds out. Linkers put them before the names;
  // anywhere else a page is enough for those of a vDSO.
  needed.all = needed.least;
  for (const uint64_t table : {symbols, hash}) {
    if (table >= names) needed.all = std::max(needed.all, size_t{table} + 4096);
  }
  return needed;
}

TEST(Vdso, RefusesEveryTruncationThatCutsWhatALookNeeds) {
  constexpr const char* kName = "__vdso_clock_gettime";
  const Bytes whole = copy_of_vdso();
  const VdsoSymbol function = find(whole, kName).value();
  Needed needed = needed_by_a_look(whole);
  needed.least = std::max(needed.least, function.offset + function.size);
  needed.all = std::max(needed.all, needed.least);
  size_t refused = 0;
  for (size_t size = 0; size <= whole.size(); ++size) {
    const auto symbol = find(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)), kName);
    if (symbol.ok()) {
      ASSERT_GE(size, needed.least) << "found in a part of what is needed";
      EXPECT_EQ(symbol->offset, function.offset);
      EXPECT_EQ(symbol->size, function.size);
      continue;
    }
    ++refused;
    ASSERT_LT(size, needed.all) << symbol.error().message();
    EXPECT_EQ(symbol.error().code(), Code::Malformed) << size;
  }
  EXPECT_GE(refused, needed.least);
}

// Each byte of the headers, of the dynamic section and of what it names, with each bit: nothing outside is
// read (the sanitizers look), and what is found lies inside.
TEST(Vdso, SurvivesDamage) {
  const Bytes whole = copy_of_vdso();
  std::mt19937 random(7);
  size_t refused = 0;
  for (int round = 0; round < 30'000; ++round) {
    Bytes image = whole;
    const size_t limit = round % 2 == 0 ? 512 : image.size();
    for (uint32_t n = random() % 4 + 1; n > 0; --n)
      image[random() % limit] = static_cast<uint8_t>(random() % 3 == 0 ? 0xff : random());
    const auto symbol = find_vdso_symbol(image, "__vdso_clock_gettime");
    if (!symbol.ok()) {
      ++refused;
      continue;
    }
    ASSERT_LT(symbol->offset, image.size());
    ASSERT_LE(symbol->size, image.size() - symbol->offset);
  }
  EXPECT_GT(refused, 1000U);
}

TEST(Vdso, TheWayInHasOneEnclu) {
  const Bytes one = {0x55, 0x90, 0x0f, 0x01, 0xd7, 0xc3};
  const auto entry = find_entry(one, 0x7000);
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(entry->function, 0x7000U);
  EXPECT_EQ(entry->enclu, 0x7002U);
  const Bytes two = {0x0f, 0x01, 0xd7, 0x0f, 0x01, 0xd7};
  EXPECT_EQ(find_entry(two, 0).error().code(), Code::Unsupported);
  EXPECT_EQ(find_entry(Bytes{0x90, 0x0f, 0x01}, 0).error().code(), Code::Unsupported);
  EXPECT_EQ(find_entry({}, 0).error().code(), Code::Unsupported);
}

}  // namespace
}  // namespace cloister::host
