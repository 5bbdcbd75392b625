// A regular file by its descriptor, with errors that name it. Whole small files are base/files.h's business;
// here are the large ones, read and written in parts.
#pragma once

#include <filesystem>

#include "base/bytes.h"
#include "crypto/sha256.h"

namespace cloister::transfer {

class File {
 public:
  // NotFound, Denied, InvalidArgument (not a regular file), Unavailable.
  static Result<File> open_to_read(const std::filesystem::path& path);
  // Must not exist; mode 0600.
  static Result<File> create(const std::filesystem::path& path);
  // A new file `folder/.cloister-XXXXXX`; path() tells which.
  static Result<File> create_temporary(const std::filesystem::path& folder);

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::filesystem::path& path() const { return path_; }
  int fd() const { return fd_; }
  Result<uint64_t> size() const;
  Result<int64_t> modified() const;  // seconds since 1970
  // Up to out.size() bytes; fewer only at the end.
  Result<size_t> read_at(uint64_t offset, MutableByteView out) const;
  Result<void> read_exact_at(uint64_t offset, MutableByteView out) const;  // Malformed "… ends early"
  Result<void> write_at(uint64_t offset, ByteView data) const;
  Result<void> sync() const;

 private:
  File(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::filesystem::path path_;
};

// Removes a file or a whole folder at the end, unless it was kept: what is half made leaves no trace.
class RemoveOnExit {
 public:
  explicit RemoveOnExit(std::filesystem::path path) : path_(std::move(path)) {}
  ~RemoveOnExit();
  RemoveOnExit(const RemoveOnExit&) = delete;
  RemoveOnExit& operator=(const RemoveOnExit&) = delete;
  void keep() { path_.clear(); }

 private:
  std::filesystem::path path_;
};

Error system_error(const std::filesystem::path& path, std::string_view what, int number);
Result<crypto::Digest> sha256_of(const File& file);
// Renames durably: what bears the new name after a power cut is whole.
Result<void> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
Result<void> sync_folder(const std::filesystem::path& folder);
// "a/b" → "a"; "b" → ".".
std::filesystem::path parent_of(const std::filesystem::path& path);

}  // namespace cloister::transfer
