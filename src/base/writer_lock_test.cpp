#include "base/writer_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace cloister {
namespace {

class WriterLockTest : public testing::Test {
 protected:
  ~WriterLockTest() override {
    for (const std::string& path : paths_) std::filesystem::remove(path);
  }
  std::string make() {
    std::string path = (std::filesystem::temp_directory_path() / "cloister-lock-XXXXXX").string();
    EXPECT_TRUE(Descriptor(::mkostemp(path.data(), O_CLOEXEC)).valid());
    return paths_.emplace_back(path);
  }
  static Descriptor open(const std::string& path) {
    return Descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  }

 private:
  std::vector<std::string> paths_;
};

TEST_F(WriterLockTest, GoesWithTheLastDuplicateAndLeavesOthersToRead) {
  const std::string path = make();
  Descriptor first = open(path);
  const Descriptor second = open(path);
  std::optional<WriterLock> lock(std::in_place);
  WriterLock other;
  ASSERT_TRUE(lock->take(first.get()));
  EXPECT_FALSE(other.take(second.get()));
  EXPECT_EQ(errno, EAGAIN);
  { const Descriptor passing = open(path); }  // would end a lock of the process
  EXPECT_FALSE(other.take(second.get()));
  { const Descriptor gone = std::move(first); }
  EXPECT_FALSE(other.take(second.get()));
  char byte = 0;
  EXPECT_EQ(::read(second.get(), &byte, 1), 0);
  lock.reset();
  EXPECT_TRUE(other.take(second.get()));
}

TEST_F(WriterLockTest, HasAFileOnceAndOneFileAtATime) {
  const std::string path = make(), another = make();
  WriterLock lock, other;
  ASSERT_TRUE(lock.take(open(path).get()));
  EXPECT_TRUE(lock.take(open(path).get())) << "by another description, which the first one would keep out";
  EXPECT_FALSE(other.take(open(path).get()));
  ASSERT_TRUE(lock.take(open(another).get()));
  EXPECT_FALSE(other.take(open(another).get()));
  EXPECT_TRUE(other.take(open(path).get()));
  EXPECT_FALSE(lock.take(open(path).get()));
  EXPECT_TRUE(lock.take(open(another).get())) << "a failure gives up nothing";
}

}  // namespace
}  // namespace cloister
