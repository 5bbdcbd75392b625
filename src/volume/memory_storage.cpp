#include "volume/memory_storage.h"

#include <algorithm>

namespace cloister::volume {
namespace {

MutableByteView grown(Bytes& content, uint64_t offset, size_t size) {
  const size_t end = static_cast<size_t>(offset) + size;
  if (content.size() < end) content.resize(end);
  return {content.data() + offset, size};
}

void apply(Bytes& content, uint64_t offset, ByteView data) {
  const MutableByteView to = grown(content, offset, data.size());
  if (!data.empty()) std::memcpy(to.data(), data.data(), data.size());
}

class MemoryFile final : public StorageFile {
 public:
  MemoryFile(std::shared_ptr<MemoryStorage::File> file, bool track, uint64_t largest)
      : file_(std::move(file)), track_(track), largest_(largest) {}

  Result<size_t> read_at(uint64_t offset, MutableByteView out) override {
    const Bytes& bytes = file_->now;
    if (offset >= bytes.size()) return size_t{0};
    const size_t take = static_cast<size_t>(std::min<uint64_t>(out.size(), bytes.size() - offset));
    if (take != 0) std::memcpy(out.data(), bytes.data() + offset, take);
    return take;
  }
  Result<void> write_at(uint64_t offset, ByteView data) override {
    if (!fits(offset, data.size())) return Error(Code::Unavailable, "the file would be too large");
    apply(file_->now, offset, data);
    if (track_) file_->unsynced.emplace_back(offset, Bytes(data.begin(), data.end()));
    return {};
  }
  Result<void> truncate(uint64_t size) override {
    file_->now.resize(static_cast<size_t>(size));
    return {};
  }
  Result<void> sync() override {
    if (track_) file_->durable = file_->now;
    file_->unsynced.clear();
    return {};
  }
  Result<uint64_t> size() override { return uint64_t{file_->now.size()}; }
  ByteView view(uint64_t offset, size_t size) override {
    const Bytes& bytes = file_->now;
    if (track_ || offset > bytes.size() || bytes.size() - offset < size) return {};
    return ByteView(bytes).subspan(static_cast<size_t>(offset), size);
  }
  MutableByteView writable_view(uint64_t offset, size_t size) override {
    return track_ || !fits(offset, size) ? MutableByteView() : grown(file_->now, offset, size);
  }

 private:
  bool fits(uint64_t offset, size_t size) const { return offset <= largest_ && size <= largest_ - offset; }

  std::shared_ptr<MemoryStorage::File> file_;
  bool track_;
  uint64_t largest_;
};

}  // namespace

Result<std::unique_ptr<StorageFile>> MemoryStorage::open(std::string_view name, OpenMode mode) {
  auto found = files_.find(name);
  if (mode == OpenMode::CreateNew) {
    if (found != files_.end()) return Error(Code::InvalidArgument, std::string(name) + " exists");
    found = files_.emplace(std::string(name), std::make_shared<File>()).first;
  }
  if (found == files_.end()) return Error(Code::NotFound, "no file " + std::string(name));
  return std::unique_ptr<StorageFile>(std::make_unique<MemoryFile>(found->second, track_, largest_));
}

Result<void> MemoryStorage::remove(std::string_view name) {
  const auto found = files_.find(name);
  if (found != files_.end()) files_.erase(found);
  return {};
}

Result<void> MemoryStorage::sync_names() {
  for (const auto& item : files_) item.second->name_durable = true;
  return {};
}

Result<void> MemoryStorage::lock_for_writing(std::string_view owner) {
  owner_ = std::string(owner);
  return {};
}

void MemoryStorage::crash(const std::function<bool()>& survives) {
  for (auto item = files_.begin(); item != files_.end();) {
    File& file = *item->second;
    if (!file.name_durable && !survives()) {
      item = files_.erase(item);
      continue;
    }
    Bytes content = file.durable;
    for (const auto& [offset, data] : file.unsynced) {
      // Torn at the sector: each 512 bytes of a write live or die alone.
      for (size_t at = 0; at < data.size(); at += 512) {
        if (survives())
          apply(content, offset + at, ByteView(data).subspan(at, std::min<size_t>(512, data.size() - at)));
      }
    }
    file.now = file.durable = std::move(content);
    file.unsynced.clear();
    ++item;
  }
}

std::map<std::string, Bytes> MemoryStorage::snapshot() const {
  std::map<std::string, Bytes> out;
  for (const auto& [name, file] : files_) out[name] = file->now;
  return out;
}

void MemoryStorage::restore(const std::map<std::string, Bytes>& files) {
  files_.clear();
  for (const auto& [name, bytes] : files) {
    auto file = std::make_shared<File>();
    file->now = file->durable = bytes;
    file->name_durable = true;
    files_[name] = file;
  }
}

Bytes* MemoryStorage::content(std::string_view name) {
  const auto found = files_.find(name);
  return found == files_.end() ? nullptr : &found->second->now;
}

std::vector<std::string> MemoryStorage::names() const {
  std::vector<std::string> out;
  for (const auto& item : files_) out.push_back(item.first);
  return out;
}

}  // namespace cloister::volume
