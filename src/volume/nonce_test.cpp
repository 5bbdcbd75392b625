// No key meets a nonce twice, whatever happens to the writer and to the host's files, and none seals too
// much.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "volume/free_list.h"
#include "volume/memory_storage.h"
#include "volume/second_reader.h"
#include "volume/volume_forger.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(5);
constexpr uint64_t kMostPerEpoch = uint64_t{1} << 32;  // docs/formats/volume.md, section 1
using Files = std::map<std::string, Bytes>;

// What an attacker may have: every state that was ever on the host's disk.
class Seen {
 public:
  void look(const Files& files) {
    MemoryStorage copy(false);
    copy.restore(files);
    auto opened = Volume::open_newest_without_freshness(copy, kKey, {.read_only = true});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    VolumeForger volume(**opened);
    for (const auto& [type, ref] : volume.references()) {
      const Epoch epoch = volume.epoch(ref.epoch);
      salts_.insert(epoch.salt);
      // One block is in many states, with its MAC.
      const auto [known, is_new] =
          blocks_.emplace(std::tuple(epoch.id, epoch.salt, ref.counter, type), ref.digest);
      repeated_ += !is_new && known->second != ref.digest;
      ASSERT_LT(ref.counter, kMostPerEpoch);
    }
    const ByteView main = files.at(std::string(kMainName));
    for (size_t slot = 0; slot < kSuperblockSlots; ++slot) look(main.subspan(slot * kBlockSize, kBlockSize));
  }
  size_t salts() const { return salts_.size(); }
  size_t blocks() const { return blocks_.size(); }
  size_t lists() const { return lists_.size(); }
  size_t repeated() const { return repeated_; }

 private:
  using Salted = std::map<Bytes, Bytes>;  // salt, and what was sealed under it with the nonce zero
  void look(ByteView slot) {
    if (as_text(slot.first(8)) != "CLSTFSPF") return;
    add(superblocks_, slot.subspan(64, 32), slot.subspan(96, kDoneOffset - 96));
    if (as_text(slot.subspan(kDoneOffset, kDone.size())) == kDone)
      add(lists_, slot.subspan(kFreeListOffset, 32), slot.subspan(kFreeListOffset + 32));
  }
  void add(Salted& salted, ByteView salt, ByteView sealed) {
    const auto [known, is_new] = salted.emplace(Bytes(salt.begin(), salt.end()), Bytes());
    if (is_new) known->second.assign(sealed.begin(), sealed.end());
    repeated_ += !std::equal(sealed.begin(), sealed.end(), known->second.begin(), known->second.end());
  }

  std::set<ByteArray<32>> salts_;
  std::map<std::tuple<uint64_t, ByteArray<32>, uint64_t, BlockType>, ByteArray<32>> blocks_;
  Salted superblocks_, lists_;
  size_t repeated_ = 0;
};

class VolumeNonces : public ::testing::Test {
 protected:
  VolumeNonces() {
    volume = Volume::create(storage, kKey, {}).value();
    file = volume->create_file(kRootInode, "file", 0644, 0, 0, {}).value();
    change(1);
  }
  void change(uint8_t value) {
    ASSERT_TRUE(volume->write(file, 0, Bytes(40 * kBlockSize, value), {}).ok());
    ASSERT_TRUE(volume->commit().ok());
    seen.look(storage.snapshot());
  }
  // Two commits, then the writer is killed: the files stay as they are. What it says when it may end in order
  // is looked at as well.
  Files live(const Files& start, uint8_t value) {
    storage.restore(start);
    storage.unlock();
    // The service may have lost its count of epochs, too.
    volume = Volume::open_newest_without_freshness(storage, kKey, {.epoch = 7}).value();
    change(value);
    change(static_cast<uint8_t>(value + 1));
    const Files killed = storage.snapshot();
    volume.reset();
    seen.look(storage.snapshot());
    return killed;
  }

  MemoryStorage storage{false};
  std::unique_ptr<Volume> volume;
  InodeId file = 0;
  Seen seen;
};

TEST_F(VolumeNonces, NoneRepeatsAfterAKillOrARestoredBackup) {
  const Files backup = storage.snapshot();
  volume.reset();
  const Files first = live(backup, 10);
  const Files second = live(first, 20);  // after the kill
  live(backup, 30);                      // the backup again, twice
  live(backup, 40);
  live(second, 50);
  EXPECT_EQ(seen.salts(), 6u);  // of the volume's making and of each life
  EXPECT_GT(seen.blocks(), 11u * 40);
  EXPECT_EQ(seen.lists(), 5u);
  EXPECT_EQ(seen.repeated(), 0u);
}

TEST_F(VolumeNonces, AnEpochEndsBeforeItHasSealedTooMuch) {
  VolumeForger forger(*volume);
  ASSERT_EQ(forger.epochs(), 1u);
  forger.set_counter(kMostPerEpoch - 20);  // in the midst of 40 chunks
  change(2);
  ASSERT_EQ(forger.epochs(), 2u);
  forger.set_counter(kMostPerEpoch - 40);  // between a commit's chunks and its nodes
  change(3);
  ASSERT_EQ(forger.epochs(), 3u);
  change(4);
  ASSERT_EQ(forger.epochs(), 3u);
  EXPECT_EQ(seen.salts(), 3u);
  EXPECT_EQ(seen.repeated(), 0u);
  const Tag tag = volume->tag();
  volume.reset();
  volume = Volume::open(storage, kKey, tag, {}).value();
  expect_no_fault(*volume);
  give_to_second_reader(storage, kKey, tag, "at the end");
}

}  // namespace
}  // namespace cloister::volume
