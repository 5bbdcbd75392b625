// What is too large for one record of the tree lies in several: long targets of symbolic links. That they are
// kept and go away whole, and that nobody takes forged parts for the real ones.
#include <gtest/gtest.h>

#include <functional>

#include "volume/care.h"
#include "volume/memory_storage.h"
#include "volume/volume_forger.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(9);

std::string text_of(size_t size) {
  std::string out(size, ' ');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 31 + i / 997) % 26);
  return out;
}

class VolumeParts : public ::testing::Test {
 protected:
  void SetUp() override { volume = Volume::create(storage, kKey, {}).value(); }
  Tag commit() {
    const Tag tag = volume->commit().value();
    EXPECT_TRUE(volume->acknowledge(tag).ok());
    return tag;
  }
  void reopen() {
    const Tag tag = commit();
    volume.reset();
    volume = Volume::open(storage, kKey, tag, {}).value();
  }
  InodeId link(const std::string& name, const std::string& target) {
    return volume->make_symlink(kRootInode, name, target, 0, 0, {}).value();
  }
  std::map<RecordKey, Bytes> records(InodeId inode, Kind kind) {
    std::map<RecordKey, Bytes> out = VolumeForger(*volume).records();
    std::erase_if(
        out, [&](const auto& record) { return record.first.inode != inode || record.first.kind != kind; });
    return out;
  }
  void expect_sound() {
    const Result<void> verified = volume->verify_all();
    EXPECT_TRUE(verified.ok()) << verified.error().message();
    commit();
    const Survey seen = survey(*volume).value();
    EXPECT_TRUE(seen.problems.empty()) << seen.problems.front();
  }
  // Reopens the forged volume; whoever verifies it must refuse it.
  void expect_refused() {
    reopen();
    const Result<void> verified = volume->verify_all();
    ASSERT_FALSE(verified.ok());
    EXPECT_EQ(verified.error().code(), Code::Integrity) << verified.error().message();
  }
  // After a refusal nothing can be asked of the mount.
  void reopen_newest() {
    volume.reset();
    volume = Volume::open_newest_without_freshness(storage, kKey, {}).value();
  }
  void expect_problem() { EXPECT_FALSE(survey(*volume).value().problems.empty()); }

  MemoryStorage storage;
  std::unique_ptr<Volume> volume;
};

TEST_F(VolumeParts, KeepTargetsAsLongAsAPathMayBe) {
  std::map<size_t, InodeId> links;
  for (const size_t size : {1, 2047, 2048, 2049, 4094, 4095}) {
    links[size] = link("l" + std::to_string(size), text_of(size));
  }
  EXPECT_EQ(volume->make_symlink(kRootInode, "m", text_of(4096), 0, 0, {}).error().reason,
            Reason::NameTooLong);
  for (int round = 0; round < 2; ++round) {
    for (const auto& [size, inode] : links) {
      EXPECT_EQ(volume->read_symlink(inode).value(), text_of(size));
      EXPECT_EQ(volume->attributes(inode)->size, size);
      EXPECT_EQ(records(inode, Kind::Inline).size(), size > kInlineMax ? 2u : 1u);
    }
    expect_sound();
    reopen();
  }
  for (const auto& [size, inode] : links) {
    ASSERT_TRUE(volume->unlink(kRootInode, "l" + std::to_string(size), {}).ok());
    EXPECT_TRUE(records(inode, Kind::Inline).empty());
  }
  expect_sound();
}

TEST_F(VolumeParts, OfATargetAreNotTakenFromElsewhere) {
  using Forge = std::function<void(VolumeForger&, const RecordKey& first, const RecordKey& second)>;
  const Bytes half(kInlineMax, 'h');
  const std::pair<const char*, Forge> forgeries[] = {
      {"the first is missing", [](auto& f, auto& first, auto&) { f.erase(first); }},
      {"the second is missing", [](auto& f, auto&, auto& second) { f.erase(second); }},
      {"the first is short", [&](auto& f, auto& first, auto&) { f.put(first, ByteView(half).first(2047)); }},
      {"the first is long", [&](auto& f, auto& first, auto&) { f.put(first, Bytes(2049, 'h')); }},
      {"the second is short",
       [&](auto& f, auto&, auto& second) { f.put(second, ByteView(half).first(951)); }},
      {"the second is long", [&](auto& f, auto&, auto& second) { f.put(second, ByteView(half).first(953)); }},
      {"the second is empty", [](auto& f, auto&, auto& second) { f.put(second, {}); }},
      {"the second is another one's",
       [](auto& f, const RecordKey&, const RecordKey& second) {
         f.put({second.inode + 1, Kind::Inline, 1}, f.records()[second]);
         f.erase(second);
       }},
  };
  for (const auto& [what, forge] : forgeries) {
    SCOPED_TRACE(what);
    volume.reset();
    storage.restore({});
    SetUp();
    const InodeId inode = link("long", text_of(3000));
    const InodeId other = link("other", text_of(10));
    ASSERT_EQ(other, inode + 1);
    VolumeForger forger(*volume);
    ASSERT_EQ(forger.records().count({inode, Kind::Inline, 1}), 1u);
    forge(forger, {inode, Kind::Inline, 0}, {inode, Kind::Inline, 1});
    expect_refused();
    reopen_newest();
    const auto target = volume->read_symlink(inode);
    ASSERT_FALSE(target.ok());
    EXPECT_EQ(target.error().reason, Reason::Integrity);
  }
}

TEST_F(VolumeParts, ThatNoTargetNeedsAreFound) {
  const InodeId inode = link("long", text_of(3000));
  const std::pair<const char*, RecordKey> strays[] = {
      {"a third part", {inode, Kind::Inline, 2}},
      {"of a small file", {inode + 1, Kind::Inline, 1}},
      {"of a directory", {kRootInode, Kind::Inline, 0}},
      {"of nobody", {inode + 99, Kind::Inline, 0}},
  };
  ASSERT_TRUE(volume->create_file(kRootInode, "small", 0644, 0, 0, {}).ok());
  for (const auto& [what, key] : strays) {
    SCOPED_TRACE(what);
    VolumeForger forger(*volume);
    forger.records();
    forger.put(key, as_bytes("stray"));
    commit();
    expect_problem();
    expect_refused();
    reopen_newest();
    EXPECT_EQ(volume->read_symlink(inode).value(), text_of(3000));
    VolumeForger(*volume).erase(key);
    expect_sound();
  }
}

// A volume that needs no parts has the bytes that it had before there were any.
TEST(VolumePartsOfNothing, ChangeNoByte) {
  MemoryStorage storage(false);
  const auto volume = Volume::create(storage, Key(), {.mode = Mode::AuthenticatedOnly}).value();
  const auto file = volume->create_file(kRootInode, "file", 0644, 1, 2, {3, 4}).value();
  const std::string large(2048, 'v');
  for (const size_t size : {0, 1, 100, 2047, 2048}) {
    const std::string name = "user." + std::to_string(size), value = large.substr(0, size);
    ASSERT_TRUE(volume->set_xattr(file, name, as_bytes(value), false, false, {5, 6}).ok());
    ASSERT_TRUE(volume->set_xattr(kRootInode, name, as_bytes(value), false, false, {5, 6}).ok());
    if (size == 0) continue;
    ASSERT_TRUE(volume->make_symlink(kRootInode, name, value, 0, 0, {7, 8}).ok());
  }
  ASSERT_TRUE(volume->remove_xattr(file, "user.2047", {}).ok());
  ASSERT_TRUE(volume->set_xattr(file, "user.1", as_bytes(large), false, true, {}).ok());
  ASSERT_TRUE(volume->unlink(kRootInode, "user.2047", {}).ok());
  ASSERT_TRUE(volume->write(file, 0, Bytes(100'000, 1), {9, 10}).ok());
  ASSERT_TRUE(volume->commit().ok());
  EXPECT_EQ(to_hex(volume->root()), "09e261809ac157df6f111308be195d27ec035c7b8b6f37d4ad8ca418d5a59026");
}

}  // namespace
}  // namespace cloister::volume
