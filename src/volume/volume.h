// A volume: an encrypted (or authenticated-only) file system in a folder of objects (storage.h).
// Whoever has the key and the tag can read it and knows it is complete, unmodified and the newest.
// Format: docs/formats/volume.md. This is the only header that users of volumes need.
//
// Errors: Integrity when anything read is not what the tag commits to (the mount is poisoned from then on);
// NotFound, InvalidArgument (exists, not a directory, not empty, name too long: see Posix below) for callers;
// Unavailable for host I/O. Not thread-safe: the caller serialises (the kernel has one lock per mount).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"
#include "volume/storage.h"

namespace cloister::volume {

using Key = Key256;          // 32 bytes: volume key
using Tag = ByteArray<16>;   // commits to the key and the complete state
using Root = ByteArray<32>;  // authenticated-only mode: SHA-256 root, goes into the measured manifest
using InodeId = uint64_t;    // never reused within a volume; kRootInode is the root directory
inline constexpr InodeId kRootInode = 1;
inline constexpr size_t kMaxTarget = 4095;  // of a symbolic link, bytes: PATH_MAX counts a zero as well
inline constexpr size_t kMaxXattrValue = 65536;

enum class Mode : uint8_t { Encrypted, AuthenticatedOnly };

enum class FileType : uint8_t { Regular = 1, Directory = 2, Symlink = 3 };

struct Timestamp {
  int64_t seconds = 0;       // since 1970-01-01 UTC
  uint32_t nanoseconds = 0;  // < 1'000'000'000
};

struct Attributes {
  FileType type = FileType::Regular;
  uint16_t permissions = 0644;  // the 07777 bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t links = 1;
  uint64_t size = 0;       // bytes; symlink: length of the target; directory: 0
  uint64_t allocated = 0;  // bytes of data that are not holes
  Timestamp modified;
  Timestamp changed;
};

// What to change in set_attributes; absent members stay.
struct AttributeChange {
  std::optional<uint16_t> permissions;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<Timestamp> modified;
};

struct DirectoryEntry {
  std::string name;
  InodeId inode = 0;
  FileType type = FileType::Regular;
};

// Why a file operation failed; the kernel maps each to one errno.
enum class Reason : uint8_t {
  NotFound,
  Exists,
  NotDirectory,
  IsDirectory,
  NotEmpty,
  NameTooLong,
  Invalid,
  ReadOnly,
  TooLarge,
  NoSpace,
  TooManyLinks,
  Io,
  Integrity,
  Poisoned,
  NoData /* missing xattr */,
  Range,
};
struct [[nodiscard]] VolumeError {
  Reason reason;
  std::string message;
  operator Error() const;  // NOLINT: so that TRY works in functions returning Result
};
template <class T>
using VolumeResult = BasicResult<T, VolumeError>;

struct CreateOptions {
  Mode mode = Mode::Encrypted;
  Timestamp now;  // given by the caller: the library has no clock. Root directory times.
  // Authenticated-only volumes must be reproducible: equal calls give equal bytes. They take ids from a
  // counter instead of the random source, and no key.
};

struct OpenOptions {
  bool read_only = false;
  std::string owner = "cloister";   // shown to whoever finds the writer's lock held
  uint64_t cache_size = 32u << 20;  // bytes of verified plaintext and nodes kept
  // False where the caller keeps what it reads, as a mount's page cache does: whole chunks then go by the
  // cache, into the caller's buffer.
  bool cache_reads = true;
  // From the trusted service (design: epochs). Without it a random 64-bit epoch is drawn.
  std::optional<uint64_t> epoch;
  // For repair() of care.h alone: opens also what has no root directory that can be found. Without a tag use
  // open_newest_for_repair().
  bool for_repair = false;
};

class Volume {
 public:
  // Makes an empty volume and commits it. `storage` must outlive the volume.
  static Result<std::unique_ptr<Volume>> create(Storage& storage, const Key& key,
                                                const CreateOptions& options);
  // Opens exactly the state that `tag` names: the newest root or a not yet acknowledged predecessor. Anything
  // else is Integrity with "The FSPF tag is not fresh - suspected replay attack".
  static Result<std::unique_ptr<Volume>> open(Storage& storage, const Key& key, const Tag& tag,
                                              const OpenOptions& options);
  // Opens the newest complete state whatever its tag: no protection against rollback. For owners without a
  // service.
  static Result<std::unique_ptr<Volume>> open_newest_without_freshness(Storage& storage, const Key& key,
                                                                       const OpenOptions& options);
  // Authenticated-only, read-only.
  static Result<std::unique_ptr<Volume>> open_authenticated(Storage& storage, const Root& root,
                                                            const OpenOptions& options);
  virtual ~Volume() = default;

  virtual Tag tag() const = 0;    // of the last committed state
  virtual Root root() const = 0;  // authenticated-only mode; zero otherwise
  virtual Mode mode() const = 0;
  virtual bool read_only() const = 0;
  // open_newest_without_freshness() met a newest state that is not whole (a commit that a loss of power cut
  // short, or damage) and opened the one before it.
  virtual bool found_unfinished_commit() const = 0;

  // --- names (one component, 1..255 bytes, not "." or "..", no '/' and no NUL)
  virtual VolumeResult<InodeId> lookup(InodeId directory, std::string_view name) = 0;
  virtual VolumeResult<InodeId> create_file(InodeId directory, std::string_view name, uint16_t permissions,
                                            uint32_t uid, uint32_t gid, Timestamp now) = 0;
  virtual VolumeResult<InodeId> make_directory(InodeId directory, std::string_view name, uint16_t permissions,
                                               uint32_t uid, uint32_t gid, Timestamp now) = 0;
  virtual VolumeResult<InodeId> make_symlink(InodeId directory, std::string_view name,
                                             std::string_view target, uint32_t uid, uint32_t gid,
                                             Timestamp now) = 0;
  virtual VolumeResult<void> link(InodeId inode, InodeId directory, std::string_view name, Timestamp now) = 0;
  virtual VolumeResult<void> unlink(InodeId directory, std::string_view name, Timestamp now) = 0;
  virtual VolumeResult<void> remove_directory(InodeId directory, std::string_view name, Timestamp now) = 0;
  // Replaces what is at the target as rename(2) does. Refuses a directory into its own subtree (Invalid).
  virtual VolumeResult<void> rename(InodeId from, std::string_view from_name, InodeId to,
                                    std::string_view to_name, Timestamp now) = 0;
  // Both exist, and each gets the other's place (RENAME_EXCHANGE). Refuses what rename refuses.
  virtual VolumeResult<void> exchange(InodeId a, std::string_view a_name, InodeId b, std::string_view b_name,
                                      Timestamp now) = 0;
  // Appends entries after `cookie` (0 = from the start) to `out`, at most `limit`; returns the next cookie, 0
  // at the end. "." and ".." are not included. Stable while other names come and go.
  virtual VolumeResult<uint64_t> read_directory(InodeId directory, uint64_t cookie, size_t limit,
                                                std::vector<DirectoryEntry>& out) = 0;
  virtual VolumeResult<std::string> read_symlink(InodeId inode) = 0;
  virtual VolumeResult<InodeId> parent_of(InodeId directory) = 0;

  // --- inodes
  virtual VolumeResult<Attributes> attributes(InodeId inode) = 0;
  virtual VolumeResult<void> set_attributes(InodeId inode, const AttributeChange& change, Timestamp now) = 0;
  // A held inode survives its last unlink until it is released (open files).
  virtual void hold(InodeId inode) = 0;
  virtual void release(InodeId inode) = 0;

  // --- content. Holes read as zeros. Short reads only at the end of the file.
  virtual VolumeResult<size_t> read(InodeId inode, uint64_t offset, MutableByteView out) = 0;
  virtual VolumeResult<void> write(InodeId inode, uint64_t offset, ByteView data, Timestamp now) = 0;
  virtual VolumeResult<void> truncate(InodeId inode, uint64_t size, Timestamp now) = 0;
  // The next offset >= `offset` with data (or hole); NotFound at the end (ENXIO).
  virtual VolumeResult<uint64_t> seek_data(InodeId inode, uint64_t offset) = 0;
  virtual VolumeResult<uint64_t> seek_hole(InodeId inode, uint64_t offset) = 0;

  // --- extended attributes (any name 1..255 bytes, value <= kMaxXattrValue)
  virtual VolumeResult<Bytes> get_xattr(InodeId inode, std::string_view name) = 0;
  virtual VolumeResult<void> set_xattr(InodeId inode, std::string_view name, ByteView value, bool create_only,
                                       bool replace_only, Timestamp now) = 0;
  virtual VolumeResult<std::vector<std::string>> list_xattrs(InodeId inode) = 0;
  virtual VolumeResult<void> remove_xattr(InodeId inode, std::string_view name, Timestamp now) = 0;

  // --- state
  // Makes everything so far durable under a new tag, which it returns; without changes the old tag.
  // The acknowledged state stays openable until acknowledge() names a later one, and so do up to seven later
  // ones; an eighth commit gives up the oldest of these.
  virtual Result<Tag> commit() = 0;
  // The trusted service (or the caller that keeps the tag) now holds `tag`: what only older states need may
  // be freed.
  virtual Result<void> acknowledge(const Tag& tag) = 0;
  virtual bool dirty() const = 0;  // changes since the last commit
  // Reads all metadata: every record is where look-ups find it. Whoever copies everything asks first, for a
  // file that is not found would be left out, and a chunk be taken for a hole.
  virtual VolumeResult<void> verify_tree() = 0;
  // Reads and verifies every byte reachable; the first fault is returned.
  virtual Result<void> verify_all() = 0;

  struct Usage {
    uint64_t files = 0;      // inodes
    uint64_t data_size = 0;  // bytes of plaintext
  };
  virtual Usage usage() const = 0;
};

}  // namespace cloister::volume
