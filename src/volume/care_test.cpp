// Looking after volumes: the survey sees a healthy volume as healthy, compaction gives space back and loses
// nothing at any crash, a copy under another key is equal.
#include "volume/care.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "volume/faulty_storage.h"
#include "volume/forged_tree.h"
#include "volume/keys.h"
#include "volume/memory_storage.h"
#include "volume/model.h"
#include "volume/second_reader.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(5);

struct Life {
  std::unique_ptr<Volume> volume;
  Model model;
  Tag tag{};  // published last
};

void settle(Life& life) {
  auto tag = life.volume->commit();
  ASSERT_TRUE(tag.ok()) << tag.error().message();
  life.tag = *tag;
  ASSERT_TRUE(life.volume->acknowledge(*tag).ok());
}

// A volume with gaps: random operations, and large files of which most are gone.
Life worn(Storage& storage, unsigned seed) {
  Life life;
  auto created = Volume::create(storage, kKey, {});
  EXPECT_TRUE(created.ok());
  life.volume = std::move(created).value();
  std::mt19937 random(seed);
  for (int i = 0; i < 300; ++i) {
    bool failed = false;
    EXPECT_EQ(life.model.step(*life.volume, random, failed), "");
  }
  const Bytes content(500'000, 1);
  for (int i = 0; i < 12; ++i) {
    auto inode = life.volume->create_file(kRootInode, "large" + std::to_string(i), 0644, 0, 0, {});
    EXPECT_TRUE(life.volume->write(*inode, 0, content, {}).ok());
  }
  settle(life);
  for (int i = 0; i < 12; ++i) {
    const std::string name = "large" + std::to_string(i);
    EXPECT_TRUE(life.volume->unlink(kRootInode, name, {}).ok());
  }
  for (int i = 0; i < 300; ++i) {
    bool failed = false;
    EXPECT_EQ(life.model.step(*life.volume, random, failed), "");
  }
  settle(life);
  return life;
}

TEST(VolumeSurvey, FindsNoFaultAfterRandomOperations) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    MemoryStorage storage(false);
    Life life = worn(storage, seed);
    auto seen = survey(*life.volume);
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    EXPECT_TRUE(seen->problems.empty()) << "seed " << seed << ": " << seen->problems.front();
    EXPECT_EQ(seen->files + seen->directories + seen->symlinks, life.volume->usage().files);
  }
}

TEST(VolumeSurvey, FindsNoFaultInFoldersOfAnyDepth) {
  MemoryStorage storage(false);
  const auto volume = Volume::create(storage, kKey, {}).value();
  InodeId at = kRootInode;
  for (int depth = 0; depth < 6000; ++depth) at = volume->make_directory(at, "d", 0755, 0, 0, {}).value();
  (void)volume->commit().value();
  const Survey seen = survey(*volume).value();
  EXPECT_EQ(seen.directories, 6001u);
  EXPECT_TRUE(seen.problems.empty()) << seen.problems.front();
}

TEST(VolumeSurvey, CountsFilesThatWereOpenWhenTheWriterEnded) {
  MemoryStorage storage(false);
  auto created = Volume::create(storage, kKey, {});
  ASSERT_TRUE(created.ok());
  Volume& volume = **created;
  const InodeId inode = volume.create_file(kRootInode, "a", 0644, 0, 0, {}).value();
  volume.hold(inode);
  ASSERT_TRUE(volume.unlink(kRootInode, "a", {}).ok());
  const auto tag = volume.commit();
  ASSERT_TRUE(tag.ok());
  auto seen = survey(volume);
  ASSERT_TRUE(seen.ok());
  EXPECT_EQ(seen->unlinked, 1u);
  give_to_second_reader(storage, kKey, *tag, "at the end");
  EXPECT_TRUE(seen->problems.empty()) << seen->problems.front();
}

// An authenticated-only volume whose author may have meant harm: `forge` changes the superblock, and the leaf
// that is its whole tree, before the root is computed.
Root authored(MemoryStorage& storage, const std::function<void(Superblock&, MutableByteView)>& forge) {
  auto created = Volume::create(storage, {}, {.mode = Mode::AuthenticatedOnly});
  EXPECT_TRUE(created.ok());
  const InodeId file = (*created)->create_file(kRootInode, "a", 0644, 0, 0, {}).value();
  EXPECT_TRUE((*created)->write(file, 0, Bytes(20 * kBlockSize, 1), {}).ok());
  EXPECT_TRUE((*created)->commit().ok());
  Bytes& main = *storage.content(kMainName);
  for (unsigned slot = 0; slot < kSuperblockSlots; ++slot) {
    const MutableByteView block = MutableByteView(main).subspan(slot * kBlockSize, kBlockSize);
    auto head = parse_authenticated_superblock(block);
    if (!head.ok() || compute_root(*head) != (*created)->root()) continue;
    EXPECT_EQ(head->height, 1u);
    const MutableByteView leaf = MutableByteView(main).subspan(head->root.place * kBlockSize, kBlockSize);
    forge(*head, leaf);
    head->root.digest = crypto::sha256({bind_block({}, {BlockType::Node, 0, 0}), leaf});
    const SuperblockBody body = encode_body(*head);
    std::copy(body.begin(), body.end(), block.begin() + kBodyOffset);
    return compute_root(*head);
  }
  return {};
}

TEST(VolumeSurvey, NeedsNoMemoryForBlocksThatAreOnlyClaimed) {
  MemoryStorage storage(false);
  const Root root =
      authored(storage, [](Superblock& head, MutableByteView) { head.blocks = uint64_t{1} << 45; });
  auto opened = Volume::open_authenticated(storage, root, kSmallCache);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  auto seen = survey(**opened);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->blocks, uint64_t{1} << 45);
  EXPECT_TRUE(seen->problems.empty()) << seen->problems.front();
}

TEST(VolumeSurvey, NeedsNoMemoryForSlotsThatAreOnlyClaimed) {
  MemoryStorage storage(false);
  const Root root = authored(storage, [](Superblock&, MutableByteView leaf) {
    const uint16_t count = load_le<uint16_t>(leaf.data() + 2);
    for (unsigned i = 0; i < count; ++i) {
      uint8_t* record = leaf.data() + load_le<uint16_t>(leaf.data() + 8 + i * 2);
      const MutableByteView value(record + 19, load_le<uint16_t>(record + 17));
      auto inode = decode_inode(value, Mode::AuthenticatedOnly);
      if (!inode.ok() || !inode->has_object) continue;
      inode->slots = uint64_t{1} << 45;
      const Bytes forged = encode_inode(*inode, Mode::AuthenticatedOnly);
      std::copy(forged.begin(), forged.end(), value.begin());
    }
  });
  auto opened = Volume::open_authenticated(storage, root, kSmallCache);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  auto seen = survey(**opened);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_EQ(seen->slots, uint64_t{1} << 45);
  EXPECT_EQ(seen->used_slots, 4u);
  EXPECT_TRUE(seen->problems.empty()) << seen->problems.front();
}

// What is in use cannot be beyond the end: whoever reads it is told. Who writes something else is not, and
// what is free there is not believed: nothing is written over.
TEST(VolumeWriter, WritesOverNothingInAFileThatEndsBeforeWhatIsInUse) {
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, kKey, {}).value();
  const InodeId file = volume->create_file(kRootInode, "a", 0644, 0, 0, {}).value();
  ASSERT_TRUE(volume->write(file, 0, Bytes(100 * kBlockSize, 1), {}).ok());
  Tag tag = volume->commit().value();
  volume.reset();
  ForgedTree tree(storage, kKey, tag);
  tree.change_inode(file, [](InodeRecord& inode) { inode.slots = 5000; });
  tag = tree.store();
  for (const std::string& name : storage.names()) {
    if (name != kMainName) storage.content(name)->resize(60 * kBlockSize);
  }
  auto opened = Volume::open(storage, kKey, tag, kSmallCache);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  ASSERT_TRUE((*opened)->write(file, 50 * kBlockSize, Bytes(20 * kBlockSize, 2), {}).ok());
  ASSERT_TRUE((*opened)->commit().ok());
  Bytes seen(70 * kBlockSize);
  ASSERT_TRUE((*opened)->read(file, 0, seen).ok());
  Bytes wanted(seen.size(), 1);
  std::fill(wanted.begin() + 50 * kBlockSize, wanted.end(), 2);
  EXPECT_TRUE(seen == wanted);
  EXPECT_EQ((*opened)->read(file, 80 * kBlockSize, MutableByteView(seen).first(1)).error().reason,
            Reason::Integrity);
}

TEST(VolumeSurvey, SeesThatAnObjectIsMissing) {
  MemoryStorage storage(false);
  const Root root = authored(storage, [](Superblock&, MutableByteView) {});
  for (const std::string& name : storage.names()) {
    if (name == kMainName) continue;
    ASSERT_TRUE(storage.remove(name).ok());
  }
  auto opened = Volume::open_authenticated(storage, root, kSmallCache);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  auto seen = survey(**opened);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  ASSERT_EQ(seen->problems.size(), 1u);
  EXPECT_NE(seen->problems[0].find("4 chunks"), std::string::npos) << seen->problems[0];
}

TEST(VolumeCompact, ShrinksToWhatIsUsedAndKeepsEverything) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    MemoryStorage storage(false);
    Life life = worn(storage, seed);
    life.volume.reset();
    auto opened = Volume::open(storage, kKey, life.tag, kSmallCache);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    life.volume = std::move(opened).value();
    const size_t before = size_of(storage);
    auto done = compact(*life.volume, [&](const Tag& tag) -> Result<void> {
      life.tag = tag;
      return {};
    });
    ASSERT_TRUE(done.ok()) << done.error().message();
    EXPECT_LT(size_of(storage), before);
    auto seen = survey(*life.volume);
    ASSERT_TRUE(seen.ok()) << seen.error().message();
    EXPECT_TRUE(seen->problems.empty()) << seen->problems.front();
    EXPECT_EQ(seen->blocks, seen->used_blocks + kSuperblockSlots);
    EXPECT_EQ(seen->slots, seen->used_slots);
    life.volume.reset();
    opened = Volume::open(storage, kKey, life.tag, kSmallCache);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    ASSERT_TRUE((*opened)->verify_all().ok());
    ASSERT_EQ(life.model.compare(**opened), "");
    give_to_second_reader(storage, kKey, life.tag, "seed " + std::to_string(seed));
  }
}

// Chunks of small commits come home, and the epoch pages that were written last and lie at the end go down.
TEST(VolumeCompact, LeavesNoGapsAfterSmallCommitsOfManyMounts) {
  for (const unsigned mounts : {1u, 250u}) {  // with one page of epochs and with three
    SCOPED_TRACE(mounts);
    MemoryStorage storage(false);
    auto volume = Volume::create(storage, kKey, {}).value();
    const InodeId file = volume->create_file(kRootInode, "database", 0644, 0, 0, {}).value();
    constexpr uint64_t kChunks = 2048;
    ASSERT_TRUE(volume->write(file, 0, Bytes(kChunks * kBlockSize, 1), {}).ok());
    Tag tag = volume->commit().value();
    ASSERT_TRUE(volume->acknowledge(tag).ok());
    std::mt19937 random(mounts);
    for (unsigned i = 0; i < 1000; ++i) {
      if (i % (1000 / mounts) == 0) {
        volume.reset();
        volume = Volume::open(storage, kKey, tag, kSmallCache).value();
      }
      ASSERT_TRUE(volume->write(file, random() % kChunks * kBlockSize, Bytes(kBlockSize, 2), {}).ok());
      tag = volume->commit().value();
      ASSERT_TRUE(volume->acknowledge(tag).ok());
    }
    const auto done = compact(*volume, [&](const Tag& published) -> Result<void> {
      tag = published;
      return {};
    });
    ASSERT_TRUE(done.ok()) << done.error().message();
    const Survey seen = survey(*volume).value();
    EXPECT_EQ(seen.problems, std::vector<std::string>());
    const uint64_t live = seen.used_blocks + seen.used_slots + kSuperblockSlots;
    EXPECT_EQ(seen.slots, kChunks - kMainChunks);
    EXPECT_LE(size_of(storage), (live + live / 100) * kBlockSize);
    EXPECT_LE(size_of(storage), (kChunks + kChunks / 50) * kBlockSize);
    volume.reset();
    auto opened = Volume::open(storage, kKey, tag, kSmallCache);
    ASSERT_TRUE(opened.ok() && (*opened)->verify_all().ok());
    give_to_second_reader(storage, kKey, tag, "at the end");
  }
}

TEST(VolumeCompact, LosesNothingWhenItDiesAtAnyOperation) {
  MemoryStorage grown(false);
  Life worn_life = worn(grown, 3);
  worn_life.volume.reset();
  const auto files = grown.snapshot();
  for (uint64_t fail_at = 1;; fail_at += 1 + fail_at / 40) {
    MemoryStorage memory;
    memory.restore(files);
    Faults faults{.fail_at = fail_at, .stay_broken = true, .changes_only = true};
    FaultyStorage faulty(memory, faults);
    Tag published = worn_life.tag;
    bool finished = false;
    {
      auto opened = Volume::open(faulty, kKey, published, kSmallCache);
      if (opened.ok()) {
        finished = compact(**opened, [&](const Tag& tag) -> Result<void> {
                     published = tag;
                     return {};
                   }).ok();
      }
    }
    std::mt19937 random(static_cast<unsigned>(fail_at));
    memory.crash([&] { return random() % 2 == 0; });
    auto opened = Volume::open(memory, kKey, published, kSmallCache);
    ASSERT_TRUE(opened.ok()) << "operation " << fail_at << ": " << opened.error().message();
    auto verified = (*opened)->verify_all();
    ASSERT_TRUE(verified.ok()) << "operation " << fail_at << ": " << verified.error().message();
    ASSERT_EQ(worn_life.model.compare(**opened), "") << "operation " << fail_at;
    const bool lived = finished && faults.count < fail_at;
    if (lived || fail_at % 8 == 0) {
      give_to_second_reader(memory, kKey, published, "operation " + std::to_string(fail_at));
    }
    if (lived) return;
  }
}

// More files than inodes fit in memory, whose objects a compaction makes shorter. The tag is acknowledged.
Tag make_many_that_shrink(MemoryStorage& storage) {
  constexpr size_t kFiles = 17'000;
  auto volume = Volume::create(storage, kKey, {}).value();
  for (size_t i = 0; i < kFiles; ++i) {
    const InodeId inode = volume->create_file(kRootInode, "f" + std::to_string(i), 0644, 0, 0, {}).value();
    EXPECT_TRUE(volume->write(inode, 16 * kBlockSize, as_bytes("x"), {}).ok());
    if (i % 100 == 99) {  // so many that their chunks go to objects
      EXPECT_TRUE(volume->acknowledge(volume->commit().value()).ok());
    }
  }
  EXPECT_GT(storage.names().size(), kFiles);
  for (size_t i = 0; i < kFiles; ++i) {
    const InodeId inode = volume->lookup(kRootInode, "f" + std::to_string(i)).value();
    EXPECT_TRUE(volume->truncate(inode, 4 * kBlockSize, {}).ok());
  }
  const Tag tag = volume->commit().value();
  EXPECT_TRUE(volume->acknowledge(tag).ok());
  return tag;
}

// The changed ones are stored, and nodes of the published tree given up, before the space that is free is
// looked for.
TEST(VolumeCompact, KeepsThePublishedStateWhenItDiesWhileManyObjectsShrink) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr uint64_t kStep = 37;  // each takes seconds there
#else
  constexpr uint64_t kStep = 9;
#endif
  MemoryStorage grown(false);
  const Tag start = make_many_that_shrink(grown);
  auto files = grown.snapshot();
  for (auto& [name, bytes] : files) {
    if (name != kMainName) bytes = {};  // no chunk is left in them: copying them only costs time
  }
  // Dies at operation `fail_at`, 0: never. Returns how many operations were done at each publication.
  const auto live = [&](uint64_t fail_at) {
    MemoryStorage memory;
    memory.restore(files);
    Faults faults{.fail_at = fail_at, .stay_broken = true, .changes_only = true};
    FaultyStorage faulty(memory, faults);
    std::vector<uint64_t> at;
    Tag published = start;
    {
      auto opened = Volume::open(faulty, kKey, published, {});
      EXPECT_TRUE(opened.ok());
      const auto done = compact(**opened, [&](const Tag& tag) -> Result<void> {
        published = tag;
        at.push_back(faults.count);
        return {};
      });
      EXPECT_EQ(done.ok(), fail_at == 0);
    }
    memory.crash([] { return true; });
    auto opened = Volume::open(memory, kKey, published, {});
    EXPECT_TRUE(opened.ok() && (*opened)->verify_all().ok()) << "operation " << fail_at;
    return at;
  };
  const std::vector<uint64_t> at = live(0);
  ASSERT_GE(at.size(), 3u);
  // From the second round on: then the ends of objects are lowered, later that of volume.fspf.
  for (uint64_t fail_at = at[1] + 1; fail_at <= at.back() && !HasFailure(); fail_at += kStep) live(fail_at);
}

// An epoch may begin at any commit, the first of a new page too: then the pages before it are in use
// nevertheless.
TEST(VolumeCompact, KeepsTheEpochPagesWhenItGoesOnInTheFirstEpochOfANewPage) {
  MemoryStorage storage(false);
  Tag tag = make_many_that_shrink(storage);
  for (uint32_t epochs = 1; epochs < kEpochsPerPage - 1; ++epochs) {
    auto volume = Volume::open(storage, kKey, tag, {}).value();
    ASSERT_TRUE(volume->set_attributes(kRootInode, {.permissions = 0700}, {}).ok());
    tag = volume->commit().value();
  }
  const auto compact_until = [&](size_t publications) {
    size_t done = 0;
    auto volume = Volume::open(storage, kKey, tag, kSmallCache).value();
    const auto ended = compact(*volume, [&](const Tag& published) -> Result<void> {
      if (++done == publications) return Error(Code::Unavailable, "interrupted");
      tag = published;
      return {};
    });
    EXPECT_EQ(ended.ok(), done < publications);
    return done;
  };
  const auto files = storage.snapshot();
  const Tag before = tag;
  bool began_a_page = false;
  for (size_t at = 5;; at += 2) {  // the commit that lowers the ends of objects, and one after
    SCOPED_TRACE("interrupted at publication " + std::to_string(at));
    storage.restore(files);
    tag = before;
    if (compact_until(at) < at) break;
    const bool page_was_full = ForgedTree(storage, kKey, tag).superblock().epochs == kEpochsPerPage;
    compact_until(~size_t{0});
    began_a_page = began_a_page || (page_was_full &&
                                    ForgedTree(storage, kKey, tag).superblock().epochs == kEpochsPerPage + 1);
    auto opened = Volume::open(storage, kKey, tag, kSmallCache);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    expect_no_fault(**opened);
  }
  EXPECT_TRUE(began_a_page);
}

TEST(VolumeCopy, IsEqualUnderAnotherKey) {
  for (unsigned seed = 11; seed <= 16; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    MemoryStorage storage(false), other(false);
    Life life = worn(storage, seed);
    Key key;
    key.expose().fill(6);
    auto target = Volume::create(other, key, {});
    ASSERT_TRUE(target.ok());
    auto copied = copy_volume(*life.volume, **target);
    ASSERT_TRUE(copied.ok()) << copied.error().message();
    auto tag = (*target)->commit();
    ASSERT_TRUE(tag.ok());
    target->reset();
    EXPECT_EQ(Volume::open(other, kKey, *tag, {.read_only = true}).error().code(), Code::Integrity);
    auto opened = Volume::open(other, key, *tag, kSmallCache);
    ASSERT_TRUE(opened.ok());
    EXPECT_EQ(life.model.compare(**opened), "");
    auto seen = survey(**opened);
    ASSERT_TRUE(seen.ok());
    EXPECT_TRUE(seen->problems.empty()) << seen->problems.front();
    give_to_second_reader(other, key, *tag, "seed " + std::to_string(seed));
  }
}

TEST(VolumeCopy, KeepsHolesAndTimes) {
  MemoryStorage storage(false), other(false);
  auto from = Volume::create(storage, kKey, {});
  auto to = Volume::create(other, kKey, {});
  ASSERT_TRUE(from.ok() && to.ok());
  const InodeId inode = (*from)->create_file(kRootInode, "sparse", 0640, 3, 4, {7, 8}).value();
  ASSERT_TRUE((*from)->write(inode, 1u << 30, as_bytes("end"), {70, 80}).ok());
  ASSERT_TRUE((*from)->truncate(inode, 3u << 30, {71, 81}).ok());
  ASSERT_TRUE(copy_volume(**from, **to).ok());
  const InodeId copy = (*to)->lookup(kRootInode, "sparse").value();
  const auto tag = (*to)->commit();
  ASSERT_TRUE(tag.ok());
  give_to_second_reader(other, kKey, *tag, "the copy");
  const Attributes a = (*to)->attributes(copy).value();
  EXPECT_EQ(a.size, 3u << 30);
  EXPECT_EQ(a.allocated, 4096u);
  EXPECT_EQ(a.modified.seconds, 71);
  EXPECT_EQ(a.changed.nanoseconds, 81u);
  EXPECT_EQ(a.uid, 3u);
  EXPECT_EQ((*to)->seek_data(copy, 0).value(), 1u << 30);
}

}  // namespace
}  // namespace cloister::volume
