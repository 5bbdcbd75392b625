// What a commit costs, and what a loss of power in its middle leaves: volume.fspf is made durable once,
// blocks and superblock together.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "volume/care.h"
#include "volume/faulty_storage.h"
#include "volume/forged_tree.h"
#include "volume/memory_storage.h"
#include "volume/second_reader.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(5);

class VolumeBarrier : public ::testing::Test {
 protected:
  VolumeBarrier() : faulty(memory, faults) {
    volume = Volume::create(faulty, kKey, {}).value();
    for (int i = 0; i < 300; ++i) write(make("small" + std::to_string(i)), 0, 3000, 1);
    large = make("large");
    write(large, 0, 8 << 20, 2);
    settle();
  }
  InodeId make(const std::string& name) {
    return volume->create_file(kRootInode, name, 0644, 0, 0, {}).value();
  }
  void write(InodeId inode, uint64_t offset, size_t size, uint8_t value) {
    ASSERT_TRUE(volume->write(inode, offset, Bytes(size, value), {}).ok());
  }
  Tag settle() {
    const Tag tag = volume->commit().value();
    EXPECT_TRUE(volume->acknowledge(tag).ok());
    return tag;
  }
  static uint64_t random_chunk(unsigned i) { return i * 997 % 2048; }
  // The cost of each of many commits of `change`, which gets a number. When they have written 64 chunks, one
  // may bring chunks of earlier ones home.
  void expect_small(const char* what, const std::function<void(unsigned)>& change) {
    unsigned larger = 0;
    for (unsigned i = 0; i < 200; ++i) {
      change(i);
      const Faults before = faults;
      const Tag tag = volume->commit().value();
      const uint64_t syncs = faults.syncs - before.syncs, writes = faults.writes - before.writes;
      ASSERT_TRUE(volume->acknowledge(tag).ok());
      ASSERT_EQ(faults.syncs - before.syncs, syncs) << what << ' ' << i;
      ASSERT_EQ(faults.writes - before.writes, writes) << what << ' ' << i;
      if (syncs == 1 && writes <= 3) continue;
      ASSERT_EQ(syncs, 2u) << what << ' ' << i << ": " << writes << " writes";
      ++larger;
    }
    EXPECT_LE(larger, 200u / 64) << what;
  }
  uint8_t first_byte(Volume& v, InodeId inode, uint64_t offset) {
    uint8_t byte = 0;
    EXPECT_TRUE(v.read(inode, offset, {&byte, 1}).ok());
    return byte;
  }

  MemoryStorage memory;
  Faults faults{.changes_only = true};
  FaultyStorage faulty;
  std::unique_ptr<Volume> volume;
  InodeId large = 0;
};

TEST_F(VolumeBarrier, ASmallChangeIsThreeWritesAndOneSync) {
  settle();
  expect_small("overwriting in a large file",
               [&](unsigned i) { write(large, random_chunk(i) * kBlockSize, kBlockSize, 3); });
  unsigned larger = 0;
  for (unsigned i = 0; i < 60; ++i) {  // 20 chunks each
    for (unsigned k = 0; k < 20; ++k) write(large, random_chunk(i * 20 + k) * kBlockSize, kBlockSize, 3);
    const uint64_t before = faults.syncs;
    settle();
    larger += faults.syncs - before > 1;
  }
  EXPECT_LE(larger, 60u * 20 / 64);
  expect_small("appending to a large file",
               [&](unsigned i) { write(large, (8 << 20) + uint64_t{i} * kBlockSize, kBlockSize, 4); });
  const InodeId log = make("log");
  expect_small("appending to a small file", [&](unsigned i) { write(log, i * 100, 100, 5); });
  expect_small("making a file", [&](unsigned i) { write(make("new" + std::to_string(i)), 0, 4096, 6); });
  expect_small("renaming", [&](unsigned i) {
    ASSERT_TRUE(
        volume->rename(kRootInode, "new" + std::to_string(i), kRootInode, "small" + std::to_string(i), {})
            .ok());
  });
  ASSERT_TRUE(volume->verify_all().ok());
  give_to_second_reader(memory, kKey, volume->tag(), "at the end");
}

TEST_F(VolumeBarrier, SmallCommitsReuseTheirPlaces) {
  const InodeId file = make("database");
  write(file, 0, 400 * kBlockSize, 1);
  settle();
  const auto round = [&] {
    for (unsigned i = 0; i < 2000; ++i) {
      write(file, (i * 389 % 400) * uint64_t{kBlockSize}, kBlockSize, static_cast<uint8_t>(i));
      settle();
    }
  };
  round();
  const size_t before = memory.content(kMainName)->size();
  round();
  round();
  EXPECT_LE(memory.content(kMainName)->size(), before + before / 2);
  expect_no_fault(*volume);
  give_to_second_reader(memory, kKey, volume->tag(), "at the end");
}

TEST_F(VolumeBarrier, CompactionBringsChunksBackToTheirObject) {
  write(large, 100 * kBlockSize, kBlockSize, 7);
  settle();
  const uint64_t scattered = survey(*volume)->used_slots;
  ASSERT_TRUE(compact(*volume, [](const Tag&) { return Result<void>(); }).ok());
  EXPECT_EQ(survey(*volume)->used_slots, scattered + 1);
  EXPECT_EQ(first_byte(*volume, large, 100 * kBlockSize), 7);
  ASSERT_TRUE(volume->verify_all().ok());
  give_to_second_reader(memory, kKey, volume->tag(), "at the end");
}

TEST_F(VolumeBarrier, ASuperblockWithoutItsBlocksIsNotTheNewestState) {
  settle();
  for (const uint64_t offset : {uint64_t{0}, uint64_t{100} * kBlockSize}) {
    const uint8_t old = first_byte(*volume, large, offset);
    const Bytes before = *memory.content(kMainName);
    write(large, offset, kBlockSize, static_cast<uint8_t>(old + 1));
    const Tag promised = volume->tag();
    const Tag torn = volume->commit().value();
    const auto files = memory.snapshot();
    const Bytes after = *memory.content(kMainName);
    for (uint64_t block = kSuperblockSlots; block < after.size() / kBlockSize; ++block) {
      // One block of the commit did not reach the disk.
      const size_t at = block * kBlockSize;
      Bytes lost(kBlockSize);
      if (at < before.size())
        std::copy_n(before.begin() + static_cast<ptrdiff_t>(at), kBlockSize, lost.begin());
      if (std::equal(lost.begin(), lost.end(), after.begin() + static_cast<ptrdiff_t>(at))) continue;
      SCOPED_TRACE("block " + std::to_string(block) + " of the commit is lost");
      std::copy(lost.begin(), lost.end(), memory.content(kMainName)->begin() + static_cast<ptrdiff_t>(at));
      {
        auto opened = Volume::open_newest_without_freshness(memory, kKey, {});
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        EXPECT_TRUE((*opened)->found_unfinished_commit());
        EXPECT_EQ((*opened)->tag(), promised);
        EXPECT_EQ(first_byte(**opened, large, offset), old);
        ASSERT_TRUE((*opened)->verify_all().ok());
        // Going on from there discards what was torn.
        ASSERT_TRUE((*opened)->write(large, offset, Bytes(kBlockSize, 99), {}).ok());
        ASSERT_TRUE((*opened)->commit().ok());
      }
      auto again = Volume::open(memory, kKey, torn, {});
      ASSERT_FALSE(again.ok());
      EXPECT_EQ(again.error().message(), "The FSPF tag is not fresh - suspected replay attack");
      memory.restore(files);
    }
    ASSERT_TRUE(volume->acknowledge(torn).ok());
    volume.reset();
    volume = Volume::open(faulty, kKey, torn, {}).value();
  }
}

TEST_F(VolumeBarrier, DamageOfWhatWasThereBeforeIsNotTakenForATornCommit) {
  const Bytes before = *memory.content(kMainName);
  write(large, 0, kBlockSize, 9);
  volume->commit().value();
  Bytes& main = *memory.content(kMainName);
  // All blocks of older commits that the newest state still reaches: damage each once.
  size_t damaged = 0;
  for (uint64_t block = kSuperblockSlots; block < before.size() / kBlockSize; block += 7) {
    const size_t at = block * kBlockSize;
    if (!std::equal(before.begin() + static_cast<ptrdiff_t>(at),
                    before.begin() + static_cast<ptrdiff_t>(at + kBlockSize),
                    main.begin() + static_cast<ptrdiff_t>(at)))
      continue;
    main[at + 100] ^= 1;
    auto opened = Volume::open_newest_without_freshness(memory, kKey, {.read_only = true});
    if (opened.ok()) {
      EXPECT_FALSE((*opened)->found_unfinished_commit()) << block;
      if (!(*opened)->verify_all().ok()) ++damaged;
    }
    main[at + 100] ^= 1;
  }
  EXPECT_GT(damaged, 10u);
}

// Whoever ended in order had everything durable, so what is missing later is damage: nothing is given up for
// it.
TEST_F(VolumeBarrier, AfterAnOrderlyEndTheStateBeforeIsNotTaken) {
  const Bytes before = *memory.content(kMainName);
  write(large, 0, kBlockSize, 9);
  const Tag newest = volume->commit().value();
  volume.reset();
  Bytes& main = *memory.content(kMainName);
  size_t at = kSuperblockSlots * kBlockSize;
  while (std::equal(main.begin() + static_cast<ptrdiff_t>(at),
                    main.begin() + static_cast<ptrdiff_t>(at + kBlockSize),
                    before.begin() + static_cast<ptrdiff_t>(at)))
    at += kBlockSize;
  const Bytes whole = main;
  main[at] ^= 1;
  auto opened = Volume::open_newest_without_freshness(memory, kKey, {});
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code(), Code::Integrity);
  main = whole;
  EXPECT_EQ(Volume::open_newest_without_freshness(memory, kKey, {}).value()->tag(), newest);
}

TEST_F(VolumeBarrier, ALargeCommitHasItsBlocksDurableFirst) {
  for (int i = 0; i < 1500; ++i) write(make("file" + std::to_string(i)), 0, 2 * kBlockSize, 1);
  const Faults before = faults;
  volume->commit().value();
  EXPECT_EQ(faults.syncs - before.syncs, 2u);
}

TEST_F(VolumeBarrier, AnAuthorsHugeCommitIsRefused) {
  for (int i = 0; i < 1500; ++i) write(make("file" + std::to_string(i)), 0, 2 * kBlockSize, 1);
  settle();
  ForgedTree tree(memory, kKey, volume->tag());
  tree.superblock().one_barrier = true;
  (void)tree.store();
  volume.reset();  // gives up the state before
  auto opened = Volume::open_newest_without_freshness(memory, kKey, {.read_only = true});
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code(), Code::Integrity);
  EXPECT_NE(opened.error().message().find("larger than it can be"), std::string::npos);
}

// A writer is killed in its commit: all of it is in the host's caches, and nothing durable.
class VolumeKill : public ::testing::Test {
 protected:
  void start() {
    {
      auto volume = Volume::create(memory, kKey, {}).value();
      ASSERT_TRUE(volume->create_file(kRootInode, "file", 0644, 0, 0, {}).ok());
      ASSERT_TRUE(volume->commit().ok());
    }
    ASSERT_TRUE(change(memory, 1));
    MemoryStorage copy(false);
    copy.restore(memory.snapshot());
    Faults whole{.changes_only = true}, killed{.stay_broken = true, .changes_only = true};
    FaultyStorage untouched(copy, whole), storage(memory, killed);
    ASSERT_TRUE(change(untouched, 2));
    killed.fail_at = whole.count - 1;  // the barrier: what follows are a writer's last words
    ASSERT_FALSE(change(storage, 2));
    ASSERT_EQ(content(), 2);
  }
  // Whoever has a tag may have looked it up: `by_tag`.
  static bool change(Storage& storage, uint8_t value, bool by_tag = false) {
    auto opened = Volume::open_newest_without_freshness(storage, kKey, {.read_only = by_tag});
    if (opened.ok() && by_tag) opened = Volume::open(storage, kKey, (*opened)->tag(), {});
    if (!opened.ok()) return false;
    const InodeId file = (*opened)->lookup(kRootInode, "file").value();
    return (*opened)->write(file, 0, Bytes(40 * kBlockSize, value), {}).ok() && (*opened)->commit().ok();
  }
  // -1: it cannot be read.
  int content() {
    auto opened = Volume::open_newest_without_freshness(memory, kKey, {.read_only = true});
    if (!opened.ok() || !(*opened)->verify_all().ok()) return -1;
    uint8_t byte = 0;
    const InodeId file = (*opened)->lookup(kRootInode, "file").value();
    return (*opened)->read(file, 39 * kBlockSize, {&byte, 1}).ok() ? byte : -1;
  }
  MemoryStorage memory;
};

TEST_F(VolumeKill, NothingIsLostWhenThePowerFailsWhileTheNextWriterWorks) {
  std::mt19937 random(1);
  bool ended = false;
  for (uint64_t fail_at = 1; !ended; ++fail_at) {
    for (unsigned survival = 0; survival < 24; ++survival) {
      SCOPED_TRACE("operation " + std::to_string(fail_at) + " survival " + std::to_string(survival));
      memory.restore({});
      start();
      Faults faults{.fail_at = fail_at, .stay_broken = true, .changes_only = true};
      FaultyStorage storage(memory, faults);
      const bool committed = change(storage, 3, survival % 2 == 0);
      ended = faults.count < fail_at;
      memory.crash([&] { return survival != 0 && random() % 2 == 0; });
      const int found = content();
      ASSERT_TRUE(committed ? found == 3 : found >= 1 && found <= 3) << found;
    }
  }
}

TEST_F(VolumeKill, ACommitWithoutChangesMakesTheStateBeforeDurable) {
  start();
  ASSERT_TRUE(Volume::open_newest_without_freshness(memory, kKey, {}).value()->commit().ok());
  memory.crash([] { return false; });
  EXPECT_EQ(content(), 2);
}

}  // namespace
}  // namespace cloister::volume
