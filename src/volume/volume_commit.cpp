// Commit and acknowledge.
//
// Commit: chunks, changed nodes, epoch page; superblock into a slot that no openable state holds; barrier. A
// crash before the barrier leaves the states before it, whose blocks nobody has touched. The superblock may
// then be there without its blocks: nobody was told its tag, and who opens without a tag checks it
// (verify_newest_commit). Files other than volume.fspf have their barrier before, and so has volume.fspf when
// the commit is too large for that check. A failing barrier means that nobody knows what is durable, so the
// volume then refuses everything and is opened again at its last tag.
#include <algorithm>

#include "crypto/random.h"
#include "volume/free_list.h"
#include "volume/volume_impl.h"

namespace cloister::volume {

// Makes sure that the opened state is what a loss of power leaves: what only others reach may then be written
// over. Newer states, which were discarded by opening an older one, go. A writer that was killed in its
// commit may have left everything in the host's caches.
VolumeResult<void> VolumeImpl::settle_opened() {
  if (stale_slots_.empty() && !perhaps_cached_) return {};
  const Bytes zeros(kBlockSize, 0);
  for (const unsigned slot : stale_slots_) TRY(lift(main_->write_at(slot * kBlockSize, zeros)));
  const VolumeResult<void> synced = lift(main_->sync());
  if (!synced.ok()) return poison(synced.error());
  stale_slots_.clear();
  perhaps_cached_ = false;
  return {};
}

VolumeResult<void> VolumeImpl::prepare_writes() {
  if (prepared_) return {};
  TRY(settle_opened());
  TRY(load_free_list());
  prepared_ = true;
  return remove_orphans();
}

// Of the opened state, behind its superblock. Without one (the writer was killed, or of an older build) a
// mount begins with no free places. Its author may claim what is no place of volume.fspf.
VolumeResult<void> VolumeImpl::load_free_list() {
  if (mode_ != Mode::Encrypted || for_repair_) return {};
  Bytes list(kFreeListSize);
  const size_t got = TRY(lift(main_->read_at(states_.front().slot * kBlockSize + kFreeListOffset, list)));
  if (got != list.size()) return {};
  for (const Extent& free : open_free_list(keys_, tag_, list)) {
    const bool inside = free.start >= kFirstBlock && free.start < state_.blocks;
    if (inside) free_blocks_.add(free.start, std::min(free.count, state_.blocks - free.start));
  }
  return {};
}

// Between states, so that the tree has every reference. Once: after that all that is free is known.
VolumeResult<void> VolumeImpl::search_when_used_up() {
  constexpr uint64_t kFew = 64;
  if (changed_ || searched_ || free_blocks_.size() >= kFew) return {};
  if (state_.blocks <= 4096 || state_.live_blocks >= state_.blocks / 2) return {};
  searched_ = true;
  return find_free_blocks();
}

// The slots that hold nothing may be holes: then a full disk has no room for the next superblock, and that
// write is the one that must not fail. Volumes are made with written slots, but older builds left holes.
// 32 KiB are looked at, once for each mount that writes.
VolumeResult<void> VolumeImpl::fill_slots() {
  if (slots_filled_) return {};
  Bytes slots(kSuperblockSlots * kBlockSize);
  for (size_t done = 0; done < slots.size();) {
    const MutableByteView rest = MutableByteView(slots).subspan(done);
    const size_t got = TRY(lift(main_->read_at(done, rest)));
    if (got == 0 || got > rest.size()) break;
    done += got;
  }
  const Bytes zeros(slots.size(), 0);
  const auto empty = [&](size_t slot) {
    return slot < kSuperblockSlots &&
           std::memcmp(slots.data() + slot * kBlockSize, zeros.data(), kBlockSize) == 0;
  };
  for (size_t slot = 0; slot < kSuperblockSlots; ++slot) {
    size_t end = slot;
    while (empty(end)) ++end;
    if (end == slot) continue;
    TRY(lift(main_->write_at(slot * kBlockSize, ByteView(zeros).first((end - slot) * kBlockSize))));
    slot = end;
  }
  slots_filled_ = true;
  return {};
}

VolumeResult<uint64_t> VolumeImpl::put_epoch_page(const EpochPage& from, crypto::Digest& digest) {
  uint8_t page[kBlockSize];
  encode_epoch_page(from, page);
  const uint64_t block = TRY(take_block());
  const VolumeResult<void> written = lift(main_->write_at(block * kBlockSize, page));
  if (!written.ok()) {
    --state_.live_blocks;
    free_blocks_.add(block, 1);
    return written.error();
  }
  digest = crypto::sha256(page);
  return block;
}

void VolumeImpl::drop_epoch_page(uint64_t block) {
  if (state_.live_blocks != 0) --state_.live_blocks;
  free_later(0, block);
}

VolumeResult<void> VolumeImpl::write_epoch_page() {
  const uint64_t before = state_.epoch_page;
  state_.epoch_page = TRY(put_epoch_page(epoch_tail_, state_.epoch_digest));
  if (before != 0) drop_epoch_page(before);
  epoch_tail_dirty_ = false;
  return {};
}

VolumeResult<void> VolumeImpl::write_everything() {
  constexpr size_t kSmallCommit = 64;  // chunks
  const bool small = mode_ == Mode::Encrypted && !compacting_ && dirty_chunks_ <= kSmallCommit;
  std::vector<Chunk*> coming_home;
  if (small) coming_home = TRY(bring_chunks_home());
  small_commit_ = small && coming_home.empty() && unsynced_objects_.empty();
  if (small_commit_) reserve_blocks(dirty_chunks_);
  VolumeResult<void> flushed = flush_all_chunks();
  if (!flushed.ok() && !poisoned_ && !coming_home.empty()) {
    leave_chunks_away(coming_home);
    small_commit_ = true;
    flushed = flush_all_chunks();
  }
  return_reserved();
  small_commit_ = false;
  if (!flushed.ok()) return flushed;
  for (const InodeId id : dirty_inodes_) {
    Inode* inode = inodes_.find(id);
    if (inode != nullptr && (inode->dirty || inode->inline_dirty || inode->group_dirty))
      TRY(store_inode(*inode));
  }
  dirty_inodes_.clear();
  reserve_blocks(tree_.dirty_nodes());
  flushed = tree_.flush();
  return_reserved();
  if (flushed.ok() && epoch_tail_dirty_) flushed = write_epoch_page();
  return flushed;
}

VolumeResult<void> VolumeImpl::sync_objects() {
  for (const auto& [id, object] : unsynced_objects_) {
    const Inode* inode = inodes_.find(id);
    if (inode != nullptr && inode->object != nullptr) {
      TRY(lift(inode->object->sync()));
      continue;
    }
    const std::unique_ptr<StorageFile> file =
        TRY(lift(storage_.open(object_name(object), OpenMode::ReadWrite)));
    TRY(lift(file->sync()));
  }
  unsynced_objects_.clear();
  if (names_unsynced_) TRY(lift(storage_.sync_names()));
  names_unsynced_ = false;
  return {};
}

unsigned VolumeImpl::choose_slot() {
  if (!gone_slots_.empty()) {
    const unsigned slot = gone_slots_.back();
    gone_slots_.pop_back();
    return slot;
  }
  if (states_.size() == kSuperblockSlots) states_.erase(states_.begin() + 1);  // never the acknowledged one
  for (unsigned slot = 0; slot < kSuperblockSlots; ++slot) {
    const bool used =
        std::any_of(states_.begin(), states_.end(), [&](const State& s) { return s.slot == slot; });
    if (!used) return slot;
  }
  CLOISTER_CHECK(false);
  return 0;
}

// So that an old tag is refused at once. Not synced: losing this write loses nothing.
VolumeResult<void> VolumeImpl::clear_gone_slots() {
  if (gone_slots_.empty()) return {};
  const Bytes zeros(kBlockSize, 0);
  for (const unsigned slot : gone_slots_) TRY(lift(main_->write_at(slot * kBlockSize, zeros)));
  gone_slots_.clear();
  return {};
}

// The last words of a writer. Losing them loses nothing.
void VolumeImpl::close() {
  const bool committed = !states_.empty() && states_.back().ours;
  if (!clear_gone_slots().ok() || !committed || mode_ != Mode::Encrypted) return;
  Bytes words(kBlockSize - kDoneOffset, 0);
  std::memcpy(words.data(), kDone.data(), kDone.size());
  if (!for_repair_) {
    ByteArray<32> salt;
    crypto::random_bytes(salt);
    seal_free_list(keys_, tag_, salt, unreached(), words.data() + kDone.size());
  }
  (void)main_->write_at(states_.back().slot * kBlockSize + kDoneOffset, words);
}

// What the newest committed state does not reach, and thus is free for who opens it. What a state still being
// built has given up is not.
std::vector<Extent> VolumeImpl::unreached() const {
  SpaceMap all = free_blocks_;
  for (const Freed& freed : freed_) {
    if (freed.inode == 0 && freed.generation <= state_.generation) all.add(freed.place, freed.count);
  }
  std::vector<Extent> out;
  all.each([&](const Extent& extent) { out.push_back(extent); });
  return out;
}

VolumeResult<void> VolumeImpl::write_superblock(const Superblock& next, unsigned slot) {
  ByteArray<32> salt{};
  if (mode_ == Mode::Encrypted) crypto::random_bytes(salt);
  Bytes block(kBlockSize);
  seal_superblock(keys_, next, salt, block.data());
  TRY(lift(main_->write_at(slot * kBlockSize, block)));
  return lift(main_->sync());
}

Result<Tag> VolumeImpl::commit() {
  TRY(lower(check_readable()));
  if (!changed_) {
    if (!read_only_ && perhaps_cached_) TRY(lower(settle_opened()));
    return tag_;
  }
  TRY(lower(prepare_writes()));
  TRY(lower(fill_slots()));
  TRY(lower(write_everything()));
  const bool one_barrier =
      mode_ == Mode::Encrypted && fresh_blocks_ <= kOneBarrierBlocks && !older_page_written_;
  VolumeResult<void> synced = sync_objects();
  if (synced.ok() && !one_barrier) synced = lift(main_->sync());
  if (!synced.ok()) return static_cast<Error>(poison(synced.error()));
  Superblock next = state_;
  next.one_barrier = one_barrier;
  next.first_epoch = one_barrier ? fresh_epoch_ : 0;
  next.first_counter = one_barrier ? fresh_counter_ : 0;
  next.generation = newest_generation_ + 1;
  next.previous = tag_;
  next.root = tree_.root();
  next.height = tree_.height();
  made_objects_.clear();
  const unsigned slot = choose_slot();
  VolumeResult<void> written = clear_gone_slots();
  if (written.ok()) written = write_superblock(next, slot);
  if (!written.ok()) return static_cast<Error>(poison(written.error()));
  state_ = next;
  newest_generation_ = next.generation;
  if (mode_ == Mode::Encrypted) {
    tag_ = compute_tag(keys_, next);
  } else {
    root_ = compute_root(next);
    std::memcpy(tag_.data(), root_.data(), tag_.size());
  }
  states_.push_back({slot, next.generation, tag_, true});
  fresh_epoch_ = current_epoch_.value_or(state_.epochs);
  fresh_counter_ = current_epoch_ ? counter_ : 0;
  fresh_block_ = state_.blocks;
  fresh_blocks_ = 0;
  older_page_written_ = false;
  changed_ = false;
  return tag_;
}

Result<void> VolumeImpl::acknowledge(const Tag& tag) {
  const auto found =
      std::find_if(states_.begin(), states_.end(), [&](const State& s) { return s.tag == tag; });
  if (found == states_.end())
    return Error(Code::InvalidArgument, "the acknowledged tag is not of a kept state");
  const uint64_t generation = found->generation;
  const std::vector<State> gone(states_.begin(), found);
  states_.erase(states_.begin(), found);
  if (read_only_ || poisoned_) return {};
  // The next commit overwrites them, or the end of this object does.
  for (const State& state : gone) gone_slots_.push_back(state.slot);
  const auto kept = std::partition(freed_.begin(), freed_.end(),
                                   [&](const Freed& item) { return item.generation > generation; });
  for (auto item = kept; item != freed_.end(); ++item) {
    if (item->inode == 0) {
      free_blocks_.add(item->place, item->count);
    } else if (Inode* inode = inodes_.find(item->inode)) {
      inode->free_slots.add(item->place, item->count);
    }
  }
  freed_.erase(kept, freed_.end());
  const auto objects = std::partition(freed_objects_.begin(), freed_objects_.end(),
                                      [&](const FreedObject& item) { return item.generation > generation; });
  for (auto item = objects; item != freed_objects_.end(); ++item)
    (void)storage_.remove(object_name(item->object));
  freed_objects_.erase(objects, freed_objects_.end());
  return {};
}

}  // namespace cloister::volume
