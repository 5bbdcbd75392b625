// Chunks of files: their references, the cache of plaintext and its write-back.
#include <algorithm>

#include "volume/volume_impl.h"

namespace cloister::volume {
namespace {

constexpr size_t kBatch = kMaxRun / kBlockSize;
constexpr uint64_t kReadRun = 64;  // 256 KiB: still in the second-level cache when it is decrypted

void link_first(Chunk* chunk) {
  Inode& inode = *chunk->owner;
  chunk->sibling_previous = nullptr;
  chunk->sibling_next = inode.chunks;
  if (inode.chunks != nullptr) inode.chunks->sibling_previous = chunk;
  inode.chunks = chunk;
}

void take_out(Chunk* chunk) {
  Chunk* next = chunk->sibling_next;
  (chunk->sibling_previous != nullptr ? chunk->sibling_previous->sibling_next : chunk->owner->chunks) = next;
  if (next != nullptr) next->sibling_previous = chunk->sibling_previous;
}

// A volume of an older build may have more chunks away than are counted.
void uncount(Inode& inode, uint64_t index, const Ref& ref) {
  if (ref.present && inode.record.chunks != 0) --inode.record.chunks;
  if (is_away(index, ref) && inode.record.away != 0) --inode.record.away;
  if (inode.record.away == 0) inode.away.clear();
}

// At least so many blocks of the object hold nothing.
uint64_t unused_slots(const InodeRecord& r) {
  const uint64_t used = r.chunks > r.away ? r.chunks - r.away : 0;
  return r.slots > used ? r.slots - used : 0;
}

}  // namespace

VolumeError VolumeImpl::chunk_failure(const Inode& inode, uint64_t index) {
  const uint64_t begin = index * kBlockSize;
  const uint64_t end = std::max(std::min(begin + kBlockSize, inode.record.size), begin + 1);
  return damaged("Verification of file chunk " + std::to_string(index) + " (bytes " + std::to_string(begin) +
                 " to " + std::to_string(end - 1) + ") of file " + describe(inode.id()) + " failed.");
}

VolumeResult<void> VolumeImpl::load_group(Inode& inode, uint64_t group) {
  if (inode.group == group) return {};
  if (inode.group_dirty) TRY(store_group(inode));
  const std::optional<ByteView> value = TRY(tree_.find({inode.id(), Kind::Chunks, group}));
  inode.group = Inode::kNoGroup;
  inode.refs.clear();
  if (value) {
    if (value->size() > kGroupBytes || value->size() % ref_size(mode_) != 0) {
      return poison(damaged("The volume's metadata holds a malformed group of chunks"));
    }
    inode.refs.assign(value->begin(), value->end());
  }
  inode.group = group;
  return {};
}

VolumeResult<void> VolumeImpl::store_group(Inode& inode) {
  const size_t size = ref_size(mode_);
  while (!inode.refs.empty() && !load_ref(inode.refs.data() + inode.refs.size() - size, mode_).present) {
    inode.refs.resize(inode.refs.size() - size);
  }
  const RecordKey key{inode.id(), Kind::Chunks, inode.group};
  if (inode.refs.empty()) {
    TRY(tree_.erase(key));
  } else {
    TRY(tree_.put(key, inode.refs));
  }
  inode.group_dirty = false;
  return {};
}

Ref VolumeImpl::loaded_ref(const Inode& inode, uint64_t index) const {
  const size_t at = static_cast<size_t>(index % group_count(mode_)) * ref_size(mode_);
  return at < inode.refs.size() ? load_ref(inode.refs.data() + at, mode_) : Ref{};
}

VolumeResult<Ref> VolumeImpl::chunk_ref(Inode& inode, uint64_t index) {
  TRY(load_group(inode, index / group_count(mode_)));
  return loaded_ref(inode, index);
}

// Where the group is loaded; gives the reference that was there.
Ref VolumeImpl::exchange_ref(Inode& inode, uint64_t index, const Ref& ref) {
  const Ref before = loaded_ref(inode, index);
  const size_t at = static_cast<size_t>(index % group_count(mode_)) * ref_size(mode_);
  if (at >= inode.refs.size()) inode.refs.resize(at + ref_size(mode_), 0);
  store_ref(inode.refs.data() + at, ref, mode_);
  inode.record.chunks += ref.present;
  inode.record.away += is_away(index, ref);
  if (is_away(index, ref)) inode.note_away(index);
  uncount(inode, index, before);
  inode.group_dirty = true;
  mark(inode);
  return before;
}

VolumeResult<StorageFile*> VolumeImpl::file_of(Inode& inode, uint64_t index, const Ref& ref,
                                               bool for_writing) {
  if (lies_in_main(index, ref)) return main_.get();
  return object_of(inode, for_writing);
}

VolumeResult<StorageFile*> VolumeImpl::object_of(Inode& inode, bool for_writing) {
  if (inode.object != nullptr) return inode.object.get();
  OpenMode how = read_only_ ? OpenMode::Read : OpenMode::ReadWrite;
  if (!inode.record.has_object) {
    if (!for_writing) return damaged("an object of the volume is missing");
    if (mode_ == Mode::Encrypted) {
      random(inode.record.object);
    } else {
      uint8_t id[8];
      store_le(id, inode.id());
      const crypto::Digest digest = crypto::sha256({as_bytes("cloister volume object"), ByteView(id)});
      std::memcpy(inode.record.object.data(), digest.data(), inode.record.object.size());
    }
    how = OpenMode::CreateNew;
  }
  Result<std::unique_ptr<StorageFile>> opened = storage_.open(object_name(inode.record.object), how);
  if (!opened.ok()) {
    if (opened.error().code() == Code::NotFound) return damaged("an object of the volume is missing");
    return from_storage(std::move(opened).error());
  }
  inode.object = std::move(opened).value();
  ++open_objects_;
  if (how == OpenMode::CreateNew) {
    inode.record.has_object = true;
    made_objects_.push_back(inode.record.object);
    names_unsynced_ = true;
    mark(inode);
  }
  return inode.object.get();
}

VolumeResult<void> VolumeImpl::open_chunk(Inode& inode, uint64_t index, const Ref& ref, const uint8_t* sealed,
                                          uint8_t* block) {
  const crypto::Aes256Gcm* key = mode_ == Mode::Encrypted ? TRY(chunk_key(inode, ref.epoch)) : nullptr;
  if (!open_block(key, {BlockType::Chunk, inode.id(), index}, ref, sealed, block))
    return poison(chunk_failure(inode, index));
  return {};
}

// What is stored, whatever the cache holds. On failure nothing of it remains in `out`.
VolumeResult<void> VolumeImpl::read_chunks(Inode& inode, uint64_t first, uint64_t count, uint8_t* out) {
  std::vector<Ref> run;
  const auto fail = [&](VolumeError error) {
    std::memset(out, 0, count * kBlockSize);
    return error;
  };
  for (uint64_t done = 0; done < count; done += std::max<uint64_t>(run.size(), 1)) {
    run.clear();
    const uint64_t start = first + done;
    while (done + run.size() < count && run.size() < kReadRun) {
      const uint64_t index = start + run.size();
      const VolumeResult<void> loaded = load_group(inode, index / group_count(mode_));
      if (!loaded.ok()) return fail(loaded.error());
      const Ref ref = loaded_ref(inode, index);
      const bool joins = run.empty() || (ref.place == run.back().place + 1 &&
                                         lies_in_main(index, ref) == lies_in_main(index - 1, run.back()));
      if (!ref.present || !joins) break;
      run.push_back(ref);
    }
    uint8_t* to = out + done * kBlockSize;
    if (run.empty()) {
      std::memset(to, 0, kBlockSize);
      continue;
    }
    VolumeResult<StorageFile*> file = file_of(inode, start, run[0], false);
    const VolumeResult<const uint8_t*> sealed =
        file.ok() ? stored(**file, run[0].place * kBlockSize, {to, run.size() * kBlockSize})
                  : VolumeResult<const uint8_t*>(file.error());
    if (!sealed.ok()) {
      return fail(sealed.error().reason == Reason::Integrity ? poison(chunk_failure(inode, start))
                                                             : sealed.error());
    }
    for (size_t i = 0; i < run.size(); ++i) {
      VolumeResult<void> opened =
          open_chunk(inode, start + i, run[i], *sealed + i * kBlockSize, to + i * kBlockSize);
      if (!opened.ok()) return fail(opened.error());
    }
  }
  return {};
}

Chunk* VolumeImpl::add_chunk(Inode& inode, uint64_t index) {
  auto* chunk = new Chunk;
  chunk->owner = &inode;
  link_first(chunk);
  chunks_.insert(chunk, inode.id(), index);
  chunk_lru_.add(chunk);
  return chunk;
}

void VolumeImpl::drop_chunk(Chunk* chunk) {
  Inode& inode = *chunk->owner;
  if (chunk->dirty) {
    --inode.dirty_chunks;
    --dirty_chunks_;
  }
  take_out(chunk);
  chunks_.erase(chunk);
  chunk_lru_.remove(chunk);
  delete chunk;
}

void VolumeImpl::drop_chunks(Inode& inode, uint64_t first, uint64_t end) {
  for (Chunk* chunk = inode.chunks; chunk != nullptr;) {
    Chunk* next = chunk->sibling_next;
    if (chunk->table_b >= first && chunk->table_b < end) drop_chunk(chunk);
    chunk = next;
  }
}

void VolumeImpl::mark_chunk(Chunk* chunk) {
  if (!chunk->dirty) {
    // First of its file's, so that a commit need not look at all that are cached.
    take_out(chunk);
    link_first(chunk);
    chunk->dirty = true;
    ++chunk->owner->dirty_chunks;
    ++dirty_chunks_;
  }
  mark(*chunk->owner);
}

VolumeResult<Chunk*> VolumeImpl::cached(Inode& inode, uint64_t index, uint64_t read_ahead) {
  if (Chunk* chunk = chunks_.find(inode.id(), index)) {
    chunk_lru_.touch(chunk);
    return chunk;
  }
  const uint64_t chunk_count = (inode.record.size + kBlockSize - 1) / kBlockSize;
  uint64_t count = 1;
  while (count < std::min(read_ahead, kReadRun) && index + count < chunk_count &&
         chunks_.find(inode.id(), index + count) == nullptr) {
    ++count;
  }
  if (count == 1) {
    Chunk* chunk = add_chunk(inode, index);
    VolumeResult<void> read = read_chunks(inode, index, 1, chunk->data);
    if (read.ok()) return chunk;
    drop_chunk(chunk);
    return read.error();
  }
  if (bounce_ == nullptr) bounce_.reset(new uint8_t[kReadRun * kBlockSize]);
  TRY(read_chunks(inode, index, count, bounce_.get()));
  Chunk* wanted = nullptr;
  for (uint64_t i = count; i-- > 0;) {
    wanted = add_chunk(inode, index + i);
    std::memcpy(wanted->data, bounce_.get() + i * kBlockSize, kBlockSize);
  }
  return wanted;
}

VolumeResult<void> VolumeImpl::flush_chunks(Inode& inode, std::vector<BatchItem>& batch) {
  std::vector<Chunk*> list;
  list.reserve(inode.dirty_chunks);
  for (Chunk* chunk = inode.chunks; list.size() < inode.dirty_chunks; chunk = chunk->sibling_next) {
    CLOISTER_CHECK(chunk != nullptr);
    if (chunk->dirty) list.push_back(chunk);
  }
  std::sort(list.begin(), list.end(), [](const Chunk* a, const Chunk* b) { return a->table_b < b->table_b; });
  for (Chunk* chunk : list) {
    batch.push_back({&inode, chunk->table_b, chunk->data, chunk, {}, false});
    if (batch.size() == kBatch) TRY(write_batch(batch));
  }
  return {};
}

VolumeResult<void> VolumeImpl::flush_all_chunks() {
  std::vector<BatchItem> batch;
  for (size_t i = 0; dirty_chunks_ != 0 && i < dirty_inodes_.size(); ++i) {
    Inode* inode = inodes_.find(dirty_inodes_[i]);
    if (inode != nullptr && inode->dirty_chunks != 0) TRY(flush_chunks(*inode, batch));
  }
  return write_batch(batch);
}

bool VolumeImpl::is_fresh_chunk(uint64_t index, const Ref& ref) const {
  // In an authenticated-only volume only blocks of volume.fspf can tell; slots of objects just stay unused.
  return is_fresh(ref) && (mode_ == Mode::Encrypted || lies_in_main(index, ref));
}

void VolumeImpl::free_chunk(Inode& inode, uint64_t index, const Ref& ref) {
  if (lies_in_main(index, ref)) {
    free_block(ref);
  } else if (is_fresh_chunk(index, ref)) {
    inode.free_slots.add(ref.place, 1);
  } else {
    free_later(inode.id(), ref.place);
  }
}

// When its chunk is gone from the file.
void VolumeImpl::drop_ref(Inode& inode, uint64_t index, const Ref& ref) {
  if (!ref.present) return;
  free_chunk(inode, index, ref);
  uncount(inode, index, ref);
}

// What earlier mounts freed, when that is worth the walk over all references of the file. Not in the midst of
// a batch, whose places no reference names yet.
VolumeResult<void> VolumeImpl::find_free_slots(Inode& inode) {
  const uint64_t slots = inode.record.slots, unused = unused_slots(inode.record);
  if (inode.slots_searched || for_repair_ || unused < 256 + slots / 64) return {};
  if (slots > kWalkedAtOnce && unused < slots / 2) return {};
  if (inode.group_dirty) TRY(store_group(inode));
  const Attempt attempt(*this);
  (void)search_object(inode);
  return {};
}

// Marks chunks that are away as changed until `most` are, if `many` are away and there are free slots for
// them.
VolumeResult<void> VolumeImpl::mark_away(Inode& inode, uint64_t many, size_t most,
                                         std::vector<Chunk*>& marked) {
  (void)TRY(object_of(inode, true));
  const auto known = [&inode] { return std::min(inode.away.size(), inode.free_slots.size()); };
  if (known() < many && !inode.slots_searched && inode.record.slots <= kWalkedAtOnce) {
    TRY(search_object(inode));
  }
  const uint64_t count = std::min<uint64_t>(known(), most - marked.size());
  // For metadata: at worst a leaf for every chunk that is marked, and the nodes above, of which there are
  // few.
  const uint64_t all = marked.size() + count;
  if (known() < many || !make_free_blocks(all + std::min(all, state_.live_blocks / 16) + 16)) return {};
  for (uint64_t looked = 0; looked < count && !inode.away.empty(); ++looked) {
    const uint64_t index = *inode.away.take();
    const VolumeResult<Ref> ref = chunk_ref(inode, index);
    if (!ref.ok() || !is_away(index, *ref)) continue;
    const VolumeResult<Chunk*> chunk = cached(inode, index, 1);
    if (!chunk.ok() || (*chunk)->dirty) continue;
    mark_chunk(*chunk);
    marked.push_back(*chunk);
  }
  return {};
}

// Small commits leave the slots of what they replace unused, and files in pieces. When those are many, the
// chunks that are away for it go there with this commit, which could do without.
VolumeResult<std::vector<Chunk*>> VolumeImpl::bring_chunks_home() {
  std::vector<Chunk*> marked;
  if (for_repair_) return marked;  // what a lost leaf names looks free
  const size_t most = std::min<size_t>(cache_size_ / kBlockSize / 4, 1024);
  for (size_t i = 0; marked.size() < most && i < dirty_inodes_.size(); ++i) {
    Inode* inode = inodes_.find(dirty_inodes_[i]);
    if (inode == nullptr || !inode->record.has_object) continue;
    const uint64_t many = std::min<uint64_t>(64 + inode->record.chunks / 512, 4096);
    if (inode->record.away < many || unused_slots(inode->record) < many) continue;
    if (inode->group_dirty) TRY(store_group(*inode));
    const Attempt attempt(*this);
    (void)mark_away(*inode, many, most, marked);
  }
  return marked;
}

// After a failure: those that have not moved are as they were.
void VolumeImpl::leave_chunks_away(const std::vector<Chunk*>& marked) {
  for (Chunk* chunk : marked) {
    if (!chunk->dirty) continue;
    chunk->owner->away.add(chunk->table_b, 1);
    drop_chunk(chunk);
  }
}

VolumeResult<uint64_t> VolumeImpl::take_slot(Inode& inode) {
  if (const std::optional<uint64_t> slot = inode.free_slots.take()) return *slot;
  if (inode.record.slots + 1 >= kMaxPlace) return VolumeError{Reason::NoSpace, "the file is full"};
  mark(inode);
  return inode.record.slots++;
}

VolumeResult<void> VolumeImpl::place_batch(std::vector<BatchItem>& batch) {
  for (const BatchItem& item : batch) {
    if (!small_commit_) TRY(find_free_slots(*item.inode));
  }
  for (BatchItem& item : batch) {
    TRY(load_group(*item.inode, item.index / group_count(mode_)));
    const Ref old = loaded_ref(*item.inode, item.index);
    // Overwriting in place is only for what the cache still holds should the write fail.
    item.reused = old.present && item.chunk != nullptr && is_fresh_chunk(item.index, old);
    item.fresh.in_main = item.index >= kMainChunks && (item.reused ? old.in_main : small_commit_);
    if (item.reused) {
      item.fresh.place = old.place;
    } else {
      item.fresh.place =
          lies_in_main(item.index, item.fresh) ? TRY(take_block()) : TRY(take_slot(*item.inode));
    }
    item.fresh.present = true;
  }
  return {};
}

VolumeResult<void> VolumeImpl::seal_batch(std::vector<BatchItem>& batch) {
  const Inode* noted = nullptr;
  for (BatchItem& item : batch) {
    StorageFile* file = TRY(file_of(*item.inode, item.index, item.fresh, true));
    const crypto::Aes256Gcm* key = nullptr;
    if (mode_ == Mode::Encrypted) {
      TRY(next_nonce(item.fresh));
      key = TRY(chunk_key(*item.inode, item.fresh.epoch));
    }
    uint8_t* out = TRY(writer_.reserve(*file, item.fresh.place * kBlockSize));
    seal(key, {BlockType::Chunk, item.inode->id(), item.index}, item.data, out, item.fresh);
    writer_.done();
    if (file == main_.get()) {
      ++fresh_blocks_;
    } else if (noted != item.inode) {
      noted = item.inode;
      unsynced_objects_[noted->id()] = noted->record.object;
    }
  }
  return writer_.flush();
}

// Gives back the places of a batch that was not written.
void VolumeImpl::abandon_batch(const std::vector<BatchItem>& batch) {
  writer_.abandon();
  for (const BatchItem& item : batch) {
    if (!item.fresh.present || item.reused) continue;
    if (lies_in_main(item.index, item.fresh)) {
      if (state_.live_blocks != 0) --state_.live_blocks;
      free_blocks_.add(item.fresh.place, 1);
    } else {
      item.inode->free_slots.add(item.fresh.place, 1);
    }
  }
}

// Places, seals and writes a batch, then points the files at it. Empties the batch, also on failure: then the
// files are as before and cached chunks stay dirty.
VolumeResult<void> VolumeImpl::write_batch(std::vector<BatchItem>& batch) {
  VolumeResult<void> result = place_batch(batch);
  if (result.ok()) result = seal_batch(batch);
  if (!result.ok()) abandon_batch(batch);
  const Changing changing(*this);
  for (size_t i = 0; result.ok() && i < batch.size(); ++i) {
    const BatchItem& item = batch[i];
    result = load_group(*item.inode, item.index / group_count(mode_));
    if (!result.ok()) {
      result = poison(result.error());
      break;
    }
    const Ref old = exchange_ref(*item.inode, item.index, item.fresh);
    if (old.present && !item.reused) free_chunk(*item.inode, item.index, old);
    if (item.chunk != nullptr && item.chunk->dirty) {
      item.chunk->dirty = false;
      --item.inode->dirty_chunks;
      --dirty_chunks_;
    }
  }
  batch.clear();
  return result;
}

}  // namespace cloister::volume
