// What a volume promises to programs: names, content, attributes, and that all of it is there after reopening.
#include "volume/volume.h"

#include <gtest/gtest.h>

#include "volume/memory_storage.h"

namespace cloister::volume {
namespace {

const Key kKey = [] {
  Key key;
  key.expose().fill(7);
  return key;
}();
constexpr Timestamp kNow{1'700'000'000, 5};

class VolumeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Volume::create(storage, kKey, {.now = kNow});
    ASSERT_TRUE(made.ok()) << made.error().message();
    volume = std::move(made).value();
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
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(volume->create_file(kRootInode, "n" + std::to_string(i), 0644, 0, 0, kNow).ok());
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
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(volume->unlink(kRootInode, "n" + std::to_string(i), kNow).ok()) << i;
  reopen();
  all.clear();
  ASSERT_TRUE(volume->read_directory(kRootInode, 0, 10, all).ok());
  EXPECT_TRUE(all.empty());
  EXPECT_EQ(volume->usage().files, 1u);
}

}  // namespace
}  // namespace cloister::volume
