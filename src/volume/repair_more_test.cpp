// Repair where blocks are not what references say, without a tag, and what it tells.
#include "volume/faulty_storage.h"
#include "volume/repair_test_support.h"

namespace cloister::volume {
namespace {

// A reference to what a block was before stands ahead of the one to what it is.
TEST_F(Repair, KeepsANodeThatAStaleReferenceNames) {
  std::set<size_t> lost;
  {
    ForgedTree tree(storage, kKey, tag);
    const std::vector<ForgedTree::Node*> leaves = tree.level(0);
    lost = chunks_of(*leaves[40]);
    leaves[40]->ref.place = leaves[41]->ref.place;  // which is sealed after it
    tag = tree.store();
  }
  expect_lost_only(lost);
}

TEST_F(Repair, TellsOfNodesThatAreNamedTwice) {
  ForgedTree tree(storage, kKey, tag);
  ForgedTree::Node& inner = *tree.level(1)[1];
  inner.below[3] = inner.below[4];
  tag = tree.store();
  const Repaired done = mend();
  ASSERT_FALSE(done.mended.empty());
  EXPECT_EQ(done.mended[0], "1 nodes that were named twice");
}

TEST_F(Repair, LosesOneNodeWhereItsEpochIsNoneOfTheVolume) {
  ForgedTree tree(storage, kKey, tag);
  ForgedTree::Node& inner = *tree.level(1)[1];
  const unsigned last = inner.count() - 1;
  Ref ref = inner.below[last].ref;
  ref.epoch = 9999;
  inner.below.pop_back();  // sealed as it was
  store_ref(page::inner_reference(inner.page.data(), last, 32), ref, Mode::Encrypted);
  tag = tree.store();
  EXPECT_FALSE(mend().lost.empty());
  expect_small(*reopen());
}

// What a loss of power and builds that wrote nodes out of order leave together.
class RepairOfTheNewest : public Repair {
 protected:
  // A commit on top of the acknowledged state, by a writer that did not end in order.
  RepairOfTheNewest() {
    acknowledged = tag;
    main_before = *storage.content(kMainName);
    {
      const auto volume = reopen();
      put(*volume, 2, 0, 7);
      put(*volume, 3, 0, 7);
      tag = volume->commit().value();
      committed = storage.snapshot();
    }
    ended = storage.snapshot();
    storage.restore(committed);
  }
  // Exchanges two keys of the root.
  void put_out_of_order() {
    ForgedTree tree(storage, kKey, tag);
    ASSERT_GE(tree.root().count(), 2u);
    const RecordKey one = ForgedTree::key_of(tree.root(), 0), other = ForgedTree::key_of(tree.root(), 1);
    ForgedTree::set_key(tree.root(), 0, other);
    ForgedTree::set_key(tree.root(), 1, one);
    tag = tree.store();
  }
  void take_back(uint64_t block) {
    Bytes& main = *storage.content(kMainName);
    for (size_t at = block * kBlockSize; at < (block + 1) * kBlockSize; ++at)
      main[at] = at < main_before.size() ? main_before[at] : uint8_t{0};
  }
  uint64_t first_fresh_leaf() {
    ForgedTree tree(storage, kKey, tag);
    const Superblock& s = tree.superblock();
    for (const ForgedTree::Node* leaf : tree.level(0)) {
      if (leaf->ref.epoch == s.first_epoch && leaf->ref.counter >= s.first_counter) return leaf->ref.place;
    }
    ADD_FAILURE() << "the commit wrote no leaf";
    return 0;
  }
  uint64_t first_fresh_chunk() {
    ForgedTree tree(storage, kKey, tag);
    return load_ref(tree.record({2, Kind::Chunks, 0}).value().data(), Mode::Encrypted).place;
  }
  Tag opened() {
    const auto volume = open_newest_for_repair(storage, kKey, kReadOnly);
    EXPECT_TRUE(volume.ok()) << volume.error().message();
    return volume.ok() ? (*volume)->tag() : Tag{};
  }

  Tag acknowledged{};
  std::map<std::string, Bytes> committed, ended;
  Bytes main_before;
};

TEST_F(RepairOfTheNewest, OpensItWhereItIsOutOfOrderButWhole) {
  put_out_of_order();
  EXPECT_EQ(opened(), tag);
}

TEST_F(RepairOfTheNewest, LeavesATornCommitAsideThoughItsRootIsOutOfOrder) {
  const Tag newest = tag;
  for (const uint64_t block : {first_fresh_leaf(), first_fresh_chunk()}) {
    SCOPED_TRACE(block);
    storage.restore(committed);
    tag = newest;
    put_out_of_order();
    take_back(block);
    EXPECT_EQ(opened(), acknowledged);
  }
}

TEST_F(RepairOfTheNewest, OpensItDamagedWhereItIsKnownToHaveBeenDurable) {
  storage.restore(ended);
  take_back(first_fresh_chunk());
  EXPECT_EQ(opened(), tag);
  const auto volume = open_newest_for_repair(storage, kKey, {}).value();
  const auto done = repair(*volume, [](const Tag&) -> Result<void> { return {}; });
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(done->lost.size(), 1u);
}

TEST_F(Repair, HasNoNameForgeALine) {
  auto volume = reopen();
  ASSERT_TRUE(volume->rename(kRootInode, "a", kRootInode, "a\nlost: \x1b[2J", {1, 0}).ok());
  tag = volume->commit().value();
  volume.reset();
  ForgedTree tree(storage, kKey, tag);
  const MutableByteView refs = tree.record({2, Kind::Chunks, 2}).value();
  refs[(kGroup - 1) * 32] ^= 1;
  tag = tree.store();
  const Repaired done = mend();
  ASSERT_EQ(done.lost.size(), 1u);
  EXPECT_TRUE(done.lost[0].starts_with("/a\\x0alost: \\x1b[2J: bytes ")) << done.lost[0];
}

// A directory whose record comes before that of the one that it is in.
TEST_F(Repair, NamesTheOrphanThatADirectoryLeadsTo) {
  auto volume = reopen();
  const InodeId child = volume->make_directory(kRootInode, "child", 0755, 0, 0, {1, 0}).value();
  const InodeId parent = volume->make_directory(kRootInode, "parent", 0755, 0, 0, {1, 0}).value();
  ASSERT_TRUE(volume->rename(kRootInode, "child", parent, "child", {1, 0}).ok());
  tag = volume->commit().value();
  volume.reset();
  ForgedTree tree(storage, kKey, tag);
  for (ForgedTree::Node* leaf : tree.level(0)) {
    for (unsigned i = 0; i < leaf->count(); ++i) {
      const RecordKey key = page::leaf_key(leaf->page.data(), i);
      const ByteView value = page::leaf_value(leaf->page.data(), i);
      if (key.inode == kRootInode && key.kind == Kind::Entry && load_le<uint64_t>(value.data()) == parent)
        page::leaf_erase(leaf->page.data(), i--);
    }
  }
  page::leaf_insert(tree.level(0).front()->page.data(), 0, {0, Kind::Orphan, parent}, {});
  tag = tree.store();
  (void)mend();
  volume = reopen();
  const auto again = found_again(*volume, parent);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(volume->lookup(*again, "child").value(), child);
}

// Of the storage. Little is cached: whoever looks through a folder for each of its files reads it each time.
uint64_t operations_to_name(size_t files) {
  MemoryStorage storage(false);
  Tag tag{};
  {
    const auto volume = Volume::create(storage, kKey, {}).value();
    for (size_t i = 0; i < files; ++i)
      EXPECT_TRUE(volume->create_file(kRootInode, std::to_string(i), 0600, 0, 0, {1, 0}).ok());
    tag = volume->commit().value();
  }
  ForgedTree tree(storage, kKey, tag);
  for (ForgedTree::Node* leaf : tree.level(0)) {
    for (unsigned i = leaf->count(); i > 0; --i) {
      if (page::leaf_key(leaf->page.data(), i - 1).kind == Kind::Entry)
        page::leaf_erase(leaf->page.data(), i - 1);
    }
  }
  tag = tree.store();
  Faults faults;
  FaultyStorage counting(storage, faults);
  const auto volume = Volume::open(counting, kKey, tag, kForRepair).value();
  EXPECT_TRUE(repair(*volume, [](const Tag&) -> Result<void> { return {}; }).ok());
  return faults.count;
}

TEST(RepairOfManyFiles, TakesWorkThatGrowsWithTheirNumberOnly) {
  constexpr size_t kFiles = 12'800;
  EXPECT_LT(operations_to_name(kFiles), 2 * kFiles);
}

// Nobody asks for the epochs in it any more.
TEST(SurveyOfEpochs, ReadsNoPageThatAnotherTookThePlaceOf) {
  MemoryStorage storage(false);
  Tag tag = Volume::create(storage, kKey, {}).value()->tag();
  for (int i = 0; i < 110; ++i) {
    const auto volume = Volume::open(storage, kKey, tag, {}).value();
    ASSERT_TRUE(volume->set_attributes(kRootInode, {.uid = i}, {i, 0}).ok());
    tag = volume->commit().value();
    ASSERT_TRUE(volume->acknowledge(tag).ok());
  }
  ASSERT_TRUE(survey(*Volume::open(storage, kKey, tag, kReadOnly).value()).ok());
  Bytes& main = *storage.content(kMainName);
  size_t changed = 0;
  for (size_t at = 0; at < main.size(); at += kBlockSize) {
    const auto page = decode_epoch_page(ByteView(main).subspan(at, kBlockSize));
    if (!page.ok() || page->epochs.size() != 100) continue;
    main[at + 2000] ^= 1;
    ++changed;
  }
  ASSERT_GT(changed, 0u);
  EXPECT_EQ(survey(*Volume::open(storage, kKey, tag, kReadOnly).value()).error().code(), Code::Integrity);
}

}  // namespace
}  // namespace cloister::volume
