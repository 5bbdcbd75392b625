// A real mount, served by this process: what the kernel's queue makes of many programs at once.
#include "fuse/mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "base/descriptor.h"
#include "volume/faulty_storage.h"
#include "volume/memory_storage.h"

namespace cloister::fuse {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using volume::Volume;

// Whether the system lets this process mount anything.
bool may_mount(const std::string& folder) {
  return ::mount("none", folder.c_str(), "tmpfs", 0, "size=4k") == 0 && ::umount(folder.c_str()) == 0;
}

class Mount : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "cloister-mount-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    options.mountpoint = options.volume_folder = pattern;
    options.commit_every = 0;
    options.publish = [this](const volume::Tag& tag) -> Result<void> {
      ++published;
      newest = tag;
      stored = operations.count;
      std::this_thread::sleep_for(pause.load());
      return {};
    };
    options.ready = [this] { ready = true; };
    options.log = [](std::string_view text) { ADD_FAILURE() << text; };
    if (::access("/dev/fuse", R_OK | W_OK) != 0 || !may_mount(pattern))
      GTEST_SKIP()
          << "mounting needs /dev/fuse and the right to mount, which root has outside of most containers";
    auto created = Volume::create(storage, {}, {});
    ASSERT_TRUE(created.ok());
    made = std::move(created).value();
    server = std::thread([this] {
      const Result<void> served = serve(*made, options);
      if (!served.ok()) failure = served.error().message();
      ended = true;
    });
    while (!ready && !ended) std::this_thread::sleep_for(1ms);
    ASSERT_TRUE(ready) << failure;
  }
  void TearDown() override {
    unmount();
    fs::remove(options.mountpoint);
  }
  void unmount() {
    if (!server.joinable()) return;
    if (ready) {
      EXPECT_EQ(::umount2(options.mountpoint.c_str(), MNT_DETACH), 0);
    }
    server.join();
    if (!ready) return;
    EXPECT_EQ(failure, "");
    EXPECT_EQ(newest, made->tag());
  }
  Descriptor open(const std::string& name) {
    return Descriptor(::open((options.mountpoint / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  }

  volume::MemoryStorage memory{false};
  volume::Faults operations;
  volume::FaultyStorage storage{memory, operations};
  std::unique_ptr<Volume> made;
  MountOptions options;
  std::atomic<std::chrono::milliseconds> pause = 0ms;
  uint64_t stored = 0;  // operations of the storage when the newest tag was published
  std::atomic<unsigned> published = 0;
  volume::Tag newest{};
  std::atomic<bool> ready = false, ended = false;
  std::string failure;
  std::thread server;
};

// While one commit is published, the others' writes arrive; the next commit holds all of them.
TEST_F(Mount, ConcurrentFsyncsShareCommits) {
  constexpr unsigned kThreads = 8, kRounds = 20;
  pause = 5ms;
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < kThreads; ++number) {
    threads.emplace_back([this, number] {
      const Descriptor file = open("of-thread-" + std::to_string(number));
      ASSERT_TRUE(file.valid());
      for (unsigned round = 0; round < kRounds; ++round) {
        const Bytes content(5000, static_cast<uint8_t>(round));
        ASSERT_EQ(::pwrite(file.get(), content.data(), content.size(), 0), 5000);
        ASSERT_EQ(::fsync(file.get()), 0) << std::strerror(errno);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%u fsyncs of %u threads were %u commits\n", kThreads * kRounds, kThreads, published.load());
  EXPECT_GE(published, kRounds);  // each thread waits for its own
  EXPECT_LE(published, kThreads * kRounds / 2) << "of " << kThreads * kRounds << " fsyncs";
}

TEST_F(Mount, AnFsyncWithoutChangesWritesAndPublishesNothing) {
  {
    const Descriptor file = open("file"), again = open("file");
    ASSERT_EQ(::pwrite(file.get(), "text", 4, 0), 4);
    for (unsigned i = 0; i < 3; ++i) {
      EXPECT_EQ(::fsync(file.get()), 0);
      EXPECT_EQ(::fsync(again.get()), 0);
    }
  }
  unmount();
  EXPECT_EQ(operations.count, stored);
  EXPECT_EQ(published, 1u);
}

// Mounted on the volume's own folder it asked itself, and everybody waited for ever.
TEST_F(Mount, SaysTheFreeSpaceOfTheFolderBelowIt) {
  struct statvfs below {};
  ASSERT_EQ(::statvfs(options.mountpoint.parent_path().c_str(), &below), 0);
  ::alarm(60);  // in place of waiting with it
  struct statvfs status {};
  EXPECT_EQ(::statvfs(options.mountpoint.c_str(), &status), 0);
  ::alarm(0);
  EXPECT_EQ(status.f_bsize, 4096u);
  EXPECT_EQ(status.f_blocks, below.f_blocks * below.f_frsize / 4096);
}

}  // namespace
}  // namespace cloister::fuse
