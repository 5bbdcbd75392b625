// Walks over the whole tree: verification, and finding places that no state uses any more.
#include <algorithm>

#include "volume/large_values.h"
#include "volume/volume_impl.h"

namespace cloister::volume {

VolumeResult<std::vector<uint64_t>> VolumeImpl::epoch_blocks() {
  std::vector<uint64_t> out;
  // The first epoch of a new page may have begun without the page being written.
  const bool unwritten = state_.epoch_page == 0 && !epoch_tail_.epochs.empty();
  uint64_t page = unwritten ? epoch_tail_.previous : state_.epoch_page;
  crypto::Digest digest = unwritten ? epoch_tail_.previous_digest : state_.epoch_digest;
  for (uint64_t newer_first = kNoEpoch; page != 0;) {
    const EpochPage found = TRY(read_epoch_page(page, digest, newer_first));
    out.push_back(page);
    newer_first = found.first;
    page = found.previous;
    digest = found.previous_digest;
  }
  return out;
}

// The numbers of blocks and slots are claims of the volume's author: what the host's files do not hold is
// free, and needs no memory here. Nothing can be there that is used.
VolumeResult<void> VolumeImpl::find_free_blocks() {
  const std::vector<uint64_t> pages = TRY(epoch_blocks());
  const uint64_t written = std::min(state_.blocks, TRY(lift(main_->size())) / kBlockSize);
  std::vector<bool> used(static_cast<size_t>(written), false);
  bool twice = false, beyond = false;
  const auto use = [&](uint64_t block) {
    beyond = beyond || (block >= used.size() && block < kMaxPlace);  // others are not written yet
    if (block >= used.size()) return;
    twice = twice || used[static_cast<size_t>(block)];
    used[static_cast<size_t>(block)] = true;
  };
  // Not by looking for records: what a look-up misses is used all the same.
  const auto node = [&](const Ref& ref) {
    use(ref.place);
    tree_.trim(node_limit());
    return true;
  };
  TRY(tree_.each_leaf_where(node, [&](const uint8_t* leaf) -> VolumeResult<void> {
    each_main_chunk(leaf, mode_, [&](InodeId, uint64_t, const Ref& ref) { use(ref.place); });
    return {};
  }));
  for (const uint64_t block : pages) use(block);
  // One of them was taken for free once. It would be again when the first goes.
  if (twice) return poison(damaged("The volume uses a block twice: `cloister volume fsck` tells more"));
  if (beyond) return poison(damaged("a file of the volume is too short"));
  state_.live_blocks = 0;
  for (uint64_t block = kFirstBlock; block < written; ++block) {
    if (used[static_cast<size_t>(block)]) ++state_.live_blocks;
  }
  // Given up by the state being built, but an openable one still reaches them.
  for (const Freed& freed : freed_) {
    for (uint64_t i = 0; freed.inode == 0 && i < freed.count; ++i) use(freed.place + i);
  }
  free_blocks_.clear();
  for (uint64_t block = kFirstBlock; block < written; ++block) {
    if (!used[static_cast<size_t>(block)]) free_blocks_.add(block, 1);
  }
  free_blocks_.add(written, state_.blocks - written);
  return {};
}

// For free slots and chunks that are away.
VolumeResult<void> VolumeImpl::search_object(Inode& inode) {
  inode.slots_searched = true;
  if (inode.group_dirty) TRY(store_group(inode));
  uint64_t written = 0;
  if (inode.record.has_object) {
    StorageFile* object = TRY(object_of(inode, true));
    written = std::min(inode.record.slots, TRY(lift(object->size())) / kBlockSize);
  }
  std::vector<bool> used(static_cast<size_t>(written), false);
  bool twice = false, beyond = false;
  const auto use = [&](uint64_t slot) {
    beyond = beyond || slot >= used.size();
    if (slot >= used.size()) return;
    twice = twice || used[static_cast<size_t>(slot)];
    used[static_cast<size_t>(slot)] = true;
  };
  TRY(each_chunk(inode.id(), [&](uint64_t index, const Ref& ref) {
    if (!lies_in_main(index, ref)) use(ref.place);
    if (is_away(index, ref)) inode.note_away(index);
  }));
  if (twice) return poison(damaged("The volume uses a block twice: `cloister volume fsck` tells more"));
  if (beyond) return poison(damaged("an object of the volume is too short"));
  for (const Freed& freed : freed_) {
    for (uint64_t i = 0; freed.inode == inode.id() && i < freed.count; ++i) use(freed.place + i);
  }
  for (uint64_t slot = 0; slot < written; ++slot) {
    if (!used[static_cast<size_t>(slot)]) inode.free_slots.add(slot, 1);
  }
  inode.free_slots.add(written, inode.record.slots - written);
  return {};
}

// After a loss of power a superblock may be there without what was to become durable with it: nodes, chunks
// in volume.fspf, an epoch page. References tell the new ones, so only what the commit wrote is read.
bool VolumeImpl::of_newest_commit(const Ref& ref) const {
  return ref.epoch > state_.first_epoch ||
         (ref.epoch == state_.first_epoch && ref.counter >= state_.first_counter);
}

VolumeResult<void> VolumeImpl::verify_newest_commit() {
  struct Written {
    InodeId inode;
    uint64_t index;
    Ref ref;
  };
  const VolumeError too_large = damaged("The newest state of the volume is larger than it can be");
  std::vector<Written> chunks;
  uint64_t nodes = 0;  // counted for an author who meant harm: a tree may lead to one node many times
  const auto fresh_node = [&](const Ref& ref) {
    return of_newest_commit(ref) && ++nodes <= kOneBarrierBlocks;
  };
  TRY(tree_.each_leaf_where(fresh_node, [&](const uint8_t* leaf) -> VolumeResult<void> {
    each_main_chunk(leaf, mode_, [&](InodeId inode, uint64_t index, const Ref& ref) {
      if (of_newest_commit(ref) && chunks.size() <= kOneBarrierBlocks) chunks.push_back({inode, index, ref});
    });
    return {};
  }));
  if (nodes > kOneBarrierBlocks || chunks.size() > kOneBarrierBlocks) return too_large;
  Chunk chunk;  // forgets its content
  for (const Written& item : chunks) {
    Inode* inode = TRY(get_regular(item.inode));
    TRY(read_exactly(*main_, item.ref.place * kBlockSize, chunk.data));
    TRY(open_chunk(*inode, item.index, item.ref, chunk.data, chunk.data));
  }
  if (state_.epochs != 0) (void)TRY(epoch(state_.epochs - 1));
  return {};
}

VolumeResult<void> VolumeImpl::verify_inode(InodeId id) {
  Inode* inode = TRY(get(id));
  if (inode->record.type == FileType::Directory) return {};
  if (inode->record.is_inline) return load_inline(*inode);
  const uint64_t chunk_count = (inode->record.size + kBlockSize - 1) / kBlockSize;
  const size_t per_group = group_count(mode_);
  Bytes content(per_group * kBlockSize);
  if (inode->group_dirty) TRY(store_group(*inode));
  RecordKey key{id, Kind::Chunks, 0};
  while (true) {
    const std::optional<Tree::Record> record = TRY(tree_.lower_bound(key));
    if (!record || record->key.inode != id || record->key.kind != Kind::Chunks) return {};
    const uint64_t first = record->key.sub * per_group;
    const bool none_can_have = record->key.sub > last_group(mode_);
    key.sub = record->key.sub + 1;
    if (none_can_have || first >= chunk_count)
      return poison(damaged("The volume's metadata holds chunks beyond the end of a file"));
    TRY(read_chunks(*inode, first, std::min<uint64_t>(per_group, chunk_count - first), content.data()));
  }
}

// Every node is read before anything is taken for missing.
VolumeResult<void> VolumeImpl::verify_tree() {
  TRY(check_readable());
  const auto node = [&](const Ref&) {
    tree_.trim(node_limit());
    return true;
  };
  return tree_.each_leaf_where(node, [](const uint8_t*) -> VolumeResult<void> { return {}; });
}

VolumeResult<void> VolumeImpl::expect_inode(InodeId id) {
  const VolumeResult<Inode*> found = get(id);
  if (found.ok()) return {};
  if (found.error().reason != Reason::NotFound) return found.error();
  return poison(
      damaged("The volume's metadata holds records of a file that does not exist: `cloister volume fsck` "
              "tells more"));
}

// No part may be there that nothing reads.
VolumeResult<void> VolumeImpl::verify_inline(const RecordKey& key) {
  const Inode* inode = TRY(get(key.inode));
  if (inode->inline_dirty || key.sub < inline_parts(inode->record)) return {};
  return poison(damaged("The volume's metadata holds content that belongs to no file"));
}

VolumeResult<void> VolumeImpl::verify_xattrs(const RecordKey& key, ByteView value, LargeValues& values) {
  if (key.kind == Kind::Value) {
    if (values.take_part(key, value.size())) return {};
    return poison(damaged("The volume's metadata holds a part of no extended attribute"));
  }
  const std::vector<Xattr> list = TRY(xattrs(value));
  if (!found_by_names(key.sub, list))
    return poison(damaged("The volume's metadata holds an extended attribute that is not found"));
  for (const Xattr& item : list) {
    if (!values.add(item)) return poison(damaged("Two extended attributes of a file have one value"));
  }
  return {};
}

VolumeResult<void> VolumeImpl::verify_record(const RecordKey& key, ByteView value, LargeValues& values) {
  if (key.kind == Kind::Inode) return verify_inode(key.inode);
  if (key.kind == Kind::Orphan) return {};
  if (key.kind == Kind::Attribute || key.kind == Kind::Value) TRY(verify_xattrs(key, value, values));
  TRY(expect_inode(key.inode));
  if (key.kind == Kind::Inline) return verify_inline(key);
  if (key.kind != Kind::Entry) return {};
  const std::vector<NameRecord> list = TRY(entries(key.inode, key.sub));
  for (const NameRecord& item : list) {
    TRY(expect_inode(item.inode));
    if (hash_name(keys_.names, item.name) != key.sub)
      return poison(damaged("The volume's metadata holds a name that is not found"));
  }
  return {};
}

Result<void> VolumeImpl::verify_all() {
  TRY(lower(verify_tree()));
  RecordKey key{};
  uint64_t counted = 0;
  LargeValues values;
  const VolumeError incomplete = damaged("The volume's metadata lacks a part of an extended attribute");
  while (true) {
    TRY(lower(make_room()));
    const std::optional<Tree::Record> record = TRY(lower(tree_.lower_bound(key)));
    if (!record) break;
    key = record->key;
    if (!values.start(key.inode)) return static_cast<Error>(poison(incomplete));
    counted += key.kind == Kind::Inode;
    TRY(lower(verify_record(key, record->value, values)));
    if (++key.sub == 0) key.kind = static_cast<Kind>(static_cast<uint8_t>(key.kind) + 1);
  }
  if (!values.whole()) return static_cast<Error>(poison(incomplete));
  for (uint32_t index = 0; mode_ == Mode::Encrypted && index < state_.epochs; ++index) {
    TRY(lower(epoch(index)));
  }
  if (!changed_ && counted != state_.inodes) {
    return static_cast<Error>(poison(damaged("Verification of the number of files failed")));
  }
  return {};
}

}  // namespace cloister::volume
