// Volume keys in files: 64 hex digits, readable by their owner only. Keys never stand on a command line.
#pragma once

#include <filesystem>

#include "volume/volume.h"

namespace cloister::cli {

// White space at the end is ignored. InvalidArgument, which says nothing of the text but what it is like.
Result<volume::Key> parse_volume_key(std::string_view text);
// Says it on standard error when other users may read the file.
Result<volume::Key> load_volume_key(const std::filesystem::path& file);
// A fresh random key, written to `file` (0600).
Result<volume::Key> make_volume_key(const std::filesystem::path& file);

}  // namespace cloister::cli
