#include "sgx/patch_table.h"

#include <gtest/gtest.h>

namespace cloister::sgx {
namespace {

PatchRow row(uint64_t offset, uint8_t length = 5) {
  PatchRow out{offset, length, {}};
  for (uint8_t i = 0; i < length && i < kMaxDisplaced; ++i) out.displaced[i] = static_cast<uint8_t>(0xb8 + i);
  return out;
}

PatchRow to_pad(uint64_t offset, int8_t distance) {
  PatchRow out = row(offset, kToPad);
  out.pad_distance = distance;
  out.pad = {0x0f, 0x1f, 0x84, 0, 0};
  return out;
}

PatchTable example() {
  PatchTable table;
  table.files.push_back({3, {row(0x1000), row(0x1007, 3), row(0x2000, 15)}});
  table.files.push_back({9, {row(0x40, 4), to_pad(0x60, 20), to_pad(0x80, -20)}});
  return table;
}

TEST(PatchTable, WhatIsEncodedIsDecoded) {
  const Bytes bytes = encode_patch_table(example()).value();
  EXPECT_EQ(decode_patch_table(bytes).value(), example());
  EXPECT_EQ(decode_patch_table(encode_patch_table({}).value()).value(), PatchTable{});
}

TEST(PatchTable, FindsFilesByInode) {
  const PatchTable table = example();
  ASSERT_NE(table.find(9), nullptr);
  EXPECT_EQ(table.find(9)->rows.size(), 3u);
  EXPECT_EQ(table.find(4), nullptr);
  EXPECT_EQ(table.find(10), nullptr);
}

TEST(PatchTable, RefusesToEncodeDisorder) {
  const auto refuses = [](const PatchTable& table) { return !encode_patch_table(table).ok(); };
  PatchTable table = example();
  std::swap(table.files[0], table.files[1]);
  EXPECT_TRUE(refuses(table));
  table = example();
  table.files[0].rows[1].offset = 0x1006;  // inside the `syscall` of the first
  EXPECT_TRUE(refuses(table));
  table = example();
  table.files[1].rows.clear();
  EXPECT_TRUE(refuses(table));
  table = example();
  table.files[1].rows[0].length = 1;
  EXPECT_TRUE(refuses(table));
  table = example();
  table.files[1].rows[1].pad_distance = 0x20;  // over the next site
  EXPECT_TRUE(refuses(table));
  table.files[1].rows[1].pad_distance = 1;  // over its own `syscall`
  EXPECT_TRUE(refuses(table));
  table.files[1].rows[1].pad_distance = 14;  // over the other's pad
  EXPECT_TRUE(refuses(table));
  table = example();
  table.files[1].rows.insert(table.files[1].rows.begin(), to_pad(2, -100));  // before the file
  EXPECT_TRUE(refuses(table));
}

TEST(PatchTable, RefusesEveryTruncation) {
  const Bytes bytes = encode_patch_table(example()).value();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_patch_table(ByteView(bytes).first(size)).ok()) << size;
  }
}

TEST(PatchTable, RefusesBytesBehindItAndCountsThatDoNotFit) {
  Bytes bytes = encode_patch_table(example()).value();
  bytes.push_back(0);
  EXPECT_FALSE(decode_patch_table(bytes).ok());
  bytes = encode_patch_table(example()).value();
  store_le(bytes.data() + 12, uint32_t{0xffffffff});
  EXPECT_FALSE(decode_patch_table(bytes).ok());
  bytes = encode_patch_table(example()).value();
  store_le(bytes.data() + 24, uint32_t{0xffffffff});
  EXPECT_FALSE(decode_patch_table(bytes).ok());
}

}  // namespace
}  // namespace cloister::sgx
