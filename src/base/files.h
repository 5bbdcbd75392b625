// Whole files on the host: read with a limit, write atomically with tight permissions. Not for the kernel.
//
// A secret file must never exist with wider permissions than its final ones nor half written, so writing goes
// to a new 0600 file beside the target, is synced, and takes the name by rename(2).
#pragma once

#include <filesystem>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"

namespace cloister {

// The hint of an error of a full disk.
inline constexpr std::string_view kFullDiskHint = "free some space on that disk";

// "cannot `what` `path`: reason" of errno `number`: NotFound, Denied, else Unavailable.
Error file_error(const std::filesystem::path& path, std::string_view what, int number);

// The whole file. NotFound when it does not exist; Malformed when it is longer than `limit` bytes;
// Unavailable for other I/O errors.
Result<Bytes> read_file(const std::filesystem::path& path, size_t limit);
Result<SecretBytes> read_secret_file(const std::filesystem::path& path, size_t limit);

// The whole of a large file, as large as it was when it was opened, in large pages: a fault for each small
// one takes longer than to read it. Errors as for read_file.
class FileMemory {
 public:
  static Result<FileMemory> read(const std::filesystem::path& path, size_t limit);
  FileMemory(FileMemory&& other) noexcept { *this = std::move(other); }
  FileMemory& operator=(FileMemory&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(begin_, other.begin_);
    std::swap(size_, other.size_);
    std::swap(room_, other.room_);
    return *this;
  }
  ~FileMemory();
  ByteView bytes() const { return {begin_, size_}; }

 private:
  FileMemory() = default;
  uint8_t *at_ = nullptr, *begin_ = nullptr;
  size_t size_ = 0, room_ = 0;
};

// A file whose content is durable, but which is not there yet: nobody finds it before replace() or put().
// Given up, nothing of it stays.
class StagedFile {
 public:
  // In the folder of `path`, which must exist. Denied, NotFound or Unavailable.
  static Result<StagedFile> write(const std::filesystem::path& path, ByteView content, mode_t mode = 0600);
  StagedFile(StagedFile&& other) noexcept;
  StagedFile& operator=(StagedFile&&) = delete;
  ~StagedFile();
  // Atomically and durably, once. put() replaces nothing: false when something is there.
  Result<void> replace();
  Result<bool> put();

 private:
  explicit StagedFile(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
  std::string temporary_;  // empty: it is at its place
};

// Replaces `path` atomically and durably; mode 0600. The folder must exist. Denied, NotFound or Unavailable.
Result<void> write_private_file(const std::filesystem::path& path, ByteView content);
// The same for what everybody may read (certificates, public keys); mode 0644 less the umask.
Result<void> write_public_file(const std::filesystem::path& path, ByteView content);

// Makes `path` and its parents; a folder that it creates has mode 0700.
Result<void> make_private_folder(const std::filesystem::path& path);

// Makes new names in a folder durable.
Result<void> sync_folder(const std::filesystem::path& folder);

}  // namespace cloister
