// The anchor names the newest acknowledged state through crashes at every operation, and fits nothing older.
#include "volume/anchor.h"

#include <gtest/gtest.h>

#include "volume/faulty_storage.h"
#include "volume/memory_storage.h"

namespace cloister::volume {
namespace {

Key key_of(const AnchorContext& context) {
  Key key;
  key.expose()[0] = context[0];
  key.expose()[1] = 1;
  return key;
}
Result<Key> key_for(const AnchorContext& context) { return key_of(context); }
Tag tag_of(uint8_t number) {
  Tag tag{};
  tag[0] = number;
  return tag;
}
const AnchorContext kContext{42};

TEST(Anchor, RemembersTheNewestState) {
  MemoryStorage storage;
  EXPECT_EQ(Anchor::open(storage, key_for).error().code(), Code::NotFound);
  {
    auto anchor = Anchor::create(storage, kContext, key_of(kContext)).value();
    EXPECT_FALSE(anchor->names_a_state());
  }
  EXPECT_FALSE(Anchor::open(storage, key_for).value()->names_a_state());
  for (uint8_t number = 1; number < 6; ++number) {
    auto anchor = Anchor::open(storage, key_for).value();
    ASSERT_TRUE(anchor->advance(tag_of(number)).ok());
    anchor = Anchor::open(storage, key_for).value();
    EXPECT_EQ(anchor->tag(), tag_of(number));
    EXPECT_EQ(anchor->sequence(), number);
    EXPECT_EQ(anchor->context(), kContext);
  }
}

TEST(Anchor, AChangedByteLeavesTheRecordBeforeAtMost) {
  MemoryStorage storage;
  {
    auto anchor = Anchor::create(storage, kContext, key_of(kContext)).value();
    ASSERT_TRUE(anchor->advance(tag_of(1)).ok());
    ASSERT_TRUE(anchor->advance(tag_of(2)).ok());
  }
  auto file = storage.open(kAnchorName, OpenMode::ReadWrite).value();
  for (uint64_t at = 0; at < 128; ++at) {
    uint8_t byte = 0;
    ASSERT_TRUE(file->read_at(at, {&byte, 1}).ok());
    const uint8_t wrong = byte ^ 1;
    ASSERT_TRUE(file->write_at(at, {&wrong, 1}).ok());
    EXPECT_EQ(Anchor::open(storage, key_for).value()->tag(), tag_of(1)) << at;
    ASSERT_TRUE(file->write_at(at, {&byte, 1}).ok());
  }
  EXPECT_EQ(Anchor::open(storage, key_for).value()->tag(), tag_of(2));
}

Result<AnchoredKeys> keys_for(const AnchorContext& context) {
  return AnchoredKeys{key_of(context), key_of(context)};
}
Result<Anchored> open_both(Storage& place, Storage& anchor_place) {
  return open_anchored(place, anchor_place, kContext, keys_for, {});
}

// Writes files until something fails; how many were acknowledged.
uint64_t work(Storage& place, Storage& anchor_place, uint64_t files) {
  auto opened = open_both(place, anchor_place);
  if (!opened.ok()) return 0;
  Volume& volume = *opened->volume;
  for (uint64_t number = 1; number <= files; ++number) {
    if (!volume.create_file(kRootInode, std::to_string(number), 0644, 0, 0, {}).ok()) return number - 1;
    const auto tag = volume.commit();
    if (!tag.ok() || !opened->anchor->advance(*tag).ok()) return number - 1;
    if (!volume.acknowledge(*tag).ok()) return number;
  }
  return files;
}

TEST(Anchored, EveryAcknowledgedStateSurvivesACrashAtAnyOperation) {
  constexpr uint64_t kFiles = 4;
  bool finished = false;
  for (uint64_t fail_at = 1; !finished; ++fail_at) {
    ASSERT_LT(fail_at, 2000u);
    MemoryStorage place, anchor_place;
    Faults faults;
    faults.fail_at = fail_at;
    faults.stay_broken = true;
    uint64_t acknowledged = 0;
    {
      FaultyStorage one(place, faults), other(anchor_place, faults);
      acknowledged = work(one, other, kFiles);
    }
    finished = acknowledged == kFiles && faults.count < fail_at;
    const bool lost = fail_at % 2 == 0;  // of what was not synced: nothing or everything survives
    place.crash([&] { return !lost; });
    anchor_place.crash([&] { return !lost; });
    place.unlock();
    anchor_place.unlock();
    auto again = open_both(place, anchor_place);
    ASSERT_TRUE(again.ok()) << fail_at << ": " << again.error().message();
    for (uint64_t number = 1; number <= acknowledged; ++number)
      EXPECT_TRUE(again->volume->lookup(kRootInode, std::to_string(number)).ok()) << fail_at;
  }
}

TEST(Anchored, AFolderPutBackAloneIsRefused) {
  MemoryStorage place, anchor_place;
  ASSERT_EQ(work(place, anchor_place, 1), 1u);
  const auto old = place.snapshot();
  const auto old_anchor = anchor_place.snapshot();
  const auto restart = [&] {
    place.unlock();
    anchor_place.unlock();
  };
  restart();
  {
    auto opened = open_both(place, anchor_place);
    ASSERT_TRUE(opened->volume->create_file(kRootInode, "new", 0644, 0, 0, {}).ok());
    const auto tag = opened->volume->commit();
    ASSERT_TRUE(opened->anchor->advance(*tag).ok() && opened->volume->acknowledge(*tag).ok());
  }
  const auto now = place.snapshot();
  restart();
  place.restore(old);
  auto refused = open_both(place, anchor_place);
  EXPECT_EQ(refused.error().code(), Code::Integrity);
  EXPECT_NE(refused.error().message().find("suspected replay attack"), std::string::npos);
  // The anchor put back alone fits the new state no better, and a lost one is not made anew.
  restart();
  place.restore(now);
  anchor_place.restore(old_anchor);
  EXPECT_EQ(open_both(place, anchor_place).error().code(), Code::Integrity);
  restart();
  anchor_place.restore({});
  refused = open_both(place, anchor_place);
  EXPECT_EQ(refused.error().code(), Code::Integrity);
  EXPECT_NE(refused.error().message().find("its anchor is missing"), std::string::npos);
  // Nor is a volume that its anchor knows.
  restart();
  place.restore({});
  anchor_place.restore(old_anchor);
  EXPECT_EQ(open_both(place, anchor_place).error().code(), Code::Integrity);
}

TEST(Anchor, AnotherKeysAnchorIsRefused) {
  MemoryStorage storage;
  ASSERT_TRUE(Anchor::create(storage, kContext, key_of(kContext)).ok());
  const auto other = [](const AnchorContext&) -> Result<Key> { return Key(); };
  EXPECT_EQ(Anchor::open(storage, other).error().code(), Code::Integrity);
  const auto none = [](const AnchorContext&) -> Result<Key> { return Error(Code::Denied, "no"); };
  EXPECT_EQ(Anchor::open(storage, none).error().code(), Code::Integrity);
}

}  // namespace
}  // namespace cloister::volume
