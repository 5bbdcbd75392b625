#include "volume/faulty_storage.h"

namespace cloister::volume {
namespace {

constexpr uint64_t kBlock = 4096;

Error full() { return {Code::Unavailable, "the disk is full", std::string(kNoSpaceHint)}; }

Result<void> step(Faults& faults, bool changes) {
  if (faults.changes_only && !changes) return {};
  ++faults.count;
  const bool fails = faults.fail_at != 0 && (faults.count == faults.fail_at ||
                                             (faults.stay_broken && faults.count > faults.fail_at));
  if (!fails) return {};
  if (faults.no_space) return full();
  return Error(Code::Unavailable, "injected fault");
}

class FaultyFile final : public StorageFile {
 public:
  FaultyFile(std::unique_ptr<StorageFile> below, Faults& faults, std::string_view name)
      : below_(std::move(below)), faults_(faults), taken_(faults.taken[std::string(name)]) {}

  Result<size_t> read_at(uint64_t offset, MutableByteView out) override {
    TRY(step(faults_, false));
    return below_->read_at(offset, out);
  }
  Result<void> write_at(uint64_t offset, ByteView data) override {
    ++faults_.writes;
    const Result<void> allowed = step(faults_, true);
    // A failing write may have written a part.
    if (!allowed.ok() && faults_.count == faults_.fail_at)
      (void)below_->write_at(offset, data.first(data.size() / 2));
    if (!allowed.ok()) return Error(allowed.error());
    const size_t fits = take_room(offset, data.size());
    TRY(below_->write_at(offset, data.first(fits)));
    if (fits != data.size()) return full();
    return {};
  }
  Result<void> truncate(uint64_t size) override {
    TRY(step(faults_, true));
    return below_->truncate(size);
  }
  Result<void> sync() override {
    ++faults_.syncs;
    TRY(step(faults_, true));
    return below_->sync();
  }
  Result<uint64_t> size() override {
    TRY(step(faults_, false));
    return below_->size();
  }
  MutableByteView staging(size_t size) override { return below_->staging(size); }

 private:
  // How many bytes of a write the disk has room for.
  size_t take_room(uint64_t offset, size_t size) {
    for (uint64_t block = offset / kBlock; size != 0 && block <= (offset + size - 1) / kBlock; ++block) {
      if (taken_.count(block) != 0) continue;
      Bytes old(kBlock);
      const Result<size_t> got = below_->read_at(block * kBlock, old);
      const bool hole = !got.ok() || Bytes(kBlock) == old;
      if (hole && faults_.room && *faults_.room == 0) {
        return block * kBlock > offset ? static_cast<size_t>(block * kBlock - offset) : 0;
      }
      if (hole && faults_.room) --*faults_.room;
      taken_.insert(block);
    }
    return size;
  }

  std::unique_ptr<StorageFile> below_;
  Faults& faults_;
  std::set<uint64_t>& taken_;
};

}  // namespace

Result<std::unique_ptr<StorageFile>> FaultyStorage::open(std::string_view name, OpenMode mode) {
  TRY(step(faults_, mode == OpenMode::CreateNew));
  std::unique_ptr<StorageFile> file = TRY(below_.open(name, mode));
  return std::unique_ptr<StorageFile>(std::make_unique<FaultyFile>(std::move(file), faults_, name));
}

Result<void> FaultyStorage::remove(std::string_view name) {
  TRY(step(faults_, true));
  return below_.remove(name);
}

Result<void> FaultyStorage::sync_names() {
  TRY(step(faults_, true));
  return below_.sync_names();
}

Result<void> FaultyStorage::lock_for_writing(std::string_view owner) {
  TRY(step(faults_, false));
  return below_.lock_for_writing(owner);
}

}  // namespace cloister::volume
