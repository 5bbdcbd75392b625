// Inodes: the cache of their records, attributes, links, removal.
#include <algorithm>

#include "volume/volume_impl.h"

namespace cloister::volume {
namespace {

constexpr size_t kCachedInodes = 16384;
constexpr size_t kOpenObjects = 64;

RecordKey inode_key(InodeId id) { return {id, Kind::Inode, 0}; }
RecordKey inline_key(InodeId id, uint64_t part) { return {id, Kind::Inline, part}; }

}  // namespace

VolumeResult<Inode*> VolumeImpl::get(InodeId id) {
  if (Inode* inode = inodes_.find(id)) {
    inode_lru_.touch(inode);
    return inode;
  }
  const std::optional<ByteView> value = TRY(tree_.find(inode_key(id)));
  if (!value) return VolumeError{Reason::NotFound, "no such file"};
  Result<InodeRecord> record = decode_inode(*value, mode_);
  if (!record.ok()) return poison(damaged("The volume's metadata holds a malformed inode"));
  auto* inode = new Inode;
  inode->record = std::move(record).value();
  inodes_.insert(inode, id);
  inode_lru_.add(inode);
  return inode;
}

VolumeResult<Inode*> VolumeImpl::get_regular(InodeId id) {
  Inode* inode = TRY(get(id));
  if (inode->record.type == FileType::Directory) return VolumeError{Reason::IsDirectory, "is a directory"};
  if (inode->record.type != FileType::Regular) return VolumeError{Reason::Invalid, "is not a regular file"};
  return inode;
}

VolumeResult<Inode*> VolumeImpl::get_directory(InodeId id) {
  Inode* inode = TRY(get(id));
  if (inode->record.type != FileType::Directory)
    return VolumeError{Reason::NotDirectory, "is not a directory"};
  return inode;
}

void VolumeImpl::mark(Inode& inode) {
  changed_ = true;
  inode.dirty = true;
  if (inode.listed_dirty) return;
  inode.listed_dirty = true;
  dirty_inodes_.push_back(inode.id());
}

VolumeResult<Inode*> VolumeImpl::make_inode(FileType type, InodeId parent, uint16_t permissions, uint32_t uid,
                                            uint32_t gid, Timestamp now) {
  auto* inode = new Inode;
  InodeRecord& r = inode->record;
  r.type = type;
  r.is_inline = type != FileType::Directory;
  r.permissions = permissions & 07777;
  r.uid = uid;
  r.gid = gid;
  r.links = type == FileType::Directory ? 2 : 1;
  r.modified = r.changed = now;
  r.parent = parent;
  if (type == FileType::Regular && mode_ == Mode::Encrypted) random(r.key.expose());
  inode->inline_loaded = true;
  inodes_.insert(inode, state_.next_inode++);
  inode_lru_.add(inode);
  ++state_.inodes;
  mark(*inode);
  return inode;
}

VolumeResult<void> VolumeImpl::load_inline(Inode& inode) {
  if (inode.inline_loaded) return {};
  const auto size = static_cast<size_t>(inode.record.size);  // bounded by decode_inode()
  Bytes data;
  for (uint64_t part = 0; data.size() < size; ++part) {
    const std::optional<ByteView> value = TRY(tree_.find(inline_key(inode.id(), part)));
    if (!value || value->size() != std::min(kInlineMax, size - data.size()))
      return poison(damaged("The volume's metadata holds a malformed small file"));
    data.insert(data.end(), value->begin(), value->end());
  }
  inode.inline_data = std::move(data);
  inode.inline_loaded = true;
  return {};
}

// Only targets have more than one part, and they never change.
VolumeResult<void> VolumeImpl::store_inline(Inode& inode) {
  const ByteView data = inode.inline_data;
  if (data.empty()) TRY(tree_.erase(inline_key(inode.id(), 0)));
  for (size_t at = 0; at < data.size(); at += kInlineMax) {
    const ByteView part = data.subspan(at, std::min(kInlineMax, data.size() - at));
    TRY(tree_.put(inline_key(inode.id(), at / kInlineMax), part));
  }
  inode.inline_dirty = false;
  return {};
}

VolumeResult<void> VolumeImpl::store_inode(Inode& inode) {
  if (inode.group_dirty) TRY(store_group(inode));
  if (inode.inline_dirty) TRY(store_inline(inode));
  if (inode.dirty) {
    Bytes bytes = encode_inode(inode.record, mode_);
    TRY(tree_.put(inode_key(inode.id()), bytes));
    wipe(bytes.data(), bytes.size());
  }
  inode.dirty = false;
  inode.listed_dirty = false;
  return {};
}

void VolumeImpl::forget_inode(Inode* inode) {
  drop_chunks(*inode, 0, ~uint64_t{0});
  if (inode->object != nullptr) --open_objects_;
  inodes_.erase(inode);
  inode_lru_.remove(inode);
  delete inode;
}

size_t VolumeImpl::node_limit() const {
  return static_cast<size_t>(std::max<uint64_t>(cache_size_ / 4 / kBlockSize, 64));
}

// At the start of every operation, while no pointers into the caches are alive.
VolumeResult<void> VolumeImpl::make_room() {
  if (!read_only_ && !poisoned_) {
    if (dirty_chunks_ * kBlockSize > cache_size_ / 2) TRY(flush_all_chunks());
    if (tree_.dirty_nodes() > node_limit()) TRY(tree_.flush());
  }
  tree_.trim(node_limit());
  if (chunks_.size() * kBlockSize > cache_size_) {
    Chunk* chunk = chunk_lru_.oldest();
    while (chunk != nullptr && chunks_.size() * kBlockSize > cache_size_ - cache_size_ / 8) {
      Chunk* newer = chunk->lru_newer;
      if (!chunk->dirty) drop_chunk(chunk);
      chunk = newer;
    }
  }
  if (inodes_.size() <= kCachedInodes && open_objects_ <= kOpenObjects) return {};
  Inode* inode = inode_lru_.oldest();
  const bool too_many = inodes_.size() > kCachedInodes;
  for (size_t passed = 0; inode != nullptr && passed < kCachedInodes / 8; ++passed) {
    Inode* newer = inode->lru_newer;
    if (inode->object != nullptr && open_objects_ > kOpenObjects / 2) {
      inode->object.reset();
      --open_objects_;
    }
    if (too_many && inode->dirty_chunks == 0 && holds_.count(inode->id()) == 0) {
      if (inode->dirty || inode->group_dirty || inode->inline_dirty) TRY(store_inode(*inode));
      forget_inode(inode);
    }
    inode = newer;
  }
  return {};
}

VolumeResult<void> VolumeImpl::begin_change() {
  TRY(check_readable());
  if (read_only_) return VolumeError{Reason::ReadOnly, "the volume is read-only"};
  TRY(prepare_writes());
  TRY(search_when_used_up());
  return make_room();
}

VolumeResult<Attributes> VolumeImpl::attributes(InodeId id) {
  TRY(check_readable());
  TRY(make_room());
  const Inode* inode = TRY(get(id));
  const InodeRecord& r = inode->record;
  Attributes out;
  out.type = r.type;
  out.permissions = r.permissions;
  out.uid = r.uid;
  out.gid = r.gid;
  out.links = r.links;
  out.size = r.type == FileType::Directory ? 0 : r.size;
  out.allocated = r.is_inline ? r.size : r.chunks * kBlockSize;
  out.modified = r.modified;
  out.changed = r.changed;
  return out;
}

VolumeResult<void> VolumeImpl::set_attributes(InodeId id, const AttributeChange& change, Timestamp now) {
  TRY(begin_change());
  Inode* inode = TRY(get(id));
  if (change.permissions) inode->record.permissions = *change.permissions & 07777;
  if (change.uid) inode->record.uid = *change.uid;
  if (change.gid) inode->record.gid = *change.gid;
  if (change.modified) inode->record.modified = *change.modified;
  inode->record.changed = now;
  mark(*inode);
  return {};
}

void VolumeImpl::hold(InodeId id) { ++holds_[id]; }

void VolumeImpl::release(InodeId id) {
  const auto held = holds_.find(id);
  if (held == holds_.end() || --held->second != 0) return;
  holds_.erase(held);
  if (read_only_ || poisoned_) return;
  const VolumeResult<Inode*> inode = get(id);
  if (!inode.ok() || inode.value()->record.links != 0) return;
  const Changing changing(*this);
  changed_ = true;
  VolumeResult<void> done = delete_inode(*inode.value());
  if (done.ok()) {
    VolumeResult<bool> erased = tree_.erase(orphan_key(id));
    if (!erased.ok()) (void)poison(erased.error());
  } else {
    (void)poison(done.error());
  }
}

VolumeResult<void> VolumeImpl::drop_link(Inode& inode, Timestamp now) {
  inode.record.changed = now;
  inode.record.links =
      inode.record.type == FileType::Directory || inode.record.links == 0 ? 0 : inode.record.links - 1;
  mark(inode);
  if (inode.record.links != 0) return {};
  if (holds_.count(inode.id()) != 0) return tree_.put(orphan_key(inode.id()), {});
  return delete_inode(inode);
}

// What a search has just met. A forged tree may hold a record where no look-up finds it: without this whoever
// removes all that is there would go on for ever.
VolumeResult<void> VolumeImpl::erase_found(const RecordKey& key) {
  if (TRY(tree_.erase(key))) return {};
  return poison(damaged("The volume's metadata holds a record in a wrong place"));
}

// Everything of an inode lies together in the tree.
VolumeResult<void> VolumeImpl::delete_inode(Inode& inode) {
  const InodeId id = inode.id();
  drop_chunks(inode, 0, ~uint64_t{0});
  if (inode.group_dirty) TRY(store_group(inode));
  while (true) {
    const std::optional<Tree::Record> record = TRY(tree_.lower_bound({id, Kind{}, 0}));
    if (!record || record->key.inode != id) break;
    const RecordKey key = record->key;
    if (key.kind == Kind::Chunks) {
      const uint64_t first = key.sub * group_count(mode_);
      for (size_t at = 0; at + ref_size(mode_) <= record->value.size(); at += ref_size(mode_)) {
        const Ref ref = load_ref(record->value.data() + at, mode_);
        if (ref.present && lies_in_main(first + at / ref_size(mode_), ref)) free_block(ref);
      }
    }
    TRY(erase_found(key));
  }
  if (inode.record.has_object) {
    freed_objects_.push_back({state_.generation + 1, inode.record.object});
    unsynced_objects_.erase(id);
  }
  if (inode.record.type == FileType::Regular)
    state_.data_size -= std::min(state_.data_size, inode.record.size);
  if (state_.inodes != 0) --state_.inodes;
  forget_inode(&inode);
  return {};
}

// Files that were unlinked while open when the last writer ended.
VolumeResult<void> VolumeImpl::remove_orphans() {
  uint64_t after = 0;
  while (true) {
    const std::optional<Tree::Record> record = TRY(tree_.lower_bound({0, Kind::Orphan, after}));
    if (!record || record->key.inode != 0 || record->key.kind != Kind::Orphan) return {};
    const InodeId id = record->key.sub;
    after = id + 1;
    if (holds_.count(id) != 0) continue;
    const Changing changing(*this);
    changed_ = true;
    TRY(tree_.erase(orphan_key(id)));
    VolumeResult<Inode*> inode = get(id);
    if (inode.ok()) TRY(delete_inode(*inode.value()));
  }
}

}  // namespace cloister::volume
