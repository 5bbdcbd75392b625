// Zip archives of ciphertext: folders go in stored (compressing noise is wasted time), zip64 where it is
// needed, in constant memory; what comes out is checked before anything bears its final name.
//
// Own code and not an archive library because the reader faces strangers on the server: it must be bounded in
// memory whatever the file claims, and it must have one view of the archive (the central directory, which
// local headers may not contradict). The format is APPNOTE.TXT 6.3.9; deflate comes from zlib.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "base/bytes.h"

namespace cloister::transfer {

using Progress = std::function<void(uint64_t done, uint64_t total)>;  // bytes of files

// Everything below `folder` (regular files and folders; another kind is Unsupported), in byte order of the
// names, into the new file `zip`, which takes its name only when it is complete. Permissions are not kept.
Result<void> zip_folder(const std::filesystem::path& folder, const std::filesystem::path& zip,
                        const Progress& progress = {});

struct ZipLimits {
  uint64_t max_entries = 1 << 20;
  uint64_t max_size = uint64_t{1} << 42;  // of all files together, unpacked
  uint64_t max_ratio = 100;               // unpacked to packed; ciphertext has 1
};

// Unpacks into `folder`, which must not exist or be empty. The files appear there all at once, durably, or
// not at all. Malformed for everything that is not a plain archive: absolute names, "..", links, duplicates,
// overlapping or damaged entries, contradictions, and what exceeds the limits. Unsupported: encrypted
// archives and methods other than stored and deflated.
Result<void> unzip(const std::filesystem::path& zip, const std::filesystem::path& folder,
                   const ZipLimits& limits = {}, const Progress& progress = {});

struct ZipEntry {
  std::string name;  // as it stands in the archive: not checked, any bytes
  uint64_t size = 0, packed_size = 0;
  int64_t modified = 0;  // seconds since 1970
  bool is_folder() const { return name.ends_with('/'); }
};
struct ZipListing {
  std::vector<ZipEntry> entries;  // the first ones: `max_shown`, or less when their names are long
  uint64_t count = 0;             // how many there are
};
// Reads only the directory. Malformed when `zip` is not an archive.
Result<ZipListing> list_zip(const std::filesystem::path& zip, size_t max_shown);

}  // namespace cloister::transfer
