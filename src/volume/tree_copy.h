// Copies folders of the host into a volume and back. Host only.
//
// Folders, empty files, sparse files, symbolic links, hard links inside the folder, permissions, modification
// times, extended attributes of users (user.*) and any bytes in names survive. Devices, sockets and pipes are
// skipped and counted. Memory use is constant, but for what is kept of files with names still to come.
// Copying out never follows links, never leaves `folder` and creates files 0600 before their permissions are
// set.
#pragma once

#include <filesystem>
#include <functional>

#include "volume/volume.h"

namespace cloister::volume {

struct CopyTotals {
  uint64_t files = 0;
  uint64_t folders = 0;
  uint64_t symlinks = 0;
  uint64_t links = 0;  // further names of files
  uint64_t bytes = 0;
  uint64_t skipped = 0;
  uint64_t copied_links = 0;     // out: further names that became files of their own
  uint64_t lost_attributes = 0;  // out: refused by the folder's file system
  std::string first_lost;        // path, name and why
  // One line about the last four, to be shown to the user; empty: everything was kept.
  std::string left_out() const;
};

struct CopyOptions {
  InodeId directory = kRootInode;  // of the volume: where to or from
  bool keep_owner = false;         // uid and gid too; else 0 in the volume and the caller's outside
  bool plain_times = false;        // in: all times become `now`, for reproducible volumes
  Timestamp now;                   // for `plain_times` and what has no time of its own
  // After every file and about every 8 MiB: the path below the folder and totals so far.
  std::function<void(std::string_view path, const CopyTotals& totals)> progress;
};

// The folder's content goes into the directory; names that exist there are an error. Entries go in sorted
// order, so equal folders give equal authenticated-only volumes. Does not commit.
Result<CopyTotals> copy_folder_in(Volume& volume, const std::filesystem::path& folder,
                                  const CopyOptions& options = {});
// `folder` must exist or its parent; existing files in it are never overwritten (InvalidArgument).
Result<CopyTotals> copy_folder_out(Volume& volume, const std::filesystem::path& folder,
                                   const CopyOptions& options = {});

}  // namespace cloister::volume
