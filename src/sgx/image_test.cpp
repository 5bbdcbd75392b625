// The pages of a kernel: what of its file ends up where, and what is refused.
#include "sgx/image.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <functional>

#include "sgx/elf_test_support.h"

namespace cloister::sgx {
namespace {

constexpr size_t kRelaOffset = 0x200, kDynamicOffset = 0x300;

// One and a half pages of text at 0, then half a page of data at 0x2800 with two pages of zeros behind it.
// Every byte of the file that is not a header is 0xee, the relocation makes the word at 0x2810 point to 0x40.
struct TestKernel {
  Elf64_Phdr text{PT_LOAD, PF_R | PF_X, 0, 0, 0, 0x1800, 0x1800, kPageSize};
  Elf64_Phdr data{PT_LOAD, PF_R | PF_W, 0x1800, 0x2800, 0x2800, 0x800, 0x2800, kPageSize};
  Elf64_Rela relocation{0x2810, R_X86_64_RELATIVE, 0x40};

  Bytes file() const {
    Bytes out(0x2000, 0xee);
    const Elf64_Ehdr header = elf_header(3);
    const Elf64_Dyn dynamic[] = {{DT_RELA, {kRelaOffset}},
                                 {DT_RELASZ, {sizeof(relocation)}},
                                 {DT_RELAENT, {sizeof(relocation)}},
                                 {DT_NULL, {0}}};
    const Elf64_Phdr where{
        PT_DYNAMIC,      PF_R, kDynamicOffset, kDynamicOffset, kDynamicOffset, sizeof(dynamic),
        sizeof(dynamic), 8};
    put(out, 0, header);
    put(out, sizeof(header), text);
    put(out, sizeof(header) + sizeof(text), data);
    put(out, sizeof(header) + 2 * sizeof(text), where);
    put(out, kRelaOffset, relocation);
    put(out, kDynamicOffset, dynamic);
    return out;
  }

 private:
  template <typename T>
  static void put(Bytes& out, size_t at, const T& object) {
    std::memcpy(out.data() + at, &object, sizeof(object));
  }
};

Manifest manifest() {
  Manifest out;
  out.threads = 1;
  return out;
}

std::string refusal(const std::function<void(TestKernel&)>& change) {
  TestKernel kernel;
  change(kernel);
  const auto plan = plan_image(kernel.file(), manifest());
  return plan.ok() ? "accepted" : plan.error().message();
}

Bytes page(const ImagePlan& plan, uint64_t address) {
  for (const ImagePage& one : plan.pages) {
    if (one.offset == kKernelAddress + address) return Bytes(one.content, one.content + kPageSize);
  }
  return {};
}

TEST(Image, HoldsTheFilesBytesAndZerosAroundThem) {
  const TestKernel kernel;
  const Bytes file = kernel.file();
  const ImagePlan plan = plan_image(file, manifest()).value();
  Bytes second(file.begin() + 0x1000, file.begin() + 0x1800);
  second.resize(kPageSize);
  Bytes third(kPageSize);
  std::fill(third.begin() + 0x800, third.end(), uint8_t{0xee});
  store_le<uint64_t>(third.data() + 0x810, kKernelAddress + 0x40);
  EXPECT_EQ(page(plan, 0), Bytes(file.begin(), file.begin() + kPageSize));
  EXPECT_EQ(page(plan, 0x1000), second);
  EXPECT_EQ(page(plan, 0x2000), third);
  EXPECT_EQ(page(plan, 0x3000), Bytes(kPageSize));
  EXPECT_EQ(page(plan, 0x4000), Bytes(kPageSize));
  EXPECT_EQ(page(plan, 0x5000), Bytes()) << "none";
}

TEST(Image, GivesEachPageItsSegmentsPermissions) {
  const ImagePlan plan = plan_image(TestKernel().file(), manifest()).value();
  for (const ImagePage& one : plan.pages) {
    if (one.offset < kKernelAddress || one.offset >= kThreadAddress) continue;
    const uint64_t wanted =
        one.offset < kKernelAddress + 0x2000 ? kPageRead | kPageExecute : kPageRead | kPageWrite;
    EXPECT_EQ(one.secinfo_flags, wanted | kPageTypeRegular) << one.offset;
    EXPECT_TRUE(one.measured);
  }
}

TEST(Image, MeasuresWhatIsLoaded) {
  const Bytes file = TestKernel().file();
  const Measurement before = plan_image(file, manifest()).value().mrenclave;
  for (const size_t at : {size_t{0xfff}, size_t{0x17ff}, size_t{0x1fff}}) {
    Bytes changed = file;
    changed[at] ^= 1;
    EXPECT_NE(plan_image(changed, manifest()).value().mrenclave, before) << at;
  }
}

TEST(Image, RefusesKernelsThatDoNotFit) {
  EXPECT_EQ(refusal([](TestKernel&) {}), "accepted");
  EXPECT_EQ(refusal([](TestKernel& k) { k.data.p_vaddr = 0x1800; }), "kernel.elf: two segments share a page");
  EXPECT_EQ(refusal([](TestKernel& k) { k.data.p_memsz = kKernelLimit; }),
            "kernel.elf: larger than its place in the enclave");
  const std::string unwritable = "kernel.elf: a relocation of what is not writable";
  for (const uint64_t at : {0x0ull, 0x0ff8ull, 0x1800ull, 0x1ff9ull, 0x4ff9ull, 0x5000ull, ~0ull})
    EXPECT_EQ(refusal([&](TestKernel& k) { k.relocation.r_offset = at; }), unwritable) << at;
  EXPECT_EQ(refusal([](TestKernel& k) { k.relocation.r_offset = 0x4ff8; }), "accepted");
  EXPECT_EQ(refusal([](TestKernel& k) { k.relocation.r_info = R_X86_64_64; }),
            "kernel.elf: has relocations other than relative ones");
}

}  // namespace
}  // namespace cloister::sgx
