// A regular file by its descriptor, with errors that name it. Whole small files are base/files.h's business;
// here are the large ones, read and written in parts.
#pragma once

#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "base/descriptor.h"
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

  const std::filesystem::path& path() const { return path_; }
  Result<uint64_t> size() const;
  // Up to out.size() bytes; fewer only at the end.
  Result<size_t> read_at(uint64_t offset, MutableByteView out) const;
  Result<void> read_exact_at(uint64_t offset, MutableByteView out) const;  // Malformed "… ends early"
  Result<void> write_at(uint64_t offset, ByteView data) const;
  Result<void> sync() const;

 private:
  File(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  Descriptor fd_;
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

// A folder that is made beside the one it shall become. finish() makes everything in it durable and gives it
// that name; without finish() it goes away.
class NewFolder {
 public:
  // InvalidArgument when `target` exists and is not an empty folder.
  static Result<NewFolder> beside(const std::filesystem::path& target);
  const std::filesystem::path& path() const { return path_; }
  Result<void> finish();

 private:
  NewFolder(std::filesystem::path target, std::filesystem::path path);
  std::filesystem::path target_, path_;
  std::unique_ptr<RemoveOnExit> remove_;
};

// file_error, and InvalidArgument for what is there already or is a folder.
Error system_error(const std::filesystem::path& path, std::string_view what, int number);
Result<crypto::Digest> sha256_of(const File& file);
// Renames durably: what bears the new name after a power cut is whole.
Result<void> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
// "a/b" → "a"; "b" → ".".
std::filesystem::path parent_of(const std::filesystem::path& path);

}  // namespace cloister::transfer
