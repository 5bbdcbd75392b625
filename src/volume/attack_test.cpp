// What somebody who can change the folder but has no key tries. Whatever it is, the reader gets exactly the
// committed content or an Integrity error, never anything else.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "volume/faulty_storage.h"
#include "volume/memory_storage.h"
#include "volume/posix_storage.h"
#include "volume/second_reader.h"
#include "volume/volume.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

using Snapshot = std::map<std::string, Bytes>;
constexpr size_t kBlock = 4096;

const Key kKey = test_key(0x5a);

struct Content {
  std::map<std::string, Bytes> files;
};

Bytes pattern(size_t size, uint8_t seed) {
  Bytes out(size);
  uint32_t state = seed;
  for (uint8_t& byte : out) byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return out;
}

void put(Volume& volume, Content& content, const std::string& name, Bytes bytes) {
  VolumeResult<InodeId> inode = volume.lookup(kRootInode, name);
  if (!inode.ok()) inode = volume.create_file(kRootInode, name, 0644, 0, 0, {});
  ASSERT_TRUE(inode.ok());
  ASSERT_TRUE(volume.truncate(*inode, 0, {}).ok());
  ASSERT_TRUE(volume.write(*inode, 0, bytes, {}).ok());
  content.files[name] = std::move(bytes);
}

void expect_integrity(const VolumeError& error) {
  EXPECT_TRUE(error.reason == Reason::Integrity || error.reason == Reason::Poisoned) << error.message;
}

// A storage that shows its bytes, and one that hands out copies of the same: either way of reading must find
// the same.
template <class F>
std::string both_ways(Storage& storage, F&& read) {
  Faults none;
  FaultyStorage copies(storage, none);
  const std::string copied = read(copies);
  EXPECT_EQ(read(storage), copied);
  return copied;
}

// "" when everything is as it must be, else the error, which must be of class Integrity; a wrong byte is a
// test failure.
std::string read_one_way(Storage& storage, const Tag& tag, const Content& content, const Key& key) {
  auto opened = Volume::open(storage, key, tag, {.read_only = true});
  if (!opened.ok()) {
    EXPECT_EQ(opened.error().code(), Code::Integrity) << opened.error().message();
    return opened.error().message();
  }
  for (const auto& [name, bytes] : content.files) {
    VolumeResult<InodeId> inode = (*opened)->lookup(kRootInode, name);
    if (!inode.ok()) {
      expect_integrity(inode.error());  // above all not NotFound
      return inode.error().message;
    }
    VolumeResult<Attributes> attributes = (*opened)->attributes(*inode);
    if (!attributes.ok()) {
      expect_integrity(attributes.error());
      return attributes.error().message;
    }
    EXPECT_EQ(attributes->size, bytes.size());
    Bytes out(bytes.size());
    VolumeResult<size_t> got = (*opened)->read(*inode, 0, out);
    if (!got.ok()) {
      expect_integrity(got.error());
      EXPECT_EQ((*opened)->read(*inode, 0, out).ok(), false) << "the mount must stay poisoned";
      return got.error().message;
    }
    EXPECT_EQ(out, bytes) << name << ": wrong bytes were read";
  }
  auto verified = (*opened)->verify_all();
  if (verified.ok()) return "";
  EXPECT_EQ(verified.error().code(), Code::Integrity) << verified.error().message();
  return verified.error().message();
}

std::string read_all(Storage& storage, const Tag& tag, const Content& content, const Key& key = kKey) {
  return both_ways(storage, [&](Storage& way) { return read_one_way(way, tag, content, key); });
}

class Attack : public ::testing::Test {
 protected:
  void SetUp() override {
    auto volume = Volume::create(storage, kKey, {}).value();
    write_version(*volume, old_content, 1);
    old_tag = volume->commit().value();
    volume->acknowledge(old_tag).value();
    volume.reset();
    old_files = storage.snapshot();
    volume = Volume::open(storage, kKey, old_tag, {}).value();  // another mount: another epoch
    write_version(*volume, content, 2);
    tag = volume->commit().value();
    volume->acknowledge(tag).value();
    volume.reset();
    files = storage.snapshot();
    ASSERT_EQ(read_all(storage, tag, content), "");
  }
  static void write_version(Volume& volume, Content& into, uint8_t version) {
    put(volume, into, "inline", pattern(500, version));
    put(volume, into, "middle", pattern(20'000, version + 10));
    put(volume, into, "large", pattern(400'000, version + 20));
    put(volume, into, "other", pattern(400'000, version + 30));
    for (int i = 0; i < 200; ++i)
      put(volume, into, "n" + std::to_string(i), pattern(30, static_cast<uint8_t>(version + i)));
  }
  std::vector<std::string> objects() const {
    std::vector<std::string> out;
    for (const auto& [name, bytes] : files) {
      if (name.starts_with("objects/")) out.push_back(name);
    }
    return out;
  }
  // Applies a change to a fresh copy and says what the reader then got.
  std::string after(const std::function<void(Snapshot&)>& change) {
    Snapshot changed = files;
    change(changed);
    storage.restore(changed);
    return read_all(storage, tag, content);
  }

  MemoryStorage storage{false};
  Content content, old_content;
  Tag tag{}, old_tag{};
  Snapshot files, old_files;
};

TEST_F(Attack, DetectsAFlippedBitInEveryChunkOfAnObject) {
  for (const std::string& name : objects()) {
    const size_t blocks = files[name].size() / kBlock;
    size_t detected = 0;
    for (size_t block = 0; block < blocks; ++block) {
      const std::string error = after([&](Snapshot& s) { s[name][block * kBlock + block % kBlock] ^= 1; });
      if (error.find("Verification of file chunk") != std::string::npos) ++detected;
    }
    // The old version's chunks were freed but not yet reused: about half of the object is unreachable.
    EXPECT_GE(detected, (400'000 / kBlock) - 16) << name;
  }
}

TEST_F(Attack, DetectsAFlippedBitInEveryBlockOfTheMetadata) {
  size_t detected = 0;
  const size_t blocks = files["volume.fspf"].size() / kBlock;
  for (size_t block = 0; block < blocks; ++block) {
    for (const size_t at : {0, 100, 2048, 4095}) {
      const std::string error = after([&](Snapshot& s) { s["volume.fspf"][block * kBlock + at] ^= 0x80; });
      if (!error.empty()) {
        ++detected;
        break;
      }
    }
  }
  // Two large files and the middle one have 37 chunks here; the tree has at least 8 nodes.
  EXPECT_GE(detected, 45u);
}

TEST_F(Attack, DetectsAChangeOfEveryByteOfTheSuperblock) {
  // Which slot is the newest: the only one with content, since older ones are wiped when they are
  // acknowledged.
  size_t slot = 0;
  while (files["volume.fspf"][slot * kBlock] == 0) ++slot;
  for (size_t at = 0; at < 368; ++at) {
    EXPECT_NE(after([&](Snapshot& s) { s["volume.fspf"][slot * kBlock + at] ^= 4; }), "") << "byte " << at;
  }
}

TEST_F(Attack, DetectsZeroedBlocks) {
  size_t detected = 0;
  for (const std::string& name : objects()) {
    for (size_t at = 0; at + kBlock <= files[name].size(); at += kBlock) {
      detected += !after([&](Snapshot& s) {
                     std::fill_n(s[name].begin() + static_cast<long>(at), kBlock, 0);
                   }).empty();
    }
  }
  EXPECT_GE(detected, 2 * (400'000 / kBlock - 16));
}

TEST_F(Attack, DetectsTruncationAtEveryBlockAndEmptyFiles) {
  for (const auto& [name, bytes] : files) {
    const size_t last = bytes.size() / kBlock;
    for (size_t block = 0; block < last; block += 3) {
      // The tail of a file may hold only freed blocks: then the content must be right, which read_all()
      // checks.
      const std::string error = after([&](Snapshot& s) { s[name].resize(block * kBlock); });
      if (block == 0) {
        EXPECT_NE(error, "") << name;
      }
    }
  }
}

TEST_F(Attack, DetectsDeletedFiles) {
  for (const auto& [name, bytes] : files) {
    EXPECT_NE(after([&, n = name](Snapshot& s) { s.erase(n); }), "") << name;
  }
}

TEST_F(Attack, DetectsSwappedObjects) {
  const auto names = objects();
  ASSERT_EQ(names.size(), 2u);
  EXPECT_NE(after([&](Snapshot& s) { std::swap(s[names[0]], s[names[1]]); }), "");
}

TEST_F(Attack, DetectsBlocksSwappedInOneFileAndBetweenFiles) {
  const auto names = objects();
  size_t detected = 0;
  for (size_t block = 0; (block + 2) * kBlock <= files[names[0]].size(); ++block) {
    const long at = static_cast<long>(block * kBlock);
    detected += !after([&](Snapshot& s) {
                   auto first = s[names[0]].begin() + at;
                   std::swap_ranges(first, first + kBlock, first + kBlock);
                 }).empty();
    detected += !after([&](Snapshot& s) {
                   auto first = s[names[0]].begin() + at;
                   std::swap_ranges(first, first + kBlock, s[names[1]].begin() + at);
                 }).empty();
  }
  EXPECT_GE(detected, 2 * (400'000 / kBlock - 16));
}

TEST_F(Attack, DetectsEveryReplayedOldBlock) {
  size_t replayed = 0, detected = 0;
  for (const auto& [name, bytes] : old_files) {
    for (size_t at = 0; at + kBlock <= std::min(bytes.size(), files[name].size()); at += kBlock) {
      const bool same =
          std::equal(bytes.begin() + static_cast<long>(at), bytes.begin() + static_cast<long>(at + kBlock),
                     files[name].begin() + static_cast<long>(at));
      if (same) continue;
      ++replayed;
      // Refused, unless nothing reaches the block; wrong bytes fail read_all().
      const bool reached = !after([&, n = name](Snapshot& s) { s[n][at] ^= 1; }).empty();
      const std::string error = after([&, n = name](Snapshot& s) {
        std::copy_n(bytes.begin() + static_cast<long>(at), kBlock, s[n].begin() + static_cast<long>(at));
      });
      EXPECT_EQ(error.empty(), !reached) << name << " block " << at / kBlock << ": " << error;
      detected += !error.empty();
    }
  }
  EXPECT_GT(replayed, 0u);
  EXPECT_GT(detected, 0u);
}

TEST_F(Attack, RefusesTheWholeFolderRolledBack) {
  storage.restore(old_files);
  EXPECT_EQ(read_all(storage, tag, content), "The FSPF tag is not fresh - suspected replay attack");
  EXPECT_EQ(read_all(storage, old_tag, old_content), "");
}

TEST_F(Attack, RefusesSingleFilesRolledBack) {
  for (const auto& [name, bytes] : old_files) {
    if (bytes == files[name]) continue;
    const std::string error = after([&, n = name](Snapshot& s) { s[n] = old_files[n]; });
    if (name == "volume.fspf") {
      EXPECT_EQ(error, "The FSPF tag is not fresh - suspected replay attack");
    }
  }
}

TEST_F(Attack, RefusesAnAcknowledgedPredecessor) {
  EXPECT_EQ(read_all(storage, old_tag, old_content), "The FSPF tag is not fresh - suspected replay attack");
}

TEST_F(Attack, SaysThatTheKeyIsWrong) {
  Key other;
  EXPECT_EQ(read_all(storage, tag, content, other), "wrong volume key");
}

TEST_F(Attack, RefusesAnotherVolumeUnderTheSameKey) {
  MemoryStorage second(false);
  auto created = Volume::create(second, kKey, {});
  ASSERT_TRUE(created.ok());
  created->reset();
  storage.restore(second.snapshot());
  EXPECT_EQ(read_all(storage, tag, content), "The FSPF tag is not fresh - suspected replay attack");
}

TEST_F(Attack, RefusesUnknownVersionsAndSuites) {
  size_t slot = 0;
  while (files["volume.fspf"][slot * kBlock] == 0) ++slot;
  for (const size_t at : {8, 12, 13, 14}) {
    const std::string error = after([&](Snapshot& s) { s["volume.fspf"][slot * kBlock + at] = 9; });
    EXPECT_NE(error.find("this build reads"), std::string::npos) << error;
  }
}

// --- every mutation of every structure

struct Place {
  std::string file;
  size_t block;
  auto in(Snapshot& s) const { return s[file].begin() + static_cast<long>(block * kBlock); }
};
using Places = std::vector<Place>;

// The reached blocks by what they are, as the errors of their damage say.
std::map<std::string, Places> classify(const Snapshot& files,
                                       const std::function<std::string(const Place&)>& damage) {
  std::map<std::string, Places> out;
  for (const auto& [file, bytes] : files) {
    for (size_t block = 0; (block + 1) * kBlock <= bytes.size(); ++block) {
      const std::string error = damage({file, block});
      if (error.empty()) continue;
      std::string kind = "node";
      if (block < 8 && file == "volume.fspf") kind = "superblock slot";
      if (error.find("epochs") != error.npos) kind = "epoch page";
      if (error.find("file chunk") != error.npos)
        kind = file == "volume.fspf" ? "chunk in volume.fspf" : "chunk in an object";
      out[kind].push_back({file, block});
    }
  }
  return out;
}

TEST_F(Attack, RefusesEveryMutationOfEveryStructure) {
  const auto kinds =
      classify(files, [&](const Place& place) { return after([&](Snapshot& s) { *place.in(s) ^= 1; }); });
  const auto old_kinds = classify(old_files, [&](const Place& place) {
    Snapshot changed = old_files;
    *place.in(changed) ^= 1;
    storage.restore(changed);
    return read_all(storage, old_tag, old_content);
  });
  ASSERT_EQ(kinds.size(), 5u);
  ASSERT_EQ(old_kinds.size(), 5u);
  const Place& node = kinds.at("node").front();
  using Mutation = std::function<void(Snapshot&, const Place& it, const Place& other)>;
  const std::pair<const char*, Mutation> mutations[] = {
      {"flip the first bit", [](Snapshot& s, const Place& it, const Place&) { *it.in(s) ^= 1; }},
      {"flip a bit inside", [](Snapshot& s, const Place& it, const Place&) { it.in(s)[100] ^= 0x10; }},
      {"zero", [](Snapshot& s, const Place& it, const Place&) { std::fill_n(it.in(s), kBlock, 0); }},
      {"set all bits",
       [](Snapshot& s, const Place& it, const Place&) { std::fill_n(it.in(s), kBlock, 0xff); }},
      {"swap with another",
       [](Snapshot& s, const Place& it, const Place& other) {
         std::swap_ranges(it.in(s), it.in(s) + kBlock, other.in(s));
       }},
      {"put another in its place",
       [](Snapshot& s, const Place& it, const Place& other) { std::copy_n(other.in(s), kBlock, it.in(s)); }},
      {"shift by a byte", [](Snapshot& s, const Place& it,
                             const Place&) { std::rotate(it.in(s), it.in(s) + 1, it.in(s) + kBlock); }},
      {"cut the file before it",
       [](Snapshot& s, const Place& it, const Place&) { s[it.file].resize(it.block * kBlock); }},
      {"cut the file inside",
       [](Snapshot& s, const Place& it, const Place&) { s[it.file].resize(it.block * kBlock + 200); }},
  };
  size_t rows = 0;
  for (const auto& [kind, places] : kinds) {
    const Place& it = places.front();
    const Place& other = places.size() > 1 ? places[1] : node;
    for (const auto& [what, mutate] : mutations) {
      SCOPED_TRACE(kind + ": " + what);
      EXPECT_NE(after([&, &change = mutate](Snapshot& s) { change(s, it, other); }), "");
      ++rows;
    }
    SCOPED_TRACE(kind + ": replay an older one");
    const Places& olds = old_kinds.at(kind);
    const auto older = std::find_if(olds.begin(), olds.end(), [&](const Place& place) {
      return !std::equal(place.in(old_files), place.in(old_files) + kBlock, it.in(files));
    });
    ASSERT_NE(older, olds.end());
    EXPECT_NE(after([&](Snapshot& s) { std::copy_n(older->in(old_files), kBlock, it.in(s)); }), "");
    ++rows;
  }
  const auto names = objects();
  const std::pair<const char*, std::function<void(Snapshot&)>> whole[] = {
      {"delete volume.fspf", [](Snapshot& s) { s.erase("volume.fspf"); }},
      {"empty volume.fspf", [](Snapshot& s) { s["volume.fspf"].clear(); }},
      {"keep only the slots", [](Snapshot& s) { s["volume.fspf"].resize(8 * kBlock); }},
      {"an object as volume.fspf", [&](Snapshot& s) { s["volume.fspf"] = s[names[0]]; }},
      {"replay volume.fspf", [&](Snapshot& s) { s["volume.fspf"] = old_files["volume.fspf"]; }},
      {"delete an object", [&](Snapshot& s) { s.erase(names[0]); }},
      {"empty an object", [&](Snapshot& s) { s[names[0]].clear(); }},
      {"cut an object", [&](Snapshot& s) { s[names[0]].resize(kBlock); }},
      {"swap objects", [&](Snapshot& s) { std::swap(s[names[0]], s[names[1]]); }},
      {"duplicate an object", [&](Snapshot& s) { s[names[0]] = s[names[1]]; }},
      {"volume.fspf as an object", [&](Snapshot& s) { s[names[0]] = s["volume.fspf"]; }},
      {"delete everything", [](Snapshot& s) { s.clear(); }},
  };
  for (const auto& [what, mutate] : whole) {
    SCOPED_TRACE(what);
    EXPECT_NE(after(mutate), "");
    ++rows;
  }
  EXPECT_GE(rows, 40u);
}

// Long targets and large values of attributes lie in several nodes each, which all look alike.
TEST(AttackOnParts, RefusesEveryPartZeroedSwappedOrPutInPlaceOfAnother) {
  MemoryStorage storage(false);
  auto volume = Volume::create(storage, kKey, {}).value();
  for (uint8_t i = 0; i < 2; ++i) {
    const std::string name(1, static_cast<char>('a' + i));
    const InodeId file = volume->create_file(kRootInode, name, 0644, 0, 0, {}).value();
    ASSERT_TRUE(volume->set_xattr(file, "user.one", pattern(30'000, i), false, false, {}).ok());
    ASSERT_TRUE(volume->set_xattr(file, "user.two", pattern(30'000, i + 2), false, false, {}).ok());
    ASSERT_TRUE(volume->make_symlink(kRootInode, name + "link", std::string(4000, 'x'), 0, 0, {}).ok());
  }
  const Tag tag = volume->commit().value();
  volume->acknowledge(tag).value();
  volume.reset();
  const Snapshot files = storage.snapshot();
  const auto refused = [&](const std::function<void(uint8_t * main)>& change) {
    Snapshot changed = files;
    change(changed["volume.fspf"].data());
    storage.restore(changed);
    const std::string seen = both_ways(storage, [&](Storage& way) {
      auto opened = Volume::open(way, kKey, tag, {.read_only = true});
      return !opened.ok() || !(*opened)->verify_all().ok() ? "refused" : "";
    });
    return !seen.empty();
  };
  std::vector<size_t> places;
  for (size_t at = 8 * kBlock; at < files.at("volume.fspf").size(); at += kBlock) {
    if (refused([&](uint8_t* main) { main[at] ^= 1; })) places.push_back(at);
  }
  ASSERT_GE(places.size(), 30u);  // two parts of a value in each
  for (const size_t one : places) {
    EXPECT_TRUE(refused([&](uint8_t* main) { std::fill_n(main + one, kBlock, 0); }));
    for (const size_t other : places) {
      if (one == other) continue;
      EXPECT_TRUE(refused([&](uint8_t* main) { std::copy_n(main + one, kBlock, main + other); }));
      if (one > other) continue;
      EXPECT_TRUE(
          refused([&](uint8_t* main) { std::swap_ranges(main + one, main + one + kBlock, main + other); }));
    }
  }
}

// Links, folders and pipes in place of the files, in a folder of the host.
TEST_F(Attack, RefusesOtherKindsOfFilesInPlace) {
  namespace fs = std::filesystem;
  char pattern[] = "/tmp/attack_test.XXXXXX";
  ASSERT_NE(::mkdtemp(pattern), nullptr);
  const fs::path root = pattern, folder = root / "volume";
  const std::string object = objects()[0];
  const std::pair<const char*, std::function<void(const fs::path&)>> kinds[] = {
      {"nothing", [](const fs::path&) {}},
      {"a link to the same", [&](const fs::path& at) { fs::create_symlink(root / "moved", at); }},
      {"a link to nowhere", [&](const fs::path& at) { fs::create_symlink("nowhere", at); }},
      {"a folder", [](const fs::path& at) { fs::create_directory(at); }},
      {"a pipe", [](const fs::path& at) { ASSERT_EQ(::mkfifo(at.c_str(), 0600), 0); }},
      {"a socket", [](const fs::path& at) { ASSERT_EQ(::mknod(at.c_str(), S_IFSOCK | 0600, 0), 0); }},
  };
  for (const std::string& name :
       {std::string("volume.fspf"), object, object.substr(0, 10), std::string("objects")}) {
    for (const auto& [what, put_there] : kinds) {
      SCOPED_TRACE(name + ": " + what);
      fs::remove_all(folder);
      fs::remove_all(root / "moved");
      for (const auto& [file, bytes] : files) {
        fs::create_directories((folder / file).parent_path());
        std::ofstream(folder / file, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
      }
      auto place = open_posix_storage(folder).value();
      EXPECT_EQ(read_all(*place, tag, content), "");
      fs::rename(folder / name, root / "moved");
      put_there(folder / name);
      EXPECT_NE(read_all(*place, tag, content), "");
    }
  }
  fs::remove_all(root);
}

TEST_F(Attack, AReaderIsToldThatTheWriterWentOn) {
  auto reader = Volume::open(storage, kKey, tag, {.read_only = true}).value();
  auto writer = Volume::open(storage, kKey, tag, {}).value();
  for (uint8_t round = 3; round < 12; ++round) {
    write_version(*writer, content, round);
    ASSERT_TRUE(writer->acknowledge(writer->commit().value()).ok());
  }
  const Result<void> verified = reader->verify_all();
  ASSERT_FALSE(verified.ok());
  EXPECT_EQ(verified.error().code(), Code::Integrity);
  EXPECT_NE(verified.error().message().find("the writer has gone on since"), std::string::npos);
}

TEST_F(Attack, AnAttackedReaderHearsOfNoWriter) {
  const std::string error = after([&](Snapshot& s) { s[objects()[0]].clear(); });
  EXPECT_NE(error, "");
  EXPECT_EQ(error.find("the writer has gone on"), std::string::npos);
}

TEST_F(Attack, NamesTheChunkThatFailed) {
  const auto names = objects();
  std::string error;
  for (size_t at = 0; at < files[names[0]].size() && error.empty(); at += kBlock) {
    error = after([&](Snapshot& s) { s[names[0]][at] ^= 1; });
  }
  EXPECT_TRUE(error.starts_with("Verification of file chunk ")) << error;
  EXPECT_NE(error.find(" of file /"), std::string::npos) << error;
}

TEST_F(Attack, IgnoresForeignFiles) {
  EXPECT_EQ(after([&](Snapshot& s) {
              s["readme.txt"] = {1, 2, 3};
              s["objects/zz/whatever"] = Bytes(5000);
            }),
            "");
}

TEST_F(Attack, WritesNothingAfterAFailure) {
  Snapshot changed = files;
  const std::string name = objects()[0];
  for (size_t at = 0; at < changed[name].size(); at += kBlock) changed[name][at] ^= 1;
  storage.restore(changed);
  auto opened = Volume::open(storage, kKey, tag, {});
  ASSERT_TRUE(opened.ok());
  EXPECT_FALSE((*opened)->verify_all().ok());
  EXPECT_EQ((*opened)->create_file(kRootInode, "new", 0644, 0, 0, {}).error().reason, Reason::Poisoned);
  EXPECT_FALSE((*opened)->commit().ok());
  opened->reset();
  EXPECT_EQ(storage.snapshot(), changed);
}

TEST(AuthenticatedVolume, IsReproducibleAndDetectsChanges) {
  Snapshot first;
  Root root{};
  Content content;
  for (int round = 0; round < 2; ++round) {
    MemoryStorage storage(false);
    auto created = Volume::create(storage, Key(), {.mode = Mode::AuthenticatedOnly, .now = {5, 0}});
    ASSERT_TRUE(created.ok());
    put(**created, content, "program", pattern(300'000, 1));
    put(**created, content, "small", pattern(10, 2));
    ASSERT_TRUE((*created)->commit().ok());
    if (round == 1) {
      EXPECT_EQ(root, (*created)->root());
    }
    root = (*created)->root();
    created->reset();
    if (round == 1) {
      EXPECT_EQ(first, storage.snapshot());
    }
    first = storage.snapshot();
  }
  MemoryStorage storage(false);
  size_t refused = 0;
  size_t blocks = 0;
  for (const auto& [name, bytes] : first) {
    for (size_t at = 0; at < bytes.size(); at += kBlock) {
      Snapshot changed = first;
      changed[name][at + 5] ^= 1;
      storage.restore(changed);
      ++blocks;
      const std::string seen = both_ways(storage, [&](Storage& way) {
        auto opened = Volume::open_authenticated(way, root, {});
        return !opened.ok() || !(*opened)->verify_all().ok() ? "refused" : "";
      });
      if (!seen.empty()) ++refused;
    }
  }
  EXPECT_GE(refused, blocks - 12);  // unused slots, and what the first empty state left
  storage.restore(first);
  give_to_second_reader(storage, root, "at the end");
  auto opened = Volume::open_authenticated(storage, root, {});
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE((*opened)->verify_all().ok());
  EXPECT_TRUE((*opened)->read_only());
  EXPECT_EQ((*opened)->create_file(kRootInode, "x", 0644, 0, 0, {}).error().reason, Reason::ReadOnly);
  Root other = root;
  other[31] ^= 1;
  auto refused_root = Volume::open_authenticated(storage, other, {});
  ASSERT_FALSE(refused_root.ok());
  EXPECT_EQ(refused_root.error().code(), Code::Integrity);
  auto as_encrypted = Volume::open(storage, kKey, Tag{}, {});
  EXPECT_FALSE(as_encrypted.ok());
}

}  // namespace
}  // namespace cloister::volume
