// The one lock of a mount: requests, forgetting and the commit timer come from several threads.
#include "fuse/filesystem.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "volume/memory_storage.h"

namespace cloister::fuse {
namespace {

using volume::InodeId;
using volume::kRootInode;
using volume::Volume;
using volume::VolumeResult;

const volume::Key kKey{};

// Makes, writes, reads and removes files; each is forgotten after its last name is gone.
void work(FileSystem& files, unsigned number) {
  for (unsigned i = 0; i < 60; ++i) {
    const std::string name = "file-" + std::to_string(number) + "-" + std::to_string(i);
    const Bytes content(20'000, static_cast<uint8_t>(i));
    const auto made = files.run([&](Volume& v) -> VolumeResult<InodeId> {
      const InodeId inode = TRY(v.create_file(kRootInode, name, 0644, 0, 0, now()));
      files.refer(inode);
      TRY(v.write(inode, 0, content, now()));
      return inode;
    });
    ASSERT_TRUE(made.ok());
    if (i % 3 == 0) {
      const auto gone = files.run([&](Volume& v) {
        files.keep_named(kRootInode, name);
        return v.unlink(kRootInode, name, now());
      });
      ASSERT_TRUE(gone.ok());
    }
    Bytes back(content.size());
    const auto got = files.run([&](Volume& v) { return v.read(*made, 0, back); });
    ASSERT_TRUE(got.ok()) << "an open file must outlive its name";
    EXPECT_EQ(back, content);
    files.forget(*made, 1);
    if (i % 10 == 0) {
      ASSERT_TRUE(files.commit().ok());
    }
  }
}

TEST(FileSystem, ServesSeveralThreadsAndPublishesEveryTag) {
  constexpr unsigned kThreads = 4;
  volume::MemoryStorage storage(false);
  auto created = Volume::create(storage, kKey, {});
  ASSERT_TRUE(created.ok());
  volume::Tag published{};
  FileSystem files(
      **created,
      [&](const volume::Tag& tag) -> Result<void> {
        published = tag;  // under the lock, like everything
        return {};
      },
      [](std::string_view text) { ADD_FAILURE() << text; });
  std::atomic<bool> done = false;
  std::thread timer([&] {
    while (!done) {
      EXPECT_TRUE(files.commit().ok());
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < kThreads; ++number)
    threads.emplace_back([&files, number] { work(files, number); });
  for (std::thread& thread : threads) thread.join();
  done = true;
  timer.join();
  ASSERT_TRUE(files.finish().ok());
  EXPECT_EQ((*created)->tag(), published);
  created->reset();
  auto opened = Volume::open(storage, kKey, published, {});
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_TRUE((*opened)->verify_all().ok());
  EXPECT_EQ((*opened)->usage().files, 1 + kThreads * 40);
}

TEST(FileSystem, AFullDiskIsAnErrorOfItsOwn) {
  EXPECT_EQ(errno_of(Error(Code::Unavailable, "full", std::string(volume::kNoSpaceHint))), ENOSPC);
  EXPECT_EQ(errno_of(Error(Code::Unavailable, "a fault")), EIO);
  EXPECT_EQ(errno_of(Error(Code::Integrity, "damage")), EIO);
}

}  // namespace
}  // namespace cloister::fuse
