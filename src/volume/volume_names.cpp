// Directories: a record per hash of a name, holding the names that share it. Reading in hash order gives
// cookies that stay valid whatever else happens to the directory.
#include <algorithm>

#include "volume/volume_impl.h"

namespace cloister::volume {
namespace {

constexpr uint32_t kMaxLinks = 65000;
constexpr unsigned kMaxDepth = 4096;  // of directories, when following parents

VolumeResult<void> check_name(std::string_view name) {
  if (name.size() > 255) return VolumeError{Reason::NameTooLong, "the name is longer than 255 bytes"};
  if (name.empty()) return VolumeError{Reason::NotFound, "the name is empty"};
  if (name == "." || name == ".." || name.find('/') != name.npos || name.find('\0') != name.npos) {
    return VolumeError{Reason::Invalid, "not a name"};
  }
  return {};
}

bool plausible_name(std::string_view name) { return check_name(name).ok(); }

}  // namespace

VolumeResult<std::vector<VolumeImpl::NameRecord>> VolumeImpl::entries(InodeId directory, uint64_t hash) {
  const std::optional<ByteView> value = TRY(tree_.find({directory, Kind::Entry, hash}));
  if (!value) return std::vector<NameRecord>();
  VolumeResult<std::vector<NameRecord>> list = parse_entries(*value);
  if (!list.ok()) return poison(list.error());
  return list;
}

VolumeResult<std::vector<VolumeImpl::NameRecord>> VolumeImpl::parse_entries(ByteView value) {
  std::vector<NameRecord> out;
  ByteReader in(value, "directory entry");
  while (!in.at_end()) {
    const Result<uint64_t> inode = in.le<uint64_t>();
    const Result<uint8_t> type = in.le<uint8_t>();
    const Result<uint8_t> size = in.le<uint8_t>();
    const Result<ByteView> name = in.take(size.ok() ? *size : 0);
    // A hostile author must not smuggle "..", "a/b" or an unknown type to whoever lists the directory.
    if (!inode.ok() || !type.ok() || !size.ok() || !name.ok() || *type < 1 || *type > 3 ||
        !plausible_name(as_text(*name))) {
      return damaged("The volume's metadata holds a malformed directory entry");
    }
    out.push_back({std::string(as_text(*name)), *inode, static_cast<FileType>(*type)});
  }
  return out;
}

VolumeResult<std::optional<VolumeImpl::NameRecord>> VolumeImpl::find_entry(InodeId directory,
                                                                           std::string_view name) {
  std::vector<NameRecord> list = TRY(entries(directory, hash_name(keys_.names, name)));
  for (NameRecord& item : list) {
    if (item.name == name) return std::optional<NameRecord>(std::move(item));
  }
  return std::optional<NameRecord>();
}

Bytes VolumeImpl::encode_entries(const std::vector<NameRecord>& list) {
  ByteWriter out;
  for (const NameRecord& item : list) {
    out.le(item.inode)
        .le(static_cast<uint8_t>(item.type))
        .le(static_cast<uint8_t>(item.name.size()))
        .text(item.name);
  }
  return out.take();
}

VolumeResult<void> VolumeImpl::put_entries(InodeId directory, uint64_t hash,
                                           const std::vector<NameRecord>& list) {
  const RecordKey key{directory, Kind::Entry, hash};
  if (list.empty()) {
    TRY(tree_.erase(key));
    return {};
  }
  const Bytes packed = encode_entries(list);
  if (packed.size() > kMaxValue) return VolumeError{Reason::NoSpace, "too many names with one hash"};
  return tree_.put(key, packed);
}

VolumeResult<void> VolumeImpl::add_entry(Inode& directory, std::string_view name, const Inode& inode,
                                         Timestamp now) {
  const uint64_t hash = hash_name(keys_.names, name);
  std::vector<NameRecord> list = TRY(entries(directory.id(), hash));
  list.push_back({std::string(name), inode.id(), inode.record.type});
  TRY(put_entries(directory.id(), hash, list));
  ++directory.record.entries;
  if (inode.record.type == FileType::Directory) ++directory.record.links;
  directory.record.modified = directory.record.changed = now;
  mark(directory);
  return {};
}

VolumeResult<void> VolumeImpl::remove_entry(Inode& directory, std::string_view name, FileType type,
                                            Timestamp now) {
  const uint64_t hash = hash_name(keys_.names, name);
  std::vector<NameRecord> list = TRY(entries(directory.id(), hash));
  list.erase(
      std::remove_if(list.begin(), list.end(), [&](const NameRecord& item) { return item.name == name; }),
      list.end());
  TRY(put_entries(directory.id(), hash, list));
  if (directory.record.entries != 0) --directory.record.entries;
  if (type == FileType::Directory && directory.record.links > 2) --directory.record.links;
  directory.record.modified = directory.record.changed = now;
  mark(directory);
  return {};
}

VolumeResult<InodeId> VolumeImpl::lookup(InodeId directory, std::string_view name) {
  TRY(check_readable());
  TRY(make_room());
  (void)TRY(get_directory(directory));
  TRY(check_name(name));
  const std::optional<NameRecord> entry = TRY(find_entry(directory, name));
  if (!entry) return VolumeError{Reason::NotFound, "no such file"};
  return entry->inode;
}

VolumeResult<void> VolumeImpl::check_free(InodeId directory, std::string_view name) {
  const Inode* parent = TRY(get_directory(directory));
  TRY(check_name(name));
  if (parent->record.links == 0) return VolumeError{Reason::NotFound, "the directory was removed"};
  if (TRY(find_entry(directory, name)).has_value()) return VolumeError{Reason::Exists, "the name exists"};
  return {};
}

VolumeResult<InodeId> VolumeImpl::make_named(FileType type, InodeId directory, std::string_view name,
                                             std::string_view target, uint16_t permissions, uint32_t uid,
                                             uint32_t gid, Timestamp now) {
  TRY(begin_change());
  TRY(check_free(directory, name));
  const Changing changing(*this);
  Inode* inode = TRY(make_inode(type, directory, permissions, uid, gid, now));
  if (type == FileType::Symlink) {
    inode->inline_data.assign(target.begin(), target.end());
    inode->inline_dirty = true;
    inode->record.size = target.size();
  }
  Inode* parent = TRY(get_directory(directory));
  const VolumeResult<void> added = add_entry(*parent, name, *inode, now);
  if (!added.ok()) {
    forget_inode(inode);
    --state_.inodes;
    return added.error();
  }
  return inode->id();
}

VolumeResult<InodeId> VolumeImpl::create_file(InodeId directory, std::string_view name, uint16_t permissions,
                                              uint32_t uid, uint32_t gid, Timestamp now) {
  return make_named(FileType::Regular, directory, name, {}, permissions, uid, gid, now);
}

VolumeResult<InodeId> VolumeImpl::make_directory(InodeId directory, std::string_view name,
                                                 uint16_t permissions, uint32_t uid, uint32_t gid,
                                                 Timestamp now) {
  return make_named(FileType::Directory, directory, name, {}, permissions, uid, gid, now);
}

VolumeResult<InodeId> VolumeImpl::make_symlink(InodeId directory, std::string_view name,
                                               std::string_view target, uint32_t uid, uint32_t gid,
                                               Timestamp now) {
  if (target.empty()) return VolumeError{Reason::NotFound, "the target is empty"};
  if (target.size() > kMaxTarget) return VolumeError{Reason::NameTooLong, "the target is too long"};
  return make_named(FileType::Symlink, directory, name, target, 0777, uid, gid, now);
}

VolumeResult<void> VolumeImpl::link(InodeId id, InodeId directory, std::string_view name, Timestamp now) {
  TRY(begin_change());
  Inode* inode = TRY(get(id));
  if (inode->record.type == FileType::Directory) return VolumeError{Reason::IsDirectory, "is a directory"};
  if (inode->record.links >= kMaxLinks) return VolumeError{Reason::TooManyLinks, "too many links"};
  TRY(check_free(directory, name));
  const Changing changing(*this);
  Inode* parent = TRY(get_directory(directory));
  TRY(add_entry(*parent, name, *inode, now));
  // A held file without a name gets one again: it must not go when it is released.
  if (inode->record.links == 0) TRY(tree_.erase(orphan_key(id)));
  ++inode->record.links;
  inode->record.parent = directory;
  inode->record.changed = now;
  mark(*inode);
  return {};
}

VolumeResult<void> VolumeImpl::unlink(InodeId directory, std::string_view name, Timestamp now) {
  TRY(begin_change());
  Inode* parent = TRY(get_directory(directory));
  TRY(check_name(name));
  const std::optional<NameRecord> entry = TRY(find_entry(directory, name));
  if (!entry) return VolumeError{Reason::NotFound, "no such file"};
  if (entry->type == FileType::Directory) return VolumeError{Reason::IsDirectory, "is a directory"};
  const Changing changing(*this);
  Inode* inode = TRY(get(entry->inode));
  TRY(remove_entry(*parent, name, entry->type, now));
  return drop_link(*inode, now);
}

VolumeResult<void> VolumeImpl::remove_directory(InodeId directory, std::string_view name, Timestamp now) {
  TRY(begin_change());
  Inode* parent = TRY(get_directory(directory));
  TRY(check_name(name));
  const std::optional<NameRecord> entry = TRY(find_entry(directory, name));
  if (!entry) return VolumeError{Reason::NotFound, "no such directory"};
  if (entry->type != FileType::Directory) return VolumeError{Reason::NotDirectory, "is not a directory"};
  const Changing changing(*this);
  Inode* inode = TRY(get(entry->inode));
  if (inode->record.entries != 0) return VolumeError{Reason::NotEmpty, "the directory is not empty"};
  TRY(remove_entry(*parent, name, entry->type, now));
  return drop_link(*inode, now);
}

VolumeResult<void> VolumeImpl::replace_target(Inode& directory, std::string_view name,
                                              const NameRecord& target, FileType moving, Timestamp now) {
  Inode* replaced = TRY(get(target.inode));
  if (target.type == FileType::Directory) {
    if (moving != FileType::Directory) return VolumeError{Reason::IsDirectory, "the target is a directory"};
    if (replaced->record.entries != 0) return VolumeError{Reason::NotEmpty, "the target is not empty"};
  } else if (moving == FileType::Directory) {
    return VolumeError{Reason::NotDirectory, "the target is not a directory"};
  }
  TRY(remove_entry(directory, name, target.type, now));
  return drop_link(*replaced, now);
}

// Not below itself.
VolumeResult<void> VolumeImpl::check_can_move(const NameRecord& moving, InodeId to) {
  if (moving.type != FileType::Directory) return {};
  InodeId above = to;
  for (unsigned depth = 0; above != kRootInode; ++depth) {
    if (above == moving.inode || depth > kMaxDepth)
      return VolumeError{Reason::Invalid, "a directory cannot move into itself"};
    above = TRY(get_directory(above))->record.parent;
  }
  if (moving.inode == kRootInode) return VolumeError{Reason::Invalid, "the root directory cannot move"};
  return {};
}

VolumeResult<void> VolumeImpl::rename(InodeId from, std::string_view from_name, InodeId to,
                                      std::string_view to_name, Timestamp now) {
  TRY(begin_change());
  (void)TRY(get_directory(from));
  Inode* target_parent = TRY(get_directory(to));
  TRY(check_name(from_name));
  TRY(check_name(to_name));
  if (target_parent->record.links == 0) return VolumeError{Reason::NotFound, "the directory was removed"};
  const std::optional<NameRecord> source = TRY(find_entry(from, from_name));
  if (!source) return VolumeError{Reason::NotFound, "no such file"};
  const std::optional<NameRecord> target = TRY(find_entry(to, to_name));
  if (target && target->inode == source->inode) return {};
  TRY(check_can_move(*source, to));
  const Changing changing(*this);
  if (target) TRY(replace_target(*target_parent, to_name, *target, source->type, now));
  Inode* source_parent = TRY(get_directory(from));
  target_parent = TRY(get_directory(to));
  Inode* inode = TRY(get(source->inode));
  TRY(remove_entry(*source_parent, from_name, source->type, now));
  TRY(add_entry(*target_parent, to_name, *inode, now));
  inode->record.parent = to;
  inode->record.changed = now;
  mark(*inode);
  return {};
}

VolumeResult<void> VolumeImpl::exchange(InodeId a, std::string_view a_name, InodeId b,
                                        std::string_view b_name, Timestamp now) {
  TRY(begin_change());
  (void)TRY(get_directory(a));
  (void)TRY(get_directory(b));
  TRY(check_name(a_name));
  TRY(check_name(b_name));
  const std::optional<NameRecord> one = TRY(find_entry(a, a_name));
  const std::optional<NameRecord> two = TRY(find_entry(b, b_name));
  if (!one || !two) return VolumeError{Reason::NotFound, "no such file"};
  if (one->inode == two->inode) return {};
  TRY(check_can_move(*one, b));
  TRY(check_can_move(*two, a));
  const Changing changing(*this);
  Inode* a_parent = TRY(get_directory(a));
  Inode* b_parent = TRY(get_directory(b));
  Inode* first = TRY(get(one->inode));
  Inode* second = TRY(get(two->inode));
  TRY(remove_entry(*a_parent, a_name, one->type, now));
  TRY(remove_entry(*b_parent, b_name, two->type, now));
  TRY(add_entry(*b_parent, b_name, *first, now));
  TRY(add_entry(*a_parent, a_name, *second, now));
  first->record.parent = b;
  second->record.parent = a;
  first->record.changed = second->record.changed = now;
  mark(*first);
  mark(*second);
  return {};
}

VolumeResult<uint64_t> VolumeImpl::read_directory(InodeId directory, uint64_t cookie, size_t limit,
                                                  std::vector<DirectoryEntry>& out) {
  TRY(check_readable());
  TRY(make_room());
  (void)TRY(get_directory(directory));
  size_t added = 0;
  while (true) {
    if (cookie == ~uint64_t{0}) return uint64_t{0};
    const std::optional<Tree::Record> record = TRY(tree_.lower_bound({directory, Kind::Entry, cookie + 1}));
    if (!record || record->key.inode != directory || record->key.kind != Kind::Entry) return uint64_t{0};
    const uint64_t hash = record->key.sub;
    std::vector<NameRecord> list = TRY(entries(directory, hash));
    if (added != 0 && added + list.size() > limit) return cookie;
    for (NameRecord& item : list) out.push_back({std::move(item.name), item.inode, item.type});
    added += list.size();
    cookie = hash;
    if (added >= limit) return cookie;
  }
}

VolumeResult<std::string> VolumeImpl::read_symlink(InodeId id) {
  TRY(check_readable());
  TRY(make_room());
  Inode* inode = TRY(get(id));
  if (inode->record.type != FileType::Symlink) return VolumeError{Reason::Invalid, "is not a symbolic link"};
  TRY(load_inline(*inode));
  return std::string(as_text(inode->inline_data));
}

VolumeResult<InodeId> VolumeImpl::parent_of(InodeId directory) {
  TRY(check_readable());
  TRY(make_room());
  const Inode* inode = TRY(get_directory(directory));
  return directory == kRootInode ? kRootInode : inode->record.parent;
}

std::string VolumeImpl::describe(InodeId id) {
  constexpr unsigned kScanLimit = 100'000;
  std::string path;
  InodeId at = id;
  for (unsigned depth = 0; at != kRootInode && depth < 64; ++depth) {
    const VolumeResult<Inode*> inode = get(at);
    if (!inode.ok()) break;
    const InodeId parent = inode.value()->record.parent;
    std::string name;
    uint64_t hash = 0;
    for (unsigned i = 0; name.empty() && i < kScanLimit; ++i) {
      const VolumeResult<std::optional<Tree::Record>> record =
          tree_.lower_bound({parent, Kind::Entry, hash + 1});
      if (!record.ok() || !record.value() || record.value()->key.inode != parent ||
          record.value()->key.kind != Kind::Entry) {
        break;
      }
      hash = record.value()->key.sub;
      const VolumeResult<std::vector<NameRecord>> list = entries(parent, hash);
      if (!list.ok()) break;
      for (const NameRecord& item : list.value()) {
        if (item.inode == at) name = item.name;
      }
    }
    if (name.empty()) break;
    path.insert(0, name).insert(0, "/");
    at = parent;
  }
  return at == kRootInode && !path.empty() ? path : "with inode " + std::to_string(id);
}

}  // namespace cloister::volume
