#include "base/writer_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "base/descriptor.h"

namespace cloister {
namespace {

TEST(WriterLock, GoesWithTheLastDuplicateAndLeavesOthersToRead) {
  std::string path = (std::filesystem::temp_directory_path() / "cloister-lock-XXXXXX").string();
  Descriptor first(::mkostemp(path.data(), O_CLOEXEC));
  ASSERT_TRUE(first.valid());
  const Descriptor second(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(lock_for_one_writer(first.get()));
  EXPECT_TRUE(lock_for_one_writer(first.get()));
  EXPECT_FALSE(lock_for_one_writer(second.get()));
  EXPECT_EQ(errno, EAGAIN);
  { const Descriptor passing(::open(path.c_str(), O_RDWR | O_CLOEXEC)); }  // would end a lock of the process
  EXPECT_FALSE(lock_for_one_writer(second.get()));
  Descriptor duplicate(::fcntl(first.get(), F_DUPFD_CLOEXEC, 0));
  { const Descriptor gone = std::move(first); }
  EXPECT_FALSE(lock_for_one_writer(second.get()));
  char byte = 0;
  EXPECT_EQ(::read(second.get(), &byte, 1), 0);
  { const Descriptor gone = std::move(duplicate); }
  EXPECT_TRUE(lock_for_one_writer(second.get()));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace cloister
