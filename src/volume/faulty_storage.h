// Storage that counts its operations and fails the n-th one, and from then on works again or stays broken.
// For tests.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "volume/storage.h"

namespace cloister::volume {

struct Faults {
  uint64_t count = 0;         // operations so far (open, read, write, truncate, sync, remove, lock, size)
  uint64_t fail_at = 0;       // the operation with this number fails; 0: none
  bool stay_broken = false;   // so do all later ones: the process was killed
  bool changes_only = false;  // count only what changes the storage
  bool no_space = false;      // report a full disk instead of an I/O error
  uint64_t writes = 0;        // of the operations
  uint64_t syncs = 0;         // of files
  // The disk has room for so many blocks more: a write to where nothing was written takes some. No value: it
  // has enough. Holes that were there before are told by their zeros.
  std::optional<uint64_t> room;
  std::map<std::string, std::set<uint64_t>> taken;  // blocks of files
};

class FaultyStorage final : public Storage {
 public:
  FaultyStorage(Storage& below, Faults& faults) : below_(below), faults_(faults) {}

  Result<std::unique_ptr<StorageFile>> open(std::string_view name, OpenMode mode) override;
  Result<void> remove(std::string_view name) override;
  Result<void> sync_names() override;
  Result<void> lock_for_writing(std::string_view owner) override;

 private:
  Storage& below_;
  Faults& faults_;
};

}  // namespace cloister::volume
