// What a volume promises to programs: names, content, attributes, and that all of it is there after
// reopening.
#include "volume/volume.h"

#include <gtest/gtest.h>

#include "volume/faulty_storage.h"
#include "volume/memory_storage.h"
#include "volume/second_reader.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(7);
constexpr Timestamp kNow{1'700'000'000, 5};

class VolumeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Volume::create(storage, kKey, {.now = kNow});
    ASSERT_TRUE(made.ok()) << made.error().message();
    volume = std::move(made).value();
  }
  void TearDown() override {
    if (volume == nullptr || HasFailure()) return;
    const auto tag = volume->commit();
    ASSERT_TRUE(tag.ok()) << tag.error().message();
    give_to_second_reader(storage, kKey, *tag, "at the end");
  }
  void reopen() {
    auto tag = volume->commit();
    ASSERT_TRUE(tag.ok()) << tag.error().message();
    volume.reset();
    auto opened = Volume::open(storage, kKey, *tag, {});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    volume = std::move(opened).value();
  }
  InodeId file(std::string_view name, std::string_view content, InodeId directory = kRootInode) {
    auto inode = volume->create_file(directory, name, 0644, 1, 2, kNow);
    EXPECT_TRUE(inode.ok()) << inode.error().message;
    auto written = volume->write(*inode, 0, as_bytes(content), kNow);
    EXPECT_TRUE(written.ok()) << written.error().message;
    return *inode;
  }
  std::string content(InodeId inode) {
    Bytes out(static_cast<size_t>(volume->attributes(inode)->size));
    auto got = volume->read(inode, 0, out);
    EXPECT_TRUE(got.ok()) << got.error().message;
    EXPECT_EQ(*got, out.size());
    return std::string(as_text(out));
  }
  template <class T>
  Reason reason(const VolumeResult<T>& result) {
    EXPECT_FALSE(result.ok());
    return const_cast<VolumeResult<T>&>(result).error().reason;
  }

  MemoryStorage storage;
  std::unique_ptr<Volume> volume;
};

// An empty volume.fspf was in the way of the next attempt.
TEST(VolumeCreate, LeavesNothingWhenItFailsAndNothingElseWhenThereIsAVolume) {
  for (uint64_t n = 1;; ++n) {
    MemoryStorage below;
    Faults faults{.fail_at = n, .no_space = true};
    FaultyStorage storage(below, faults);
    if (Volume::create(storage, kKey, {}).ok()) {
      EXPECT_GT(n, 5u);
      break;
    }
    EXPECT_TRUE(below.names().empty()) << n;
  }
  MemoryStorage storage;
  auto made = Volume::create(storage, kKey, {});
  ASSERT_TRUE(made.ok());
  const Tag tag = (*made)->tag();
  made->reset();
  const auto again = Volume::create(storage, kKey, {});
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code(), Code::InvalidArgument);
  EXPECT_EQ(again.error().message(), "there is a volume here already");
  EXPECT_TRUE(Volume::open(storage, kKey, tag, {}).ok());
}

TEST_F(VolumeTest, KeepsFilesOfAllSizes) {
  std::map<size_t, InodeId> inodes;
  const auto text = [](size_t size) {
    std::string out(size, ' ');
    for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 31 + i / 4096) % 26);
    return out;
  };
  for (const size_t size : {0, 1, 100, 2048, 2049, 4095, 4096, 4097, 65536, 65537, 300'000, 3'000'000}) {
    inodes[size] = file("f" + std::to_string(size), text(size));
  }
  for (int round = 0; round < 2; ++round) {
    for (const auto& [size, inode] : inodes) EXPECT_EQ(content(inode), text(size)) << size;
    reopen();
  }
  EXPECT_TRUE(volume->verify_all().ok());
}

TEST_F(VolumeTest, FindsTenThousandNamesAfterReopening) {
  for (int i = 0; i < 10'000; ++i)
    ASSERT_TRUE(volume->create_file(kRootInode, "n" + std::to_string(i), 0644, 0, 0, kNow).ok());
  reopen();
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(volume->lookup(kRootInode, "n" + std::to_string(i)).ok()) << i;
  EXPECT_EQ(reason(volume->lookup(kRootInode, "n10000")), Reason::NotFound);
  std::vector<DirectoryEntry> all;
  uint64_t cookie = 0;
  do {
    auto next = volume->read_directory(kRootInode, cookie, 100, all);
    ASSERT_TRUE(next.ok());
    cookie = *next;
  } while (cookie != 0);
  EXPECT_EQ(all.size(), 10'000u);
  for (int i = 0; i < 10'000; ++i)
    ASSERT_TRUE(volume->unlink(kRootInode, "n" + std::to_string(i), kNow).ok()) << i;
  reopen();
  all.clear();
  ASSERT_TRUE(volume->read_directory(kRootInode, 0, 10, all).ok());
  EXPECT_TRUE(all.empty());
  EXPECT_EQ(volume->usage().files, 1u);
}

TEST_F(VolumeTest, RefusesBadNames) {
  EXPECT_EQ(reason(volume->create_file(kRootInode, std::string(256, 'a'), 0644, 0, 0, kNow)),
            Reason::NameTooLong);
  for (const std::string& name :
       {std::string("."), std::string(".."), std::string("a/b"), std::string("a\0b", 3)}) {
    EXPECT_EQ(reason(volume->create_file(kRootInode, name, 0644, 0, 0, kNow)), Reason::Invalid);
  }
  EXPECT_TRUE(volume->create_file(kRootInode, std::string(255, 'a'), 0644, 0, 0, kNow).ok());
  const InodeId plain = file("plain", "x");
  EXPECT_EQ(reason(volume->lookup(plain, "a")), Reason::NotDirectory);
}

TEST_F(VolumeTest, AnUnlinkedFileLivesWhileItIsHeld) {
  const InodeId inode = file("open", "still here");
  volume->hold(inode);
  ASSERT_TRUE(volume->unlink(kRootInode, "open", kNow).ok());
  EXPECT_EQ(volume->attributes(inode)->links, 0u);
  EXPECT_EQ(content(inode), "still here");
  ASSERT_TRUE(volume->write(inode, 0, as_bytes("S"), kNow).ok());
  EXPECT_EQ(content(inode), "Still here");
  volume->release(inode);
  EXPECT_EQ(reason(volume->attributes(inode)), Reason::NotFound);
}

TEST_F(VolumeTest, AHeldFileWithoutANameGetsOneAgain) {
  const InodeId inode = file("open", "still here");
  volume->hold(inode);
  ASSERT_TRUE(volume->unlink(kRootInode, "open", kNow).ok());
  ASSERT_TRUE(volume->commit().ok());
  ASSERT_TRUE(volume->link(inode, kRootInode, "named", kNow).ok());
  volume->release(inode);
  reopen();
  file("something", "else");  // the first change of a mount removes orphans
  ASSERT_EQ(*volume->lookup(kRootInode, "named"), inode);
  EXPECT_EQ(volume->attributes(inode)->links, 1u);
  EXPECT_EQ(content(inode), "still here");
  EXPECT_TRUE(volume->verify_all().ok());
}

TEST_F(VolumeTest, AHeldFileIsGoneAfterACrash) {
  const InodeId inode = file("open", std::string(10'000, 'x'));
  ASSERT_TRUE(volume->commit().ok());
  volume->hold(inode);
  ASSERT_TRUE(volume->unlink(kRootInode, "open", kNow).ok());
  reopen();
  file("something", "else");  // the first change of a mount removes orphans
  EXPECT_EQ(reason(volume->attributes(inode)), Reason::NotFound);
  EXPECT_EQ(volume->usage().files, 2u);
  EXPECT_TRUE(volume->verify_all().ok());
}

TEST_F(VolumeTest, ExchangesNames) {
  const InodeId a = volume->make_directory(kRootInode, "a", 0755, 0, 0, kNow).value();
  const InodeId b = volume->make_directory(a, "b", 0755, 0, 0, kNow).value();
  const InodeId one = file("one", "1");
  EXPECT_EQ(reason(volume->exchange(kRootInode, "a", a, "b", kNow)), Reason::Invalid);
  EXPECT_EQ(reason(volume->exchange(a, "b", kRootInode, "a", kNow)), Reason::Invalid);
  EXPECT_EQ(reason(volume->exchange(a, "b", kRootInode, "none", kNow)), Reason::NotFound);
  EXPECT_EQ(reason(volume->exchange(kRootInode, "none", a, "b", kNow)), Reason::NotFound);
  ASSERT_TRUE(volume->exchange(a, "b", kRootInode, "one", kNow).ok());
  ASSERT_TRUE(volume->exchange(kRootInode, "one", kRootInode, "one", kNow).ok());
  reopen();
  EXPECT_EQ(*volume->lookup(a, "b"), one);
  EXPECT_EQ(*volume->lookup(kRootInode, "one"), b);
  EXPECT_EQ(*volume->parent_of(b), kRootInode);
  EXPECT_EQ(volume->attributes(a)->links, 2u);
  EXPECT_EQ(volume->attributes(kRootInode)->links, 4u);
  ASSERT_TRUE(volume->exchange(kRootInode, "one", kRootInode, "a", kNow).ok());
  EXPECT_EQ(*volume->lookup(kRootInode, "one"), a);
  EXPECT_EQ(content(*volume->lookup(a, "b")), "1");
  EXPECT_TRUE(volume->verify_all().ok());
}

TEST_F(VolumeTest, RenamesAsPosixSays) {
  const InodeId a = volume->make_directory(kRootInode, "a", 0755, 0, 0, kNow).value();
  const InodeId b = volume->make_directory(a, "b", 0755, 0, 0, kNow).value();
  EXPECT_EQ(reason(volume->rename(kRootInode, "a", b, "c", kNow)), Reason::Invalid);
  EXPECT_EQ(reason(volume->rename(kRootInode, "a", a, "self", kNow)), Reason::Invalid);
  const InodeId one = file("one", "1");
  const InodeId two = file("two", "2");
  ASSERT_TRUE(volume->rename(kRootInode, "one", kRootInode, "two", kNow).ok());
  EXPECT_EQ(*volume->lookup(kRootInode, "two"), one);
  EXPECT_EQ(reason(volume->attributes(two)), Reason::NotFound);
  EXPECT_EQ(reason(volume->rename(kRootInode, "two", kRootInode, "a", kNow)), Reason::IsDirectory);
  EXPECT_EQ(reason(volume->rename(kRootInode, "a", kRootInode, "two", kNow)), Reason::NotDirectory);
  ASSERT_TRUE(volume->link(one, b, "hard", kNow).ok());
  ASSERT_TRUE(volume->rename(kRootInode, "two", b, "hard", kNow).ok());  // the same file: nothing happens
  EXPECT_EQ(volume->attributes(one)->links, 2u);
  ASSERT_TRUE(volume->rename(a, "b", kRootInode, "b", kNow).ok());
  EXPECT_EQ(*volume->parent_of(b), kRootInode);
  EXPECT_EQ(volume->attributes(a)->links, 2u);
  EXPECT_EQ(volume->attributes(kRootInode)->links, 4u);
  EXPECT_EQ(reason(volume->remove_directory(kRootInode, "b", kNow)), Reason::NotEmpty);
}

TEST_F(VolumeTest, GrowsAndShrinksWithZeros) {
  const InodeId inode = file("f", std::string(10'000, 'x'));
  ASSERT_TRUE(volume->truncate(inode, 5000, kNow).ok());
  ASSERT_TRUE(volume->truncate(inode, 300'000, kNow).ok());
  reopen();
  const std::string got = content(inode);
  EXPECT_EQ(got, std::string(5000, 'x') + std::string(295'000, '\0'));
  ASSERT_TRUE(volume->truncate(inode, 0, kNow).ok());
  ASSERT_TRUE(volume->write(inode, 100, as_bytes("y"), kNow).ok());
  reopen();
  EXPECT_EQ(content(inode), std::string(100, '\0') + "y");
}

TEST_F(VolumeTest, KnowsDataAndHoles) {
  const InodeId inode = file("f", "");
  ASSERT_TRUE(volume->truncate(inode, 10 << 20, kNow).ok());
  ASSERT_TRUE(volume->write(inode, 5 << 20, as_bytes("data"), kNow).ok());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(*volume->seek_data(inode, 0), 5u << 20);
    EXPECT_EQ(*volume->seek_hole(inode, 0), 0u);
    EXPECT_EQ(*volume->seek_hole(inode, 5 << 20), (5u << 20) + 4096);
    EXPECT_EQ(reason(volume->seek_data(inode, (5 << 20) + 4096)), Reason::NotFound);
    EXPECT_EQ(reason(volume->seek_hole(inode, 10 << 20)), Reason::NotFound);
    reopen();
  }
  EXPECT_EQ(volume->attributes(inode)->allocated, 4096u);
}

TEST_F(VolumeTest, AHoleThatWasReadStaysOneWhenTheFileIsCutInIt) {
  const InodeId f = file("f", std::string(4096, 'x'));
  ASSERT_TRUE(volume->truncate(f, 100 * 4096, kNow).ok());
  Bytes out(10);
  ASSERT_TRUE(volume->read(f, 50 * 4096, out).ok());
  ASSERT_TRUE(volume->truncate(f, 50 * 4096 + 1000, kNow).ok());
  EXPECT_EQ(reason(volume->seek_data(f, 4096)), Reason::NotFound);
  reopen();
  EXPECT_EQ(volume->attributes(f)->allocated, 4096u);
}

TEST_F(VolumeTest, HoldsSixteenTebibytesOfHole) {
  const InodeId inode = file("f", "");
  const uint64_t far = (16ull << 40) - 3;
  ASSERT_TRUE(volume->write(inode, far, as_bytes("end"), kNow).ok());
  reopen();
  EXPECT_EQ(volume->attributes(inode)->size, 16ull << 40);
  ByteArray<3> out{};
  ASSERT_TRUE(volume->read(inode, far, out).ok());
  EXPECT_EQ(as_text(out), "end");
  EXPECT_EQ(reason(volume->write(inode, 1ull << 60, as_bytes("x"), kNow)), Reason::TooLarge);
}

TEST_F(VolumeTest, KeepsExtendedAttributes) {
  const InodeId inode = file("f", "x");
  const Bytes large(2048, 3);
  ASSERT_TRUE(volume->set_xattr(inode, "user.large", large, true, false, kNow).ok());
  ASSERT_TRUE(volume->set_xattr(inode, "user.small", as_bytes("v"), false, false, kNow).ok());
  EXPECT_EQ(reason(volume->set_xattr(inode, "user.small", as_bytes("w"), true, false, kNow)), Reason::Exists);
  EXPECT_EQ(reason(volume->set_xattr(inode, "user.none", as_bytes("w"), false, true, kNow)), Reason::NoData);
  EXPECT_EQ(reason(volume->set_xattr(inode, "user.huge", Bytes(65537), false, false, kNow)), Reason::NoSpace);
  reopen();
  EXPECT_EQ(*volume->get_xattr(inode, "user.large"), large);
  EXPECT_EQ(volume->list_xattrs(inode)->size(), 2u);
  ASSERT_TRUE(volume->remove_xattr(inode, "user.large", kNow).ok());
  EXPECT_EQ(reason(volume->get_xattr(inode, "user.large")), Reason::NoData);
}

TEST_F(VolumeTest, AReaderKeepsItsCookieWhileNamesComeAndGo) {
  for (int i = 0; i < 100; ++i) file("old" + std::to_string(i), "");
  std::map<std::string, int> seen;
  uint64_t cookie = 0;
  int round = 0;
  do {
    std::vector<DirectoryEntry> part;
    cookie = *volume->read_directory(kRootInode, cookie, 7, part);
    for (const DirectoryEntry& entry : part) ++seen[entry.name];
    ASSERT_TRUE(volume->create_file(kRootInode, "new" + std::to_string(round++), 0644, 0, 0, kNow).ok());
    if (!part.empty()) {
      ASSERT_TRUE(volume->unlink(kRootInode, part[0].name, kNow).ok());
    }
  } while (cookie != 0);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen["old" + std::to_string(i)], 1) << i;
}

TEST_F(VolumeTest, CommitWithoutChangesKeepsTheTag) {
  const Tag first = *volume->commit();
  EXPECT_EQ(first, volume->tag());
  EXPECT_FALSE(volume->dirty());
  file("f", "x");
  EXPECT_TRUE(volume->dirty());
  EXPECT_NE(*volume->commit(), first);
}

TEST_F(VolumeTest, SevenUnacknowledgedStatesStayOpenable) {
  std::vector<Tag> tags{volume->tag()};
  for (int i = 0; i < 7; ++i) {
    file("f" + std::to_string(i), "x");
    tags.push_back(*volume->commit());
  }
  volume.reset();
  for (size_t i = 0; i < tags.size(); ++i) {
    auto opened = Volume::open(storage, kKey, tags[i], {.read_only = true});
    ASSERT_TRUE(opened.ok()) << i;
    EXPECT_EQ((*opened)->usage().files, 1 + i);
    EXPECT_TRUE((*opened)->verify_all().ok());
  }
}

TEST_F(VolumeTest, OpeningAPredecessorDiscardsTheSuccessor) {
  const Tag kept = *volume->commit();
  file("lost", std::string(100'000, 'l'));
  const Tag discarded = *volume->commit();
  volume.reset();
  volume = std::move(Volume::open(storage, kKey, kept, {})).value();
  EXPECT_EQ(reason(volume->lookup(kRootInode, "lost")), Reason::NotFound);
  file("new", "x");
  const Tag next = *volume->commit();
  volume.reset();
  EXPECT_FALSE(Volume::open(storage, kKey, discarded, {}).ok());
  volume = std::move(Volume::open_newest_without_freshness(storage, kKey, {})).value();
  EXPECT_EQ(volume->tag(), next);
  EXPECT_TRUE(volume->verify_all().ok());
}

TEST_F(VolumeTest, ReadsOnlyWhenOpenedSo) {
  file("f", "x");
  const Tag tag = *volume->commit();
  volume.reset();
  volume = std::move(Volume::open(storage, kKey, tag, {.read_only = true})).value();
  EXPECT_EQ(reason(volume->create_file(kRootInode, "g", 0644, 0, 0, kNow)), Reason::ReadOnly);
  EXPECT_EQ(*volume->commit(), tag);
}

TEST_F(VolumeTest, SpaceOfEarlierMountsIsFoundAgain) {
  const InodeId inode = file("f", "");
  const Bytes data(2u << 20, 1);
  const auto size = [&] {
    size_t total = 0;
    for (const std::string& name : storage.names()) total += storage.content(name)->size();
    return total;
  };
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(volume->write(inode, 0, data, kNow).ok());
    for (int j = 0; j < 50; ++j) {
      const std::string name = "g" + std::to_string(j);
      if (i > 0) {
        ASSERT_TRUE(volume->unlink(kRootInode, name, kNow).ok());
      }
      file(name, std::string(60'000, 'x'));
    }
    reopen();
  }
  EXPECT_TRUE(volume->verify_all().ok());
  EXPECT_LT(size(), 50u << 20);  // five megabytes live; without reclaiming it would be 200
}

}  // namespace
}  // namespace cloister::volume
