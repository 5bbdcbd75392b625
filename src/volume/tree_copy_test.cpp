#include "volume/tree_copy.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "volume/memory_storage.h"
#include "volume/posix_storage.h"
#include "volume/second_reader.h"
#include "volume/volume_forger.h"

namespace cloister::volume {
namespace {

namespace fs = std::filesystem;

class TreeCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "cloister-copy-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    base = pattern;
    fs::create_directory(base / "in");
  }
  void TearDown() override {
    ::chmod((base / "out/dir").c_str(), 0700);
    fs::remove_all(base);
  }
  static void put(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  static std::string get(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path base;
  Key key;
};

TEST_F(TreeCopy, RestoresEverythingThroughAFolderVolume) {
  const fs::path in = base / "in";
  put(in / "small", "hello");
  put(in / "empty", "");
  put(in / "big", std::string(3'000'000, 'x') + "end");
  put(in / "odd \xff\n name", "odd");
  fs::create_directories(in / "dir/sub/empty");
  put(in / "dir/sub/f", "deep");
  fs::create_symlink("../../etc/passwd", in / "link");
  ASSERT_EQ(::chmod((in / "small").c_str(), 0751), 0);
  const timespec times[2] = {{1000, 5}, {1234, 6789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (in / "small").c_str(), times, 0), 0);
  ASSERT_EQ(::chmod((in / "dir").c_str(), 0500), 0);
  {
    auto storage = open_posix_storage(base / "volume", true);
    ASSERT_TRUE(storage.ok()) << storage.error().message();
    auto volume = Volume::create(**storage, key, {});
    ASSERT_TRUE(volume.ok()) << volume.error().message();
    auto totals = copy_folder_in(**volume, in);
    ASSERT_TRUE(totals.ok()) << totals.error().message();
    EXPECT_EQ(totals->files, 5u);
    EXPECT_EQ(totals->folders, 3u);
    auto tag = (*volume)->commit();
    ASSERT_TRUE(tag.ok());
    volume->reset();
    auto again = Volume::open(**storage, key, *tag, {.read_only = true});
    ASSERT_TRUE(again.ok()) << again.error().message();
    auto out = copy_folder_out(**again, base / "out");
    ASSERT_TRUE(out.ok()) << out.error().message();
    EXPECT_EQ(out->bytes, totals->bytes);
    auto twice = copy_folder_out(**again, base / "out");
    ASSERT_FALSE(twice.ok());
    EXPECT_EQ(twice.error().code(), Code::InvalidArgument);
    give_to_second_reader(base / "volume", key, *tag, "at the end");
  }
  const fs::path out = base / "out";
  EXPECT_EQ(get(out / "small"), "hello");
  EXPECT_EQ(get(out / "empty"), "");
  EXPECT_EQ(get(out / "big"), get(in / "big"));
  EXPECT_EQ(get(out / "odd \xff\n name"), "odd");
  EXPECT_EQ(get(out / "dir/sub/f"), "deep");
  EXPECT_TRUE(fs::is_directory(out / "dir/sub/empty"));
  EXPECT_EQ(fs::read_symlink(out / "link"), "../../etc/passwd");
  struct stat status {};
  ASSERT_EQ(::stat((out / "small").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0751u);
  EXPECT_EQ(status.st_mtim.tv_sec, 1234);
  EXPECT_EQ(status.st_mtim.tv_nsec, 6789);
  ASSERT_EQ(::stat((out / "dir").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0500u);
  for (const auto& entry : fs::recursive_directory_iterator(base / "volume")) {
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0u) << entry.path();
  }
}

TEST_F(TreeCopy, StreamsALargeSparseFile) {
  const fs::path in = base / "in/sparse";
  put(in, "start");
  fs::resize_file(in, 5ull << 30);
  {
    std::fstream file(in, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3ll << 30);
    file << "middle";
  }
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, key, {});
  ASSERT_TRUE(volume.ok());
  auto totals = copy_folder_in(**volume, base / "in");
  ASSERT_TRUE(totals.ok()) << totals.error().message();
  EXPECT_LT(totals->bytes, 4u << 20);
  ASSERT_TRUE((*volume)->commit().ok());
  auto inode = (*volume)->lookup(kRootInode, "sparse");
  ASSERT_TRUE(inode.ok());
  EXPECT_EQ((*volume)->attributes(*inode)->size, 5ull << 30);
  ByteArray<6> middle{};
  ASSERT_TRUE((*volume)->read(*inode, 3ull << 30, middle).ok());
  EXPECT_EQ(as_text(middle), "middle");
  ASSERT_TRUE((*volume)->read(*inode, (5ull << 30) - 6, middle).ok());
  EXPECT_EQ(middle, (ByteArray<6>{}));
  ASSERT_TRUE(copy_folder_out(**volume, base / "out").ok());
  struct stat status {};
  ASSERT_EQ(::stat((base / "out/sparse").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 5ll << 30);
  EXPECT_LT(status.st_blocks * 512, 16 << 20);
}

TEST_F(TreeCopy, DoesNotFollowLinksOutOfTheFolder) {
  fs::create_directory(base / "secret");
  put(base / "secret/file", "secret");
  fs::create_symlink(base / "secret", base / "in/escape");
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, key, {});
  ASSERT_TRUE(volume.ok());
  auto totals = copy_folder_in(**volume, base / "in");
  ASSERT_TRUE(totals.ok());
  EXPECT_EQ(totals->files, 0u);
  EXPECT_EQ(totals->symlinks, 1u);
  // Outside, a link stands where a folder must be made.
  ASSERT_TRUE((*volume)->make_directory(kRootInode, "d", 0755, 0, 0, {}).ok());
  fs::create_directory(base / "out");
  fs::create_symlink(base / "secret", base / "out/d");
  EXPECT_FALSE(copy_folder_out(**volume, base / "out").ok());
}

struct stat status_of(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status;
}

TEST_F(TreeCopy, KeepsHardLinksBothWays) {
  const fs::path in = base / "in", out = base / "out";
  fs::create_directories(in / "b/deeper");
  fs::create_directory(in / "c");
  put(in / "b/deeper/first", std::string(100'000, 'f'));
  fs::create_hard_link(in / "b/deeper/first", in / "c/second");
  fs::create_hard_link(in / "b/deeper/first", in / "z");
  fs::create_symlink("b", in / "link");
  ASSERT_EQ(::link((in / "link").c_str(), (in / "c/link").c_str()), 0);
  put(base / "outside", "half of this file is not in the folder");
  fs::create_hard_link(base / "outside", in / "inside");
  ASSERT_EQ(::chmod((in / "b/deeper").c_str(), 0500), 0);  // links are made from there after it is finished
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, key, {});
  ASSERT_TRUE(volume.ok());
  auto totals = copy_folder_in(**volume, in);
  ASSERT_TRUE(totals.ok()) << totals.error().message();
  EXPECT_EQ(totals->files, 2u);
  EXPECT_EQ(totals->symlinks, 1u);
  EXPECT_EQ(totals->links, 3u);
  EXPECT_EQ(totals->left_out(), "");
  const auto z = (*volume)->lookup(kRootInode, "z");
  ASSERT_TRUE(z.ok());
  EXPECT_EQ((*volume)->attributes(*z)->links, 3u);
  EXPECT_EQ((*volume)->attributes(*(*volume)->lookup(kRootInode, "inside"))->links, 1u);

  totals = copy_folder_out(**volume, out);
  ASSERT_TRUE(totals.ok()) << totals.error().message();
  EXPECT_EQ(totals->files, 2u);
  EXPECT_EQ(totals->links, 3u);
  EXPECT_EQ(totals->left_out(), "");
  const struct stat first = status_of(out / "b/deeper/first");
  EXPECT_EQ(first.st_nlink, 3u);
  EXPECT_EQ(status_of(out / "c/second").st_ino, first.st_ino);
  EXPECT_EQ(status_of(out / "z").st_ino, first.st_ino);
  EXPECT_EQ(status_of(out / "link").st_ino, status_of(out / "c/link").st_ino);
  EXPECT_EQ(status_of(out / "inside").st_nlink, 1u);
  EXPECT_EQ(get(out / "z"), get(in / "z"));
  for (const char* name : {"b", "b/deeper", "c"})
    EXPECT_EQ(status_of(out / name).st_mtim.tv_nsec, status_of(in / name).st_mtim.tv_nsec) << name;
  EXPECT_EQ(copy_folder_out(**volume, out).error().code(), Code::InvalidArgument);
  ::chmod((in / "b/deeper").c_str(), 0700);
  ::chmod((out / "b/deeper").c_str(), 0700);
}

// The first name was moved away, and another file stands where it was.
TEST_F(TreeCopy, LinksOnlyToWhatItWrote) {
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, key, {});
  ASSERT_TRUE(volume.ok());
  const auto file = (*volume)->create_file(kRootInode, "one", 0644, 0, 0, {});
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*volume)->write(*file, 0, as_bytes("content"), {}).ok());
  ASSERT_TRUE((*volume)->link(*file, kRootInode, "two", {}).ok());
  CopyOptions options;
  unsigned reports = 0;
  options.progress = [&](std::string_view path, const CopyTotals&) {
    const fs::path made = base / "out" / path;
    if (reports++ != 0) return;
    fs::rename(made, base / "moved");
    put(made, "from elsewhere");
  };
  const auto totals = copy_folder_out(**volume, base / "out", options);
  ASSERT_TRUE(totals.ok()) << totals.error().message();
  EXPECT_EQ(totals->links, 0u);
  EXPECT_EQ(totals->copied_links, 1u);
  EXPECT_NE(totals->left_out().find("1 hard links became copies"), std::string::npos);
  EXPECT_EQ(get(base / "moved"), "content");
  const std::string one = get(base / "out/one"), two = get(base / "out/two");
  EXPECT_EQ(one == "content" ? two : one, "from elsewhere");
  EXPECT_EQ(one == "content" ? one : two, "content");
}

constexpr const char* kNoAttributes =
    "attributes can be made on ext4, XFS or Btrfs, or on Linux 6.6's tmpfs (set TMPDIR), but not in ";

constexpr const char* kNoLongTargets =
    "links of 4095 bytes can be made on ext4, Btrfs or tmpfs (set TMPDIR), but not in ";

std::string attribute(const fs::path& path, const char* name) {
  static char value[kMaxXattrValue];
  const ssize_t size = ::lgetxattr(path.c_str(), name, value, sizeof(value));
  return size < 0 ? std::string("none: ") + std::strerror(errno)
                  : std::string(value, static_cast<size_t>(size));
}

bool set(const fs::path& path, const char* name, const std::string& value) {
  return ::lsetxattr(path.c_str(), name, value.data(), value.size(), 0) == 0;
}

TEST_F(TreeCopy, KeepsExtendedAttributesOfUsersBothWays) {
  const fs::path in = base / "in", out = base / "out";
  fs::create_directory(in / "folder");
  put(in / "file", "text");
  if (!set(in / "file", "user.text", "value")) GTEST_SKIP() << kNoAttributes << base;
  ASSERT_TRUE(set(in / "file", "user.empty", ""));
  ASSERT_TRUE(set(in / "folder", "user.of a folder", std::string("a\0b", 3)));
  ASSERT_TRUE(set(in / "folder", "user.large", std::string(2500, 'v')));
  static_cast<void>(set(in / "file", "trusted.owner", "root"));  // for root alone
  const timespec times[2] = {{1000, 5}, {1234, 6789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (in / "folder").c_str(), times, 0), 0);
  ASSERT_EQ(::chmod((in / "file").c_str(), 0400), 0);
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, key, {});
  ASSERT_TRUE(volume.ok());
  auto totals = copy_folder_in(**volume, in);
  ASSERT_TRUE(totals.ok()) << totals.error().message();
  EXPECT_EQ(totals->left_out(), "");
  const auto file = (*volume)->lookup(kRootInode, "file");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*volume)->list_xattrs(*file)->size(), 2u);
  // What no file system of a host may take from a volume.
  ASSERT_TRUE((*volume)->set_xattr(*file, "trusted.volume", as_bytes("x"), false, false, {}).ok());
  ASSERT_TRUE((*volume)->set_xattr(*file, std::string("user.a\0b", 8), as_bytes("x"), false, false, {}).ok());

  totals = copy_folder_out(**volume, out);
  ASSERT_TRUE(totals.ok()) << totals.error().message();
  EXPECT_EQ(totals->left_out(), "");
  EXPECT_EQ(attribute(out / "file", "user.text"), "value");
  EXPECT_EQ(attribute(out / "file", "user.empty"), "");
  EXPECT_EQ(attribute(out / "folder", "user.of a folder"), std::string("a\0b", 3));
  EXPECT_EQ(attribute(out / "folder", "user.large"), std::string(2500, 'v'));
  for (const char* name : {"trusted.owner", "trusted.volume", "user.a"})
    EXPECT_TRUE(attribute(out / "file", name).starts_with("none")) << name;
  EXPECT_EQ(status_of(out / "folder").st_mtim.tv_nsec, 6789);
  EXPECT_EQ(status_of(out / "file").st_mode & 07777, 0400u);
}

TEST_F(TreeCopy, KeepsTheLongestTargetsAndLargestAttributesBothWays) {
  const std::string target(kMaxTarget, 't'), value(kMaxXattrValue, 'v');
  std::error_code refused;
  fs::create_symlink(target, base / "in/link", refused);
  if (refused) GTEST_SKIP() << kNoLongTargets << base;
  put(base / "in/file", "text");
  const bool can_hold = set(base / "in/file", "user.largest", value);
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, key, {}).value();
  auto totals = copy_folder_in(*volume, base / "in");
  ASSERT_TRUE(totals.ok()) << totals.error().message();
  EXPECT_EQ(totals->left_out(), "");
  const InodeId file = volume->lookup(kRootInode, "file").value();
  if (can_hold) {
    EXPECT_EQ(as_text(*volume->get_xattr(file, "user.largest")), value);
  } else {
    ASSERT_TRUE(volume->set_xattr(file, "user.largest", as_bytes(value), false, false, {}).ok());
  }
  totals = copy_folder_out(*volume, base / "out");
  ASSERT_TRUE(totals.ok()) << totals.error().message();
  EXPECT_EQ(fs::read_symlink(base / "out/link"), target);
  if (can_hold) {
    EXPECT_EQ(totals->left_out(), "");
    EXPECT_EQ(attribute(base / "out/file", "user.largest"), value);
  } else {
    EXPECT_TRUE(totals->left_out().starts_with(
        "1 extended attributes are not kept, the first is file: user.largest: "))
        << totals->left_out();
  }
}

// Folders in folders, of the given depth, with a file in the deepest.
void nest(Volume& volume, unsigned depth) {
  InodeId at = kRootInode;
  for (unsigned level = 0; level < depth; ++level) {
    auto below = volume.make_directory(at, "folder", 0700, 0, 0, {});
    ASSERT_TRUE(below.ok());
    at = *below;
  }
  const auto file = volume.create_file(at, "file", 0600, 0, 0, {});
  ASSERT_TRUE(file.ok() && volume.write(*file, 0, as_bytes("deep"), {}).ok());
}

// A mount takes them; they could not be copied out again, nor in.
TEST_F(TreeCopy, CopiesFoldersOfAnyDepthBothWays) {
  constexpr unsigned kDepth = 1200;  // a path of them all is longer than the system takes
  MemoryStorage storage(false), again_storage(false);
  auto volume = Volume::create(storage, key, {}), again = Volume::create(again_storage, key, {});
  ASSERT_TRUE(volume.ok() && again.ok());
  ASSERT_NO_FATAL_FAILURE(nest(**volume, kDepth));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit few{256, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  auto out = copy_folder_out(**volume, base / "out");
  auto in = copy_folder_in(**again, base / "out");
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ::setenv("CLOISTER_COPY_OUT", (base / "out").c_str(), 1);
  EXPECT_EQ(std::system("rm -rf -- \"$CLOISTER_COPY_OUT\""), 0);
  ASSERT_TRUE(out.ok()) << out.error().message().substr(0, 100);
  ASSERT_TRUE(in.ok()) << in.error().message().substr(0, 100);
  EXPECT_EQ(in->folders, kDepth);
  InodeId at = kRootInode;
  for (unsigned level = 0; level < kDepth; ++level) {
    const auto below = (*again)->lookup(at, "folder");
    ASSERT_TRUE(below.ok()) << level;
    EXPECT_EQ((*again)->attributes(*below)->permissions, 0700);
    at = *below;
  }
  const auto file = (*again)->lookup(at, "file");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*again)->attributes(*file)->size, 4u);
}

// The folders above the deepest are found again by what they were.
TEST_F(TreeCopy, AFolderThatIsMovedMeanwhileLeadsNowhere) {
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, key, {});
  ASSERT_TRUE(volume.ok());
  ASSERT_NO_FATAL_FAILURE(nest(**volume, 200));
  CopyOptions options;
  options.progress = [this](std::string_view, const CopyTotals&) {
    fs::rename(base / "out/folder/folder/folder", base / "elsewhere");
  };
  const auto copied = copy_folder_out(**volume, base / "out", options);
  ASSERT_FALSE(copied.ok());
  EXPECT_EQ(copied.error().message(), "folder/folder/folder was moved while it was copied");
}

TEST_F(TreeCopy, AFolderThatLiesInItselfIsNotCopiedForEver) {
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, key, {});
  ASSERT_TRUE(volume.ok());
  const InodeId outer = *(*volume)->make_directory(kRootInode, "outer", 0700, 0, 0, {});
  ASSERT_TRUE((*volume)->make_directory(outer, "inner", 0700, 0, 0, {}).ok());
  VolumeForger forger(**volume);
  for (auto& [where, value] : forger.records()) {
    if (where.kind != Kind::Entry || where.inode != outer) continue;
    store_le(value.data(), outer);
    forger.put(where, value);
  }
  const auto copied = copy_folder_out(**volume, base / "out");
  ASSERT_FALSE(copied.ok());
  EXPECT_EQ(copied.error().code(), Code::Integrity);
  EXPECT_NE(copied.error().message().find("has several names"), std::string::npos);
}

TEST_F(TreeCopy, OneWriterAtATimeIsTold) {
  auto first = open_posix_storage(base / "volume", true);
  auto second = open_posix_storage(base / "volume");
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE((*first)->lock_for_writing("editor of reports").ok());
  auto refused = (*second)->lock_for_writing("second");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("editor of reports (process "), std::string::npos)
      << refused.error().message();
  first->reset();
  EXPECT_TRUE((*second)->lock_for_writing("second").ok());
}

// A clean-up took volume.lock away while its writer lived, another writer came, and no tag opened the volume
// again.
TEST_F(TreeCopy, OneWriterAtATimeThoughTheLockFileIsGone) {
  auto first = open_posix_storage(base / "volume", true);
  ASSERT_TRUE(first.ok());
  auto made = Volume::create(**first, key, {});
  ASSERT_TRUE(made.ok()) << made.error().message();
  for (int writer = 0; writer < 2; ++writer) {  // the one that created it, and one that opened it
    const Tag tag = (*made)->tag();
    fs::remove(base / "volume/volume.lock");
    auto second = open_posix_storage(base / "volume");
    ASSERT_TRUE(second.ok());
    auto refused = Volume::open(**second, key, tag, {});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), Code::Unavailable);
    EXPECT_NE(refused.error().message().find("open for writing by another process"), std::string::npos);
    EXPECT_TRUE(Volume::open(**second, key, tag, {.read_only = true}).ok());
    made->reset();
    first->reset();
    second->reset();
    first = open_posix_storage(base / "volume");
    made = Volume::open(**first, key, tag, {});
    ASSERT_TRUE(made.ok()) << made.error().message();
  }
}

// Nobody finds what is committed into a file that has no name any more.
TEST_F(TreeCopy, ACommitNoticesThatItsFileWasReplaced) {
  auto storage = open_posix_storage(base / "volume", true);
  ASSERT_TRUE(storage.ok());
  auto made = Volume::create(**storage, key, {});
  ASSERT_TRUE(made.ok());
  fs::copy_file(base / "volume/volume.fspf", base / "volume/restored");
  fs::rename(base / "volume/restored", base / "volume/volume.fspf");
  ASSERT_TRUE((*made)->make_directory(kRootInode, "folder", 0700, 0, 0, {}).ok());
  const auto committed = (*made)->commit();
  ASSERT_FALSE(committed.ok());
  EXPECT_NE(committed.error().message().find("removed or replaced"), std::string::npos)
      << committed.error().message();
}

TEST_F(TreeCopy, PosixStorageRefusesLinksAndPipes) {
  auto storage = open_posix_storage(base / "volume", true);
  ASSERT_TRUE(storage.ok());
  put(base / "target", "x");
  fs::create_symlink(base / "target", base / "volume/volume.fspf");
  auto through_link = (*storage)->open("volume.fspf", OpenMode::Read);
  ASSERT_FALSE(through_link.ok());
  EXPECT_EQ(through_link.error().code(), Code::Integrity);
  ASSERT_EQ(::mkfifo((base / "volume/pipe").c_str(), 0600), 0);
  EXPECT_FALSE((*storage)->open("pipe", OpenMode::Read).ok());
  EXPECT_EQ((*storage)->open("missing", OpenMode::Read).error().code(), Code::NotFound);
}

}  // namespace
}  // namespace cloister::volume
