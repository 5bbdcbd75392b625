// The table of file system operations that libfuse calls; its user data is a Mounted.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <memory>
#include <vector>

#include "base/descriptor.h"
#include "fuse/filesystem.h"

namespace cloister::fuse {

inline constexpr unsigned kMaxTransfer = 1u << 20;  // bytes of one read or write: the kernel's own limit

// How often the next request is not awaited awake, and how many more times that will be.
struct Patience {
  unsigned pauses = 0;
  unsigned skip = 0;
};

// Requests for fsync that wait for one commit.
struct Fsyncs {
  std::vector<fuse_req_t> waiting;
  unsigned requests = 0;  // of any kind, since the first of them came
  size_t bytes = 0;       // of these
};

// Used by the one thread that serves.
struct Mounted {
  FileSystem& files;
  const Descriptor& volume_folder;  // opened before mounting: its name may lead into the mount now
  uint64_t init_request = 0;        // channel.cpp
  bool negotiating = true;
  Patience patience;
  Fsyncs fsyncs;
  std::unique_ptr<uint8_t[]> read_buffer = std::make_unique<uint8_t[]>(kMaxTransfer);
};

const fuse_lowlevel_ops& operations();
// Commits once, for all that wait.
void answer_fsyncs(Mounted& mounted);

// channel.cpp: waits awake for requests that follow soon, and lets the kernel know that we clear set-id bits
// ourselves. False: libfuse refuses.
bool take_channel(fuse_session* session);

}  // namespace cloister::fuse
