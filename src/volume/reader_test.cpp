// The independent reader, written from docs/formats/volume.md alone, must see what the library wrote.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "crypto/sha256.h"
#include "volume/forged_tree.h"
#include "volume/memory_storage.h"
#include "volume/model.h"
#include "volume/posix_storage.h"
#include "volume/second_reader.h"
#include "volume/volume.h"
#include "volume/volume_forger.h"

namespace cloister::volume {
namespace {

namespace fs = std::filesystem;
constexpr Timestamp kNow{1'700'000'000, 123};

struct Output {
  int status = -1;
  std::string text;
};

Output run(const std::string& command) {
  Output out;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return out;
  char buffer[4096];
  while (const size_t got = std::fread(buffer, 1, sizeof(buffer), pipe)) out.text.append(buffer, got);
  const int status = ::pclose(pipe);
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}

class VolumeReader : public ::testing::Test {
 protected:
  void SetUp() override {
    if (run("python3 -c 'import cryptography'").status != 0)
      GTEST_SKIP() << "the package python3-cryptography is not installed (`./dev setup` installs it)";
    std::string pattern = (fs::temp_directory_path() / "cloister-reader-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    base = pattern;
    key.expose().fill(0x21);
    std::ofstream(base / "key", std::ios::binary)
        .write(reinterpret_cast<const char*>(key.expose().data()), 32);
    auto opened = open_posix_storage(base / "volume", true);
    ASSERT_TRUE(opened.ok());
    storage = std::move(opened).value();
  }
  void TearDown() override {
    if (!base.empty()) fs::remove_all(base);
  }

  void add(Volume& volume, InodeId directory, const std::string& path, size_t size) {
    const std::string name = path.substr(path.rfind('/') + 1);
    Bytes content(size);
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<uint8_t>(i * 7 + i / 4096 + size);
    auto inode = volume.create_file(directory, name, 0640, 0, 0, kNow);
    ASSERT_TRUE(inode.ok());
    ASSERT_TRUE(volume.write(*inode, 0, content, kNow).ok());
    if (size > 100'000) {
      ASSERT_TRUE(volume.truncate(*inode, size + 1'000'000, kNow).ok());
      content.resize(size + 1'000'000);
    }
    expect("f 0640 " + std::to_string(content.size()), content, path);
  }
  void expect(const std::string& start, ByteView content, const std::string& path) {
    lines.push_back(start + " " + to_hex(crypto::sha256(content)) + " " + path);
  }
  void expect_attribute(const std::string& name, ByteView value, const std::string& path) {
    expect("x " + to_hex(as_bytes(name)) + " " + std::to_string(value.size()), value, path);
  }
  void fill(Volume& volume) {
    add(volume, kRootInode, "/empty", 0);
    add(volume, kRootInode, "/small", 1234);
    add(volume, kRootInode, "/one", 4096);
    add(volume, kRootInode, "/middle", 50'001);
    add(volume, kRootInode, "/large", 777'777);
    auto folder = volume.make_directory(kRootInode, "folder", 0711, 0, 0, kNow);
    ASSERT_TRUE(folder.ok());
    expect("d 0711 0", {}, "/folder");
    for (int i = 0; i < 300; ++i)
      add(volume, *folder, "/folder/f" + std::to_string(i), static_cast<size_t>(i * 11));
    ASSERT_TRUE(volume.make_symlink(kRootInode, "link", "folder/f1", 0, 0, kNow).ok());
    expect("l 0777 9", as_bytes("folder/f1"), "/link");
    const std::string far = std::string(2048, 'a') + std::string(2047, 'b');
    ASSERT_TRUE(volume.make_symlink(kRootInode, "far", far, 0, 0, kNow).ok());
    expect("l 0777 4095", as_bytes(far), "/far");
    for (const size_t size : {0, 7, 2048, 2049, 4032, 65536}) {
      const std::string name = "user." + std::to_string(size);
      Bytes value(size);
      for (size_t i = 0; i < size; ++i) value[i] = static_cast<uint8_t>(i * 5 + i / 2016);
      ASSERT_TRUE(volume.set_xattr(*folder, name, value, false, false, kNow).ok());
      expect_attribute(name, value, "/folder");
    }
  }
  void compare(const std::string& arguments) {
    const Output out = run("python3 '" CLOISTER_SOURCE_DIR "/tools/volume_reader.py' '" +
                           (base / "volume").string() + "' " + arguments + " digest");
    EXPECT_EQ(out.status, 0) << out.text;
    std::sort(lines.begin(), lines.end());
    std::vector<std::string> got;
    size_t start = 0;
    for (size_t end = out.text.find('\n'); end != std::string::npos;
         start = end + 1, end = out.text.find('\n', start)) {
      got.push_back(out.text.substr(start, end - start));
    }
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, lines);
  }
  std::string by_tag(const Tag& tag) {
    return "--key-file '" + (base / "key").string() + "' --tag " + to_hex(tag);
  }

  fs::path base;
  Key key;
  std::unique_ptr<Storage> storage;
  std::vector<std::string> lines;
};

TEST_F(VolumeReader, ReadsWhatTheLibraryWroteOverSeveralEpochs) {
  auto created = Volume::create(*storage, key, {.now = kNow});
  ASSERT_TRUE(created.ok());
  fill(**created);
  Tag tag = (*created)->commit().value();
  created->reset();
  for (int i = 0; i < 105; ++i) {  // more epochs than one page holds
    auto opened = Volume::open(*storage, key, tag, {});
    ASSERT_TRUE(opened.ok()) << i << ": " << opened.error().message();
    add(**opened, kRootInode, "/later" + std::to_string(i), 5000);
    tag = (*opened)->commit().value();
  }
  compare(by_tag(tag));
  auto opened = Volume::open(*storage, key, tag, {.read_only = true});
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE((*opened)->verify_all().ok());
}

// What random operations leave: holes, renamed folders, several links to one file, attributes, freed places.
TEST_F(VolumeReader, ReadsWhatRandomOperationsLeave) {
  const std::map<FileType, std::string> kinds = {
      {FileType::Regular, "f "}, {FileType::Directory, "d "}, {FileType::Symlink, "l "}};
  for (unsigned seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    fs::remove_all(base / "volume");
    storage = open_posix_storage(base / "volume", true).value();
    std::mt19937 random(seed);
    auto volume = Volume::create(*storage, key, {.now = kNow}).value();
    Model model;
    for (int i = 0; i < 1000; ++i) {
      bool failed = false;
      ASSERT_EQ(model.step(*volume, random, failed), "") << "step " << i;
      if (random() % 40 != 0) continue;
      const Tag tag = volume->commit().value();
      if (random() % 2 == 0) {
        ASSERT_TRUE(volume->acknowledge(tag).ok());
      }
    }
    const Tag tag = volume->commit().value();
    volume.reset();
    lines.clear();
    model.visit([&](const std::string& path, const ModelNode& node) {
      char mode[8];
      std::snprintf(mode, sizeof(mode), "%04o", node.permissions);
      expect(kinds.at(node.type) + mode + " " + std::to_string(node.content.size()), as_bytes(node.content),
             path);
      for (const auto& [name, value] : node.xattrs) expect_attribute(name, as_bytes(value), path);
    });
    EXPECT_GT(lines.size(), 10u);
    compare(by_tag(tag));
  }
}

TEST_F(VolumeReader, ReadsAuthenticatedVolumes) {
  auto created = Volume::create(*storage, key, {.mode = Mode::AuthenticatedOnly, .now = kNow});
  ASSERT_TRUE(created.ok());
  fill(**created);
  ASSERT_TRUE((*created)->commit().ok());
  compare("--root " + to_hex((*created)->root()));
}

TEST_F(VolumeReader, RefusesAnotherTagKeyAndAFlippedBit) {
  auto created = Volume::create(*storage, key, {.now = kNow});
  ASSERT_TRUE(created.ok());
  fill(**created);
  const Tag old_tag = (*created)->tag();
  const Tag tag = (*created)->commit().value();
  ASSERT_TRUE((*created)->acknowledge(tag).ok());
  created->reset();
  const std::string reader =
      "python3 '" CLOISTER_SOURCE_DIR "/tools/volume_reader.py' '" + (base / "volume").string() + "' ";
  const Output replay = run(reader + by_tag(old_tag));
  EXPECT_EQ(replay.status, 3);
  EXPECT_NE(replay.text.find("suspected replay attack"), std::string::npos);
  std::ofstream(base / "key2") << std::string(64, '0');
  const Output wrong = run(reader + "--key-file '" + (base / "key2").string() + "' --tag " + to_hex(tag));
  EXPECT_EQ(wrong.status, 3);
  EXPECT_NE(wrong.text.find("wrong volume key"), std::string::npos) << wrong.text;
  for (const auto& entry : fs::recursive_directory_iterator(base / "volume/objects")) {
    if (!entry.is_regular_file()) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5000);
    file.put('x').put('y');
  }
  const Output flipped = run(reader + by_tag(tag) + " digest");
  EXPECT_EQ(flipped.status, 3);
  EXPECT_NE(flipped.text.find("Verification of file chunk"), std::string::npos) << flipped.text;
}

// What second_reader.h is for: it tells what the library did not read, and what it cannot read.
TEST_F(VolumeReader, TellsWhatTheLibraryReadsOtherwise) {
  auto volume = Volume::create(*storage, key, {.now = kNow}).value();
  add(*volume, kRootInode, "/a", 10);
  const Tag old_tag = volume->tag(), tag = volume->commit().value();
  ASSERT_TRUE(volume->acknowledge(tag).ok());
  volume.reset();
  fs::create_directory(base / "0");
  fs::rename(base / "volume", base / "0/volume");
  fs::remove(base / "key");
  std::ofstream(base / "0/label") << "the volume";
  const auto told = [&](const Tag& named, const std::string& expected) {
    std::ofstream(base / "0/name") << to_hex(key.expose()) << ' ' << to_hex(named);
    std::ofstream(base / "0/expected") << expected;
    bool missing = false;
    return compare_with_second_reader(base.string(), missing);
  };
  const std::string other = told(tag, "usage 2 10\n2f62 d 2\n");
  EXPECT_NE(other.find("the volume: only the library: b'/b' d 2\n"), std::string::npos) << other;
  EXPECT_NE(other.find("the volume: only the second reader: b'/a' f 2 640 "), std::string::npos) << other;
  EXPECT_EQ(other.find("usage"), std::string::npos) << other;
  const std::string twice = told(tag, "usage 2 10\nusage 2 10\n");
  EXPECT_NE(twice.find("the volume: only the library: 'usage' 2 10\n"), std::string::npos) << twice;
  const std::string refused = told(old_tag, "");
  EXPECT_NE(refused.find("the volume: the second reader refuses it: The FSPF tag"), std::string::npos)
      << refused;
}

// The first key of an inner node bounds nothing, and yet keys rise.
TEST_F(VolumeReader, RefusesAnInnerNodeWhoseFirstKeyIsNotBelowTheSecond) {
  MemoryStorage memory(false);
  auto volume = Volume::create(memory, key, {.now = kNow}).value();
  for (int i = 0; i < 100; ++i) add(*volume, kRootInode, "/f" + std::to_string(i), 500);
  const Tag tag = volume->commit().value();
  volume.reset();
  const auto read = [&](const Tag& named) {
    const ByteView main = *memory.content(kMainName);
    fs::create_directory(base / "volume");
    std::ofstream(base / "volume" / kMainName, std::ios::binary)
        .write(reinterpret_cast<const char*>(main.data()), static_cast<std::streamsize>(main.size()));
    return run("python3 '" CLOISTER_SOURCE_DIR "/tools/volume_reader.py' '" + (base / "volume").string() +
               "' " + by_tag(named));
  };
  const Output sound = read(tag);
  EXPECT_EQ(sound.status, 0) << sound.text;
  ForgedTree tree(memory, key, tag);
  ASSERT_EQ(tree.root().level(), 1u);
  ForgedTree::set_key(tree.root(), 0, ForgedTree::key_of(tree.root(), 1));
  const Output forged = read(tree.store());
  EXPECT_EQ(forged.status, 3);
  EXPECT_NE(forged.text.find("keys are not in order"), std::string::npos) << forged.text;
}

TEST_F(VolumeReader, RefusesForgedPartsOfTargetsAndAttributes) {
  auto volume = Volume::create(*storage, key, {.now = kNow}).value();
  const InodeId link = volume->make_symlink(kRootInode, "link", std::string(3000, 't'), 0, 0, kNow).value();
  ASSERT_TRUE(volume->set_xattr(link, "user.a", Bytes(9000), false, false, kNow).ok());
  VolumeForger forger(*volume);
  std::vector<RecordKey> parts;
  const auto records = forger.records();
  for (const auto& [at, value] : records) {
    if (at.inode == link && at.kind != Kind::Inode) parts.push_back(at);
  }
  ASSERT_EQ(parts.size(), 2u + 1 + 5);
  const std::string reader =
      "python3 '" CLOISTER_SOURCE_DIR "/tools/volume_reader.py' '" + (base / "volume").string() + "' ";
  const auto read = [&] { return run(reader + by_tag(volume->commit().value()) + " digest").status; };
  EXPECT_EQ(read(), 0);
  for (const RecordKey& at : {parts[1], parts[7]}) {
    SCOPED_TRACE(static_cast<int>(at.kind));
    forger.erase(at);
    EXPECT_EQ(read(), 3);
    forger.put(at, Bytes(records.at(at).size() - 1));
    EXPECT_EQ(read(), 3);
    forger.put(at, records.at(at));
  }
  std::vector<Xattr> attribute = decode_xattrs(records.at(parts[2])).value();
  const Xattr sound = attribute[0];
  for (const auto& [size, number] : {std::pair<size_t, uint64_t>{2048, sound.number},
                                     {65537, sound.number},
                                     {9001, sound.number},
                                     {9000, 0},
                                     {9000, sound.number + 1}}) {
    SCOPED_TRACE(size);
    attribute[0].size = size;
    attribute[0].number = sound.number;
    Bytes record = encode_xattrs(attribute);
    store_le(record.data() + record.size() - 8, number);
    forger.put(parts[2], record);
    EXPECT_EQ(read(), 3);
  }
  forger.put(parts[2], records.at(parts[2]));
  EXPECT_EQ(read(), 0);
}

TEST(VolumeFormat, AnEmptyAuthenticatedVolumeHasTheDocumentedRootAndRecord) {
  MemoryStorage storage(false);
  auto created = Volume::create(storage, Key(), {.mode = Mode::AuthenticatedOnly});
  ASSERT_TRUE(created.ok());
  std::ifstream in(CLOISTER_SOURCE_DIR "/docs/formats/volume.md");
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  EXPECT_NE(page.find(to_hex((*created)->root())), std::string::npos) << to_hex((*created)->root());
  const Bytes& main = *storage.content("volume.fspf");
  ASSERT_EQ(main.size(), 9 * 4096u);
  const std::string record = to_hex(ByteView(main).subspan(9 * 4096 - 91));
  EXPECT_NE(page.find(record), std::string::npos) << record;
}

}  // namespace
}  // namespace cloister::volume
