#include "volume/second_reader.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "crypto/sha256.h"

namespace cloister::volume {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kMostDigested = 64u << 20;  // bytes of one file, as in compare_volumes.py
constexpr unsigned kMostVolumes = 12;          // of a test
constexpr uint64_t kMostBytes = 64u << 20;

std::string text_of(Timestamp time) {
  return std::to_string(time.seconds) + "." + std::to_string(time.nanoseconds);
}

// What the library reads of a volume, as compare_volumes.py writes it.
class Description {
 public:
  explicit Description(Volume& volume) : volume_(volume) {
    const Volume::Usage usage = volume.usage();
    text_ = "usage " + std::to_string(usage.files) + " " + std::to_string(usage.data_size) + "\n";
    describe("", kRootInode);
  }
  std::string text_;

 private:
  void describe(const std::string& path, InodeId inode) {
    static const char* const kKinds[] = {"", "f", "d", "l"};
    const Attributes a = volume_.attributes(inode).value();
    char permissions[8];
    std::snprintf(permissions, sizeof(permissions), "%o", a.permissions);
    const std::string hex = to_hex(as_bytes(path));
    text_ +=
        hex + " " + kKinds[static_cast<unsigned>(a.type)] + " " + std::to_string(inode) + " " + permissions;
    for (const uint64_t number : {uint64_t{a.uid}, uint64_t{a.gid}, uint64_t{a.links}, a.size, a.allocated})
      text_ += " " + std::to_string(number);
    text_ += " " + text_of(a.modified) + " " + text_of(a.changed) + " ";
    if (a.type == FileType::Directory) {
      text_ += std::to_string(volume_.parent_of(inode).value()) + "\n";
    } else {
      text_ += to_hex(content(inode, a)) + "\n";
    }
    const std::vector<std::string> names = volume_.list_xattrs(inode).value();
    for (const std::string& name : names) {
      const Bytes value = volume_.get_xattr(inode, name).value();
      text_ += hex + " x " + to_hex(as_bytes(name)) + " " + to_hex(crypto::sha256(value)) + "\n";
    }
    if (a.type == FileType::Directory) describe_entries(path, inode);
  }
  void describe_entries(const std::string& path, InodeId directory) {
    std::vector<DirectoryEntry> entries;
    uint64_t cookie = 0;
    do {
      cookie = volume_.read_directory(directory, cookie, 1000, entries).value();
    } while (cookie != 0);
    for (const DirectoryEntry& entry : entries)
      describe(std::string(path).append("/").append(entry.name), entry.inode);
  }
  crypto::Digest content(InodeId inode, const Attributes& a) {
    if (a.type == FileType::Symlink) return crypto::sha256(as_bytes(volume_.read_symlink(inode).value()));
    Bytes out(static_cast<size_t>(std::min(a.size, kMostDigested)));
    EXPECT_EQ(volume_.read(inode, 0, out).value(), out.size());
    return crypto::sha256(out);
  }

  Volume& volume_;
};

void write_file(const fs::path& path, ByteView content) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
}

class SecondReader : public ::testing::Environment {
 public:
  void take(MemoryStorage& storage, Volume& volume, const std::string& name, const std::string& what) {
    const std::string label = test_name() + ", " + what;
    if (!room_for(storage)) return;
    const fs::path folder = base() / std::to_string(volumes_++);
    for (const std::string& file : storage.names())
      write_file(folder / "volume" / file, *storage.content(file));
    write_file(folder / "name", as_bytes(name));
    write_file(folder / "label", as_bytes(label));
    write_file(folder / "expected", as_bytes(Description(volume).text_));
  }
  void TearDown() override {
    if (base_.empty()) return;
    bool missing = false;
    const std::string differences = compare_with_second_reader(base_.string(), missing);
    fs::remove_all(base_);
    base_.clear();
    EXPECT_EQ(differences, "") << "of " << volumes_ << " volumes";
    if (left_out_ != 0) std::printf("The second reader was not asked about %u more volumes.\n", left_out_);
    if (missing) std::printf("The second reader was not asked: python3-cryptography is not installed.\n");
  }

 private:
  static std::string test_name() {
    const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
    return std::string(test->test_suite_name()) + "." + test->name();
  }
  bool room_for(MemoryStorage& storage) {
    if (test_ != test_name()) taken_ = bytes_ = 0;
    test_ = test_name();
    uint64_t size = 0;
    for (const std::string& file : storage.names()) size += storage.content(file)->size();
    if (taken_ != 0 && (taken_ == kMostVolumes || bytes_ + size > kMostBytes)) {
      ++left_out_;
      return false;
    }
    ++taken_;
    bytes_ += size;
    return true;
  }
  const fs::path& base() {
    if (!base_.empty()) return base_;
    std::string pattern = (fs::temp_directory_path() / "cloister-volumes-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    return base_ = pattern;
  }

  fs::path base_;
  unsigned volumes_ = 0, left_out_ = 0;
  std::string test_;  // of the two counts
  unsigned taken_ = 0;
  uint64_t bytes_ = 0;
};

SecondReader* const second_reader = [] {
  auto* const made = new SecondReader;
  ::testing::AddGlobalTestEnvironment(made);  // which owns it
  return made;
}();

}  // namespace

void give_to_second_reader(MemoryStorage& storage, const Key& key, const Tag& tag, const std::string& what) {
  const auto opened = Volume::open(storage, key, tag, {.read_only = true});
  ASSERT_TRUE(opened.ok()) << what << ": " << opened.error().message();
  second_reader->take(storage, **opened, to_hex(key.expose()) + " " + to_hex(tag), what);
}

void give_to_second_reader(MemoryStorage& storage, const Root& root, const std::string& what) {
  const auto opened = Volume::open_authenticated(storage, root, {.read_only = true});
  ASSERT_TRUE(opened.ok()) << what << ": " << opened.error().message();
  second_reader->take(storage, **opened, to_hex(root), what);
}

void give_to_second_reader(const fs::path& folder, const Key& key, const Tag& tag, const std::string& what) {
  std::map<std::string, Bytes> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    files[fs::relative(entry.path(), folder).string()].assign(std::istreambuf_iterator<char>(in), {});
  }
  MemoryStorage storage(false);
  storage.restore(files);
  give_to_second_reader(storage, key, tag, what);
}

std::string compare_with_second_reader(const std::string& folder, bool& missing) {
  const std::string command = "python3 '" CLOISTER_SOURCE_DIR
                              "/tests/support/compare_volumes.py' '" CLOISTER_SOURCE_DIR "/tools' '" +
                              folder + "' 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "no pipe";
  std::string out;
  char buffer[4096];
  while (const size_t got = std::fread(buffer, 1, sizeof(buffer), pipe)) out.append(buffer, got);
  const int status = ::pclose(pipe);
  missing = WIFEXITED(status) && WEXITSTATUS(status) == 77;
  if (missing || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return "";
  return out.empty() ? "the second reader died" : out;
}

}  // namespace cloister::volume
