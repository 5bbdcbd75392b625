// Storage: the one folder of ciphertext that a volume lives in, seen through the fewest operations it needs.
// Everything it returns is hostile: contents, sizes, absence. Names are ours ("volume.fspf", "objects/3f/…").
// Bytes are copied out of and into it, because others can change and read the storage of most; a storage in
// memory of this process alone saves the copies with views.
// Implementations: PosixStorage (host), MemoryStorage and FaultyStorage (tests), the arena storage of the
// kernel. Not thread-safe; the volume serialises.
#pragma once

#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace cloister::volume {

// A full disk is Code::Unavailable with this hint; any other hint or none is an I/O error.
inline constexpr std::string_view kNoSpaceHint = "free some space on the disk that holds the volume";

class StorageFile {
 public:
  virtual ~StorageFile() = default;
  // Reads up to out.size() bytes at `offset`; returns how many (0 at the end). Short counts are possible.
  virtual Result<size_t> read_at(uint64_t offset, MutableByteView out) = 0;
  // Writes all of `data` at `offset`, or fails. The file grows as needed.
  virtual Result<void> write_at(uint64_t offset, ByteView data) = 0;
  virtual Result<void> truncate(uint64_t size) = 0;
  virtual Result<void> sync() = 0;  // data and size are durable afterwards
  virtual Result<uint64_t> size() = 0;

  // Where ciphertext of `size` bytes may be built before write_at, to save a copy: in the kernel this is
  // untrusted memory (write-only for the caller). Valid until the next call on this file.
  // The default returns an empty span: build it anywhere.
  virtual MutableByteView staging(size_t /*size*/) { return {}; }

  // The stored bytes themselves, `size` of them at `offset`; empty: none are given, or there are not as many.
  // Only of memory that nobody but this process can change: who checks bytes and uses them while others
  // change them uses what was never checked. No less hostile than what read_at() gives. Valid until the next
  // call that changes the file, by whichever of its StorageFiles.
  virtual ByteView view(uint64_t /*offset*/, size_t /*size*/) { return {}; }
  // The same to be written, instead of write_at: the file grows as needed, and the caller fills all of it.
  // Only of memory that nobody but this process can change or read, because a cipher may read back what it
  // wrote. The default: use staging() and write_at().
  virtual MutableByteView writable_view(uint64_t /*offset*/, size_t /*size*/) { return {}; }
};

enum class OpenMode : uint8_t {
  Read,
  ReadWrite,
  CreateNew
};  // CreateNew: fails when it exists; makes folders

class Storage {
 public:
  virtual ~Storage() = default;
  // NotFound when it does not exist; Integrity when a link, a folder or a pipe stands there.
  virtual Result<std::unique_ptr<StorageFile>> open(std::string_view name, OpenMode mode) = 0;
  virtual Result<void> remove(std::string_view name) = 0;  // a missing file is success
  virtual Result<void> sync_names() = 0;                   // created and removed names are durable afterwards
  // One writer: takes the lock or says who holds it. Released by destruction. Readers do not lock.
  virtual Result<void> lock_for_writing(std::string_view owner) = 0;
};

}  // namespace cloister::volume
