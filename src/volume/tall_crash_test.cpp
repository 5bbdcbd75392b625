// Crashes of volumes whose tree of metadata has three levels and more (tall_model.h), with blocks of more
// epochs than one page of them holds, and while they are compacted: at every promised tag everything is
// there.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "volume/care.h"
#include "volume/faulty_storage.h"
#include "volume/forged_tree.h"
#include "volume/keys.h"
#include "volume/memory_storage.h"
#include "volume/second_reader.h"
#include "volume/tall_model.h"
#include "volume/volume_forger.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

constexpr size_t kUnacknowledged = 7;
// CLOISTER_LONG_TESTS=1: with this many times the seeds, and the crashes of each.
unsigned times() { return std::getenv("CLOISTER_LONG_TESTS") != nullptr ? 3 : 1; }
// So many crashes of a life at most, spread over its operations.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kPoints = 4;  // each takes ten times as long there
#else
constexpr uint64_t kPoints = 24;
#endif

uint64_t step_over(uint64_t operations) { return std::max<uint64_t>(operations / (kPoints * times()), 1); }

const Key kKey = test_key(9);
constexpr OpenOptions kReader{.read_only = true, .cache_size = 1u << 20};

struct State {
  Tag tag{};
  Root root{};  // authenticated only
  TallModel model;
};

State state_of(const Volume& volume, const TallModel& model) { return {volume.tag(), volume.root(), model}; }

Result<std::unique_ptr<Volume>> open_to_read(Storage& storage, const State& state) {
  if (state.root != Root{}) return Volume::open_authenticated(storage, state.root, kReader);
  return Volume::open(storage, kKey, state.tag, kReader);
}

Superblock superblock_of(MemoryStorage& storage, const State& state, const Key& key = kKey) {
  if (state.root == Root{}) return ForgedTree(storage, key, state.tag).superblock();
  const ByteView main = *storage.content(kMainName);
  for (unsigned slot = 0; slot < kSuperblockSlots; ++slot) {
    const auto parsed = parse_authenticated_superblock(main.subspan(slot * kBlockSize, kBlockSize));
    if (parsed.ok() && compute_root(*parsed) == state.root) return *parsed;
  }
  ADD_FAILURE() << "no superblock is that of the state";
  return {};
}

unsigned height_of(MemoryStorage& storage, const State& state) {
  return superblock_of(storage, state).height;
}

void expect_whole(Volume& volume, const TallModel& model, const std::string& what) {
  const auto verified = volume.verify_all();
  ASSERT_TRUE(verified.ok()) << what << ": " << verified.error().message();
  ASSERT_EQ(model.compare(volume), "") << what;
}

struct Base {
  std::map<std::string, Bytes> files;
  State state;
};

// A tall volume that `epochs` mounts have written to. Made once.
Base make_base(unsigned files, uint32_t epochs, bool worn = false) {
  Base out;
  MemoryStorage storage(false);
  std::mt19937 random(files);
  auto volume = create_with_fixed_id(storage, kKey);
  EXPECT_EQ(out.state.model.fill(*volume, random, files), "");
  if (worn) {
    EXPECT_EQ(out.state.model.wear(*volume), "");
  }
  for (uint32_t epoch = 1; epoch < epochs; ++epoch) {
    const Tag tag = volume->commit().value();
    volume.reset();
    volume = Volume::open(storage, kKey, tag, kSmallCache).value();
    EXPECT_EQ(out.state.model.touch(*volume), "");
  }
  const Tag tag = volume->commit().value();
  EXPECT_TRUE(volume->acknowledge(tag).ok());
  out.state = state_of(*volume, out.state.model);
  volume.reset();
  out.files = storage.snapshot();
  EXPECT_GE(height_of(storage, out.state), 3u);
  const Superblock head = superblock_of(storage, out.state);
  EXPECT_EQ(head.epochs, epochs);
  EXPECT_TRUE(!worn || (head.blocks > 4096 && head.live_blocks < head.blocks / 2));
  return out;
}
const Base& tall() {
  static const Base made = make_base(900, 3);
  return made;
}
// The root has few nodes below it, and a life's second epoch takes a new page.
const Base& barely_tall() {
  static const Base made = make_base(150, 99);
  return made;
}
// Each writer looks for the free space that earlier ones left.
const Base& worn() {
  static const Base made = make_base(200, 2, true);
  return made;
}
const Base& base(unsigned seed) { return seed % 3 == 0 ? worn() : seed % 3 == 1 ? tall() : barely_tall(); }

struct History {
  State acknowledged;
  std::vector<State> committed;        // after the acknowledged one
  std::optional<TallModel> attempted;  // by the commit that failed
  const State& last() const { return committed.empty() ? acknowledged : committed.back(); }
};

// A short life; what had been promised until its end.
class Life {
 public:
  Life(Storage& storage, const State& start, unsigned seed, TallModel::Recover recover)
      : storage_(storage), model_(start.model), random_(seed), recover_(std::move(recover)) {
    history_.acknowledged = start;
    open(start.tag);
  }
  // The newest state, whatever its tag, that a life before this one left.
  void open_newest() {
    volume_.reset();
    auto opened = Volume::open_newest_without_freshness(storage_, kKey, kSmallCache);
    if (opened.ok()) volume_ = std::move(opened).value();
  }
  // Until it dies, or so many steps.
  const History& live(int steps) {
    for (int i = 0; i < steps && volume_ != nullptr; ++i) {
      bool failed = false;
      const std::string difference = model_.step(*volume_, random_, failed, recover_);
      EXPECT_EQ(difference, "");
      if (failed || !difference.empty()) break;
      if (random_() % 2 == 0 && !commit()) break;
    }
    volume_.reset();
    return history_;
  }

 private:
  void open(const Tag& tag) {
    volume_.reset();
    auto opened = Volume::open(storage_, kKey, tag, kSmallCache);
    if (!opened.ok() && recover_ && recover_()) opened = Volume::open(storage_, kKey, tag, kSmallCache);
    if (opened.ok()) volume_ = std::move(opened).value();
  }
  bool commit() {
    history_.attempted = model_;
    // There is room for seven; one more commit gives up the oldest of them (volume.h).
    if (history_.committed.size() == kUnacknowledged) history_.committed.erase(history_.committed.begin());
    auto tag = volume_->commit();
    if (!tag.ok() && recover_ && recover_()) tag = volume_->commit();
    if (!tag.ok()) return false;
    history_.attempted.reset();
    history_.committed.push_back(state_of(*volume_, model_));
    const unsigned then = random_() % 4;
    if (then == 0 && !volume_->acknowledge(*tag).ok()) return false;
    if (then == 1) open(*tag);  // which acknowledges it
    if (then < 2) {
      history_.acknowledged = history_.committed.back();
      history_.committed.clear();
    }
    return true;
  }

  Storage& storage_;
  std::unique_ptr<Volume> volume_;
  TallModel model_;
  History history_;
  std::mt19937 random_;
  const TallModel::Recover recover_;
};

void expect_state(MemoryStorage& memory, const State& state, const std::string& what) {
  auto opened = open_to_read(memory, state);
  ASSERT_TRUE(opened.ok()) << what << ": " << opened.error().message();
  expect_whole(**opened, state.model, what);
}

// Without a tag: the last promised state, or the whole one that was being committed. It can be worked on.
void expect_newest(MemoryStorage& memory, const History& history, std::mt19937& random,
                   const std::string& what) {
  auto opened = Volume::open_newest_without_freshness(memory, kKey, kSmallCache);
  ASSERT_TRUE(opened.ok()) << what << ": " << opened.error().message();
  const auto seen = survey(**opened);
  ASSERT_TRUE(seen.ok()) << what << ": " << seen.error().message();
  ASSERT_EQ(seen->problems, std::vector<std::string>()) << what;
  const State& last = history.last();
  const bool whole = history.attempted && (*opened)->tag() != last.tag;
  State state = {(*opened)->tag(), {}, whole ? *history.attempted : last.model};
  ASSERT_EQ(state.model.compare(**opened), "") << what;
  opened->reset();
  Life life(memory, state, random(), {});
  const State after = life.live(3).last();
  expect_state(memory, after, what + ", after it");
  if (random() % 24 == 0) give_to_second_reader(memory, kKey, after.tag, what + ", after it");
}

void expect_promises(MemoryStorage& memory, const History& history, std::mt19937& random,
                     const std::string& what) {
  expect_state(memory, history.acknowledged, what + ", acknowledged");
  for (size_t i = 0; i < history.committed.size(); ++i) {
    const bool newest = i + 1 == history.committed.size();
    if (::testing::Test::HasFatalFailure()) return;
    if (newest || random() % 3 == 0) expect_state(memory, history.committed[i], what + ", committed");
  }
  if (::testing::Test::HasFatalFailure()) return;
  expect_newest(memory, history, random, what + ", newest");
}

enum class End { Death, OneFailure, OneFailureOrRead, FullDisk };

// Lives that meet their end at operations of the storage. Returns how many.
uint64_t crash_everywhere(const Base& start, unsigned seed, End end) {
  const auto live = [&](MemoryStorage& memory, uint64_t fail_at, uint64_t& count) {
    memory.restore(start.files);
    Faults faults{.fail_at = fail_at,
                  .stay_broken = end == End::Death || end == End::FullDisk,
                  .changes_only = end != End::OneFailureOrRead,
                  .no_space = end == End::FullDisk};
    FaultyStorage faulty(memory, faults);
    const auto recover = [&] { return std::exchange(faults.fail_at, 0) != 0; };
    Life life(faulty, start.state, seed, end == End::Death ? TallModel::Recover{} : recover);
    History history = life.live(8);
    count = faults.count;
    return history;
  };
  uint64_t operations = 0, ignored = 0;
  MemoryStorage whole;
  std::mt19937 random(seed);
  expect_promises(whole, live(whole, 0, operations), random, "seed " + std::to_string(seed));
  const uint64_t step = step_over(operations);
  uint64_t lives = 0;
  for (uint64_t fail_at = 1 + seed % step; fail_at <= operations; fail_at += step, ++lives) {
    MemoryStorage memory;
    const History history = live(memory, fail_at, ignored);
    const unsigned survival = random() % 3;  // nothing, everything, half of what was not synced
    memory.crash([&] { return survival == 1 || (survival == 2 && random() % 2 == 0); });
    expect_promises(memory, history, random,
                    "seed " + std::to_string(seed) + " operation " + std::to_string(fail_at));
    if (::testing::Test::HasFatalFailure()) break;
  }
  return lives;
}

void crash_seeds(unsigned first, unsigned count, End end) {
  uint64_t lives = 0;
  for (unsigned seed = first; seed < first + count * times(); ++seed) {
    lives += crash_everywhere(base(seed), seed, end);
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(lives, uint64_t{2} * count * times());
}

TEST(TallVolume, AgreesOverRunsOfChanges) {
  unsigned tall_ones = 0, all = 0;
  for (unsigned seed = 1; seed <= 24 * times(); ++seed) {
    MemoryStorage memory(false);
    const Base& start = base(seed);
    memory.restore(start.files);
    Life life(memory, start.state, seed, {});
    const State last = life.live(100).last();
    tall_ones += height_of(memory, last) >= 3;
    ++all;
    expect_state(memory, last, "seed " + std::to_string(seed));
    if (seed == 1) give_to_second_reader(memory, kKey, last.tag, "seed " + std::to_string(seed));
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(tall_ones * 4, all * 3);
}

TEST(TallVolume, AgreesOverMoreEpochsThanTwoPagesHold) {
  MemoryStorage memory(false);
  memory.restore(barely_tall().files);
  State state = barely_tall().state;
  for (unsigned mount = 0; mount < 110; ++mount) {
    auto opened = Volume::open(memory, kKey, state.tag, kSmallCache);
    ASSERT_TRUE(opened.ok()) << mount << ": " << opened.error().message();
    ASSERT_EQ(state.model.touch(**opened), "") << mount;
    ASSERT_TRUE((*opened)->commit().ok()) << mount;
    state = state_of(**opened, state.model);
    if (mount % 10 == 0) expect_whole(**opened, state.model, "mount " + std::to_string(mount));
  }
  EXPECT_GE(superblock_of(memory, state).epochs, 201u);
  expect_state(memory, state, "at the end");
  give_to_second_reader(memory, kKey, state.tag, "at the end");
}

TEST(TallVolume, IsEqualUnderAnotherKeyAndInTheClear) {
  Key other_key = test_key(10);
  for (const Mode mode : {Mode::Encrypted, Mode::AuthenticatedOnly}) {
    MemoryStorage memory(false), other(false);
    memory.restore(tall().files);
    auto from = open_to_read(memory, tall().state).value();
    auto to = Volume::create(other, other_key, {.mode = mode}).value();
    const auto copied = copy_volume(*from, *to);
    ASSERT_TRUE(copied.ok()) << copied.error().message();
    ASSERT_TRUE(to->commit().ok());
    const State state = state_of(*to, tall().state.model);
    EXPECT_GE(superblock_of(other, state, other_key).height, 3u);
    to.reset();
    to = (mode == Mode::Encrypted ? Volume::open(other, other_key, state.tag, kReader)
                                  : Volume::open_authenticated(other, state.root, kReader))
             .value();
    expect_whole(*to, state.model, "the copy");
    EXPECT_EQ(survey(*to)->problems, std::vector<std::string>());
    to.reset();
    if (mode == Mode::Encrypted) give_to_second_reader(other, other_key, state.tag, "another key");
    if (mode == Mode::AuthenticatedOnly) give_to_second_reader(other, state.root, "in the clear");
  }
}

TEST(TallCrash, OpensAtEveryPromisedTagAfterDeathAtAnyOperation) { crash_seeds(1, 6, End::Death); }

TEST(TallCrash, OpensAtEveryPromisedTagAfterOneFailedOperation) { crash_seeds(1001, 3, End::OneFailure); }

TEST(TallCrash, OpensAtEveryPromisedTagAfterOneFailedReadOrChange) {
  crash_seeds(3001, 3, End::OneFailureOrRead);
}

TEST(TallCrash, GoesOnAfterAFullDisk) { crash_seeds(2001, 3, End::FullDisk); }

// Writers are killed one after the other, what they wrote still in the host's caches, and sometimes the power
// fails: `possible` may then be found. What is promised is durable, and nothing before it is possible any
// more.
void kill_writers(MemoryStorage& memory, std::vector<State> possible, unsigned seed) {
  std::mt19937 random(seed);
  for (unsigned kill = 0; kill < 6; ++kill) {
    const std::string what = "seed " + std::to_string(seed) + " writer " + std::to_string(kill);
    const State start = possible.back();
    Faults faults{.fail_at = random() % 40 + 1, .stay_broken = true, .changes_only = true};
    FaultyStorage faulty(memory, faults);
    Life life(faulty, start, random(), {});
    life.open_newest();
    const History history = life.live(6);
    if (history.last().tag != start.tag) possible = {history.last()};
    const bool power_fails = random() % 2 == 0;
    if (power_fails) memory.crash([&] { return random() % 2 == 0; });
    auto opened = Volume::open_newest_without_freshness(memory, kKey, kReader);
    ASSERT_TRUE(opened.ok()) << what << ": " << opened.error().message();
    const Tag tag = (*opened)->tag();
    const auto known = std::ranges::find(possible, tag, &State::tag);
    ASSERT_TRUE(known != possible.end() || history.attempted) << what << ": an older state";
    const State found = known != possible.end() ? *known : State{tag, {}, *history.attempted};
    expect_whole(**opened, found.model, what);
    if (::testing::Test::HasFatalFailure()) return;
    if (power_fails) possible.clear();
    possible.push_back(found);
  }
}

TEST(TallCrash, KeepsPromisesWhenThePowerFailsAfterKilledWriters) {
  for (unsigned seed = 1; seed <= 24 * times() && !HasFatalFailure(); ++seed) {
    MemoryStorage memory;
    const Base& start = base(seed);
    memory.restore(start.files);
    kill_writers(memory, {start.state}, seed);
  }
}

// A worn volume; then its compaction dies.
TEST(TallCrash, KeepsThePublishedStateWhenCompactionDies) {
  for (unsigned seed = 1; seed <= 3 * times(); ++seed) {
    MemoryStorage grown(false);
    const Base& start = base(seed);
    grown.restore(start.files);
    const State worn = Life(grown, start.state, seed, {}).live(12).last();
    const auto files = grown.snapshot();
    const auto live = [&](uint64_t fail_at, bool give) {
      MemoryStorage memory;
      memory.restore(files);
      Faults faults{.fail_at = fail_at, .stay_broken = true, .changes_only = true};
      FaultyStorage faulty(memory, faults);
      State published = worn;
      {
        auto opened = Volume::open(faulty, kKey, worn.tag, kSmallCache).value();
        const auto done = compact(*opened, [&](const Tag& tag) -> Result<void> {
          published.tag = tag;
          return {};
        });
        EXPECT_TRUE(done.ok() || fail_at != 0) << done.error().message();
        if (done.ok() && fail_at == 0) {
          EXPECT_EQ(survey(*opened)->slots, survey(*opened)->used_slots);
        }
      }
      std::mt19937 random(static_cast<unsigned>(fail_at));
      memory.crash([&] { return random() % 2 == 0; });
      const std::string what = "seed " + std::to_string(seed) + " operation " + std::to_string(fail_at);
      expect_state(memory, published, what);
      if (give) give_to_second_reader(memory, kKey, published.tag, what);
      return faults.count;
    };
    const uint64_t operations = live(0, seed == 3);
    const uint64_t step = step_over(operations);
    for (uint64_t fail_at = 1; fail_at <= operations && !HasFatalFailure(); fail_at += step)
      live(fail_at, seed == 3 && fail_at == 1 + 3 * step);
    if (HasFatalFailure()) return;
  }
}

// Of a volume that nobody can open again to change it.
History live_authenticated(Storage& storage, unsigned seed) {
  History history;
  auto created = Volume::create(storage, kKey, {.mode = Mode::AuthenticatedOnly});
  if (!created.ok()) return history;
  std::unique_ptr<Volume> volume = std::move(created).value();
  std::mt19937 random(seed);
  TallModel model;
  if (!model.fill(*volume, random, 200).empty()) return history;
  for (int i = 0; i < 5; ++i) {
    bool failed = false;
    EXPECT_EQ(model.step(*volume, random, failed, {}), "");
    if (failed || !volume->commit().ok()) return history;
    history.committed.push_back(state_of(*volume, model));
    if (random() % 2 == 0) continue;
    EXPECT_TRUE(volume->acknowledge(volume->tag()).ok());
    history.committed = {history.committed.back()};
  }
  return history;
}

TEST(TallCrash, OpensAtEveryPromisedRoot) {
  for (unsigned seed = 1; seed <= 2 * times(); ++seed) {
    uint64_t operations = 0;
    const auto live = [&](uint64_t fail_at) {
      MemoryStorage memory;
      Faults faults{.fail_at = fail_at, .stay_broken = true, .changes_only = true};
      FaultyStorage faulty(memory, faults);
      const History history = live_authenticated(faulty, seed);
      operations = faults.count;
      std::mt19937 random(static_cast<unsigned>(fail_at));
      memory.crash([&] { return random() % 2 == 0; });
      for (const State& state : history.committed)
        expect_state(memory, state, "seed " + std::to_string(seed) + " operation " + std::to_string(fail_at));
      if (fail_at == 0) {
        EXPECT_GE(height_of(memory, history.committed.back()), 3u);
        give_to_second_reader(memory, history.committed.back().root, "seed " + std::to_string(seed));
      }
    };
    live(0);
    const uint64_t last = operations, step = step_over(last);
    for (uint64_t fail_at = 1; fail_at <= last && !HasFatalFailure(); fail_at += step) live(fail_at);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace cloister::volume
