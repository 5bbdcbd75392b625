// The volume as a mount needs it: one lock, the kernel's references to inodes, commits that are published.
//
// The kernel refers to an inode from the first answer that names it until it says `forget`. Open files are
// among these references, so nothing tracks open and close: an inode that loses its last name while the
// kernel refers to it is held until it is forgotten.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "volume/volume.h"

namespace cloister::fuse {

int errno_of(volume::Reason reason);
int errno_of(const Error& error);  // of a commit: ENOSPC when there is no room for the state or its tag
volume::Timestamp now();

class FileSystem {
 public:
  using Publish = std::function<Result<void>(const volume::Tag&)>;
  using Log = std::function<void(std::string_view)>;

  FileSystem(volume::Volume& volume, Publish publish, Log log)
      : volume_(volume), publish_(std::move(publish)), log_(std::move(log)) {}

  // Runs `operation(volume)` under the lock; an integrity failure is logged, once.
  template <class Operation>
  auto run(Operation operation) {
    const std::lock_guard<std::mutex> guard(mutex_);
    auto result = operation(volume_);
    if (!result.ok() && result.error().reason == volume::Reason::Integrity) note(result.error());
    return result;
  }

  // --- for use inside run()
  void refer(volume::InodeId inode) { ++references_[inode].count; }
  // Before the name is removed or replaced: keeps what it names if the kernel refers to it.
  void keep_named(volume::InodeId directory, std::string_view name);

  // --- on their own
  void forget(volume::InodeId inode, uint64_t count);
  // Durable and published afterwards.
  Result<void> commit();
  // After the last operation: gives up all references and commits.
  Result<void> finish();

 private:
  struct Reference {
    uint64_t count = 0;
    bool held = false;
  };
  void note(const volume::VolumeError& error);
  Result<void> commit_locked();

  std::mutex mutex_;
  volume::Volume& volume_;
  const Publish publish_;
  const Log log_;
  std::unordered_map<volume::InodeId, Reference> references_;
  std::optional<volume::VolumeError> failure_;
  std::optional<volume::Tag> published_;
};

}  // namespace cloister::fuse
