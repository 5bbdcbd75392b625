// Random operations on a volume and on a model, with reopening, crashes at every operation of the storage,
// torn and lost writes, and full disks. After a crash exactly the last committed state and the last
// acknowledged one must open.
#include "volume/model.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "volume/faulty_storage.h"
#include "volume/format.h"
#include "volume/memory_storage.h"
#include "volume/second_reader.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

constexpr size_t kUnacknowledged = 7;
// CLOISTER_LONG_TESTS=1: with this many times the seeds, about 10^5 lives of volumes that end at every
// operation.
unsigned times() { return std::getenv("CLOISTER_LONG_TESTS") != nullptr ? 64 : 1; }

const Key kKey = test_key(3);

// Half of the volumes lie in a storage that shows its bytes, the others in one that copies them.
bool copies(unsigned seed) { return seed % 2 == 0; }

void expect_state(Storage& storage, const Tag& tag, const Model& model, const std::string& what) {
  auto opened = Volume::open(storage, kKey, tag, kSmallCache);
  ASSERT_TRUE(opened.ok()) << what << ": " << opened.error().message();
  auto verified = (*opened)->verify_all();
  ASSERT_TRUE(verified.ok()) << what << ": " << verified.error().message();
  ASSERT_EQ(model.compare(**opened), "") << what;
}

TEST(VolumeModel, AgreesOverRandomOperationsAndReopening) {
  for (unsigned seed = 1; seed <= 40 * times(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    MemoryStorage storage(copies(seed));
    auto created = Volume::create(storage, kKey, {});
    ASSERT_TRUE(created.ok());
    std::unique_ptr<Volume> volume = std::move(created).value();
    Model model;
    for (int i = 0; i < 1500; ++i) {
      bool failed = false;
      ASSERT_EQ(model.step(*volume, random, failed), "") << "step " << i;
      ASSERT_FALSE(failed) << "step " << i;
      if (random() % 50 != 0) continue;
      auto tag = volume->commit();
      ASSERT_TRUE(tag.ok()) << tag.error().message();
      if (random() % 2 == 0) {
        ASSERT_TRUE(volume->acknowledge(*tag).ok());
      }
      if (random() % 3 == 0) {
        volume.reset();
        OpenOptions options = kSmallCache;
        options.cache_reads = random() % 2 == 0;
        auto opened = Volume::open(storage, kKey, *tag, options);
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        volume = std::move(opened).value();
      }
      if (random() % 4 == 0) {
        ASSERT_EQ(model.compare(*volume), "");
      }
    }
    ASSERT_EQ(model.compare(*volume), "");
    auto tag = volume->commit();
    ASSERT_TRUE(tag.ok());
    volume.reset();
    expect_state(storage, *tag, model, "at the end");
    if (HasFatalFailure()) return;
    give_to_second_reader(storage, kKey, *tag, "seed " + std::to_string(seed));
  }
}

TEST(VolumeModel, AgreesReopenedAfterEveryOperation) {
  for (unsigned seed = 1; seed <= 60 * times(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    MemoryStorage storage(copies(seed));
    Tag tag{};
    {
      const auto created = Volume::create(storage, kKey, {});
      ASSERT_TRUE(created.ok());
      tag = (*created)->tag();
    }
    Model model;
    for (int i = 0; i < 80; ++i) {
      const auto opened = Volume::open(storage, kKey, tag, kSmallCache);
      ASSERT_TRUE(opened.ok()) << "step " << i << ": " << opened.error().message();
      bool failed = false;
      ASSERT_EQ(model.step(**opened, random, failed), "") << "step " << i;
      ASSERT_FALSE(failed) << "step " << i;
      const auto committed = (*opened)->commit();
      ASSERT_TRUE(committed.ok()) << committed.error().message();
      tag = *committed;
      if (random() % 2 == 0) {
        ASSERT_TRUE((*opened)->acknowledge(tag).ok());
      }
    }
    expect_state(storage, tag, model, "at the end");
    if (HasFatalFailure()) return;
    give_to_second_reader(storage, kKey, tag, "seed " + std::to_string(seed));
  }
}

// So large that the tree has three levels, in runs as a program streams, truncates and removes. A chunk's
// content says which write it is from; 0 is a hole.
class LargeFiles {
 public:
  explicit LargeFiles(unsigned seed) : random_(seed) {}
  void write(Volume& volume) {
    const InodeId inode = open(volume);
    const size_t begin = random_() % kChunks, size = std::min<size_t>(random_() % 5000 + 1, kChunks - begin);
    ++version_;
    Bytes run(size * kBlockSize);
    for (size_t i = 0; i < size; ++i) fill(run.data() + i * kBlockSize, version_, begin + i);
    ASSERT_TRUE(volume.write(inode, begin * kBlockSize, run, kNow).ok());
    std::vector<uint32_t>& chunks = files_[name_];
    if (chunks.size() < begin + size) chunks.resize(begin + size);
    std::fill_n(chunks.begin() + static_cast<ptrdiff_t>(begin), size, version_);
  }
  void truncate(Volume& volume) {
    const InodeId inode = open(volume);
    const size_t to = random_() % (kChunks + 1);
    ASSERT_TRUE(volume.truncate(inode, to * kBlockSize, kNow).ok());
    files_[name_].resize(to);
  }
  void remove(Volume& volume) {
    if (files_.erase(name_) == 0) return;
    ASSERT_TRUE(volume.unlink(kRootInode, name_, kNow).ok());
  }
  void step(Volume& volume) {
    name_ = std::string(1, static_cast<char>('a' + random_() % 3));
    const unsigned what = random_() % 8;
    if (what < 5) {
      write(volume);
    } else if (what < 7) {
      truncate(volume);
    } else {
      remove(volume);
    }
  }
  void compare(Volume& volume) const {
    Bytes block(kBlockSize), expected(kBlockSize);
    for (const auto& [name, chunks] : files_) {
      const InodeId inode = *volume.lookup(kRootInode, name);
      ASSERT_EQ(volume.attributes(inode)->size, chunks.size() * kBlockSize);
      for (size_t i = 0; i < chunks.size(); ++i) {
        const auto got = volume.read(inode, i * kBlockSize, block);
        ASSERT_TRUE(got.ok() && *got == kBlockSize) << name << " chunk " << i;
        fill(expected.data(), chunks[i], i);
        ASSERT_EQ(block, expected) << name << " chunk " << i << " of write " << chunks[i];
      }
    }
  }

 private:
  static constexpr size_t kChunks = 16000;  // 62 MiB
  static constexpr Timestamp kNow{1, 0};
  static void fill(uint8_t* out, uint32_t version, size_t index) {
    std::memset(out, 0, kBlockSize);
    if (version == 0) return;
    store_le<uint64_t>(out, version);
    store_le<uint64_t>(out + kBlockSize - 8, index);
  }
  InodeId open(Volume& volume) {
    if (!files_.contains(name_)) {
      files_[name_];
      return volume.create_file(kRootInode, name_, 0640, 0, 0, kNow).value();
    }
    return *volume.lookup(kRootInode, name_);
  }

  std::mt19937 random_;
  std::string name_;
  uint32_t version_ = 0;
  std::map<std::string, std::vector<uint32_t>> files_;
};

TEST(VolumeModel, AgreesOverLargeFilesThatComeAndGo) {
  for (unsigned seed = 1; seed <= 4 * times(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    MemoryStorage storage(copies(seed));
    std::unique_ptr<Volume> volume = std::move(Volume::create(storage, kKey, {})).value();
    LargeFiles files(seed);
    for (int i = 1; i <= 60; ++i) {
      files.step(*volume);
      if (i % 15 == 0) files.compare(*volume);
      if (HasFatalFailure()) return;
      if (random() % 4 != 0) continue;
      const auto tag = volume->commit();
      ASSERT_TRUE(tag.ok() && volume->acknowledge(*tag).ok());
      volume.reset();
      volume = std::move(Volume::open(storage, kKey, *tag, kSmallCache)).value();
    }
    const auto verified = volume->verify_all();
    ASSERT_TRUE(verified.ok()) << verified.error().message();
    const Tag tag = volume->commit().value();
    volume.reset();
    give_to_second_reader(storage, kKey, tag, "seed " + std::to_string(seed));
  }
}

struct History {
  std::optional<std::pair<Tag, Model>> acknowledged;
  std::vector<std::pair<Tag, Model>> committed;  // after the acknowledged one
  std::optional<Model> attempted;                // by the commit that failed
  bool created = false;
};

// A short life of a volume on a storage that may die; what had been promised until then.
History live(Storage& storage, unsigned seed, int steps) {
  std::mt19937 random(seed);
  History history;
  Model model;
  auto created = Volume::create(storage, kKey, {});
  if (!created.ok()) return history;
  std::unique_ptr<Volume> volume = std::move(created).value();
  history.created = true;
  history.acknowledged.emplace(volume->tag(), model);
  for (int i = 0; i < steps; ++i) {
    bool failed = false;
    const std::string difference = model.step(*volume, random, failed);
    EXPECT_EQ(difference, "");
    if (failed || !difference.empty()) return history;
    const unsigned choice = random() % 6;
    if (choice > 2) continue;
    history.attempted = model;
    // There is room for seven; one more commit gives up the oldest of them (volume.h).
    if (history.committed.size() == kUnacknowledged) history.committed.erase(history.committed.begin());
    const auto tag = volume->commit();
    if (!tag.ok()) return history;
    history.attempted.reset();
    history.committed.emplace_back(*tag, model);
    if (choice == 0) {
      if (!volume->acknowledge(*tag).ok()) return history;
      history.acknowledged = history.committed.back();
      history.committed.clear();
    }
    if (choice == 1 && random() % 3 == 0) {
      volume.reset();
      auto opened = Volume::open(storage, kKey, *tag, kSmallCache);
      if (!opened.ok()) return history;
      volume = std::move(opened).value();
      // Opening for writing at a tag acknowledges it and discards what is newer; older states may go.
      history.acknowledged = history.committed.empty() ? history.acknowledged : history.committed.back();
      history.committed.clear();
    }
  }
  return history;
}

// Without a tag: the last promised state, or the whole one that was being committed.
void expect_newest(Storage& storage, const History& history, const std::string& what) {
  auto opened = Volume::open_newest_without_freshness(storage, kKey, kSmallCache);
  ASSERT_TRUE(opened.ok()) << what << ": " << opened.error().message();
  auto verified = (*opened)->verify_all();
  ASSERT_TRUE(verified.ok()) << what << ": " << verified.error().message();
  const Model& promised =
      history.committed.empty() ? history.acknowledged->second : history.committed.back().second;
  const std::string difference = promised.compare(**opened);
  if (difference.empty()) return;
  ASSERT_TRUE(history.attempted.has_value()) << what << ": " << difference;
  ASSERT_EQ(history.attempted->compare(**opened), "") << what;
  EXPECT_FALSE((*opened)->found_unfinished_commit()) << what;
}

void expect_promises(MemoryStorage& memory, const History& history, const std::string& what) {
  if (!history.created) return;
  const auto files = memory.snapshot();
  expect_state(memory, history.acknowledged->first, history.acknowledged->second, what + ", acknowledged");
  for (const auto& [tag, model] : history.committed) {
    if (::testing::Test::HasFatalFailure()) return;
    memory.restore(files);
    expect_state(memory, tag, model, what + ", committed");
  }
  if (::testing::Test::HasFatalFailure()) return;
  memory.restore(files);
  expect_newest(memory, history, what + ", newest");
}

void crash_everywhere(unsigned seed, int steps, bool no_space, bool stay_broken) {
  for (uint64_t fail_at = 1;; ++fail_at) {
    MemoryStorage memory;
    Faults faults{.fail_at = fail_at, .stay_broken = stay_broken, .changes_only = true, .no_space = no_space};
    FaultyStorage faulty(memory, faults);
    const History history = live(faulty, seed, steps);
    std::mt19937 random(seed * 1000 + static_cast<unsigned>(fail_at));
    const unsigned survival = random() % 3;  // nothing, everything, half of what was not synced
    memory.crash([&] { return survival == 1 || (survival == 2 && random() % 2 == 0); });
    expect_promises(memory, history,
                    "seed " + std::to_string(seed) + " operation " + std::to_string(fail_at));
    if (::testing::Test::HasFatalFailure()) return;
    const bool lived = faults.count < fail_at;
    if (history.created && (lived || fail_at % 64 == seed % 64)) {
      const auto& [tag, model] = history.committed.empty() ? *history.acknowledged : history.committed.back();
      give_to_second_reader(memory, kKey, tag,
                            "seed " + std::to_string(seed) + " operation " + std::to_string(fail_at));
    }
    if (lived) return;
  }
}

TEST(VolumeCrash, OpensAtEveryPromisedTagAfterDeathAtAnyOperation) {
  for (unsigned seed = 1; seed <= 12 * times(); ++seed) {
    crash_everywhere(seed, 60, false, true);
    ASSERT_FALSE(HasFatalFailure());
  }
}

TEST(VolumeCrash, OpensAtEveryPromisedTagAfterOneFailedOperation) {
  for (unsigned seed = 1001; seed <= 1000 + 8 * times(); ++seed) {
    crash_everywhere(seed, 60, false, false);
    ASSERT_FALSE(HasFatalFailure());
  }
}

TEST(VolumeCrash, SurvivesAFullDisk) {
  for (unsigned seed = 2001; seed <= 2000 + 6 * times(); ++seed) {
    crash_everywhere(seed, 60, true, true);
    ASSERT_FALSE(HasFatalFailure());
  }
}

TEST(VolumeCrash, GoesOnAfterAFullDiskGotRoom) {
  MemoryStorage memory;
  Faults faults{.changes_only = true, .no_space = true};
  FaultyStorage faulty(memory, faults);
  auto created = Volume::create(faulty, kKey, {});
  ASSERT_TRUE(created.ok());
  Volume& volume = **created;
  auto inode = volume.create_file(kRootInode, "a", 0644, 0, 0, {});
  ASSERT_TRUE(inode.ok());
  const Bytes content(300'000, 9);
  faults.fail_at = faults.count + 1;
  faults.stay_broken = true;
  auto written = volume.write(*inode, 0, content, {});
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().reason, Reason::NoSpace);
  const auto refused = volume.commit();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().hint(), kNoSpaceHint);
  faults.fail_at = 0;
  ASSERT_TRUE(volume.write(*inode, 0, content, {}).ok());
  auto tag = volume.commit();
  ASSERT_TRUE(tag.ok()) << tag.error().message();
  created->reset();
  auto opened = Volume::open(memory, kKey, *tag, {});
  ASSERT_TRUE(opened.ok());
  Bytes back(content.size());
  ASSERT_TRUE((*opened)->read(*inode, 0, back).ok());
  EXPECT_EQ(back, content);
  EXPECT_TRUE((*opened)->verify_all().ok());
  give_to_second_reader(memory, kKey, *tag, "at the end");
}

// Some work on a disk with room for so many blocks more, then with enough. True: it did not get full.
bool work_on_a_full_disk(Storage& storage, Faults& faults, std::unique_ptr<Volume> volume, uint64_t room) {
  InodeId inode = volume->lookup(kRootInode, "a").value();
  const auto work = [&](uint8_t value, bool must) {
    Result<void> result = {};
    const Bytes content(100'000, value);
    for (int i = 0; i < 3 && result.ok(); ++i) {
      auto written = volume->write(inode, static_cast<uint64_t>(i) * 50'000, content, {});
      if (!written.ok()) result = static_cast<Error>(written.error());
      Result<Tag> tag = result.ok() ? volume->commit() : Result<Tag>(Error(result.error()));
      if (!tag.ok()) result = Error(tag.error());
      if (tag.ok() && i != 1) result = volume->acknowledge(*tag);
    }
    EXPECT_TRUE(!must || result.ok()) << result.error().message();
    EXPECT_TRUE(result.ok() || result.error().hint() == kNoSpaceHint) << result.error().message();
    return result.ok();
  };
  faults.room = room;
  const bool fits = work(1, false);
  faults.room.reset();
  work(2, true);
  const Tag tag = volume->tag();
  volume.reset();
  auto opened = Volume::open(storage, kKey, tag, {});
  EXPECT_TRUE(opened.ok());
  if (!opened.ok()) return true;
  Bytes back(200'000);
  EXPECT_TRUE((*opened)->read(inode, 0, back).ok());
  EXPECT_EQ(back, Bytes(200'000, 2));
  EXPECT_TRUE((*opened)->verify_all().ok());
  return fits;
}

void make_for_a_full_disk(Storage& storage, Tag& tag) {
  auto volume = Volume::create(storage, kKey, {}).value();
  const InodeId inode = volume->create_file(kRootInode, "a", 0644, 0, 0, {}).value();
  ASSERT_TRUE(volume->write(inode, 0, Bytes(90'000, 7), {}).ok());
  tag = volume->commit().value();
  ASSERT_TRUE(volume->acknowledge(tag).ok());
}

TEST(VolumeCrash, GoesOnAfterADiskGotFullAtAnyWrite) {
  uint64_t room = 0;
  for (bool fits = false; !fits && !HasFailure(); ++room) {
    SCOPED_TRACE("room for " + std::to_string(room));
    MemoryStorage memory(false);
    Faults faults;
    FaultyStorage faulty(memory, faults);
    Tag tag{};
    make_for_a_full_disk(faulty, tag);
    fits = work_on_a_full_disk(faulty, faults, Volume::open(faulty, kKey, tag, {}).value(), room);
  }
  EXPECT_GT(room, 30u);
}

// As older builds made them.
TEST(VolumeCrash, GoesOnAfterAFullDiskAlsoWhereSlotsAreHoles) {
  uint64_t room = 0;
  for (bool fits = false; !fits && !HasFailure(); ++room) {
    SCOPED_TRACE("room for " + std::to_string(room));
    MemoryStorage memory(false);
    Tag tag{};
    make_for_a_full_disk(memory, tag);
    Faults faults;
    FaultyStorage faulty(memory, faults);
    fits = work_on_a_full_disk(faulty, faults, Volume::open(faulty, kKey, tag, {}).value(), room);
  }
  EXPECT_GT(room, 30u);
}

TEST(VolumeCrash, AWriterWithoutCommitLeavesNoObjects) {
  MemoryStorage memory(false);
  Tag tag{};
  make_for_a_full_disk(memory, tag);
  const auto before = memory.names();
  {
    auto volume = Volume::open(memory, kKey, tag, kSmallCache).value();
    const InodeId inode = volume->create_file(kRootInode, "large", 0644, 0, 0, {}).value();
    ASSERT_TRUE(volume->write(inode, 0, Bytes(4u << 20, 3), {}).ok());
    ASSERT_GT(memory.names().size(), before.size());
  }
  EXPECT_EQ(memory.names(), before);
  auto opened = Volume::open(memory, kKey, tag, {});
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE((*opened)->verify_all().ok());
}

// Any operation of the host may fail once, also reading, opening and asking for sizes: that is no attack.
TEST(VolumeCrash, AFailingHostOperationIsNeitherDamageNorChange) {
  MemoryStorage memory(false);
  Tag tag{};
  make_for_a_full_disk(memory, tag);
  const auto files = memory.snapshot();
  uint64_t fail_at = 1;
  for (bool reached = true; reached && !HasFailure(); ++fail_at) {
    SCOPED_TRACE("operation " + std::to_string(fail_at));
    memory.restore(files);
    Faults faults{.fail_at = fail_at};
    FaultyStorage faulty(memory, faults);
    const auto check = [&](const Error& error) {
      EXPECT_NE(error.code(), Code::Integrity) << error.message();
      EXPECT_NE(error.code(), Code::Internal) << error.message();
    };
    Tag last = tag;
    auto opened = Volume::open(faulty, kKey, tag, {.cache_size = 1u << 20});
    if (!opened.ok()) check(opened.error());
    if (opened.ok()) {
      Bytes out(90'000);
      auto inode = (*opened)->lookup(kRootInode, "a");
      if (!inode.ok()) check(inode.error());
      auto got = (*opened)->read(2, 0, out);
      if (!got.ok()) check(got.error());
      if (got.ok()) {
        EXPECT_EQ(out, Bytes(90'000, 7));
      }
      auto made = (*opened)->create_file(kRootInode, "b", 0644, 0, 0, {});
      if (!made.ok()) check(made.error());
      if (made.ok()) {
        auto written = (*opened)->write(*made, 0, Bytes(600'000, 8), {});
        if (!written.ok()) check(written.error());
      }
      auto committed = (*opened)->commit();
      if (!committed.ok()) check(committed.error());
      if (committed.ok()) last = *committed;
      auto verified = (*opened)->verify_all();
      if (!verified.ok()) check(verified.error());
      opened->reset();
    }
    reached = faults.count >= fail_at;
    auto again = Volume::open(memory, kKey, last, {});
    ASSERT_TRUE(again.ok()) << again.error().message();
    Bytes out(90'000);
    ASSERT_TRUE((*again)->read(2, 0, out).ok());
    EXPECT_EQ(out, Bytes(90'000, 7));
    EXPECT_TRUE((*again)->verify_all().ok());
  }
  EXPECT_GT(fail_at, 30u);
}

TEST(VolumeCrash, ReusesFreedSpaceOnlyAfterAcknowledgement) {
  MemoryStorage memory(false);
  auto created = Volume::create(memory, kKey, {});
  ASSERT_TRUE(created.ok());
  Volume& volume = **created;
  auto inode = volume.create_file(kRootInode, "a", 0644, 0, 0, {});
  ASSERT_TRUE(inode.ok());
  const Bytes content(1u << 20, 1);
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(volume.write(*inode, 0, content, {}).ok());
    auto tag = volume.commit();
    ASSERT_TRUE(tag.ok());
    ASSERT_TRUE(volume.acknowledge(*tag).ok());
  }
  size_t size = 0;
  for (const std::string& name : memory.names()) size += memory.content(name)->size();
  EXPECT_LT(size, 4u << 20);
}

}  // namespace
}  // namespace cloister::volume
