// Repair, second part: the records that were found agree about names and inodes.
#include "base/text.h"
#include "volume/salvage.h"

namespace cloister::volume {
namespace {

RecordKey inode_key(InodeId id) { return {id, Kind::Inode, 0}; }

}  // namespace

Result<void> Salvage::mend_structure() {
  TRY(learn());
  if (!known_[kRootInode].stored || known_[kRootInode].type != FileType::Directory)
    TRY(make_directory(kRootInode));
  known_[kRootInode].reached = true;
  TRY(filter());
  if (left_over_ != 0) mended(std::to_string(left_over_) + " records that removed files had left behind");
  if (ownerless_ != 0) lost(std::to_string(ownerless_) + " records whose inode record is not there");
  TRY(reach_directories());
  TRY(name_files());
  return mend_inodes();
}

Result<void> Salvage::learn() {
  return each_record([&](const RecordKey& key, ByteView value) -> Result<void> {
    if (key.kind == Kind::Orphan) {
      known_[key.sub].orphan = true;
      return {};
    }
    Known& known = known_[key.inode];
    if (key.kind == Kind::Inode) {
      const InodeRecord record = TRY(decode_inode(value, v_.mode_));
      known.stored = true;
      known.type = record.type;
      known.is_inline = record.is_inline;
      v_.state_.next_inode = std::max(v_.state_.next_inode, key.inode + 1);
    } else if (key.kind == Kind::Inline) {
      const bool next = key.sub == known.inline_parts && known.inline_size == key.sub * kInlineMax &&
                        (key.sub == 0 || known.type == FileType::Symlink);
      known.inline_size += next ? value.size() : 0;
      known.inline_parts += next;
    } else if (key.kind == Kind::Value) {
      v_.state_.next_inode = std::max(v_.state_.next_inode, (key.sub >> kPartBits) + 1);
    } else if (key.kind == Kind::Entry && !known.stored && unreadable_ != 0) {
      return make_directory(key.inode);  // its names are there, so it was lost and not removed
    }
    return {};
  });
}

// In place of one whose record is lost.
Result<void> Salvage::make_directory(InodeId id) {
  InodeRecord record;
  record.type = FileType::Directory;
  record.permissions = 0700;
  record.links = 2;
  record.parent = kRootInode;
  TRY(v_.tree_.put(inode_key(id), encode_inode(record, v_.mode_)));
  known_[id].stored = true;
  known_[id].type = FileType::Directory;
  known_[id].is_inline = false;
  lost("owner, permissions and times of directory inode " + std::to_string(id));
  return {};
}

Result<void> Salvage::filter() {
  return each_record([&](const RecordKey& key, ByteView value) -> Result<void> {
    if (TRY(keep(key, value))) return {};
    TRY(v_.tree_.erase(key));
    return {};
  });
}

Result<bool> Salvage::keep(const RecordKey& key, ByteView value) {
  const Known& known = known_[key.kind == Kind::Orphan ? key.sub : key.inode];
  bool fits = known.stored;
  if (key.kind == Kind::Inline) fits = fits && known.is_inline && key.sub < known.inline_parts;
  if (key.kind == Kind::Chunks) fits = fits && known.type == FileType::Regular && !known.is_inline;
  if (key.kind == Kind::Entry) fits = fits && known.type == FileType::Directory;
  // Where nodes are lost, the inode may have been in one of them.
  const bool ownerless = !known.stored && unreadable_ != 0;
  ownerless_ += ownerless;
  left_over_ += !fits && !ownerless;
  if (fits && key.kind == Kind::Entry) return keep_entries(key, value);
  return fits;
}

Result<bool> Salvage::keep_entries(const RecordKey& key, ByteView value) {
  const std::vector<NameRecord> before = TRY(VolumeImpl::parse_entries(value));
  std::vector<NameRecord> after;
  std::set<std::string_view> names;
  for (const NameRecord& item : before) {
    NameRecord accepted = item;
    if (names.insert(item.name).second && accept_name(key, accepted)) after.push_back(std::move(accepted));
  }
  const Bytes packed = VolumeImpl::encode_entries(after);
  if (!after.empty() && as_text(packed) != as_text(value)) TRY(v_.tree_.put(key, packed));
  return !after.empty();
}

bool Salvage::accept_name(const RecordKey& at, NameRecord& item) {
  const std::string text = printable(item.name) + " in directory inode " + std::to_string(at.inode);
  const auto found = known_.find(item.inode);
  if (found == known_.end() || !found->second.stored) {
    lost(text + ": inode " + std::to_string(item.inode) + ", whose name it is, does not exist");
    return false;
  }
  Known& known = found->second;
  const bool directory = known.type == FileType::Directory;
  const bool second = directory && (known.names != 0 || item.inode == kRootInode);
  if (second || hash_name(v_.keys_.names, item.name) != at.sub) {
    mended(text + ": it is no name of inode " + std::to_string(item.inode));
    return false;
  }
  if (item.type != known.type) mended(text + ": what kind of file it is");
  item.type = known.type;
  ++known.names;
  known.named_in = at.inode;
  ++known_[at.inode].entries;
  known_[at.inode].subdirectories += directory;
  return true;
}

Result<void> Salvage::reach_directories() {
  for (auto& [id, known] : known_) {
    if (!known.stored || known.type != FileType::Directory) continue;
    if (!known.orphan || (known.names == 0 && known.entries == 0)) continue;
    TRY(v_.tree_.erase(orphan_key(id)));
    known.orphan = false;
  }
  // Only then: a path leads through directories that come later.
  for (const auto& [id, known] : known_) {
    if (known.stored && known.type == FileType::Directory) TRY(reach(id));
  }
  return {};
}

// Up to what the root leads to. What no name leads to, and what is above itself, is named anew.
Result<void> Salvage::reach(InodeId id) {
  std::set<InodeId> path;
  while (!known_[id].reached) {
    Known& known = known_[id];
    const bool above_itself = path.count(id) != 0;
    if (above_itself) TRY(take_name_away(id));
    if (known.names == 0 && !known.orphan) TRY(put_in_lost_and_found(id));
    known.reached = above_itself || known.names == 0 || known.named_in == lost_and_found_;
    path.insert(id);
    if (known.reached) break;
    id = known.named_in;
  }
  for (const InodeId passed : path) known_[passed].reached = true;
  return {};
}

Result<void> Salvage::name_files() {
  for (auto& [id, known] : known_) {
    if (!known.stored || known.type == FileType::Directory) continue;
    if (known.names == 0 && !known.orphan) TRY(put_in_lost_and_found(id));
    if (known.names == 0 || !known.orphan) continue;
    TRY(v_.tree_.erase(orphan_key(id)));
    known.orphan = false;
  }
  return {};
}

// A directory's only one.
Result<void> Salvage::take_name_away(InodeId inode) {
  Known& known = known_[inode];
  const InodeId directory = known.named_in;
  RecordKey key{directory, Kind::Entry, 0};
  while (known.names != 0) {
    const std::optional<Tree::Record> record = TRY(v_.tree_.lower_bound(key));
    if (!record || record->key.inode != directory || record->key.kind != Kind::Entry) break;
    key = record->key;
    std::vector<NameRecord> list = TRY(VolumeImpl::parse_entries(record->value));
    known.names -= std::erase_if(list, [&](const NameRecord& item) { return item.inode == inode; });
    if (known.names == 0) TRY(v_.put_entries(directory, key.sub, list));
    ++key.sub;
  }
  --known_[directory].entries;
  --known_[directory].subdirectories;
  return {};
}

Result<void> Salvage::put_in_lost_and_found(InodeId id) {
  TRY(v_.make_room());
  const InodeId folder = TRY(lost_and_found());
  std::string name = "#" + std::to_string(id);
  while (TRY(v_.find_entry(folder, name)).has_value()) name += "~";
  Inode* inode = TRY(v_.get(id));
  Inode* directory = TRY(v_.get_directory(folder));
  TRY(v_.add_entry(*directory, name, *inode, inode->record.changed));
  inode->record.parent = folder;
  v_.mark(*inode);
  known_[id].names = 1;
  known_[id].named_in = folder;
  ++known_[folder].entries;
  known_[folder].subdirectories += known_[id].type == FileType::Directory;
  mended("inode " + std::to_string(id) + " had no name: it is /" + lost_and_found_name_ + "/" + name);
  return {};
}

Result<InodeId> Salvage::lost_and_found() {
  if (lost_and_found_ != 0) return lost_and_found_;
  std::string& name = lost_and_found_name_;
  while (const std::optional<NameRecord> there = TRY(v_.find_entry(kRootInode, name))) {
    const bool ours = there->type == FileType::Directory && known_[there->inode].named_in == kRootInode;
    if (ours) return lost_and_found_ = there->inode;
    name += "~";
  }
  const Inode* root = TRY(v_.get_directory(kRootInode));
  const Timestamp time = root->record.changed;
  lost_and_found_ = TRY(v_.make_directory(kRootInode, name, 0700, 0, 0, time));
  Known& known = known_[lost_and_found_];
  known.stored = known.reached = true;
  known.type = FileType::Directory;
  known.names = 1;
  known.named_in = kRootInode;
  ++known_[kRootInode].entries;
  ++known_[kRootInode].subdirectories;
  return lost_and_found_;
}

Result<void> Salvage::mend_inodes() {
  for (const auto& [id, known] : known_) {
    if (!known.stored) continue;
    TRY(v_.make_room());
    Inode* inode = TRY(v_.get(id));
    mend_inode(*inode, known);
  }
  return {};
}

void Salvage::mend_inode(Inode& inode, const Known& known) {
  InodeRecord& r = inode.record;
  const bool directory = r.type == FileType::Directory;
  const uint64_t links = known.orphan ? 0 : directory ? known.subdirectories + 2 : known.names;
  const InodeId parent = !directory || known.orphan ? r.parent
                         : inode.id() == kRootInode ? kRootInode
                                                    : known.named_in;
  const bool right = r.links == links && r.parent == parent && (!directory || r.entries == known.entries);
  if (right) return;
  r.links = static_cast<uint32_t>(links);
  r.parent = parent;
  if (directory) r.entries = known.entries;
  v_.mark(inode);
  if (inode.id() != lost_and_found_) mended(inode.id(), "how many names there are");
}

}  // namespace cloister::volume
