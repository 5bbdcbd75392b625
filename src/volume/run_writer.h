// Joins sealed blocks that lie next to each other into writes of up to 1 MiB, or has them sealed where they
// are stored, if their storage shows it (StorageFile::writable_view).
#pragma once

#include <memory>

#include "volume/errors.h"
#include "volume/page.h"

namespace cloister::volume {

inline constexpr size_t kMaxRun = 1u << 20;

class RunWriter {
 public:
  // Where to build the block for `offset` of `file`: private memory, because the cipher may read back what it
  // wrote. Valid until the next call.
  VolumeResult<uint8_t*> reserve(StorageFile& file, uint64_t offset);
  // The block of the last reserve() is complete.
  void done();
  VolumeResult<void> flush();
  void abandon() { used_ = 0; }

 private:
  StorageFile* file_ = nullptr;
  uint64_t offset_ = 0;
  size_t used_ = 0;
  MutableByteView run_;  // the file's staging area, or buffer_
  bool staged_ = false;
  bool in_place_ = false;  // the block of the last reserve() is built where it is stored
  std::unique_ptr<uint8_t[]> buffer_;
  alignas(64) uint8_t block_[kBlockSize];
};

}  // namespace cloister::volume
