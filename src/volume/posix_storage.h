// Storage in a folder of the host's file system. Host only.
//
// Names are opened component by component below the folder's descriptor and never through symbolic links, so
// whoever can write into the folder cannot point us elsewhere. New files are 0600, new folders 0700. The
// writer's lock is flock(2) on volume.lock, whose text says who holds it, and one on volume.fspf once that is
// opened for writing; both end with their process.
#pragma once

#include <filesystem>
#include <memory>

#include "volume/storage.h"

namespace cloister::volume {

// The writer's lock, beside the volume: no part of it.
inline constexpr const char* kLockName = "volume.lock";

// NotFound when the folder does not exist and `create_folder` is false (its parent must exist).
Result<std::unique_ptr<Storage>> open_posix_storage(const std::filesystem::path& folder,
                                                    bool create_folder = false);

}  // namespace cloister::volume
