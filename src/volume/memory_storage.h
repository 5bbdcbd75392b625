// Storage in memory, for tests and benchmarks. It remembers what was synced, so that a power cut can be
// played: crash() forgets unsynced writes, all of them or a chosen part. Copying a MemoryStorage's files() is
// a backup. One that does not track durability gives views: nobody else has its memory, and it need not know
// what is written when.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "volume/storage.h"

namespace cloister::volume {

class MemoryStorage final : public Storage {
 public:
  struct File {
    Bytes now;
    Bytes durable;
    bool name_durable = false;
    // Writes since the last sync, in order: offset and data.
    std::vector<std::pair<uint64_t, Bytes>> unsynced;
  };
  using Files = std::map<std::string, std::shared_ptr<File>, std::less<>>;

  static constexpr uint64_t kNoLimit = ~uint64_t{0};
  // No file grows beyond `largest` bytes: writing there fails, as it does on a disk that has an end.
  explicit MemoryStorage(bool track_durability = true, uint64_t largest = kNoLimit)
      : track_(track_durability), largest_(largest) {}

  Result<std::unique_ptr<StorageFile>> open(std::string_view name, OpenMode mode) override;
  Result<void> remove(std::string_view name) override;
  Result<void> sync_names() override;
  Result<void> lock_for_writing(std::string_view owner) override;
  void unlock() { owner_.clear(); }

  // A power cut: of the unsynced writes only those survive for which `survives` is true.
  void crash(const std::function<bool()>& survives);
  std::map<std::string, Bytes> snapshot() const;
  void restore(const std::map<std::string, Bytes>& files);
  Bytes* content(std::string_view name);  // null: no such file. For tampering.
  std::vector<std::string> names() const;

 private:
  bool track_;
  uint64_t largest_;
  Files files_;
  std::string owner_;
};

}  // namespace cloister::volume
