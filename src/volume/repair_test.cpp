// Repair of volumes whose trees are wrong though every MAC is right, as builds before Tree::merge() kept the
// key of a first child left them, and of trees of which parts cannot be read.
#include <gtest/gtest.h>

#include "volume/repair_test_support.h"
#include "volume/tree_copy.h"

namespace cloister::volume {
namespace {

// Inserts a record of a file that is no more, whose last reference of `refs` is to `place`.
void add_stray(ForgedTree& tree, uint64_t group, size_t refs, uint64_t place) {
  ForgedTree::Node& last = *tree.level(0).back();
  Bytes value(refs * 32, 0);
  Ref ref;
  ref.present = true;
  ref.place = place;
  store_ref(value.data() + value.size() - 32, ref, Mode::Encrypted);
  page::leaf_insert(last.page.data(), last.count(), {99, Kind::Chunks, group}, value);
}

// Look-ups of all but the last key of a leaf go to the leaf before it.
void hide(ForgedTree& tree, size_t number) {
  size_t at = 0;
  for (ForgedTree::Node* inner : tree.level(1)) {
    for (unsigned i = 0; i < inner->count(); ++i, ++at) {
      if (at != number) continue;
      const ForgedTree::Node& leaf = inner->below[i];
      ASSERT_TRUE(i != 0 && leaf.count() > 1);
      ForgedTree::set_key(*inner, i, page::leaf_key(leaf.page.data(), leaf.count() - 1));
    }
  }
}

TEST_F(Repair, FindsRecordsThatLookUpsMiss) {
  ForgedTree tree(storage, kKey, tag);
  ASSERT_EQ(tree.root().level(), 2u);
  hide(tree, 50);
  hide(tree, 150);
  tag = tree.store();
  EXPECT_EQ(Volume::open(storage, kKey, tag, kReadOnly).value()->verify_all().error().code(),
            Code::Integrity);
  const Repaired done = mend();
  EXPECT_TRUE(done.lost.empty()) << done.lost.front();
  const auto volume = reopen();
  expect_chunks(*volume, "a");
  expect_chunks(*volume, "b");
  expect_small(*volume);
}

TEST_F(Repair, ReadsNodesWhoseKeysAreOutOfOrder) {
  ForgedTree tree(storage, kKey, tag);
  ForgedTree::Node& inner = *tree.level(1)[1];
  const RecordKey one = ForgedTree::key_of(inner, 3), other = ForgedTree::key_of(inner, 9);
  ForgedTree::set_key(inner, 3, other);
  ForgedTree::set_key(inner, 9, one);
  ForgedTree::set_key(tree.root(), 1, ForgedTree::key_of(tree.root(), 2));
  tag = tree.store();
  const Repaired done = mend();
  EXPECT_TRUE(done.lost.empty()) << done.lost.front();
  const auto volume = reopen();
  expect_chunks(*volume, "a");
  expect_chunks(*volume, "b");
}

TEST_F(Repair, OpensWhereTheRootDirectoryIsNotFound) {
  ForgedTree tree(storage, kKey, tag);
  const RecordKey before_all{};
  for (unsigned i = 1; i < tree.root().count(); ++i) ForgedTree::set_key(tree.root(), i, before_all);
  tag = tree.store();
  EXPECT_EQ(Volume::open(storage, kKey, tag, {}).error().code(), Code::Integrity);
  const Repaired done = mend();
  EXPECT_TRUE(done.lost.empty()) << done.lost.front();
  expect_chunks(*reopen(), "a");
}

// A program was told that there was no record, and wrote another.
TEST_F(Repair, TakesTheNewerOfTwoForOneChunk) {
  const size_t first = 101 * kGroup;
  const RecordKey key{2, Kind::Chunks, 101};
  Bytes older;
  auto volume = reopen();
  put(*volume, 2, first + 3, 2);
  put(*volume, 2, first + 7, 1);
  tag = volume->commit().value();
  {
    ForgedTree tree(storage, kKey, tag);
    const ByteView value = tree.record(key).value();
    older.assign(value.begin(), value.end());
  }
  put(*volume, 2, first + 3, 1);
  put(*volume, 2, first, 1);
  tag = volume->commit().value();
  volume.reset();
  ForgedTree tree(storage, kKey, tag);
  // It does not know of the one that the program had written before it was told that there is none.
  const MutableByteView newer = tree.record(key).value();
  std::fill_n(newer.begin() + 7 * 32, 32, uint8_t{0});
  ForgedTree::Node& last = *tree.level(0).back();
  ASSERT_GE(page::leaf_room(last.page.data()), page::leaf_cost(older.size()));
  page::leaf_insert(last.page.data(), 0, key, older);
  tag = tree.store();
  EXPECT_EQ(mend().lost.size(), 0u);
  volume = reopen();
  expect_chunks(*volume, "a");
  Bytes got(kBlockSize);
  for (const size_t index : {first, first + 3, first + 7}) {
    ASSERT_TRUE(volume->read(2, index * kBlockSize, got).ok());
    EXPECT_EQ(got, chunk(index, 1));
  }
}

TEST_F(Repair, RemovesWhatRemovedFilesLeftBehind) {
  ForgedTree tree(storage, kKey, tag);
  add_stray(tree, 7, 2, tree.root().ref.place);  // which was given to the root since
  tag = tree.store();
  EXPECT_EQ(Volume::open(storage, kKey, tag, kReadOnly).value()->verify_all().error().code(),
            Code::Integrity);
  const Repaired done = mend();
  EXPECT_TRUE(done.lost.empty()) << done.lost.front();
  EXPECT_EQ(done.mended.size(), 1u);
  expect_small(*reopen());
}

TEST_F(Repair, RemovesChunksBehindTheEndOfAFile) {
  ForgedTree tree(storage, kKey, tag);
  tree.change_inode(3, [](InodeRecord& record) { record.size = 3 * kGroup * kBlockSize; });
  tag = tree.store();
  EXPECT_EQ(Volume::open(storage, kKey, tag, kReadOnly).value()->verify_all().error().code(),
            Code::Integrity);
  (void)mend();
  const auto volume = reopen();
  expect_chunks(*volume, "a");
  ASSERT_TRUE(volume->truncate(3, 2 * kGroups * kGroup * kBlockSize, {1, 0}).ok());
  EXPECT_EQ(volume->attributes(3)->allocated, 2 * kBlockSize);
  EXPECT_EQ(volume->seek_data(3, 3 * kGroup * kBlockSize).error().reason, Reason::NotFound);
}

void erase(ForgedTree& tree, const RecordKey& key) {
  const ForgedTree::Record record = tree.record(key);
  page::leaf_erase(record.leaf->page.data(), record.index);
}

// Of what is in several records all is kept, or the first ones of a target, or nothing of an attribute.
TEST_F(Repair, KeepsTargetsAndAttributesThatAreThereInAllTheirParts) {
  const std::string target(3000, 't');
  const Bytes value(9000, 'v');
  auto volume = reopen();
  const InodeId file = volume->lookup(kRootInode, "a").value();
  (void)volume->make_symlink(kRootInode, "whole", target, 0, 0, {1, 0}).value();
  const InodeId cut = volume->make_symlink(kRootInode, "cut", target, 0, 0, {1, 0}).value();
  for (const char* name : {"user.whole", "user.cut"})
    ASSERT_TRUE(volume->set_xattr(file, name, value, false, false, {1, 0}).ok());
  tag = volume->commit().value();
  volume.reset();
  ForgedTree tree(storage, kKey, tag);
  erase(tree, {cut, Kind::Inline, 1});
  erase(tree, value_key(file, cut + 2, 1));  // numbers and inodes have one counter
  tag = tree.store();
  const Repaired done = mend();
  ASSERT_EQ(done.lost.size(), 2u);
  EXPECT_EQ(done.lost[0], "/a: extended attribute user.cut");
  EXPECT_EQ(done.lost[1], "/cut: its content of 3000 bytes, of which 2048 are there");
  volume = reopen();
  EXPECT_EQ(volume->get_xattr(file, "user.whole").value(), value);
  EXPECT_EQ(volume->get_xattr(file, "user.cut").error().reason, Reason::NoData);
  EXPECT_EQ(volume->read_symlink(volume->lookup(kRootInode, "whole").value()).value(), target);
  EXPECT_EQ(volume->read_symlink(cut).value(), target.substr(0, 2048));
}

TEST_F(Repair, SaysWhichBytesAreLost) {
  for (const std::string& name : storage.names()) {
    if (name != kMainName) (*storage.content(name))[5 * kBlockSize + 100] ^= 1;  // the sixth of each file
  }
  const Repaired done = mend();
  const size_t index = index_of(5);
  const std::string bytes = "bytes " + std::to_string(index * kBlockSize) + " to " +
                            std::to_string(index * kBlockSize + kBlockSize - 1);
  ASSERT_EQ(done.lost.size(), 2u);
  EXPECT_EQ(done.lost[0], "/a: " + bytes + ", which are zeros now");
  EXPECT_EQ(done.lost[1], "/b: " + bytes + ", which are zeros now");
  expect_chunks(*reopen(), "a", {index});
}

TEST_F(Repair, KeepsWhatOtherNodesHoldWhenOneCannotBeRead) {
  uint64_t place = 0;
  std::set<size_t> lost;
  {
    ForgedTree tree(storage, kKey, tag);
    const ForgedTree::Node& leaf = *tree.level(0)[40];
    place = leaf.ref.place;
    lost = chunks_of(leaf);
  }
  (*storage.content(kMainName))[place * kBlockSize + 9] ^= 1;
  expect_lost_only(lost);
}

TEST_F(Repair, NamesWhatHasNoNameAndWhatIsAboveItself) {
  auto volume = reopen();
  const InodeId folder = volume->lookup(kRootInode, "folder").value();
  const InodeId inner = volume->make_directory(folder, "inner", 0755, 0, 0, {1, 0}).value();
  tag = volume->commit().value();
  volume.reset();
  ForgedTree tree(storage, kKey, tag);
  for (const ForgedTree::Record& record : tree.records()) {
    const RecordKey key = record.key();
    if (key.kind != Kind::Entry) continue;
    const MutableByteView value = record.value();
    const InodeId named = load_le<uint64_t>(value.data());
    // The root forgets "folder", whose "small" is now another name of "inner".
    if (key.inode == kRootInode && named == folder) store_le(value.data(), InodeId{2});
    if (key.inode == folder && named == inner) store_le(value.data(), folder);
  }
  tag = tree.store();
  (void)mend();
  volume = reopen();
  const auto again = found_again(*volume, folder);
  ASSERT_TRUE(again.ok());
  ASSERT_TRUE(volume->lookup(*again, "small").ok());
  ASSERT_TRUE(found_again(*volume, inner).ok());
}

TEST_F(Repair, MakesARootDirectoryWhereItsRecordIsLost) {
  const uint64_t first_leaf = ForgedTree(storage, kKey, tag).level(0).front()->ref.place;
  (*storage.content(kMainName))[first_leaf * kBlockSize] ^= 1;
  EXPECT_EQ(Volume::open(storage, kKey, tag, {}).error().code(), Code::Integrity);
  EXPECT_FALSE(mend().lost.empty());
  const auto volume = reopen();
  EXPECT_TRUE(found_again(*volume, 3).ok());  // "b"
  EXPECT_TRUE(volume->create_file(kRootInode, "new", 0600, 0, 0, {1, 0}).ok());
}

TEST_F(Repair, ChangesNothingWhereTheRootOfTheTreeCannotBeRead) {
  const uint64_t root = ForgedTree(storage, kKey, tag).root().ref.place;
  (*storage.content(kMainName))[root * kBlockSize] ^= 1;
  auto opened = Volume::open(storage, kKey, tag, kForRepair);
  ASSERT_TRUE(opened.ok());
  const auto done = repair(**opened, [](const Tag&) -> Result<void> {
    ADD_FAILURE() << "a state is published in which nothing is left";
    return {};
  });
  EXPECT_EQ(done.error().code(), Code::Integrity);
  EXPECT_EQ((*opened)->commit().error().code(), Code::Integrity);
}

TEST_F(Repair, DropsNothingOfWhichItDoesNotKnowWhatItIs) {
  ForgedTree tree(storage, kKey, tag);
  ForgedTree::Node& last = *tree.level(0).back();
  page::leaf_insert(last.page.data(), last.count(), {99, Kind{77}, 0}, {});
  tag = tree.store();
  auto opened = Volume::open(storage, kKey, tag, kForRepair);
  const auto done = repair(**opened, [](const Tag&) -> Result<void> { return {}; });
  EXPECT_EQ(done.error().code(), Code::Unsupported);
}

// What removed files left behind names blocks that were given to others since.
TEST_F(Repair, GivesNoBlockAwayThatIsUsedTwice) {
  ForgedTree tree(storage, kKey, tag);
  add_stray(tree, 0, 1, tree.level(0)[7]->ref.place);
  tag = tree.store();
  const auto publish = [&](const Tag& fresh) -> Result<void> {
    tag = fresh;
    return {};
  };
  EXPECT_EQ(compact(*reopen(), publish).error().code(), Code::Integrity);
  (void)mend();
  EXPECT_TRUE(compact(*reopen(), publish).ok());
  expect_healthy();
  expect_chunks(*reopen(), "a");
}

TEST_F(Repair, IsWhatWhoFollowsADirectoryIntoItselfIsToldToAskFor) {
  const InodeId folder = reopen()->lookup(kRootInode, "folder").value();
  ForgedTree tree(storage, kKey, tag);
  for (const ForgedTree::Record& record : tree.records()) {
    if (record.key().inode != folder || record.key().kind != Kind::Entry) continue;
    store_le(record.value().data(), folder);
    record.value()[8] = static_cast<uint8_t>(FileType::Directory);
  }
  tag = tree.store();
  MemoryStorage other(false);
  const auto copy = Volume::create(other, test_key(1), {}).value();
  EXPECT_EQ(copy_volume(*reopen(), *copy).error().code(), Code::Integrity);
  EXPECT_EQ(copy_folder_out(*reopen(), make_folder().string()).error().code(), Code::Integrity);
  (void)mend();
}

TEST_F(Repair, LeavesTheStateBeforeUntilTheNewOneIsPublished) {
  ForgedTree tree(storage, kKey, tag);
  hide(tree, 50);
  tag = tree.store();
  const Tag before = tag;
  auto opened = Volume::open(storage, kKey, tag, kForRepair);
  const auto done = repair(
      **opened, [&](const Tag&) -> Result<void> { return Error(Code::Unavailable, "nobody keeps the tag"); });
  EXPECT_EQ(done.error().code(), Code::Unavailable);
  opened->reset();
  tag = before;
  (void)mend();
  expect_chunks(*reopen(), "a");
}

// Who looks for what is free before writing needs no memory for blocks that are only claimed.
TEST_F(Repair, NeedsNoMemoryForPlacesThatAreOnlyClaimed) {
  ForgedTree tree(storage, kKey, tag);
  tree.superblock().blocks = uint64_t{1} << 45;
  tree.superblock().live_blocks = 1;
  tree.change_inode(2, [](InodeRecord& record) { record.slots = uint64_t{1} << 45; });
  tag = tree.store();
  const size_t size = storage.content(kMainName)->size();
  {
    const auto volume = reopen();
    for (size_t i = 0; i < 100; ++i) put(*volume, 2, index_of(i), 1);  // not few, so in the object
    tag = volume->commit().value();
  }
  EXPECT_LE(storage.content(kMainName)->size(), size + 200 * kBlockSize);
  for (const std::string& name : storage.names()) EXPECT_LE(storage.content(name)->size(), 1000 * kBlockSize);
  expect_healthy();
  expect_chunks(*reopen(), "a");
}

// Where another record follows, look-ups meet no node that tells.
TEST_F(Repair, IsWhatCopiersAreToldToAskFor) {
  ForgedTree tree(storage, kKey, tag);
  hide(tree, 50);
  ForgedTree::Node& before = *tree.level(0)[49];
  const RecordKey missed = page::leaf_key(tree.level(0)[50]->page.data(), 0);
  ASSERT_EQ(missed.kind, Kind::Chunks);
  Bytes refs(32, 0);
  page::leaf_insert(before.page.data(), before.count(), {missed.inode, Kind::Chunks, missed.sub + 1}, refs);
  tag = tree.store();
  const auto volume = reopen();
  Bytes got(kBlockSize);
  const uint64_t offset = ((missed.sub + 1) * kGroup - 1) * kBlockSize;
  ASSERT_TRUE(volume->read(missed.inode, offset, got).ok());
  ASSERT_EQ(got, Bytes(kBlockSize));
  MemoryStorage other(false);
  const auto copy = Volume::create(other, test_key(1), {}).value();
  EXPECT_EQ(copy_volume(*volume, *copy).error().code(), Code::Integrity);
  EXPECT_FALSE(copy->dirty());
  const fs::path out = make_folder();
  EXPECT_FALSE(copy_folder_out(*reopen(), out.string()).ok());
  EXPECT_TRUE(fs::is_empty(out));
}

// Without repair nothing is written that builds on what is wrong, and nothing goes on for ever.
TEST_F(Repair, IsWhatWritersAreToldToAskFor) {
  ForgedTree tree(storage, kKey, tag);
  hide(tree, 50);
  tag = tree.store();
  const auto files = storage.snapshot();
  const std::function<VolumeResult<void>(Volume&)> changes[] = {
      [](Volume& v) {
        return v.truncate(2, 0, {1, 0});
      },
      [](Volume& v) {
        return v.truncate(2, 3 * kBlockSize, {1, 0});
      },
      [](Volume& v) {
        return v.unlink(kRootInode, "a", {1, 0});
      },
  };
  for (const auto& change : changes) {
    storage.restore(files);
    const auto volume = reopen();
    const auto changed = change(*volume);
    EXPECT_EQ(changed.error().reason, Reason::Integrity);
    EXPECT_NE(changed.error().message.find("cloister volume fsck"), std::string::npos);
    EXPECT_EQ(volume->commit().error().code(), Code::Integrity);
  }
  storage.restore(files);
  EXPECT_EQ(compact(*reopen(), [](const Tag&) -> Result<void> { return {}; }).error().code(),
            Code::Integrity);
}

}  // namespace
}  // namespace cloister::volume
