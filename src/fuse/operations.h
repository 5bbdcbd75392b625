// The table of file system operations that libfuse calls; its user data is a Mounted.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <filesystem>
#include <memory>

#include "fuse/filesystem.h"

namespace cloister::fuse {

inline constexpr unsigned kMaxTransfer = 1u << 20;  // bytes of one read or write: the kernel's own limit

// Used by the one thread that serves.
struct Mounted {
  FileSystem& files;
  std::filesystem::path volume_folder;
  uint64_t init_request = 0;  // negotiation.cpp
  bool negotiating = true;
  std::unique_ptr<uint8_t[]> read_buffer = std::make_unique<uint8_t[]>(kMaxTransfer);
};

const fuse_lowlevel_ops& operations();

// negotiation.cpp: lets the kernel know that we clear set-id bits ourselves. False: libfuse refuses.
bool take_set_id_bits(fuse_session* session);

}  // namespace cloister::fuse
