// The scanner on code written for it, and on the C libraries of this machine.
#include "sgx/patch_scan.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "sgx/code_map.h"
#include "sgx/elf_test_support.h"

namespace cloister::sgx {
namespace {

constexpr uint64_t kCodeOffset = 0x1000;
constexpr uint64_t kCodeAddress = 0x401000;

// An ELF program of one executable segment and no sections, entered at `entry` bytes into it.
Bytes program(ByteView code, uint64_t entry = 0) {
  Bytes file(kCodeOffset + code.size());
  Elf64_Ehdr header = elf_header(1);
  header.e_type = ET_EXEC;
  header.e_entry = kCodeAddress + entry;
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_flags = PF_R | PF_X;
  segment.p_offset = kCodeOffset;
  segment.p_vaddr = kCodeAddress;
  segment.p_filesz = segment.p_memsz = code.size();
  std::memcpy(file.data(), &header, sizeof(header));
  std::memcpy(file.data() + sizeof(header), &segment, sizeof(segment));
  std::memcpy(file.data() + kCodeOffset, code.data(), code.size());
  return file;
}

PatchScan scan(std::string_view hex, uint64_t entry = 0) {
  const Bytes code = from_hex(hex).value();
  const Bytes file = program(code, entry);
  return scan_for_patches(parse_elf(file, "test").value());
}

TEST(PatchScan, FindsANumberLoadedIntoEax) {
  const PatchScan found = scan(
      "31ff"
      "b827000000"
      "0f05"
      "c3");
  ASSERT_EQ(found.rows.size(), 1u);
  EXPECT_EQ(found.rows[0].offset, kCodeOffset + 2);
  EXPECT_EQ(found.rows[0].length, 5);
  EXPECT_EQ(to_hex(ByteView(found.rows[0].displaced).first(6)), "b82700000000");
}

TEST(PatchScan, FindsThreeAndFourByteInstructions) {
  EXPECT_EQ(scan("4c89c0"
                 "0f05"
                 "c3")
                .rows.at(0)
                .length,
            3);
  EXPECT_EQ(scan("488b4610"
                 "0f05"
                 "c3")
                .rows.at(0)
                .length,
            4);
}

TEST(PatchScan, LeavesOutWhatIsTooShort) {
  const PatchScan found = scan(
      "90"
      "89d0"
      "0f05"
      "c3");
  EXPECT_TRUE(found.rows.empty());
  EXPECT_EQ(found.too_short, 1u);
}

TEST(PatchScan, LeavesOutASystemCallThatNothingPrecedes) {
  const PatchScan found = scan(
      "0f05"
      "c3");
  EXPECT_TRUE(found.rows.empty());
  EXPECT_EQ(found.sites, 1u);
}

TEST(PatchScan, LeavesOutInstructionsThatNameTheirPlace) {
  for (const char* code : {"488b0500010000"
                           "0f05"
                           "c3",  // mov 256(%rip), %rax
                           "e800000000"
                           "0f05"
                           "c3",  // call
                           "0f8400000000"
                           "0f05"
                           "c3",                            // je
                           "6548a118000000000000000f05c3",  // movabs %gs:24, %rax
                           "65488b042518000000"
                           "0f05"
                           "c3",  // mov %gs:24, %rax
                           "f0480fc108"
                           "0f05"
                           "c3",  // lock xadd
                           "660f20c0"
                           "0f05"
                           "c3",  // mov %cr0, %rax
                           "0f01f9"
                           "0f05"
                           "c3"}) {  // rdtscp
    const PatchScan found = scan(code);
    EXPECT_TRUE(found.rows.empty()) << code;
    EXPECT_EQ(found.not_movable, found.sites) << code;
  }
}

TEST(PatchScan, TakesMemoryAtTheThreadPointerAndTheStack) {
  EXPECT_EQ(scan("64488b042510000000"
                 "0f05"
                 "c3")
                .rows.size(),
            1u);  // mov %fs:16, %rax
  EXPECT_EQ(scan("488b442408"
                 "0f05"
                 "c3")
                .rows.size(),
            1u);  // mov 8(%rsp), %rax
}

TEST(PatchScan, AJumpToTheSystemCallOrToTheInstructionInFrontChangesNothing) {
  EXPECT_EQ(scan("eb05"
                 "b827000000"
                 "0f05"
                 "c3")
                .rows.size(),
            1u);
  EXPECT_EQ(scan("eb00"
                 "b827000000"
                 "0f05"
                 "c3")
                .rows.size(),
            1u);
}

// b8 0f 05 c3 90 hides a second `syscall`; a jump leads to it.
TEST(PatchScan, AJumpIntoTheInstructionInFrontLeavesTheSiteOut) {
  const PatchScan found = scan(
      "eb01"
      "b80f05c390"
      "0f05"
      "c3");
  EXPECT_TRUE(found.rows.empty());
  EXPECT_EQ(found.uncertain, 1u);
}

TEST(PatchScan, BytesInsideAnInstructionAreNoSystemCall) {
  const PatchScan found = scan(
      "b90f050000"
      "b827000000"
      "c3");
  EXPECT_EQ(found.sites, 0u);
}

// Data that ends like the begin of a long instruction swallows the code behind it, unless a start is known.
TEST(PatchScan, CodeBehindDataIsFoundWhereAStartIsKnown) {
  const std::string data(2 * 32, '0');
  const std::string code = data +
                           "48b8"
                           "4c89c0"
                           "0f05"
                           "c3909090";
  EXPECT_TRUE(scan(code).rows.empty());
  EXPECT_EQ(scan(code, 34).rows.size(), 1u);
}

// Two bytes in front of the `syscall`, and nine that align what follows the `ret`.
TEST(PatchScan, UsesAPadForTwoBytes) {
  const std::string code =
      "31c0"
      "0f05"
      "c3"
      "0f1f00"  // three bytes to the address that ends with 8: too few
      "31c0"
      "0f05"
      "c3"
      "662e0f1f840000000000"  // ten bytes, but they end nowhere
      "c3"
      "0f1f840000000000"  // eight bytes to the next 16
      "c3";
  const PatchScan found = scan(code);
  ASSERT_EQ(found.rows.size(), 1u);
  EXPECT_EQ(found.rows[0].length, kToPad);
  EXPECT_EQ(found.rows[0].pad_offset(), kCodeOffset + 24);
  EXPECT_EQ(to_hex(found.rows[0].pad), "0f1f840000");
  EXPECT_EQ(found.too_short, 1u);  // one pad serves one site
}

TEST(PatchScan, TakesNoPadThatSomebodyJumpsTo) {
  const auto rows = [](const std::string& jump) {
    return scan("31c00f05c3" + jump + "c30f1f840000000000c3").rows.size();
  };
  EXPECT_EQ(rows("eb03"), 0u);  // to the pad's third byte
  EXPECT_EQ(rows("eb09"), 1u);  // behind it
}

TEST(PatchScan, PatchesCancellationPoints) {
  EXPECT_EQ(scan("4c8b4c2410"
                 "4c895c2408"
                 "0f05"
                 "c3")
                .rows.size(),
            1u);
}

TEST(PatchScan, LeavesSignalReturnsAlone) {
  EXPECT_EQ(scan("48c7c00f000000"
                 "0f05")
                .signal_returns,
            1u);
  EXPECT_EQ(scan("b80f000000"
                 "0f05")
                .signal_returns,
            1u);
  EXPECT_EQ(scan("48c7c00e000000"
                 "0f05"
                 "c3")
                .rows.size(),
            1u);
}

TEST(PatchScan, RowsMakeAValidTable) {
  std::string code;
  for (int i = 0; i < 40; ++i) code += "31ff4889de31d2b8270000000f05";
  const PatchScan found = scan(code + "c3");
  ASSERT_EQ(found.rows.size(), 40u);
  PatchTable table;
  table.files.push_back({7, found.rows});
  EXPECT_EQ(decode_patch_table(encode_patch_table(table).value()).value(), table);
}

TEST(CodeMap, ReadsUnwindTables) {
  // A CIE "zR" with pc-relative 4-byte addresses, an FDE of it at offset 20, and the end.
  ByteWriter out;
  out.le(uint32_t{16})
      .le(uint32_t{0})
      .bytes(from_hex("017a520001781001"
                      "1b"
                      "000000")
                 .value());
  const uint64_t address = 0x2000;
  const auto relative = static_cast<uint32_t>(0x1100 - (address + out.size() + 8));
  out.le(uint32_t{20}).le(uint32_t{24}).le(relative).le(uint32_t{0x30}).zeros(8);
  out.zeros(4);
  const auto functions = read_unwind_table(out.view(), address);
  ASSERT_EQ(functions.size(), 1u);
  EXPECT_EQ(functions[0].begin, 0x1100u);
  EXPECT_EQ(functions[0].end, 0x1130u);
}

struct Library {
  const char* path;
  double share;  // of its sites that must be found
};

class RealLibraries : public testing::TestWithParam<Library> {};

TEST_P(RealLibraries, MostSitesCanBePatched) {
  const auto bytes = read_file(GetParam().path, 64 << 20);
  if (!bytes.ok())
    GTEST_SKIP() << "this machine has no " << GetParam().path << ", whose code is looked at here";
  const PatchScan found = scan_for_patches(parse_elf(*bytes, GetParam().path).value());
  std::cout << GetParam().path << ": " << found.rows.size() << " of " << found.sites << " (too short "
            << found.too_short << ", not movable " << found.not_movable << ", uncertain " << found.uncertain
            << ", signal returns " << found.signal_returns << ")\n";
  EXPECT_GT(found.sites, 0u);
  EXPECT_GE(static_cast<double>(found.rows.size()), GetParam().share * static_cast<double>(found.sites));
  for (const PatchRow& row : found.rows) {
    ASSERT_LE(row.end(), bytes->size());
    EXPECT_TRUE(std::equal(row.displaced.begin(), row.displaced.begin() + row.length,
                           bytes->begin() + static_cast<std::ptrdiff_t>(row.offset)));
    EXPECT_EQ(load_le<uint16_t>(bytes->data() + row.offset + row.length), 0x050f);
  }
}

INSTANTIATE_TEST_SUITE_P(Debian, RealLibraries,
                         testing::Values(Library{"/lib/x86_64-linux-gnu/libc.so.6", 0.9},
                                         Library{"/lib64/ld-linux-x86-64.so.2", 0.85},
                                         Library{"/usr/lib/x86_64-linux-musl/libc.so", 0.9},
                                         Library{"/bin/busybox", 0.9}),
                         [](const auto& library) {
                           std::string name = std::filesystem::path(library.param.path).stem();
                           std::erase_if(name, [](char c) { return std::isalnum(c) == 0; });
                           return name + std::to_string(library.index);
                         });

}  // namespace
}  // namespace cloister::sgx
