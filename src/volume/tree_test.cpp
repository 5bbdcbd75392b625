// The tree against a map, in the ways files change it: long runs of keys that come and go from either end.
#include "volume/tree.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

namespace cloister::volume {
namespace {

// CLOISTER_LONG_TESTS=1: with more seeds.
unsigned times() { return std::getenv("CLOISTER_LONG_TESTS") != nullptr ? 64 : 1; }

class Pages : public TreeIo {
 public:
  // From now on one operation in `chance` fails; 0: none.
  void fail(unsigned chance) { chance_ = chance; }
  size_t count() const { return pages_.size(); }
  uint64_t end() const { return next_; }

  VolumeResult<void> read_node(const Ref& ref, unsigned, uint8_t* page) override {
    if (fails()) return VolumeError{Reason::Io, "reading failed"};
    std::copy(pages_.at(ref.place).begin(), pages_.at(ref.place).end(), page);
    return {};
  }
  VolumeResult<Ref> write_node(unsigned, const uint8_t* page) override {
    if (fails()) return VolumeError{Reason::NoSpace, "writing failed"};
    Ref ref;
    ref.place = next_++;
    ref.present = true;
    pages_[ref.place] = Bytes(page, page + kBlockSize);
    return ref;
  }
  VolumeResult<void> finish_nodes() override {
    if (fails()) return VolumeError{Reason::NoSpace, "writing failed"};
    return {};
  }
  void forget_node(const Ref& ref) override { EXPECT_EQ(pages_.erase(ref.place), 1u); }
  VolumeError refuse_node(VolumeError error) override { return error; }
  uint8_t* page(const Ref& ref) { return pages_.at(ref.place).data(); }

 private:
  bool fails() { return chance_ != 0 && random_() % chance_ == 0; }

  unsigned chance_ = 0;
  std::mt19937 random_;
  std::map<uint64_t, Bytes> pages_;
  uint64_t next_ = kFirstBlock;
};

using Model = std::map<uint64_t, size_t>;  // number of a key, size of its value
RecordKey key_of(uint64_t number) { return RecordKey{7, Kind::Chunks, number}; }

// By looking each one up, and in their order.
void expect_same(Tree& tree, const Model& model) {
  uint64_t next = 0;
  for (const auto& [number, length] : model) {
    const auto found = tree.find(key_of(number));
    ASSERT_TRUE(found.ok() && found->has_value()) << "key " << number;
    ASSERT_EQ((*found)->size(), length);
    const auto first = tree.lower_bound(key_of(next));
    ASSERT_TRUE(first.ok() && first->has_value()) << "from key " << next;
    ASSERT_EQ((*first)->key, key_of(number)) << "from key " << next;
    next = number + 1;
  }
  const auto none = tree.lower_bound(key_of(next));
  ASSERT_TRUE(none.ok() && !none->has_value()) << "from key " << next;
}

TEST(Tree, FindsEveryRecordAfterRunsOfChanges) {
  unsigned highest = 0;
  for (unsigned seed = 1; seed <= 6 * times(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    constexpr uint64_t kKeys = 6000;
    std::mt19937 random(seed);
    Pages pages;
    const Mode mode = seed % 3 == 0 ? Mode::AuthenticatedOnly : Mode::Encrypted;
    Tree tree(pages, mode);
    tree.start_empty();
    Model model;
    for (int run = 0; run < 60; ++run) {
      const uint64_t start = random() % kKeys, size = random() % (run % 2 == 0 ? kKeys : 50);
      const bool put = random() % 2 == 0, down = random() % 2 == 0, scattered = random() % 4 == 0;
      for (uint64_t i = 0; i < size; ++i) {
        const uint64_t number = (scattered ? random() : start + (down ? kKeys - i : i)) % kKeys;
        if (put) {
          const size_t length = random() % 8 == 0 ? 20 : 1900;
          ASSERT_TRUE(tree.put(key_of(number), Bytes(length, 1)).ok());
          model[number] = length;
        } else {
          const VolumeResult<bool> erased = tree.erase(key_of(number));
          ASSERT_TRUE(erased.ok()) << "run " << run << ": " << erased.error().message;
          ASSERT_EQ(*erased, model.erase(number) == 1) << "run " << run;
        }
      }
      highest = std::max(highest, tree.height());
      if (random() % 3 == 0) {
        ASSERT_TRUE(tree.flush().ok());
        tree.trim(10);
        Tree again(pages, mode);
        again.start_at(tree.root(), tree.height());
        expect_same(again, model);
      }
      expect_same(tree, model);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GE(highest, 3u) << "nodes between the root and the leaves";
}

// One of many changes to a tree whose storage fails now and then.
void change(Tree& tree, Pages& pages, Model& model, uint64_t number, bool put, std::mt19937& random) {
  const size_t length = random() % 8 == 0 ? 20 : 1900;
  if (put) {
    const VolumeResult<void> done = tree.put(key_of(number), Bytes(length, 1));
    if (done.ok()) model[number] = length;
  } else {
    const VolumeResult<bool> erased = tree.erase(key_of(number));
    if (erased.ok()) {
      ASSERT_EQ(*erased, model.erase(number) == 1);
    } else {  // before it was removed, or when its leaf was to be joined with another
      pages.fail(0);
      if (!tree.find(key_of(number)).value().has_value()) model.erase(number);
    }
  }
}

TEST(Tree, StaysWholeWhenItsStorageFails) {
  unsigned highest = 0;
  for (unsigned seed = 1; seed <= 2 * times(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    constexpr uint64_t kKeys = 10'000;
    std::mt19937 random(seed);
    Pages pages;
    Tree tree(pages, seed % 2 == 0 ? Mode::AuthenticatedOnly : Mode::Encrypted);
    tree.start_empty();
    Model model;
    for (int run = 0; run < 16; ++run) {
      const uint64_t start = random() % kKeys, size = run == 0 ? 2 * kKeys : random() % kKeys;
      const bool put = run % 2 == 0, scattered = run == 0 || random() % 2 == 0;
      for (uint64_t i = 0; i < size; ++i) {
        pages.fail(200);
        change(tree, pages, model, (scattered ? random() : start + i) % kKeys, put, random);
        pages.fail(random() % 2 == 0 ? 200 : 0);
        if (random() % 700 == 0) (void)tree.flush();
        if (random() % 400 == 0) tree.trim(20);
        if (random() % 3000 != 0 || !tree.flush().ok()) continue;
        const uint64_t limit = pages.end() - random() % 3000;
        (void)tree.relocate([&](const Ref& ref) {
          return ref.place >= limit && ref.place < kMaxPlace && ref.place % 3 == 0;
        });
      }
      pages.fail(0);
      highest = std::max(highest, tree.height());
      ASSERT_TRUE(tree.flush().ok());
      size_t nodes = 0;
      const auto count = [&](const Ref&) { return ++nodes != 0; };
      ASSERT_TRUE(tree.each_leaf_where(count, [](const uint8_t*) { return VolumeResult<void>(); }).ok());
      ASSERT_EQ(nodes, pages.count()) << "none is left over";
      expect_same(tree, model);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GE(highest, 4u);
}

// Node 5 below the first one below the root says that its keys begin later than they do, which builds before
// page::inner_erase() kept the first key wrote.
TEST(Tree, RefusesRecordsWhereLookUpsDoNotFindThem) {
  Pages pages;
  Tree tree(pages, Mode::Encrypted);
  tree.start_empty();
  for (uint64_t number = 0; number < 600; ++number)
    ASSERT_TRUE(tree.put(key_of(number), Bytes(1900, 1)).ok());
  ASSERT_TRUE(tree.flush().ok());
  ASSERT_EQ(tree.height(), 3u);
  constexpr size_t kWidth = ref_size(Mode::Encrypted);
  const auto below = [&](const Ref& ref, unsigned index) {
    return load_ref(page::inner_reference(pages.page(ref), index, kWidth), Mode::Encrypted);
  };
  const Ref inner = below(tree.root(), 0);
  const uint8_t* leaf = pages.page(below(inner, 5));
  ASSERT_EQ(page::count(leaf), 2u);
  const RecordKey hidden = page::leaf_key(leaf, 0), last = page::leaf_key(leaf, 1);
  uint8_t* entry = pages.page(inner) + kPageHeader + 5 * (kKeySize + kWidth);
  ASSERT_EQ(load_key(entry), hidden);
  store_key(entry, last);
  const auto fresh = [&] {
    auto out = std::make_unique<Tree>(pages, Mode::Encrypted);
    out->start_at(tree.root(), tree.height());
    return out;
  };
  EXPECT_TRUE(fresh()->find(key_of(0)).value().has_value());
  EXPECT_EQ(fresh()->find(hidden).error().reason, Reason::Integrity);
  EXPECT_EQ(fresh()->lower_bound(hidden).error().reason, Reason::Integrity);
  EXPECT_EQ(fresh()->erase(last).error().reason, Reason::Integrity);
  const auto all = [](const Ref&) { return true; };
  const auto nothing = [](const uint8_t*) -> VolumeResult<void> { return {}; };
  EXPECT_EQ(fresh()->each_leaf_where(all, nothing).error().reason, Reason::Integrity);
  EXPECT_EQ(fresh()->put(last, {}).error().reason, Reason::Integrity);
}

// Its author may be hostile: every entry of a level leads to the one node below, which is a leaf without
// records at the end. Whoever went by all of 80^14 ways would not come back.
TEST(Tree, EndsWhereManyWaysLeadToOneNode) {
  Pages pages;
  constexpr unsigned kHeight = 15;
  constexpr size_t kWidth = ref_size(Mode::Encrypted);
  Ref ref;
  for (unsigned level = 0; level < kHeight; ++level) {
    uint8_t page[kBlockSize];
    page::clear(page, level);
    Bytes packed(kWidth);
    store_ref(packed.data(), ref, Mode::Encrypted);
    for (unsigned i = 0; level > 0 && i < 80; ++i) page::inner_insert(page, i, key_of(i), packed);
    ref = pages.write_node(level, page).value();
  }
  Tree tree(pages, Mode::Encrypted);
  tree.start_at(ref, kHeight);
  EXPECT_EQ(tree.lower_bound(key_of(0)).error().reason, Reason::Integrity);
  EXPECT_EQ(tree.find(key_of(0)).error().reason, Reason::Integrity);
  const auto all = [](const Ref&) { return true; };
  const auto nothing = [](const uint8_t*) -> VolumeResult<void> { return {}; };
  EXPECT_EQ(tree.each_leaf_where(all, nothing).error().reason, Reason::Integrity);
}

}  // namespace
}  // namespace cloister::volume
