// Views of stored bytes: which storage gives them, that a volume then copies nothing, and that bytes which
// fail their check leave nothing behind in the reader's buffer, viewed or copied.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "volume/faulty_storage.h"
#include "volume/memory_storage.h"
#include "volume/posix_storage.h"
#include "volume/volume.h"
#include "volume/volume_test_support.h"

namespace cloister::volume {
namespace {

constexpr size_t kBlock = 4096;
constexpr size_t kSize = 97 * kBlock;  // 16 chunks in volume.fspf, the others in an object

// Lets everything through and counts what is copied.
struct Copied {
  size_t read = 0, written = 0;
};
class CountingFile final : public StorageFile {
 public:
  CountingFile(std::unique_ptr<StorageFile> below, Copied& copied)
      : below_(std::move(below)), copied_(copied) {}
  Result<size_t> read_at(uint64_t offset, MutableByteView out) override {
    copied_.read += out.size();
    return below_->read_at(offset, out);
  }
  Result<void> write_at(uint64_t offset, ByteView data) override {
    copied_.written += data.size();
    return below_->write_at(offset, data);
  }
  Result<void> truncate(uint64_t size) override { return below_->truncate(size); }
  Result<void> sync() override { return below_->sync(); }
  Result<uint64_t> size() override { return below_->size(); }
  ByteView view(uint64_t offset, size_t size) override { return below_->view(offset, size); }
  MutableByteView writable_view(uint64_t offset, size_t size) override {
    return below_->writable_view(offset, size);
  }

 private:
  std::unique_ptr<StorageFile> below_;
  Copied& copied_;
};
class CountingStorage final : public Storage {
 public:
  CountingStorage(Storage& below, Copied& copied) : below_(below), copied_(copied) {}
  Result<std::unique_ptr<StorageFile>> open(std::string_view name, OpenMode mode) override {
    std::unique_ptr<StorageFile> file = TRY(below_.open(name, mode));
    return std::unique_ptr<StorageFile>(std::make_unique<CountingFile>(std::move(file), copied_));
  }
  Result<void> remove(std::string_view name) override { return below_.remove(name); }
  Result<void> sync_names() override { return below_.sync_names(); }
  Result<void> lock_for_writing(std::string_view owner) override { return below_.lock_for_writing(owner); }

 private:
  Storage& below_;
  Copied& copied_;
};

TEST(StorageViews, ShowWhatIsStoredAndNothingBeyond) {
  MemoryStorage storage(false);
  const auto file = storage.open("file", OpenMode::CreateNew).value();
  EXPECT_TRUE(file->view(0, 1).empty());
  const MutableByteView room = file->writable_view(3, 5);
  ASSERT_EQ(room.size(), 5u);
  std::memset(room.data(), 7, room.size());
  EXPECT_EQ(*file->size(), 8u);
  EXPECT_EQ(*storage.content("file"), (Bytes{0, 0, 0, 7, 7, 7, 7, 7}));
  const ByteView seen = file->view(2, 6);
  EXPECT_EQ(Bytes(seen.begin(), seen.end()), (Bytes{0, 7, 7, 7, 7, 7}));
  EXPECT_TRUE(file->view(2, 7).empty());
  EXPECT_TRUE(file->view(8, 1).empty());
  EXPECT_TRUE(file->view(9, 1).empty());
  EXPECT_TRUE(file->view(~uint64_t{0}, 2).empty());
  EXPECT_TRUE(file->view(2, ~size_t{0}).empty());
}

// Whoever shares the memory could change what was just checked; faults are counted by operations; what
// becomes durable when is told by writes.
TEST(StorageViews, AreGivenOnlyOfMemoryThatIsTheProcessesOwnAndOfNoTrackedStorage) {
  char pattern[] = "/tmp/storage_views_test.XXXXXX";
  ASSERT_NE(::mkdtemp(pattern), nullptr);
  const auto folder = open_posix_storage(pattern).value();
  MemoryStorage tracked, below(false);
  Faults faults;
  FaultyStorage faulty(below, faults);
  for (Storage* storage : {folder.get(), static_cast<Storage*>(&tracked), static_cast<Storage*>(&faulty)}) {
    const auto file = storage->open("file", OpenMode::CreateNew).value();
    ASSERT_TRUE(file->write_at(0, Bytes(kBlock, 1)).ok());
    EXPECT_TRUE(file->view(0, kBlock).empty());
    EXPECT_TRUE(file->writable_view(0, kBlock).empty());
  }
  std::filesystem::remove_all(pattern);
}

// A file of kSize bytes in a volume of either mode, acknowledged.
struct Written {
  explicit Written(Mode volume_mode) : mode(volume_mode) {
    Copied copied;
    CountingStorage counting(storage, copied);
    auto volume = Volume::create(counting, key, {.mode = mode}).value();
    const InodeId inode = volume->create_file(kRootInode, "file", 0644, 0, 0, {}).value();
    const size_t before = copied.written;
    CLOISTER_CHECK(volume->write(inode, 0, Bytes(kSize, 0xa5), {}).ok());
    while_writing = copied.written - before;
    tag = volume->commit().value();
    root = volume->root();
    CLOISTER_CHECK(volume->acknowledge(tag).ok());
  }
  std::unique_ptr<Volume> open(Storage& from) const {
    if (mode == Mode::AuthenticatedOnly) return Volume::open_authenticated(from, root, {}).value();
    return Volume::open(from, key, tag, {.read_only = true}).value();
  }

  const Mode mode;
  const Key key = test_key(3);
  MemoryStorage storage{false};
  size_t while_writing = 0;
  Tag tag{};
  Root root{};
};

constexpr Mode kModes[] = {Mode::Encrypted, Mode::AuthenticatedOnly};

TEST(ViewedVolume, CopiesNoChunkAndNoNode) {
  for (const Mode mode : kModes) {
    Written written(mode);
    EXPECT_EQ(written.while_writing, 0u);
    Copied copied;
    CountingStorage counting(written.storage, copied);
    const auto volume = written.open(counting);
    const size_t at_opening = copied.read;
    Bytes out(kSize);
    ASSERT_EQ(volume->read(volume->lookup(kRootInode, "file").value(), 0, out).value(), kSize);
    EXPECT_EQ(out, Bytes(kSize, 0xa5));
    EXPECT_LE(copied.read - at_opening, kBlock);  // the epoch page
  }
}

void expect_nothing_in_the_buffer(const Written& written, Storage& storage) {
  const auto volume = written.open(storage);
  Bytes out(kSize, 0xee);
  const auto got = volume->read(volume->lookup(kRootInode, "file").value(), 0, out);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().reason, Reason::Integrity);
  EXPECT_EQ(out, Bytes(kSize, 0));
}

TEST(ViewedVolume, LeavesNothingInTheBufferOfAReadThatFails) {
  for (const Mode mode : kModes) {
    Written written(mode);
    const std::string object = written.storage.names().front();
    const auto files = written.storage.snapshot();
    const size_t stored = files.at(object).size();
    ASSERT_EQ(stored, kSize - 16 * kBlock);
    const auto after = [&](const std::string& what, const std::function<void(Bytes&)>& change) {
      SCOPED_TRACE(what);
      auto changed = files;
      change(changed[object]);
      written.storage.restore(changed);
      expect_nothing_in_the_buffer(written, written.storage);
      Faults none;
      FaultyStorage copies(written.storage, none);
      expect_nothing_in_the_buffer(written, copies);
    };
    for (const size_t at : {size_t{0}, stored / 2, stored - 1})
      after("flipped at " + std::to_string(at), [&](Bytes& bytes) { bytes[at] ^= 1; });
    for (const size_t size : {size_t{0}, size_t{1}, kBlock, stored / 2 + 1, stored - kBlock, stored - 1})
      after("cut to " + std::to_string(size), [&](Bytes& bytes) { bytes.resize(size); });
  }
}

}  // namespace
}  // namespace cloister::volume
