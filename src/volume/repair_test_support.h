// What tests of repair share: a volume of three levels to damage.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "volume/care.h"
#include "volume/forged_tree.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {

namespace fs = std::filesystem;
inline const Key kKey = test_key(9);
inline constexpr size_t kGroup = group_count(Mode::Encrypted);  // chunks of a record
inline constexpr size_t kGroups = 220;  // of each file: with two of them the tree has three levels
inline constexpr OpenOptions kReadOnly{.read_only = true, .cache_size = 1u << 20};

// Of the chunks that are there, number `i`: the last of every second record's.
constexpr size_t index_of(size_t i) { return (2 * i + 1) * kGroup - 1; }

inline Bytes chunk(size_t index, uint8_t version) {
  Bytes out(kBlockSize, version);
  store_le<uint64_t>(out.data(), index);
  return out;
}

class Repair : public testing::Test {
 protected:
  // Two files of which each record of references names one chunk, its last, and two small ones.
  Repair() {
    auto volume = std::move(Volume::create(storage, kKey, {})).value();
    for (const char* name : {"a", "b"}) {
      const InodeId inode = volume->create_file(kRootInode, name, 0640, 0, 0, {1, 0}).value();
      for (size_t i = 0; i < kGroups; ++i) put(*volume, inode, index_of(i), 1);
    }
    const InodeId folder = volume->make_directory(kRootInode, "folder", 0755, 0, 0, {1, 0}).value();
    const InodeId small = volume->create_file(folder, "small", 0600, 0, 0, {1, 0}).value();
    EXPECT_TRUE(volume->write(small, 0, as_bytes("small"), {1, 0}).ok());
    tag = volume->commit().value();
    EXPECT_TRUE(volume->acknowledge(tag).ok());
  }
  void TearDown() override {
    if (!made_folder.empty()) fs::remove_all(made_folder);
  }
  // Which is removed when the test ends.
  const fs::path& make_folder() {
    std::string pattern = (fs::temp_directory_path() / "cloister-repair-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    return made_folder = pattern;
  }
  static void put(Volume& volume, InodeId inode, size_t index, uint8_t version) {
    ASSERT_TRUE(volume.write(inode, index * kBlockSize, chunk(index, version), {1, 0}).ok());
  }
  // What a repair found without a name and put into lost+found.
  static VolumeResult<InodeId> found_again(Volume& volume, InodeId inode) {
    const InodeId folder = volume.lookup(kRootInode, "lost+found").value();
    return volume.lookup(folder, "#" + std::to_string(inode));
  }
  // "": every chunk is there, but those in `lost` are zeros.
  static void expect_chunks(Volume& volume, const std::string& name, const std::set<size_t>& lost = {}) {
    const auto inode = volume.lookup(kRootInode, name);
    ASSERT_TRUE(inode.ok()) << name << ": " << inode.error().message;
    Bytes got(kBlockSize);
    for (size_t i = 0; i < kGroups; ++i) {
      const size_t index = index_of(i);
      const auto read = volume.read(*inode, index * kBlockSize, got);
      ASSERT_TRUE(read.ok()) << name << " chunk " << index << ": " << read.error().message;
      ASSERT_EQ(got, lost.contains(index) ? Bytes(kBlockSize) : chunk(index, 1))
          << name << " chunk " << index;
    }
  }
  static void expect_small(Volume& volume) {
    const InodeId folder = volume.lookup(kRootInode, "folder").value();
    const auto small = volume.lookup(folder, "small");
    ASSERT_TRUE(small.ok());
    Bytes text(5);
    ASSERT_EQ(volume.read(*small, 0, text).value(), 5u);
    EXPECT_EQ(as_text(text), "small");
  }
  // The faults are seen, mended, and gone.
  Repaired mend() {
    {
      auto opened = Volume::open(storage, kKey, tag, kForRepair);
      EXPECT_TRUE(opened.ok()) << opened.error().message();
      const auto seen = survey(**opened);
      EXPECT_TRUE(!seen.ok() || !seen->problems.empty() || !(*opened)->verify_all().ok());
    }
    auto opened = Volume::open(storage, kKey, tag, kForRepair);
    auto done = repair(**opened, [&](const Tag& fresh) -> Result<void> {
      tag = fresh;
      return {};
    });
    EXPECT_TRUE(done.ok()) << done.error().message();
    expect_healthy();
    return done.ok() ? std::move(done).value() : Repaired();
  }
  void expect_healthy() {
    auto opened = Volume::open(storage, kKey, tag, kReadOnly);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    expect_no_fault(**opened);
  }
  // The chunks of "a" that a leaf names.
  static std::set<size_t> chunks_of(const ForgedTree::Node& leaf) {
    std::set<size_t> out;
    for (unsigned i = 0; i < leaf.count(); ++i) {
      const RecordKey key = page::leaf_key(leaf.page.data(), i);
      EXPECT_TRUE(key.inode == 2 && key.kind == Kind::Chunks);
      out.insert(key.sub * kGroup + kGroup - 1);
    }
    return out;
  }
  // A node of references cannot be read: they are lost, and nothing else is.
  void expect_lost_only(const std::set<size_t>& lost) {
    const Repaired done = mend();
    EXPECT_EQ(done.lost.size(), 2u);  // the node, and how many chunks that are
    const auto volume = reopen();
    expect_chunks(*volume, "a", lost);
    expect_chunks(*volume, "b");
    expect_small(*volume);
  }
  std::unique_ptr<Volume> reopen() { return std::move(Volume::open(storage, kKey, tag, {})).value(); }

  MemoryStorage storage{false};
  Tag tag{};
  fs::path made_folder;
};

}  // namespace cloister::volume
