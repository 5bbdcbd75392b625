#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace cloister {
namespace {

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "cloister-files-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static mode_t mode_of(const std::filesystem::path& path) {
    struct stat status = {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 07777;
  }

  std::filesystem::path folder_;
};

TEST_F(Files, PrivateFileReadsBackAndOnlyTheOwnerMayReadIt) {
  ASSERT_TRUE(write_private_file(folder_ / "key", as_bytes("secret")).ok());
  EXPECT_EQ(as_text(read_secret_file(folder_ / "key", 100).value().expose()), "secret");
  EXPECT_EQ(mode_of(folder_ / "key"), 0600u);
}

TEST_F(Files, ReplacesAFileWithWiderPermissionsAndLeavesNothingBeside) {
  std::ofstream(folder_ / "key") << "old and longer";
  ASSERT_EQ(::chmod((folder_ / "key").c_str(), 0666), 0);
  ASSERT_TRUE(write_private_file(folder_ / "key", as_bytes("new")).ok());
  EXPECT_EQ(as_text(read_file(folder_ / "key", 100).value()), "new");
  EXPECT_EQ(mode_of(folder_ / "key"), 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(Files, AStagedFileIsNotThereBeforeItIsPutAndReplacesNothing) {
  const std::filesystem::path path = folder_ / "key";
  const auto stage = [&path](std::string_view text) {
    return StagedFile::write(path, as_bytes(text)).value();
  };
  {
    StagedFile first = stage("first");
    StagedFile second = stage("second");
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_TRUE(second.put().value());
    EXPECT_FALSE(first.put().value());
  }
  EXPECT_EQ(as_text(read_file(path, 100).value()), "second");
  EXPECT_EQ(mode_of(path), 0600u);
  stage("third").replace().value();
  EXPECT_EQ(as_text(read_file(path, 100).value()), "third");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1) << "what was given up stays";
}

TEST_F(Files, PublicFileIsReadableByAll) {
  ASSERT_TRUE(write_public_file(folder_ / "root.pem", as_bytes("x")).ok());
  EXPECT_EQ(mode_of(folder_ / "root.pem"), 0644u);
}

TEST_F(Files, RefusesAFileOverTheLimitAndTakesOneAtIt) {
  ASSERT_TRUE(write_private_file(folder_ / "f", Bytes(10)).ok());
  EXPECT_EQ(read_file(folder_ / "f", 10).value().size(), 10u);
  EXPECT_EQ(read_file(folder_ / "f", 9).error().code(), Code::Malformed);
}

TEST_F(Files, ReadsFilesWhoseSizeIsNotKnownBefore) {
  EXPECT_FALSE(read_file("/proc/self/status", 1 << 20).value().empty());
  EXPECT_EQ(read_file("/dev/zero", 100000).error().code(), Code::Malformed);
}

TEST_F(Files, ReadsLargeFilesIntoMemoryOfTheirOwn) {
  const Bytes content(3 * 4096 + 5, 7);
  ASSERT_TRUE(write_private_file(folder_ / "f", content).ok());
  const FileMemory memory = FileMemory::read(folder_ / "f", content.size()).value();
  EXPECT_TRUE(std::ranges::equal(memory.bytes(), content));
  EXPECT_EQ(FileMemory::read(folder_ / "f", content.size() - 1).error().code(), Code::Malformed);
  ASSERT_TRUE(write_private_file(folder_ / "empty", {}).ok());
  EXPECT_TRUE(FileMemory::read(folder_ / "empty", 10).value().bytes().empty());
  EXPECT_EQ(FileMemory::read(folder_ / "absent", 10).error().code(), Code::NotFound);
  EXPECT_FALSE(FileMemory::read(folder_, 10).ok());
}

TEST_F(Files, NamesAMissingFileAndAFolder) {
  EXPECT_EQ(read_file(folder_ / "absent", 10).error().code(), Code::NotFound);
  EXPECT_FALSE(read_file(folder_, 10).ok());
  EXPECT_EQ(write_private_file(folder_ / "no" / "f", {}).error().code(), Code::NotFound);
}

TEST_F(Files, PrivateFoldersAreMadeWithParentsAndMayExist) {
  ASSERT_TRUE(make_private_folder(folder_ / "a" / "b").ok());
  ASSERT_TRUE(make_private_folder(folder_ / "a" / "b").ok());
  EXPECT_EQ(mode_of(folder_ / "a"), 0700u);
  EXPECT_EQ(mode_of(folder_ / "a" / "b"), 0700u);
  ASSERT_TRUE(write_private_file(folder_ / "f", {}).ok());
  EXPECT_FALSE(make_private_folder(folder_ / "f").ok());
}

}  // namespace
}  // namespace cloister
