// What is too large for one record of the tree lies in several: long targets of symbolic links and large
// values of extended attributes. That they are kept and go away whole, and that nobody takes forged parts for
// real ones.
#include <gtest/gtest.h>

#include <functional>

#include "volume/care.h"
#include "volume/memory_storage.h"
#include "volume/volume_forger.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

const Key kKey = test_key(9);

std::string text_of(size_t size) {
  std::string out(size, ' ');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 31 + i / 997) % 26);
  return out;
}

class VolumeParts : public ::testing::Test {
 protected:
  void SetUp() override { volume = Volume::create(storage, kKey, {}).value(); }
  Tag commit() {
    const Tag tag = volume->commit().value();
    EXPECT_TRUE(volume->acknowledge(tag).ok());
    return tag;
  }
  void reopen() {
    const Tag tag = commit();
    volume.reset();
    volume = Volume::open(storage, kKey, tag, {}).value();
  }
  InodeId link(const std::string& name, const std::string& target) {
    return volume->make_symlink(kRootInode, name, target, 0, 0, {}).value();
  }
  std::map<RecordKey, Bytes> records(InodeId inode, Kind kind) {
    std::map<RecordKey, Bytes> out = VolumeForger(*volume).records();
    std::erase_if(
        out, [&](const auto& record) { return record.first.inode != inode || record.first.kind != kind; });
    return out;
  }
  void expect_sound() {
    const Result<void> verified = volume->verify_all();
    EXPECT_TRUE(verified.ok()) << verified.error().message();
    expect_parts_fit();
  }
  void expect_parts_fit() {
    commit();
    const Survey seen = survey(*volume).value();
    EXPECT_TRUE(seen.problems.empty()) << seen.problems.front();
  }
  // Reopens the forged volume; whoever verifies it must refuse it.
  void expect_refused() {
    reopen();
    const Result<void> verified = volume->verify_all();
    ASSERT_FALSE(verified.ok());
    EXPECT_EQ(verified.error().code(), Code::Integrity) << verified.error().message();
  }
  // After a refusal nothing can be asked of the mount.
  void reopen_newest() {
    volume.reset();
    volume = Volume::open_newest_without_freshness(storage, kKey, {}).value();
  }
  void expect_problem() { EXPECT_FALSE(survey(*volume).value().problems.empty()); }

  MemoryStorage storage;
  std::unique_ptr<Volume> volume;
};

TEST_F(VolumeParts, KeepTargetsAsLongAsAPathMayBe) {
  std::map<size_t, InodeId> links;
  for (const size_t size : {1, 2047, 2048, 2049, 4094, 4095}) {
    links[size] = link("l" + std::to_string(size), text_of(size));
  }
  EXPECT_EQ(volume->make_symlink(kRootInode, "m", text_of(4096), 0, 0, {}).error().reason,
            Reason::NameTooLong);
  for (int round = 0; round < 2; ++round) {
    for (const auto& [size, inode] : links) {
      EXPECT_EQ(volume->read_symlink(inode).value(), text_of(size));
      EXPECT_EQ(volume->attributes(inode)->size, size);
      EXPECT_EQ(records(inode, Kind::Inline).size(), size > kInlineMax ? 2u : 1u);
    }
    expect_sound();
    reopen();
  }
  for (const auto& [size, inode] : links) {
    ASSERT_TRUE(volume->unlink(kRootInode, "l" + std::to_string(size), {}).ok());
    EXPECT_TRUE(records(inode, Kind::Inline).empty());
  }
  expect_sound();
}

TEST_F(VolumeParts, OfATargetAreNotTakenFromElsewhere) {
  using Forge = std::function<void(VolumeForger&, const RecordKey& first, const RecordKey& second)>;
  const Bytes half(kInlineMax, 'h');
  const std::pair<const char*, Forge> forgeries[] = {
      {"the first is missing", [](auto& f, auto& first, auto&) { f.erase(first); }},
      {"the second is missing", [](auto& f, auto&, auto& second) { f.erase(second); }},
      {"the first is short", [&](auto& f, auto& first, auto&) { f.put(first, ByteView(half).first(2047)); }},
      {"the first is long", [&](auto& f, auto& first, auto&) { f.put(first, Bytes(2049, 'h')); }},
      {"the second is short",
       [&](auto& f, auto&, auto& second) { f.put(second, ByteView(half).first(951)); }},
      {"the second is long", [&](auto& f, auto&, auto& second) { f.put(second, ByteView(half).first(953)); }},
      {"the second is empty", [](auto& f, auto&, auto& second) { f.put(second, {}); }},
      {"the second is another one's",
       [](auto& f, const RecordKey&, const RecordKey& second) {
         f.put({second.inode + 1, Kind::Inline, 1}, f.records()[second]);
         f.erase(second);
       }},
  };
  for (const auto& [what, forge] : forgeries) {
    SCOPED_TRACE(what);
    volume.reset();
    storage.restore({});
    SetUp();
    const InodeId inode = link("long", text_of(3000));
    const InodeId other = link("other", text_of(10));
    ASSERT_EQ(other, inode + 1);
    VolumeForger forger(*volume);
    ASSERT_EQ(forger.records().count({inode, Kind::Inline, 1}), 1u);
    forge(forger, {inode, Kind::Inline, 0}, {inode, Kind::Inline, 1});
    expect_refused();
    reopen_newest();
    const auto target = volume->read_symlink(inode);
    ASSERT_FALSE(target.ok());
    EXPECT_EQ(target.error().reason, Reason::Integrity);
  }
}

TEST_F(VolumeParts, ThatNoTargetNeedsAreFound) {
  const InodeId inode = link("long", text_of(3000));
  const std::pair<const char*, RecordKey> strays[] = {
      {"a third part", {inode, Kind::Inline, 2}},
      {"of a small file", {inode + 1, Kind::Inline, 1}},
      {"of a directory", {kRootInode, Kind::Inline, 0}},
      {"of nobody", {inode + 99, Kind::Inline, 0}},
  };
  ASSERT_TRUE(volume->create_file(kRootInode, "small", 0644, 0, 0, {}).ok());
  for (const auto& [what, key] : strays) {
    SCOPED_TRACE(what);
    VolumeForger forger(*volume);
    forger.records();
    forger.put(key, as_bytes("stray"));
    commit();
    expect_problem();
    expect_refused();
    reopen_newest();
    EXPECT_EQ(volume->read_symlink(inode).value(), text_of(3000));
    VolumeForger(*volume).erase(key);
    expect_sound();
  }
}

class VolumeValues : public VolumeParts {
 protected:
  void set(InodeId inode, const std::string& name, const std::string& value) {
    const auto done = volume->set_xattr(inode, name, as_bytes(value), false, false, {});
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  std::string get(InodeId inode, const std::string& name) {
    VolumeResult<Bytes> value = volume->get_xattr(inode, name);
    if (!value.ok()) return "error " + std::to_string(static_cast<int>(value.error().reason));
    return std::string(as_text(*value));
  }
  size_t parts(InodeId inode) { return records(inode, Kind::Value).size(); }
  InodeId file(const std::string& name) {
    return volume->create_file(kRootInode, name, 0644, 0, 0, {}).value();
  }
};

TEST_F(VolumeValues, AreKeptAsLargeAsLinuxTakesThem) {
  const InodeId inode = file("file");
  const size_t sizes[] = {0, 1, 2048, 2049, 4032, 4033, 65535, 65536};
  for (const InodeId of : {inode, kRootInode}) {
    for (const size_t size : sizes) set(of, "user." + std::to_string(size), text_of(size));
  }
  EXPECT_EQ(volume->set_xattr(inode, "user.more", Bytes(65537), false, false, {}).error().reason,
            Reason::NoSpace);
  for (int round = 0; round < 2; ++round) {
    for (const InodeId of : {inode, kRootInode}) {
      for (const size_t size : sizes) EXPECT_EQ(get(of, "user." + std::to_string(size)), text_of(size));
      EXPECT_EQ(volume->list_xattrs(of)->size(), std::size(sizes));
      EXPECT_EQ(parts(of), 2u + 2 + 3 + 33 + 33);
    }
    expect_sound();
    reopen();
  }
}

TEST_F(VolumeValues, ChangeTheirSizeAndGo) {
  const InodeId inode = file("file");
  set(inode, "user.other", text_of(5000));
  for (const size_t size : {65536u, 3000u, 40'000u, 40'000u, 2048u, 0u, 2049u, 10u, 65536u}) {
    SCOPED_TRACE(size);
    const std::string value = text_of(size + 1).substr(1);
    set(inode, "user.it", value);
    EXPECT_EQ(get(inode, "user.it"), value);
    EXPECT_EQ(get(inode, "user.other"), text_of(5000));
    EXPECT_EQ(parts(inode), 3 + (size > 2048 ? (size + 2015) / 2016 : 0));
    expect_sound();
  }
  EXPECT_EQ(volume->set_xattr(inode, "user.it", Bytes(3000), true, false, {}).error().reason, Reason::Exists);
  EXPECT_EQ(volume->set_xattr(inode, "user.no", Bytes(3000), false, true, {}).error().reason, Reason::NoData);
  ASSERT_TRUE(volume->remove_xattr(inode, "user.it", {}).ok());
  EXPECT_EQ(parts(inode), 3u);
  expect_sound();
  ASSERT_TRUE(volume->unlink(kRootInode, "file", {}).ok());
  for (const auto& [key, value] : VolumeForger(*volume).records()) EXPECT_NE(key.inode, inode);
  expect_sound();
}

// Two parts share a node: a value takes little more than its size, and so does its file without the value.
TEST_F(VolumeValues, TakeLittleMoreSpaceThanTheirSize) {
  const InodeId inode = file("file");
  file("behind");
  commit();
  const uint64_t before = survey(*volume)->used_blocks;
  set(inode, "user.it", text_of(65536));
  commit();
  EXPECT_LE(survey(*volume)->used_blocks, before + 19);
  ASSERT_TRUE(volume->remove_xattr(inode, "user.it", {}).ok());
  commit();
  EXPECT_LE(survey(*volume)->used_blocks, before);
}

// As if their names had one hash; they have not, so verify_all() would refuse the record.
TEST_F(VolumeValues, OfAttributesInOneRecordDoNotMeet) {
  const InodeId inode = file("file");
  set(inode, "user.a", text_of(5000));
  set(inode, "user.b", text_of(9000).substr(1));
  VolumeForger forger(*volume);
  std::vector<Xattr> list;
  RecordKey of_a{};
  for (const auto& [key, record] : records(inode, Kind::Attribute)) {
    list.push_back(decode_xattrs(record)->front());
    if (list.back().name == "user.a") of_a = key;
    forger.erase(key);
  }
  ASSERT_EQ(list.size(), 2u);
  forger.put(of_a, encode_xattrs(list));
  expect_parts_fit();
  set(inode, "user.a", text_of(65536));
  set(inode, "user.a", "small");
  set(inode, "user.a", text_of(3000));
  expect_parts_fit();
  ASSERT_TRUE(volume->remove_xattr(inode, "user.a", {}).ok());
  EXPECT_EQ(parts(inode), 5u);
  EXPECT_EQ(volume->list_xattrs(inode).value(), std::vector<std::string>{"user.b"});
  expect_parts_fit();
}

struct ValueForgery {
  const char* what;
  bool readable;  // get_xattr() of the attribute sees nothing of it
  std::function<void(VolumeForger&, const RecordKey& record, Xattr item)> forge;
};

// The attribute's record says something else.
template <class F>
auto saying(F change) {
  return [change](VolumeForger& f, const RecordKey& r, Xattr item) {
    change(item);
    f.put(r, encode_xattrs({item}));
  };
}

// Of a file that has another attribute, number + 1, and before a file that has a like one, number + 2.
const ValueForgery kValueForgeries[] = {
    {"the first part is missing", false,
     [](auto& f, auto& r, auto item) { f.erase(value_key(r.inode, item.number, 0)); }},
    {"a part is missing", false,
     [](auto& f, auto& r, auto item) { f.erase(value_key(r.inode, item.number, 3)); }},
    {"the last part is missing", false,
     [](auto& f, auto& r, auto item) { f.erase(value_key(r.inode, item.number, 4)); }},
    {"a part is short", false,
     [](auto& f, auto& r, auto item) { f.put(value_key(r.inode, item.number, 1), Bytes(2015)); }},
    {"a part is long", false,
     [](auto& f, auto& r, auto item) { f.put(value_key(r.inode, item.number, 1), Bytes(2017)); }},
    {"the last part is long", false,
     [](auto& f, auto& r, auto item) { f.put(value_key(r.inode, item.number, 4), Bytes(2016)); }},
    {"a part too many", true,
     [](auto& f, auto& r, auto item) { f.put(value_key(r.inode, item.number, 5), Bytes(10)); }},
    {"a part that cannot be", true,
     [](auto& f, auto& r, auto item) { f.put(value_key(r.inode, item.number, 63), Bytes(2016)); }},
    {"parts of no attribute", true,
     [](auto& f, auto& r, auto item) { f.put(value_key(r.inode, item.number + 9, 0), Bytes(2016)); }},
    {"parts of an inode that is not there", true,
     [](auto& f, auto& r, auto item) { f.put(value_key(r.inode + 9, item.number, 0), Bytes(2016)); }},
    {"an attribute of an inode that is not there", true,
     [](auto& f, auto& r, auto item) {
       item.number = 0;
       f.put({r.inode + 9, r.kind, r.sub}, encode_xattrs({item}));
     }},
    {"the parts are another inode's", false, saying([](Xattr& item) { item.number += 2; })},
    {"the parts are another attribute's", true, saying([](Xattr& item) { ++item.number; })},
    {"the number was not given yet", false,
     [](auto& f, auto& r, auto item) {
       const uint64_t number = item.number + 1000;
       for (size_t part = 0; part < value_parts(item); ++part) {
         f.put(value_key(r.inode, number, part), f.records().at(value_key(r.inode, item.number, part)));
         f.erase(value_key(r.inode, item.number, part));
       }
       item.number = number;
       f.put(r, encode_xattrs({item}));
     }},
    {"the attribute is gone", false, [](auto& f, auto& r, auto) { f.erase(r); }},
    {"the size is smaller", false, saying([](Xattr& item) { --item.size; })},
    {"the size is larger", false, saying([](Xattr& item) { ++item.size; })},
    {"the size is one of small values", false, saying([](Xattr& item) { item.size = 2048; })},
    {"the size cannot be", false, saying([](Xattr& item) { item.size = 65537; })},
    {"the number cannot be", false, saying([](Xattr& item) { item.number |= uint64_t{1} << 58; })},
    {"the record is cut", false,
     [](auto& f, auto& r, auto item) {
       Bytes record = encode_xattrs({item});
       record.pop_back();
       f.put(r, record);
     }},
};

TEST_F(VolumeValues, AreNotTakenFromElsewhere) {
  for (const ValueForgery& forgery : kValueForgeries) {
    SCOPED_TRACE(forgery.what);
    volume.reset();
    storage.restore({});
    SetUp();
    const InodeId inode = file("file"), next = file("next");
    set(inode, "user.it", text_of(9000));
    set(inode, "user.other", text_of(9000));
    set(next, "user.it", text_of(9000));
    VolumeForger forger(*volume);
    RecordKey of_it{};
    Xattr item;
    for (const auto& [key, record] : records(inode, Kind::Attribute)) {
      const std::vector<Xattr> list = decode_xattrs(record).value();
      if (list.front().name != "user.it") continue;
      of_it = key;
      item = list.front();
    }
    ASSERT_NE(forger.records().count(value_key(inode, item.number + 1, 4)), 0u);
    ASSERT_NE(forger.records().count(value_key(next, item.number + 2, 4)), 0u);
    forgery.forge(forger, of_it, item);
    commit();
    expect_problem();
    expect_refused();
    reopen_newest();
    EXPECT_EQ(get(inode, "user.it") == text_of(9000), forgery.readable);
    reopen_newest();
    EXPECT_EQ(get(next, "user.it"), text_of(9000));
    // Whatever is changed then, nobody is told anything but the value or that there is none.
    reopen_newest();
    (void)volume->set_xattr(inode, "user.it", Bytes(100), false, false, {});
    (void)volume->remove_xattr(inode, "user.other", {});
    (void)volume->set_xattr(inode, "user.other", Bytes(60'000), false, false, {});
    (void)volume->remove_xattr(inode, "user.it", {});
    const std::string left = get(inode, "user.other");
    EXPECT_TRUE(left == std::string(60'000, '\0') || left.starts_with("error ")) << left.size();
  }
}

// A volume that needs no parts has the bytes that it had before there were any.
TEST(VolumePartsOfNothing, ChangeNoByte) {
  MemoryStorage storage(false);
  const auto volume = Volume::create(storage, Key(), {.mode = Mode::AuthenticatedOnly}).value();
  const auto file = volume->create_file(kRootInode, "file", 0644, 1, 2, {3, 4}).value();
  const std::string large(2048, 'v');
  for (const size_t size : {0, 1, 100, 2047, 2048}) {
    const std::string name = "user." + std::to_string(size), value = large.substr(0, size);
    ASSERT_TRUE(volume->set_xattr(file, name, as_bytes(value), false, false, {5, 6}).ok());
    ASSERT_TRUE(volume->set_xattr(kRootInode, name, as_bytes(value), false, false, {5, 6}).ok());
    if (size == 0) continue;
    ASSERT_TRUE(volume->make_symlink(kRootInode, name, value, 0, 0, {7, 8}).ok());
  }
  ASSERT_TRUE(volume->remove_xattr(file, "user.2047", {}).ok());
  ASSERT_TRUE(volume->set_xattr(file, "user.1", as_bytes(large), false, true, {}).ok());
  ASSERT_TRUE(volume->unlink(kRootInode, "user.2047", {}).ok());
  ASSERT_TRUE(volume->write(file, 0, Bytes(100'000, 1), {9, 10}).ok());
  ASSERT_TRUE(volume->commit().ok());
  EXPECT_EQ(to_hex(volume->root()), "09e261809ac157df6f111308be195d27ec035c7b8b6f37d4ad8ca418d5a59026");
}

}  // namespace
}  // namespace cloister::volume
