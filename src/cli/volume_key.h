// Volume keys in files: 64 hex digits, readable by their owner only. Keys never stand on a command line.
#pragma once

#include <filesystem>
#include <optional>

#include "base/files.h"
#include "volume/volume.h"

namespace cloister::cli {

// White space at the end is ignored. InvalidArgument, which says nothing of the text but what it is like.
Result<volume::Key> parse_volume_key(std::string_view text);
// Says it on standard error when other users may read the file.
Result<volume::Key> load_volume_key(const std::filesystem::path& file);
volume::Key new_volume_key();
// For `file` (0600): others find it there when its put() has succeeded, and may use it from then on.
Result<StagedFile> stage_volume_key(const std::filesystem::path& file, const volume::Key& key);
// A fresh random key in a new `file`. None when something is there, which is not replaced.
Result<std::optional<volume::Key>> make_volume_key(const std::filesystem::path& file);

}  // namespace cloister::cli
