// Archives that we write, that others write, and that nobody should open, made byte by byte.
#include "transfer/zip.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <fstream>

#include "base/files.h"
#include "crypto/random.h"
#include "transfer/names.h"
#include "transfer/transfer_test_support.h"
#include "transfer/zip_format.h"

namespace cloister::transfer {
namespace {

namespace fs = std::filesystem;

using Zip = TransferTest;

// An archive written by hand: every field can lie.
struct FakeEntry {
  std::string name;
  std::string content;
  std::string local_name = name;
  uint32_t size = static_cast<uint32_t>(content.size());
  uint32_t packed = static_cast<uint32_t>(content.size());
  uint32_t crc =
      static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()));
  uint16_t method = kStored;
  uint16_t flags = 0;
  uint32_t mode = S_IFREG | 0644;
  std::optional<uint32_t> offset = std::nullopt;
};

Bytes fake_zip(const std::vector<FakeEntry>& entries, int count_error = 0) {
  ByteWriter out, directory;
  for (const FakeEntry& e : entries) {
    const uint32_t at = e.offset.value_or(static_cast<uint32_t>(out.size()));
    if (!e.offset) {
      out.le(kLocalHeader).le<uint16_t>(20).le(e.flags).le(e.method).le<uint32_t>(0x21 << 16).le(e.crc);
      out.le(e.packed).le(e.size).le(static_cast<uint16_t>(e.local_name.size())).le<uint16_t>(0);
      out.text(e.local_name).text(e.content);
    }
    directory.le(kCentralHeader).le<uint16_t>(kMadeByUnix | 20).le<uint16_t>(20).le(e.flags).le(e.method);
    directory.le<uint32_t>(0x21 << 16)
        .le(e.crc)
        .le(e.packed)
        .le(e.size)
        .le(static_cast<uint16_t>(e.name.size()));
    directory.le<uint16_t>(0)
        .le<uint16_t>(0)
        .le<uint16_t>(0)
        .le<uint16_t>(0)
        .le(e.mode << 16)
        .le(at)
        .text(e.name);
  }
  const auto start = static_cast<uint32_t>(out.size());
  const auto count = static_cast<uint16_t>(static_cast<int>(entries.size()) + count_error);
  out.bytes(directory.view()).le(kEndOfDirectory).le<uint16_t>(0).le<uint16_t>(0).le(count).le(count);
  out.le(static_cast<uint32_t>(directory.size())).le(start).le<uint16_t>(0);
  return out.take();
}

class HostileZip : public TransferTest {
 protected:
  Result<void> open(const Bytes& bytes, const ZipLimits& limits = {}) {
    write(folder_ / "h.zip", as_text(bytes));
    return unzip(folder_ / "h.zip", folder_ / "out", limits);
  }
  // Refused with these words, and nothing is left beside the archive.
  void expect_refused(const Bytes& bytes, const std::string& words, Code code = Code::Malformed,
                      const ZipLimits& limits = {}) {
    const Result<void> result = open(bytes, limits);
    ASSERT_FALSE(result.ok()) << words;
    EXPECT_EQ(result.error().code(), code) << result.error().message();
    EXPECT_NE(result.error().message().find(words), std::string::npos) << result.error().message();
    EXPECT_EQ(names_in(folder_), std::vector<std::string>{"h.zip"});
  }
};

TEST_F(Zip, BringsAFolderBackAsItWas) {
  make_tree();
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  ASSERT_TRUE(unzip(folder_ / "t.zip", folder_ / "back").ok());
  EXPECT_EQ(tree_of(folder_ / "back"), tree_of(folder_ / "tree"));
  EXPECT_TRUE(fs::is_directory(folder_ / "back/sub/empty"));
  EXPECT_EQ(names_in(folder_), (std::vector<std::string>{"back", "t.zip", "tree"}));
}

TEST_F(Zip, WritesTheSameBytesForTheSameFolder) {
  make_tree();
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "1.zip").ok());
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "2.zip").ok());
  EXPECT_EQ(read(folder_ / "1.zip"), read(folder_ / "2.zip"));
}

TEST_F(Zip, OtherProgramsReadOurs) {
  make_tree();
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  EXPECT_EQ(shell("cd " + folder_.string() + " && zip -qT t.zip"), 0);
  EXPECT_EQ(shell("cd " + folder_.string() + " && python3 -m zipfile -e t.zip other"), 0);
  EXPECT_EQ(tree_of(folder_ / "other"), tree_of(folder_ / "tree"));
}

TEST_F(Zip, ReadsWhatOtherProgramsWrite) {
  make_tree();
  write(folder_ / "tree/text", std::string(100000, 'a') + noise(1000));  // will be deflated
  ASSERT_EQ(shell("cd " + folder_.string() +
                  "/tree && zip -qr ../deflated.zip . && zip -qr0 -fz ../stored64.zip ."
                  " && zip -qr - . >../streamed.zip"),
            0);
  for (const char* name : {"deflated", "stored64", "streamed"}) {
    const Result<void> result = unzip(folder_ / (std::string(name) + ".zip"), folder_ / name);
    ASSERT_TRUE(result.ok()) << name << ": " << result.error().message();
    EXPECT_EQ(tree_of(folder_ / name), tree_of(folder_ / "tree")) << name;
  }
}

TEST_F(Zip, ListsNamesSizesAndTimesWithoutUnpacking) {
  make_tree();
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  const ZipListing listing = list_zip(folder_ / "t.zip", 3).value();
  EXPECT_EQ(listing.count, 5u);
  ASSERT_EQ(listing.entries.size(), 3u);
  EXPECT_EQ(listing.entries[0].name, "a");
  EXPECT_EQ(listing.entries[0].size, 5u);
  struct stat status = {};
  ASSERT_EQ(::stat((folder_ / "tree/a").c_str(), &status), 0);
  EXPECT_EQ(listing.entries[0].modified, status.st_mtime);
  EXPECT_EQ(list_zip(folder_ / "tree/a", 3).error().code(), Code::Malformed);
}

TEST_F(Zip, ReportsProgressUpToTheTotal) {
  make_tree();
  uint64_t done = 0, total = 0;
  const Progress progress = [&](uint64_t d, uint64_t t) { done = d, total = t; };
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip", progress).ok());
  EXPECT_EQ(done, total);
  EXPECT_GT(total, 3u << 20);
  done = 0;
  ASSERT_TRUE(unzip(folder_ / "t.zip", folder_ / "back", {}, progress).ok());
  EXPECT_EQ(done, total);
}

TEST_F(Zip, RefusesLinksInTheFolderAndLeavesNoHalfArchive) {
  make_tree();
  fs::create_symlink("/etc/passwd", folder_ / "tree/link");
  const Result<void> result = zip_folder(folder_ / "tree", folder_ / "t.zip");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Code::Unsupported);
  EXPECT_EQ(names_in(folder_), std::vector<std::string>{"tree"});
  EXPECT_EQ(zip_folder(folder_ / "absent", folder_ / "t.zip").error().code(), Code::NotFound);
}

TEST_F(Zip, WritesNoNameThatItWouldNotRead) {
  for (const char* name : {"back\\slash", "new\nline", "tab\there"}) {
    fs::create_directory(folder_ / "tree");
    write(folder_ / "tree" / name, "x");
    const Result<void> result = zip_folder(folder_ / "tree", folder_ / "t.zip");
    ASSERT_FALSE(result.ok()) << name;
    EXPECT_EQ(result.error().code(), Code::Unsupported) << name;
    fs::remove_all(folder_ / "tree");
  }
  fs::path deep = folder_ / "tree";
  for (size_t i = 0; i < kMaxArchiveDepth; ++i) deep /= "d";
  fs::create_directories(deep);
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  ASSERT_TRUE(unzip(folder_ / "t.zip", folder_ / "back").ok());
  EXPECT_EQ(tree_of(folder_ / "back"), tree_of(folder_ / "tree"));
  write(deep / "f", "one part more");
  EXPECT_EQ(zip_folder(folder_ / "tree", folder_ / "t.zip").error().code(), Code::Unsupported);
}

TEST_F(Zip, DoesNotReplaceAFolderThatHoldsSomething) {
  make_tree();
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  const auto before = tree_of(folder_ / "tree");
  EXPECT_EQ(unzip(folder_ / "t.zip", folder_ / "tree").error().code(), Code::InvalidArgument);
  EXPECT_EQ(tree_of(folder_ / "tree"), before);
  fs::create_directory(folder_ / "empty");
  EXPECT_TRUE(unzip(folder_ / "t.zip", folder_ / "empty/").ok());
}

TEST_F(Zip, AnEmptyFolderIsAnEmptyArchive) {
  fs::create_directory(folder_ / "tree");
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  ASSERT_TRUE(unzip(folder_ / "t.zip", folder_ / "back").ok());
  EXPECT_TRUE(fs::is_empty(folder_ / "back"));
}

// Over 4 GiB of holes: the sizes and offsets need zip64.
TEST_F(Zip, CarriesMoreThanFourGibibytes) {
  if (std::getenv("CLOISTER_LONG_TESTS") == nullptr) GTEST_SKIP() << kOnlyInLongTests;
  fs::create_directory(folder_ / "tree");
  write(folder_ / "tree/big", "");
  fs::resize_file(folder_ / "tree/big", (uint64_t{4} << 30) + 12345);
  write(folder_ / "tree/small", "behind the fourth gibibyte");
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  fs::remove(folder_ / "tree/big");
  const ZipListing listing = list_zip(folder_ / "t.zip", 10).value();
  EXPECT_EQ(listing.entries.at(0).size, (uint64_t{4} << 30) + 12345);
  EXPECT_EQ(shell("cd " + folder_.string() + " && python3 -m zipfile -l t.zip >/dev/null"), 0);
  ASSERT_TRUE(unzip(folder_ / "t.zip", folder_ / "back").ok());
  EXPECT_EQ(fs::file_size(folder_ / "back/big"), (uint64_t{4} << 30) + 12345);
  EXPECT_EQ(read(folder_ / "back/small"), "behind the fourth gibibyte");
}

// More entries than 16 bits count.
TEST_F(Zip, CarriesMoreThan65535Files) {
  if (std::getenv("CLOISTER_LONG_TESTS") == nullptr) GTEST_SKIP() << kOnlyInLongTests;
  fs::create_directory(folder_ / "tree");
  for (int i = 0; i < 66000; ++i) std::ofstream(folder_ / "tree" / std::to_string(i));
  ASSERT_TRUE(zip_folder(folder_ / "tree", folder_ / "t.zip").ok());
  EXPECT_EQ(list_zip(folder_ / "t.zip", 0).value().count, 66000u);
  ASSERT_TRUE(unzip(folder_ / "t.zip", folder_ / "back").ok());
  EXPECT_EQ(names_in(folder_ / "back").size(), 66000u);
}

TEST_F(HostileZip, TheHandMadeOneIsSoundWithoutLies) {
  ASSERT_TRUE(open(fake_zip({{"a/b", "text"}, {"c", ""}})).ok());
  EXPECT_EQ(read(folder_ / "out/a/b"), "text");
}

TEST_F(HostileZip, NamesThatLeaveTheFolderAreRefused) {
  for (const std::string& name :
       {std::string("/etc/x"), std::string("../x"), std::string("a/../../x"), std::string("a/.."),
        std::string("./a"), std::string("a//b"), std::string("a\\..\\x"), std::string(""), std::string("/"),
        std::string("a\0b", 3), std::string("a\nb"), std::string(300, 'x'), std::string(".")}) {
    expect_refused(fake_zip({{name, "x"}}), "not a plain relative name");
  }
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "d/";
  expect_refused(fake_zip({{deep + "f", "x"}}), "not a plain relative name");
}

TEST_F(HostileZip, LongNamesDoNotFillAListing) {
  std::vector<FakeEntry> entries;
  for (int i = 0; i < 200; ++i) entries.push_back({std::to_string(1000 + i) + std::string(4000, '"'), ""});
  write(folder_ / "h.zip", as_text(fake_zip(entries)));
  const ZipListing listing = list_zip(folder_ / "h.zip", 1000).value();
  EXPECT_EQ(listing.count, 200u);
  EXPECT_GT(listing.entries.size(), 50u);
  EXPECT_LT(listing.entries.size(), 70u);
  write(folder_ / "h.zip", as_text(fake_zip({{std::string(kMaxArchiveName + 1, 'x'), ""}})));
  EXPECT_EQ(list_zip(folder_ / "h.zip", 1000).error().code(), Code::Malformed);
}

TEST_F(HostileZip, LinksAndDevicesAreRefused) {
  for (const uint32_t type : {S_IFLNK, S_IFCHR, S_IFIFO, S_IFSOCK}) {
    expect_refused(fake_zip({{.name = "l", .content = "/etc/passwd", .mode = type | 0777u}}),
                   "neither file nor folder");
  }
}

TEST_F(HostileZip, OneNameTwiceOrAsFileAndFolderIsRefused) {
  expect_refused(fake_zip({{"a", "1"}, {"a", "2"}}), "twice");
  expect_refused(fake_zip({{"a", "1"}, {.name = "a/", .content = "", .mode = S_IFDIR | 0755}}), "twice");
  expect_refused(fake_zip({{"a", "1"}, {"a/b", "2"}}), "file and folder at once");
  expect_refused(fake_zip({{"a/b", "2"}, {"a", "1"}}), "file and folder at once");
}

TEST_F(HostileZip, EntriesThatShareBytesAreRefused) {
  std::vector<FakeEntry> entries = {{"a", std::string(1000, 'x')}};
  entries.push_back(entries[0]);
  entries[1].name = "b";
  entries[1].offset = 0;
  expect_refused(fake_zip(entries), "contradicts the directory");
  // With a local header of its own inside the first one's bytes.
  FakeEntry inner{"b", "1234"};
  const Bytes inside = fake_zip({inner});
  FakeEntry outer{"a", std::string(as_text(inside))};
  inner.offset = static_cast<uint32_t>(30 + 1);
  expect_refused(fake_zip({outer, inner}), "overlapping");
}

TEST_F(HostileZip, BombsAreRefusedBeforeAndWhileUnpacking) {
  // 10 MiB of zeros deflate to 10 KiB.
  const std::string zeros(10 << 20, '\0');
  std::string packed(20000, '\0');
  z_stream stream = {};
  ASSERT_EQ(::deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(zeros.data()));
  stream.avail_in = static_cast<uInt>(zeros.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  ASSERT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);

  FakeEntry bomb{"bomb", packed};
  bomb.method = kDeflated;
  bomb.size = static_cast<uint32_t>(zeros.size());
  bomb.crc = static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(zeros.data()), zeros.size()));
  expect_refused(fake_zip({bomb}), "times its size");
  bomb.size = 1000;  // says little, holds much
  expect_refused(fake_zip({bomb}), "damaged");
  ZipLimits limits;
  limits.max_size = 100;
  expect_refused(fake_zip({{"a", std::string(60, 'x')}, {"b", std::string(60, 'x')}}), "more than 100 bytes",
                 Code::Malformed, limits);
  limits = {};
  limits.max_entries = 1;
  expect_refused(fake_zip({{"a", ""}, {"b", ""}}), "more than 1 entries", Code::Malformed, limits);
  limits = {};
  bomb.size = static_cast<uint32_t>(zeros.size());
  limits.max_ratio = 10000;
  EXPECT_TRUE(open(fake_zip({bomb}), limits).ok());
}

TEST_F(HostileZip, LiesInTheRecordsAreRefused) {
  FakeEntry entry{"a", "content"};
  entry.crc ^= 1;
  expect_refused(fake_zip({entry}), "damaged");
  entry = {"a", "content"};
  entry.local_name = "b";
  expect_refused(fake_zip({entry}), "contradicts the directory");
  entry = {"a", "content"};
  entry.size = 3;
  expect_refused(fake_zip({entry}), "two sizes");
  entry = {"a", "content"};
  entry.size = entry.packed = 1000;
  expect_refused(fake_zip({entry}), "lies outside");
  entry = {"a", "content"};
  entry.offset = 0x7fffffff;
  expect_refused(fake_zip({entry}), "lies outside");
  entry = {"a", "content"};
  entry.size = entry.packed = kMax32;
  expect_refused(fake_zip({entry}), "a size is missing");
  expect_refused(fake_zip({{"a", "content"}}, 1), "not a sound zip archive");
  expect_refused(fake_zip({{"a", "content"}, {"b", ""}}, -1), "longer than it says");
}

TEST_F(HostileZip, EncryptionAndForeignMethodsAreUnsupported) {
  FakeEntry entry{"a", "content"};
  entry.flags = kFlagEncrypted;
  expect_refused(fake_zip({entry}), "encrypted by zip", Code::Unsupported);
  entry = {"a", "content"};
  entry.method = 99;
  expect_refused(fake_zip({entry}), "compression method 99", Code::Unsupported);
}

TEST_F(HostileZip, EveryTruncationIsRefused) {
  const Bytes whole = fake_zip({{"a/b", "some text"}, {"c", "more"}});
  for (size_t size = 0; size < whole.size(); ++size) {
    ASSERT_FALSE(open(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))).ok()) << size;
    ASSERT_EQ(names_in(folder_), std::vector<std::string>{"h.zip"}) << size;
  }
}

}  // namespace
}  // namespace cloister::transfer
