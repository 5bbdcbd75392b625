// Chunks of small commits come home, and files stay about as large as their content.
#include <algorithm>
#include <random>

#include "volume/faulty_storage.h"
#include "volume/forged_tree.h"
#include "volume/memory_storage.h"
#include "volume/second_reader.h"
#include "volume/volume_forger.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(9);
constexpr size_t kGroup = group_count(Mode::Encrypted);

// A volume with one file that was written in order.
class VolumeHome : public ::testing::Test {
 protected:
  void start(uint64_t chunks) {
    volume_.reset();
    storage_.restore({});
    faults_ = {};
    volume_ = Volume::create(faulty_, kKey, {}).value();
    file_ = volume_->create_file(kRootInode, "database", 0644, 0, 0, {}).value();
    volume_->write(file_, 0, Bytes(chunks * kBlockSize, 1), {}).value();
    commit();
  }
  void commit() {
    tag_ = volume_->commit().value();
    volume_->acknowledge(tag_).value();
  }
  void mount_again() {
    volume_.reset();
    volume_ = Volume::open(faulty_, kKey, tag_, kSmallCache).value();
  }
  void write_chunk(uint64_t index) {
    volume_->write(file_, index * kBlockSize, Bytes(kBlockSize, 2), {}).value();
    commit();
  }

  MemoryStorage storage_{false};
  Faults faults_;
  FaultyStorage faulty_{storage_, faults_};
  std::unique_ptr<Volume> volume_;
  InodeId file_ = 0;
  Tag tag_{};
};

TEST_F(VolumeHome, SmallCommitsLeaveLittleSpaceUnused) {
  for (const unsigned mounts : {1u, 60u, 1000u}) {
    SCOPED_TRACE(mounts);
    start(16384);
    std::mt19937 random(mounts);
    for (unsigned i = 0; i < 6000; ++i) {
      if (i % (6000 / mounts) == 0) mount_again();
      write_chunk(random() % 16384);
    }
    const Survey seen = survey(*volume_).value();
    EXPECT_EQ(seen.slots, 16384 - kMainChunks);
    EXPECT_LE(seen.slots - seen.used_slots, 64 + 16384 / 512 + 100);
    EXPECT_LE(size_of(storage_), 16384 * kBlockSize * 1.035);  // 1.009 of it as it was written in order
    expect_no_fault(*volume_);
    give_to_second_reader(storage_, kKey, tag_, "at the end");
  }
}

TEST_F(VolumeHome, WhatComesHomeIsThereAfterACrashAnywhere) {
  start(400);
  for (uint64_t i = 0; i < 78; ++i) write_chunk(100 + i);
  mount_again();
  const auto files = storage_.snapshot();
  const Tag before = tag_;
  for (uint64_t fail_at = 1;; ++fail_at) {
    MemoryStorage memory;
    memory.restore(files);
    Faults faults{.fail_at = fail_at, .stay_broken = true, .changes_only = true};
    FaultyStorage faulty(memory, faults);
    Tag promised = before;
    bool whole = true;
    {
      const auto volume = Volume::open(faulty, kKey, before, kSmallCache).value();
      for (uint64_t i = 0; whole && i < 3; ++i) {
        Result<Tag> tag = volume->write(file_, (200 + i) * kBlockSize, Bytes(kBlockSize, 2), {}).ok()
                              ? volume->commit()
                              : Result<Tag>(Error(Code::Unavailable, ""));
        whole = tag.ok() && volume->acknowledge(*tag).ok();
        if (tag.ok()) promised = *tag;
      }
    }
    std::mt19937 random(static_cast<unsigned>(fail_at));
    memory.crash([&] { return random() % 2 == 0; });
    const auto opened = Volume::open(memory, kKey, promised, kSmallCache);
    ASSERT_TRUE(opened.ok()) << "operation " << fail_at << ": " << opened.error().message();
    expect_no_fault(**opened);
    Bytes content(400 * kBlockSize);
    ASSERT_TRUE((*opened)->read(file_, 0, content).ok());
    for (uint64_t i = 0; i < 200; ++i) EXPECT_EQ(content[i * kBlockSize], i < 100 || i >= 178 ? 1 : 2) << i;
    if (!whole) continue;
    EXPECT_GE(survey(**opened)->used_slots, 400 - kMainChunks - 78 + 60) << "nothing came home";
    break;
  }
}

// It is nothing to the program that commits something else, and whoever reads it is told as before.
TEST_F(VolumeHome, AChunkThatCannotBeReadStaysWhereItIs) {
  start(400);
  for (uint64_t i = 0; i < 60; ++i) write_chunk(100 + i);
  mount_again();
  for (const auto& [type, ref] : VolumeForger(*volume_).references()) {
    if (!ref.in_main) continue;
    (*storage_.content(kMainName))[ref.place * kBlockSize + 7] ^= 1;
    break;
  }
  const uint64_t used = survey(*volume_)->used_slots;
  for (uint64_t i = 0; i < 30; ++i) write_chunk(200 + i);
  EXPECT_GT(survey(*volume_)->used_slots, used) << "nothing came home";
  unsigned damaged = 0;
  for (uint64_t i = 0; i < 60; ++i) {
    mount_again();
    uint8_t byte = 0;
    const VolumeResult<size_t> got = volume_->read(file_, (100 + i) * kBlockSize, {&byte, 1});
    damaged += !got.ok() && got.error().reason == Reason::Integrity;
    EXPECT_TRUE(!got.ok() || byte == 2);
  }
  EXPECT_EQ(damaged, 1u);
}

TEST_F(VolumeHome, AFileOfSmallCommitsHasNoOtherHome) {
  start(kMainChunks);
  for (uint64_t i = 0; i < 500; ++i) write_chunk(kMainChunks + i);
  EXPECT_EQ(storage_.names().size(), 1u);
}

// Builds before did not count what is away.
TEST_F(VolumeHome, ACountThatIsTooLowIsNoFaultAndOneThatIsTooHighIs) {
  start(400);
  for (uint64_t i = 0; i < 40; ++i) write_chunk(100 + i);
  const auto forge = [this](uint64_t away) {
    volume_.reset();
    ForgedTree tree(storage_, kKey, tag_);
    tree.change_inode(file_, [&](InodeRecord& record) {
      EXPECT_EQ(record.away, 40u);
      record.away = away;
    });
    tag_ = tree.store();
    mount_again();
  };
  const auto files = storage_.snapshot();
  const Tag tag = tag_;
  forge(1);
  for (uint64_t i = 0; i < 200; ++i) write_chunk(100 + i);
  expect_no_fault(*volume_);
  volume_->truncate(file_, 0, {}).value();
  commit();
  expect_no_fault(*volume_);

  volume_.reset();
  storage_.restore(files);
  tag_ = tag;
  forge(41);
  EXPECT_EQ(survey(*volume_)->problems.size(), 1u);
  volume_.reset();
  volume_ = Volume::open(storage_, kKey, tag_, kForRepair).value();
  const auto keep = [this](const Tag& fresh) -> Result<void> {
    tag_ = fresh;
    return {};
  };
  ASSERT_TRUE(repair(*volume_, keep).ok());
  mount_again();
  expect_no_fault(*volume_);
}

// What a repair has not found again looks free. Until its tag is kept the state before must stay as it is.
TEST_F(VolumeHome, ARepairWritesOverNothing) {
  start(400);
  for (uint64_t i = 0; i < 60; ++i) write_chunk(100 + i);
  for (uint64_t i = 0; i < 20; ++i) write_chunk(400 + i);
  volume_.reset();
  const uint64_t leaf = ForgedTree(storage_, kKey, tag_).record({file_, Kind::Chunks, 4}).leaf->ref.place;
  uint8_t& byte = (*storage_.content(kMainName))[leaf * kBlockSize + 9];
  byte ^= 1;
  {
    const auto volume = Volume::open(storage_, kKey, tag_, kForRepair).value();
    const auto refuse = [](const Tag&) -> Result<void> { return Error(Code::Unavailable, "not kept"); };
    EXPECT_FALSE(repair(*volume, refuse).ok());
  }
  (*storage_.content(kMainName))[leaf * kBlockSize + 9] ^= 1;
  mount_again();
  expect_no_fault(*volume_);
}

// Coming home is optional: nobody who writes elsewhere is told of damage that only it would meet.
TEST_F(VolumeHome, DamageThatOnlyItMeetsLeavesCommitsAlone) {
  for (const std::string what : {"short object", "missing object", "leaf"}) {
    SCOPED_TRACE(what);
    start(1000);
    for (uint64_t i = 0; i < 45; ++i) write_chunk(100 + i);
    volume_.reset();
    const std::vector<std::string> names = storage_.names();
    const auto object = std::find_if(names.begin(), names.end(),
                                     [](const std::string& name) { return name.starts_with("objects/"); });
    if (what == "short object") {
      storage_.content(*object)->resize(900 * kBlockSize);
    } else if (what == "missing object") {
      ASSERT_TRUE(storage_.remove(*object).ok());
    } else {
      const uint64_t leaf =
          ForgedTree(storage_, kKey, tag_).record({file_, Kind::Chunks, 14}).leaf->ref.place;
      (*storage_.content(kMainName))[leaf * kBlockSize + 9] ^= 1;
    }
    mount_again();
    for (uint64_t i = 0; i < 60; ++i) write_chunk(200 + i);
    mount_again();
    EXPECT_FALSE(volume_->verify_all().ok());
  }
}

TEST_F(VolumeHome, DamageThatOnlyASearchMeetsLeavesLargeWritesAlone) {
  start(2400);
  volume_->truncate(file_, 2000 * kBlockSize, {}).value();
  commit();
  volume_.reset();
  for (const std::string& name : storage_.names()) {
    if (name != kMainName) storage_.content(name)->resize((2000 - kMainChunks - 1) * kBlockSize);
  }
  mount_again();
  volume_->write(file_, 50 * kBlockSize, Bytes(100 * kBlockSize, 2), {}).value();
  commit();
  mount_again();
  Bytes seen(1999 * kBlockSize), wanted(seen.size(), 1);
  std::fill_n(wanted.begin() + 50 * kBlockSize, 100 * kBlockSize, 2);
  volume_->read(file_, 0, seen).value();
  EXPECT_TRUE(seen == wanted);
}

// A record that is no group of references is no reason to forget the one before.
TEST_F(VolumeHome, AMalformedGroupTakesNothingAway) {
  start(400);
  const auto two_groups = [](uint64_t i) { return (i % 2 == 0 ? 1 : 4) * kGroup + i / 2; };
  for (uint64_t i = 0; i < 78; ++i) write_chunk(two_groups(i));
  const RecordKey key{file_, Kind::Chunks, 4};
  Bytes group = VolumeForger(*volume_).records().at(key);
  group.resize(kGroupBytes + ref_size(Mode::Encrypted), 0);
  VolumeForger(*volume_).put(key, group);
  commit();
  mount_again();
  for (uint64_t i = 39; i < 45; ++i) write_chunk(kGroup + i);
  mount_again();
  Bytes seen(4 * kGroup * kBlockSize), wanted(seen.size(), 1);
  std::fill_n(wanted.begin() + kGroup * kBlockSize, 45 * kBlockSize, 2);
  volume_->read(file_, 0, seen).value();
  EXPECT_TRUE(seen == wanted);
}

// Nor is a commit refused because there is no room for what it could do without.
TEST_F(VolumeHome, AFullDiskIsNotToldForIt) {
  for (uint64_t room = 4; room <= 32; room += 4) {
    SCOPED_TRACE(room);
    start(4000);
    std::mt19937 random(3);
    for (unsigned i = 0; i < 86; ++i) write_chunk(random() % 4000);
    faults_.room = room;
    for (unsigned i = 0; i < 20; ++i) {
      write_chunk(random() % 4000);
      *faults_.room += 5;  // for one small commit
    }
    faults_.room.reset();
    expect_no_fault(*volume_);
  }
}

// A host may have made holes of the places where nothing is, as a file system of its own kind does.
TEST_F(VolumeHome, AFullDiskIsNotToldForItWhenItsPlacesAreHoles) {
  for (uint64_t room = 4; room <= 200; room += 4) {
    SCOPED_TRACE(room);
    start(4000);
    const auto scattered = [](uint64_t i) { return 100 + i * 37; };  // each in another record of references
    for (uint64_t i = 0; i < 86; ++i) write_chunk(scattered(i));
    for (const std::string& name : storage_.names()) {
      for (uint64_t i = 0; name != kMainName && i < 86; ++i) {
        std::fill_n(storage_.content(name)->begin() +
                        static_cast<ptrdiff_t>((scattered(i) - kMainChunks) * kBlockSize),
                    kBlockSize, 0);
      }
    }
    for (auto& [name, blocks] : faults_.taken) blocks.clear();
    faults_.room = room;
    for (uint64_t i = 0; i < 8; ++i) {
      write_chunk(50 + i);
      *faults_.room += 5;
    }
    faults_.room.reset();
    expect_no_fault(*volume_);
  }
}

TEST_F(VolumeHome, AMountLooksForNothingThatCannotCome) {
  start(16384);
  volume_->truncate(file_, 8000 * kBlockSize, {}).value();
  commit();
  for (uint64_t i = 0; i < 3; ++i) {
    mount_again();
    const uint64_t before = faults_.count;
    write_chunk(100 + i);
    EXPECT_LE(faults_.count - before, 20u);
  }
}

// 2^64 - 1 as a group, which is followed by the first again, and groups whose chunk is 2^64 - 1.
TEST_F(VolumeHome, GroupsThatNoFileCanHaveAreDamage) {
  const uint64_t last = ~uint64_t{0};
  for (const uint64_t group : {last, last / kGroup, last_group(Mode::Encrypted) + 1}) {
    start(400);
    Bytes refs(kGroup * ref_size(Mode::Encrypted));
    const Ref ref{.place = 9, .in_main = true, .present = true};
    for (size_t i = 0; i < kGroup; ++i)
      store_ref(refs.data() + i * refs.size() / kGroup, ref, Mode::Encrypted);
    VolumeForger(*volume_).put({file_, Kind::Chunks, group}, refs);
    commit();
    for (uint64_t i = 0; i < 60; ++i) write_chunk(100 + i);
    mount_again();
    for (uint64_t i = 0; i < 60; ++i) write_chunk(200 + i);  // a walk gives up
    EXPECT_FALSE(compact(*volume_, [](const Tag&) { return Result<void>(); }).ok());
  }
}

}  // namespace
}  // namespace cloister::volume
