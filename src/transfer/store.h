// The uploads that the service keeps: a folder on disk, an index in memory, nothing else.
//
//   ROOT/lock                    held while a server runs
//   ROOT/partial/XXXXXX/         uploads that are not complete; emptied at the start
//   ROOT/files/ID/content        the bytes
//   ROOT/files/ID/upload         what is known about them, lines of `key=value`
//
// An upload is complete and durable before rename(2) makes it visible, and invisible before it is removed, so
// a crash at any point leaves whole uploads only. IDs are 128 random bits: who knows one may read it. Names
// are data in a file and never part of a path.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include "transfer/file.h"

namespace cloister::transfer {

struct StoreOptions {
  std::filesystem::path root;  // made when it does not exist
  uint64_t max_file_size = uint64_t{100} << 30;
  uint64_t quota = uint64_t{1} << 40;     // of all uploads, with what has come of those on their way
  size_t max_uploads = 100'000;           // small files use up a disk, too
  int64_t max_age = int64_t{14} * 86400;  // seconds; 0: for ever
  std::function<int64_t()> now;           // seconds since 1970; the default is the system's clock
};

struct Upload {
  std::string id;
  std::string name;
  uint64_t size = 0;
  crypto::Digest sha256{};
  int64_t created = 0;
  crypto::Digest token_sha256{};  // the token itself is known to the uploader alone
};

// Thread-safe.
class Store {
 public:
  // Finds what earlier runs have kept. Denied when another server holds the root.
  static Result<std::unique_ptr<Store>> open(const StoreOptions& options);
  ~Store();

  class Incoming;
  // `size` when it is known. InvalidArgument: the name, or larger than max_file_size. Unavailable: the quota.
  // Internal, here and below: what this machine's disk or files refuse; the message names paths.
  Result<std::unique_ptr<Incoming>> begin(std::string_view name, std::optional<uint64_t> size);

  std::optional<Upload> find(std::string_view id) const;  // not what has expired
  Result<File> open_content(const Upload& upload) const;
  // NotFound, or Denied for another token.
  Result<void> remove(std::string_view id, std::string_view token);
  size_t remove_expired();

  uint64_t used() const;  // bytes; of those on their way what has arrived, rounded up
  int64_t now() const { return options_.now(); }
  const StoreOptions& options() const { return options_; }

 private:
  explicit Store(StoreOptions options);
  Result<void> load();
  std::filesystem::path folder_of(std::string_view id) const { return options_.root / "files" / id; }
  bool has_expired(const Upload& upload) const;
  bool has_room(uint64_t size) const;  // with the lock held, as unpublish()
  Result<void> reserve(uint64_t size);
  void release(uint64_t size);
  // Where the upload's folder is then, to be removed.
  Result<std::filesystem::path> unpublish(const std::string& id);
  Result<std::filesystem::path> unpublish(std::string_view id, std::string_view token);

  const StoreOptions options_;
  Descriptor lock_;
  mutable std::mutex mutex_;
  std::map<std::string, Upload, std::less<>> uploads_;
  uint64_t used_ = 0;
};

// An upload on its way. Destroyed without publish(): never was.
class Store::Incoming {
 public:
  ~Incoming();
  Incoming(const Incoming&) = delete;
  Incoming& operator=(const Incoming&) = delete;

  // Errors as Store::begin, for uploads whose size was not known.
  Result<void> write(ByteView data);
  // Of all that was written; ends the writing.
  crypto::Digest finish();
  struct Published {
    Upload upload;
    std::string token;  // deletes it
  };
  // After finish().
  Result<Published> publish();

 private:
  friend class Store;
  Incoming(Store& store, std::string_view name, std::filesystem::path folder, File content,
           uint64_t announced)
      : store_(store),
        name_(name),
        folder_(folder),
        remove_(std::move(folder)),
        content_(std::move(content)),
        announced_(announced) {}
  Result<void> store(const Upload& upload);

  Store& store_;
  const std::string name_;
  const std::filesystem::path folder_;
  RemoveOnExit remove_;
  File content_;
  const uint64_t announced_;  // a hint: how much may come
  crypto::Sha256 hash_;
  crypto::Digest digest_{};
  uint64_t size_ = 0;
  uint64_t reserved_ = 0;
};

}  // namespace cloister::transfer
