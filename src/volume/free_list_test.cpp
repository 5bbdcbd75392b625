// What one writer leaves free the next one uses, without a walk of the tree, and never what a state needs.
#include "volume/free_list.h"

#include <gtest/gtest.h>

#include <random>

#include "volume/care.h"
#include "volume/faulty_storage.h"
#include "volume/memory_storage.h"
#include "volume/second_reader.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(5);
const Keys kKeys = derive_keys(kKey, {});
constexpr Tag kTag{1};

std::vector<std::pair<uint64_t, uint64_t>> pairs(const std::vector<Extent>& extents) {
  std::vector<std::pair<uint64_t, uint64_t>> out;
  for (const Extent& extent : extents) out.emplace_back(extent.start, extent.count);
  return out;
}

TEST(FreeList, KeepsTheLongestRuns) {
  Bytes list(kFreeListSize);
  seal_free_list(kKeys, kTag, {7}, {{20, 3}, {kMaxPlace - 1, uint64_t{1} << 33}}, list.data());
  const decltype(pairs({})) both{{kMaxPlace - 1, 0xffffffff}, {20, 3}};
  EXPECT_EQ(pairs(open_free_list(kKeys, kTag, list)), both);
  std::vector<Extent> many;
  for (uint64_t i = 1; i <= 400; ++i) many.push_back({i * 1000, i});
  seal_free_list(kKeys, kTag, {8}, many, list.data());
  const std::vector<Extent> kept = open_free_list(kKeys, kTag, list);
  ASSERT_EQ(kept.size(), 367u);
  EXPECT_EQ(kept.front().count, 400u);
  EXPECT_EQ(kept.back().count, 34u);
}

TEST(FreeList, IsOfOneStateAndWholeOrNothing) {
  Bytes list(kFreeListSize);
  EXPECT_TRUE(open_free_list(kKeys, kTag, list).empty());
  seal_free_list(kKeys, kTag, {7}, {{20, 3}}, list.data());
  EXPECT_EQ(open_free_list(kKeys, kTag, list).size(), 1u);
  EXPECT_TRUE(open_free_list(kKeys, {2}, list).empty());
  EXPECT_TRUE(open_free_list(derive_keys(test_key(6), {}), kTag, list).empty());
  EXPECT_TRUE(open_free_list(kKeys, kTag, ByteView(list).first(kFreeListSize - 1)).empty());
  for (size_t at = 0; at < list.size(); at += 7) {
    list[at] ^= 1;
    EXPECT_TRUE(open_free_list(kKeys, kTag, list).empty()) << at;
    list[at] ^= 1;
  }
}

class VolumeFreeList : public ::testing::Test {
 protected:
  static constexpr int kFiles = 12'000;
  // Most of it is free.
  VolumeFreeList() {
    auto volume = Volume::create(storage, kKey, {}).value();
    for (int i = 0; i < kFiles; ++i) {
      const InodeId file = volume->create_file(kRootInode, std::to_string(i), 0644, 0, 0, {}).value();
      EXPECT_TRUE(volume->write(file, 0, Bytes(1500, 1), {}).ok());
    }
    settle(*volume);
    for (int i = 0; i < kFiles; ++i) {
      if (i % 8 == 0) continue;
      EXPECT_TRUE(volume->unlink(kRootInode, std::to_string(i), {}).ok());
    }
    settle(*volume);
  }
  void settle(Volume& volume) {
    tag = volume.commit().value();
    EXPECT_TRUE(volume.acknowledge(tag).ok());
  }
  std::unique_ptr<Volume> open(Storage& at) { return Volume::open(at, kKey, tag, {}).value(); }
  void change(Volume& volume, int i) {
    const InodeId file = volume.lookup(kRootInode, std::to_string(i * 8 % kFiles)).value();
    EXPECT_TRUE(volume.write(file, 0, Bytes(3000, static_cast<uint8_t>(i)), {}).ok());
    settle(volume);
  }
  size_t size() { return storage.content(kMainName)->size(); }
  void expect_whole() { expect_no_fault(*open(storage)); }

  MemoryStorage storage{false};
  Tag tag{};
};

TEST_F(VolumeFreeList, TheFirstChangeOfAMountCostsNoWalk) {
  ASSERT_GT(size(), 4096u * kBlockSize);
  for (int i = 0; i < 20; ++i) {
    Faults operations;
    FaultyStorage counting(storage, operations);
    change(*open(counting), i);
    ASSERT_LT(operations.count, 80u) << i;  // eight of them look at superblocks
  }
  expect_whole();
  give_to_second_reader(storage, kKey, tag, "at the end");
}

TEST_F(VolumeFreeList, ShortMountsUseWhatTheOnesBeforeFreed) {
  const size_t before = size();
  for (int i = 0; i < 300; ++i) change(*open(storage), i);
  EXPECT_EQ(size(), before);
  expect_whole();
}

// Killed writers leave no list: then free places are looked for.
TEST_F(VolumeFreeList, AWriterWithoutAListLooksForFreePlaces) {
  const size_t before = size();
  for (int i = 0; i < 20; ++i) {
    std::map<std::string, Bytes> killed;
    {
      auto volume = open(storage);
      change(*volume, i);
      killed = storage.snapshot();
    }
    storage.restore(killed);
  }
  EXPECT_EQ(size(), before);
  expect_whole();
}

// Any operation of the host fails once in a compaction, whose writer has committed before and ends in order;
// the next one uses what it left free, and is killed before its commit.
TEST_F(VolumeFreeList, ACompactionThatFailsLeavesNoPlaceFreeThatItsStateNeeds) {
  const auto files = storage.snapshot();
  const Tag before = tag;
  bool whole = false;
  uint64_t nth = 1;
  for (; !whole && !HasFailure(); nth += 1 + nth / 8) {
    SCOPED_TRACE("operation " + std::to_string(nth));
    storage.restore(files);
    tag = before;
    Faults faults;
    FaultyStorage faulty(storage, faults);
    {
      const auto volume = Volume::open(faulty, kKey, tag, {.cache_size = 1u << 20}).value();
      change(*volume, 0);
      faults.fail_at = faults.count + nth;
      const auto publish = [&](const Tag& published) -> Result<void> {
        tag = published;
        return {};
      };
      whole = compact(*volume, publish).ok();
    }
    storage.unlock();
    const Bytes left = *storage.content(kMainName);
    {
      const auto volume = open(storage);
      for (int i = 0; i < 40; ++i) {
        const InodeId file = volume->lookup(kRootInode, std::to_string(i * 8)).value();
        EXPECT_TRUE(volume->write(file, 0, Bytes(40'000, 7), {}).ok());
      }
      ASSERT_TRUE(volume->commit().ok());
    }
    storage.unlock();
    // Its superblock, which names what it wrote, is not there.
    std::copy_n(left.begin(), kFirstBlock * kBlockSize, storage.content(kMainName)->begin());
    expect_whole();
  }
  EXPECT_GT(nth, 100u);
}

// The state before may still be the one that the service names.
TEST_F(VolumeFreeList, AnOrderlyEndKeepsTheAcknowledgedState) {
  std::mt19937 random(3);
  for (int i = 0; i < 30; ++i) {
    const Tag acknowledged = tag;
    {
      auto volume = open(storage);
      const InodeId file = volume->lookup(kRootInode, "0").value();
      for (int commits = 0; commits < 3; ++commits) {
        EXPECT_TRUE(volume->write(file, random() % 100 * kBlockSize, Bytes(kBlockSize, 9), {}).ok());
        tag = volume->commit().value();
      }
      // What is changed and not committed frees nothing.
      if (i % 3 == 0) {
        EXPECT_TRUE(volume->unlink(kRootInode, std::to_string(8 + 8 * i), {}).ok());
      }
    }
    if (i % 2 == 0) tag = acknowledged;
    change(*open(storage), 1000 + i);
    expect_whole();
  }
}

}  // namespace
}  // namespace cloister::volume
