#include "volume_targets.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "volume/memory_storage.h"
#include "volume/posix_storage.h"
#include "volume/volume.h"

namespace cloister::bench {
namespace {

std::string name_of(int file) { return "f" + std::to_string(file); }

class FolderTarget final : public Target {
 public:
  explicit FolderTarget(const std::string& folder)
      : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    CLOISTER_CHECK(folder_ >= 0);
  }
  ~FolderTarget() override { ::close(folder_); }
  FolderTarget(const FolderTarget&) = delete;
  FolderTarget& operator=(const FolderTarget&) = delete;

  void create(int file) override {
    file_ = ::openat(folder_, name_of(file).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CLOISTER_CHECK(file_ >= 0);
  }
  void open(int file) override {
    file_ = ::openat(folder_, name_of(file).c_str(), O_RDWR | O_CLOEXEC);
    CLOISTER_CHECK(file_ >= 0);
  }
  void close() override { CLOISTER_CHECK(::close(file_) == 0); }
  void write(uint64_t offset, ByteView data) override {
    while (!data.empty()) {
      const ssize_t count = ::pwrite(file_, data.data(), data.size(), static_cast<off_t>(offset));
      CLOISTER_CHECK(count > 0);
      data = data.subspan(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
  }
  void read(uint64_t offset, MutableByteView out) override {
    while (!out.empty()) {
      const ssize_t count = ::pread(file_, out.data(), out.size(), static_cast<off_t>(offset));
      CLOISTER_CHECK(count > 0);
      out = out.subspan(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
  }
  void sync() override { CLOISTER_CHECK(::fsync(file_) == 0); }
  void stat(int file) override {
    struct stat status {};
    CLOISTER_CHECK(::fstatat(folder_, name_of(file).c_str(), &status, 0) == 0);
  }
  void remove(int file) override { CLOISTER_CHECK(::unlinkat(folder_, name_of(file).c_str(), 0) == 0); }
  void sync_all() override { CLOISTER_CHECK(::syncfs(folder_) == 0); }

 private:
  int folder_;
  int file_ = -1;
};

class LibraryTarget final : public Target {
 public:
  explicit LibraryTarget(const std::string& folder) : tag_file_(folder.empty() ? "" : folder + ".tag") {
    if (folder.empty()) {
      storage_ = std::make_unique<volume::MemoryStorage>(false);
      volume_ = std::move(volume::Volume::create(*storage_, {}, {})).value();
      return;
    }
    storage_ = std::move(volume::open_posix_storage(folder, true)).value();
    const Result<Bytes> tag = read_file(tag_file_, 256);
    if (tag.ok()) {
      const auto known = array_from_hex<16>(as_text(*tag));
      volume_ = std::move(volume::Volume::open(*storage_, {}, *known, {})).value();
    } else {
      volume_ = std::move(volume::Volume::create(*storage_, {}, {})).value();
    }
  }
  ~LibraryTarget() override {
    sync();
    if (!tag_file_.empty()) (void)write_private_file(tag_file_, as_bytes(to_hex(volume_->tag())));
  }
  LibraryTarget(const LibraryTarget&) = delete;
  LibraryTarget& operator=(const LibraryTarget&) = delete;

  void create(int file) override {
    const auto made = volume_->create_file(volume::kRootInode, name_of(file), 0600, 0, 0, {});
    if (!made.ok()) return open(file);
    file_ = *made;
  }
  void open(int file) override { file_ = volume_->lookup(volume::kRootInode, name_of(file)).value(); }
  void close() override {}
  void write(uint64_t offset, ByteView data) override { volume_->write(file_, offset, data, {}).value(); }
  void read(uint64_t offset, MutableByteView out) override {
    CLOISTER_CHECK(volume_->read(file_, offset, out).value() == out.size());
  }
  void sync() override {
    const volume::Tag tag = volume_->commit().value();
    volume_->acknowledge(tag).value();
  }
  void stat(int file) override {
    (void)volume_->attributes(volume_->lookup(volume::kRootInode, name_of(file)).value()).value();
  }
  void remove(int file) override { volume_->unlink(volume::kRootInode, name_of(file), {}).value(); }
  void sync_all() override { sync(); }

 private:
  std::string tag_file_;
  std::unique_ptr<volume::Storage> storage_;
  std::unique_ptr<volume::Volume> volume_;
  volume::InodeId file_ = 0;
};

}  // namespace

std::unique_ptr<Target> folder_target(const std::string& folder) {
  return std::make_unique<FolderTarget>(folder);
}
std::unique_ptr<Target> library_target(const std::string& folder) {
  return std::make_unique<LibraryTarget>(folder);
}

}  // namespace cloister::bench
