// The directory of an archive, record by record, in constant memory. Every number is checked against the
// file's size before it is used.
#pragma once

#include "transfer/file.h"
#include "transfer/zip.h"

namespace cloister::transfer {

// One record of the central directory.
struct ZipRecord {
  ZipEntry entry;
  uint32_t crc = 0;
  uint16_t method = 0, flags = 0;
  uint32_t mode = 0;    // st_mode when a Unix program made it, else 0
  uint64_t offset = 0;  // of the local header
};

class ZipReader {
 public:
  // `file` must outlive it.
  static Result<ZipReader> open(const File& file);

  uint64_t count() const { return count_; }
  // The next record; nothing after the last one, when the directory must end, too.
  Result<std::optional<ZipRecord>> next();
  // Where the bytes of a record lie, after its local header has been compared with it.
  struct Extent {
    uint64_t begin = 0, end = 0;
  };
  Result<Extent> locate(const ZipRecord& record) const;

 private:
  explicit ZipReader(const File& file) : file_(&file) {}
  Result<void> find_directory();
  Result<void> read_zip64_end(uint64_t locator);
  Result<void> take(MutableByteView out);  // of the directory

  const File* file_;
  uint64_t count_ = 0, seen_ = 0;
  uint64_t start_ = 0, end_ = 0, at_ = 0;  // of the directory
  Bytes buffer_;
  uint64_t buffer_at_ = 0;
};

}  // namespace cloister::transfer
