// Serves a volume as a mounted file system (libfuse 3) until it is unmounted.
//
// The kernel may cache everything for as long as it likes, because this mount is the volume's only writer; so
// most system calls never get here. What gets here runs under one lock (filesystem.h).
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "volume/volume.h"

namespace cloister::fuse {

struct MountOptions {
  std::filesystem::path mountpoint;     // absolute; an existing folder
  std::filesystem::path volume_folder;  // absolute; asked for the free space that statfs reports
  bool read_only = false;
  bool allow_other = false;   // other users too; permissions are checked by the kernel either way
  unsigned commit_every = 5;  // seconds between commits of a changed volume; fsync commits at once
  // The owner of the tag stores it, durably: only then fsync returns and the state before is given up.
  std::function<Result<void>(const volume::Tag&)> publish;
  std::function<void()> ready;                // mounted
  std::function<void()> released;             // not mounted any more, and not committed yet
  std::function<void(std::string_view)> log;  // what no caller can be told
};

// Returns after unmounting, with everything committed and published. SIGINT, SIGTERM and SIGHUP unmount: what
// the kernel holds back is written first, and files still open stay usable until they are closed.
// Integrity when the volume failed verification meanwhile; Unavailable when it cannot be mounted or the last
// commit failed.
Result<void> serve(volume::Volume& volume, const MountOptions& options);

}  // namespace cloister::fuse
