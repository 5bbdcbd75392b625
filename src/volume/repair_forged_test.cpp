// Repair of whatever tree the owner of the key may write.
#include <gtest/gtest.h>

#include <cstdlib>

#include "volume/care.h"
#include "volume/forged_tree.h"
#include "volume/model.h"
#include "volume/volume_forger.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(9);
constexpr size_t kGroup = group_count(Mode::Encrypted);  // chunks of a record

// Of the chunks of the large file, number `i`: the last of a record's.
constexpr size_t index_of(size_t i) { return (i + 1) * kGroup - 1; }
Bytes chunk(size_t i) { return Bytes(kBlockSize, static_cast<uint8_t>(i + 1)); }

class Forger {
 public:
  Forger(ForgedTree& tree, std::mt19937& random) : tree_(tree), random_(random) {}
  // `all_there`: only where records stand, not what they say.
  void forge(bool all_there) {
    switch (random_() % (all_there ? 3 : 8)) {
      case 0:
        return swap_keys(any(1));
      case 1:
        return any_key(any(random_() % tree_.root().level() + 1));
      case 2:
        return swap_nodes(any(random_() % tree_.root().level() + 1), false);
      case 3:
        return swap_nodes(any(random_() % tree_.root().level() + 1), true);
      case 4:
        return page::leaf_erase(any_leaf().page.data(), 0);
      case 5:
        return double_record(any_leaf(), any_leaf());
      default:
        return change_value(any_leaf());
    }
  }

 private:
  ForgedTree::Node& any(unsigned level) {
    const auto nodes = tree_.level(level);
    return *nodes[random_() % nodes.size()];
  }
  ForgedTree::Node& any_leaf() {
    while (true) {
      ForgedTree::Node& leaf = any(0);
      if (leaf.count() != 0) return leaf;
    }
  }
  void swap_keys(ForgedTree::Node& inner) {
    const unsigned a = random_() % inner.count(), b = random_() % inner.count();
    const RecordKey one = ForgedTree::key_of(inner, a), other = ForgedTree::key_of(inner, b);
    ForgedTree::set_key(inner, a, other);
    ForgedTree::set_key(inner, b, one);
  }
  void any_key(ForgedTree::Node& inner) {
    ForgedTree::set_key(inner, random_() % inner.count(),
                        {random_() % 40, static_cast<Kind>(random_() % 8), random_() % 50});
  }
  // Or has one of them twice, and the other not at all.
  void swap_nodes(ForgedTree::Node& inner, bool twice) {
    ForgedTree::Node& a = inner.below[random_() % inner.below.size()];
    ForgedTree::Node& b = inner.below[random_() % inner.below.size()];
    if (&a == &b) return;
    if (twice) {
      a = b;
    } else {
      std::swap(a, b);
    }
  }
  void double_record(const ForgedTree::Node& from, ForgedTree::Node& to) {
    const unsigned i = random_() % from.count();
    RecordKey key = page::leaf_key(from.page.data(), i);
    if (random_() % 2 == 0) key.inode = random_() % 40;
    const ByteView view = page::leaf_value(from.page.data(), i);
    const Bytes value(view.begin(), view.end());
    if (page::leaf_room(to.page.data()) < page::leaf_cost(value.size())) return;
    page::leaf_insert(to.page.data(), random_() % (to.count() + 1), key, value);
  }
  void change_value(ForgedTree::Node& leaf) {
    const MutableByteView value = page::leaf_value_for_change(leaf.page.data(), random_() % leaf.count());
    for (unsigned i = 0; !value.empty() && i < random_() % 3 + 1; ++i)
      value[random_() % value.size()] = static_cast<uint8_t>(random_() % 2 == 0 ? random_() % 4 : random_());
  }

  ForgedTree& tree_;
  std::mt19937& random_;
};

TEST(RepairOfAnything, EndsWithAVolumeWithoutFaults) {
  const unsigned times = std::getenv("CLOISTER_LONG_TESTS") != nullptr ? 64 : 1;
  for (unsigned seed = 1; seed <= 60 * times && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    MemoryStorage storage(false);
    auto volume = create_with_fixed_id(storage, kKey);
    Model model;
    bool failed = false;
    for (int i = 0; i < 150; ++i) ASSERT_EQ(model.step(*volume, random, failed), "");
    const InodeId inode = volume->create_file(kRootInode, "large", 0640, 0, 0, {1, 0}).value();
    for (size_t i = 0; i < 200; ++i)
      ASSERT_TRUE(volume->write(inode, index_of(i) * kBlockSize, chunk(i), {1, 0}).ok());
    Tag tag = volume->commit().value();
    volume.reset();
    {
      ForgedTree tree(storage, kKey, tag);
      Forger forger(tree, random);
      for (size_t i = random() % 6 + 1; i > 0; --i) forger.forge(seed % 2 == 0);
      tag = tree.store();
    }
    auto opened = Volume::open(storage, kKey, tag, kForRepair);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    const auto done = repair(**opened, [&](const Tag& fresh) -> Result<void> {
      tag = fresh;
      return {};
    });
    ASSERT_TRUE(done.ok()) << done.error().message();
    opened = Volume::open(storage, kKey, tag, {});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    expect_no_fault(**opened);
    if (HasFatalFailure()) return;
    MemoryStorage other(false);
    const auto copy = Volume::create(other, test_key(1), {}).value();
    const auto copied = copy_volume(**opened, *copy);
    EXPECT_TRUE(copied.ok()) << copied.error().message();
    if (seed % 2 != 0) continue;
    EXPECT_TRUE(done->lost.empty()) << done->lost.front();
    Bytes got(kBlockSize);
    for (size_t i = 0; i < 200; ++i) {
      ASSERT_TRUE((*opened)->read(inode, index_of(i) * kBlockSize, got).ok());
      EXPECT_EQ(got, chunk(i));
    }
    ASSERT_TRUE((*opened)->unlink(kRootInode, "large", {1, 0}).ok());
    EXPECT_EQ(model.compare(**opened), "");
  }
}

}  // namespace
}  // namespace cloister::volume
