#include "volume/care.h"

#include <map>

#include "volume/directories_met.h"
#include "volume/errors.h"

namespace cloister::volume {
namespace {

constexpr size_t kPiece = 1u << 20;

class Copier {
 public:
  Copier(Volume& from, Volume& to) : from_(from), to_(to), buffer_(kPiece) {}

  VolumeResult<void> copy() {
    TRY(enter(kRootInode, kRootInode));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.next < level.entries.size()) {
        const DirectoryEntry entry = std::move(level.entries[level.next++]);
        TRY(one(entry, level.target));
      } else if (level.cookie != 0) {
        TRY(read(level));
      } else {
        TRY(attributes(level.source, level.target));
        levels_.pop_back();
      }
    }
    return {};
  }

 private:
  struct Level {  // a directory on the way from the root
    InodeId source, target;
    uint64_t cookie = 0;
    std::vector<DirectoryEntry> entries;  // of which those from `next` on are to come
    size_t next = 0;
  };

  VolumeResult<void> enter(InodeId source, InodeId target) {
    TRY(lift(met_.enter(source)));
    levels_.push_back({source, target, 0, {}, 0});
    return read(levels_.back());
  }

  VolumeResult<void> read(Level& level) {
    level.entries.clear();
    level.next = 0;
    level.cookie = TRY(from_.read_directory(level.source, level.cookie, 256, level.entries));
    return {};
  }

  VolumeResult<void> one(const DirectoryEntry& entry, InodeId target) {
    const Attributes a = TRY(from_.attributes(entry.inode));
    if (entry.type == FileType::Directory) {
      const InodeId made =
          TRY(to_.make_directory(target, entry.name, a.permissions, a.uid, a.gid, a.changed));
      return enter(entry.inode, made);
    }
    if (const auto known = several_names_.find(entry.inode); known != several_names_.end()) {
      return to_.link(known->second, target, entry.name, a.changed);
    }
    InodeId made = 0;
    if (entry.type == FileType::Symlink) {
      const std::string link = TRY(from_.read_symlink(entry.inode));
      made = TRY(to_.make_symlink(target, entry.name, link, a.uid, a.gid, a.changed));
    } else {
      made = TRY(to_.create_file(target, entry.name, a.permissions, a.uid, a.gid, a.changed));
      TRY(content(entry.inode, made, a));
    }
    if (a.links > 1) several_names_[entry.inode] = made;
    return attributes(entry.inode, made);
  }

  // Only where there is data.
  VolumeResult<void> content(InodeId source, InodeId made, const Attributes& a) {
    uint64_t at = 0;
    while (at < a.size) {
      VolumeResult<uint64_t> data = from_.seek_data(source, at);
      if (!data.ok() && data.error().reason == Reason::NotFound) break;
      at = TRY(std::move(data));
      const uint64_t hole = TRY(from_.seek_hole(source, at));
      while (at < hole) {
        const size_t size = static_cast<size_t>(std::min<uint64_t>(kPiece, hole - at));
        const size_t got = TRY(from_.read(source, at, MutableByteView(buffer_).first(size)));
        if (got == 0) return VolumeError{Reason::Integrity, "a file is shorter than it says"};
        TRY(to_.write(made, at, ByteView(buffer_).first(got), a.modified));
        at += got;
      }
    }
    return to_.truncate(made, a.size, a.modified);
  }

  VolumeResult<void> attributes(InodeId source, InodeId target) {
    const std::vector<std::string> names = TRY(from_.list_xattrs(source));
    for (const std::string& name : names) {
      const Bytes value = TRY(from_.get_xattr(source, name));
      TRY(to_.set_xattr(target, name, value, false, false, {}));
    }
    const Attributes a = TRY(from_.attributes(source));
    AttributeChange change;
    change.permissions = a.permissions;
    change.uid = a.uid;
    change.gid = a.gid;
    change.modified = a.modified;
    return to_.set_attributes(target, change, a.changed);
  }

  Volume& from_;
  Volume& to_;
  Bytes buffer_;
  std::map<InodeId, InodeId> several_names_;
  DirectoriesMet met_;
  std::vector<Level> levels_;
};

}  // namespace

Result<void> copy_volume(Volume& from, Volume& to) {
  TRY(lower(from.verify_tree()));
  VolumeResult<void> copied = Copier(from, to).copy();
  if (!copied.ok()) return static_cast<Error>(copied.error());
  return {};
}

}  // namespace cloister::volume
