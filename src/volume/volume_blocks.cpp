// Sealing and opening of blocks, epochs, and places in volume.fspf.
#include <algorithm>

#include "crypto/random.h"
#include "volume/volume_impl.h"

namespace cloister::volume {
namespace {

constexpr uint64_t kEncryptionsPerEpoch = uint64_t{1} << 32;
constexpr size_t kNodeKeys = 16;

}  // namespace

VolumeError VolumeImpl::poison(VolumeError error) {
  if (poisoned_ || attempting_) return error;
  if (error.reason == Reason::Integrity && writer_went_on())
    error.message += "; the writer has gone on since: open it again at the new tag";
  poisoned_ = error;
  return error;
}

// A reader's state lasts until the writer's next one is acknowledged; then its blocks are used again. That is
// no excuse, the failure stays one: an attacker can remove a superblock, too.
bool VolumeImpl::writer_went_on() {
  if (!read_only_ || !opened_slot_ || states_.empty()) return false;
  ByteArray<kDoneOffset> now{};
  const VolumeResult<void> read = read_exactly(*main_, states_.front().slot * kBlockSize, now);
  return read.ok() ? crypto::sha256(now) != *opened_slot_ : read.error().reason == Reason::Integrity;
}

VolumeResult<void> VolumeImpl::check_readable() {
  if (!poisoned_) return {};
  return VolumeError{poisoned_->reason == Reason::Integrity ? Reason::Poisoned : poisoned_->reason,
                     "The volume refuses all access since an earlier failure: " + poisoned_->message};
}

VolumeResult<void> VolumeImpl::read_exactly(StorageFile& file, uint64_t offset, MutableByteView out) {
  size_t done = 0;
  while (done < out.size()) {
    const size_t got = TRY(lift(file.read_at(offset + done, out.subspan(done))));
    if (got == 0 || got > out.size() - done) return damaged("a file of the volume is too short");
    done += got;
  }
  return {};
}

// spare.size() bytes that are stored at `offset`: where they lie, if their storage shows them, else in
// `spare`.
VolumeResult<const uint8_t*> VolumeImpl::stored(StorageFile& file, uint64_t offset, MutableByteView spare) {
  const ByteView view = file.view(offset, spare.size());
  if (view.size() == spare.size()) return view.data();
  TRY(read_exactly(file, offset, spare));
  return static_cast<const uint8_t*>(spare.data());
}

void VolumeImpl::seal(const crypto::Aes256Gcm* key, const BlockName& name, const uint8_t* plain, uint8_t* out,
                      Ref& ref) const {
  const ByteArray<48> bound = bind_block(state_.id, name);
  if (mode_ == Mode::AuthenticatedOnly) {
    std::memcpy(out, plain, kBlockSize);
    ref.digest = crypto::sha256({bound, ByteView(out, kBlockSize)});
    return;
  }
  crypto::GcmTag mac;
  key->seal(nonce_of(name.type, ref), bound, {plain, kBlockSize}, {out, kBlockSize}, mac);
  std::memcpy(ref.digest.data(), mac.data(), mac.size());
}

// `sealed` may be `block` itself.
bool VolumeImpl::open_block(const crypto::Aes256Gcm* key, const BlockName& name, const Ref& ref,
                            const uint8_t* sealed, uint8_t* block) const {
  const ByteArray<48> bound = bind_block(state_.id, name);
  if (mode_ == Mode::AuthenticatedOnly) {
    const bool right = crypto::sha256({bound, ByteView(sealed, kBlockSize)}) == ref.digest;
    if (!right) std::memset(block, 0, kBlockSize);
    if (right && sealed != block) std::memcpy(block, sealed, kBlockSize);
    return right;
  }
  crypto::GcmTag mac;
  std::memcpy(mac.data(), ref.digest.data(), mac.size());
  return key->open(nonce_of(name.type, ref), bound, {sealed, kBlockSize}, mac, {block, kBlockSize});
}

// Of reading what is to be `failed` when it is not as it must be. In the midst of a change whatever fails is
// the end of it.
VolumeError VolumeImpl::metadata_failure(const VolumeError& error, const VolumeError& failed) {
  if (error.reason == Reason::Integrity) return poison(failed);
  return changing_ != 0 ? poison(error) : error;
}

VolumeResult<void> VolumeImpl::read_node(const Ref& ref, unsigned level, uint8_t* page) {
  const VolumeError failed = damaged("Verification of the volume's metadata failed (block " +
                                     std::to_string(ref.place) + " of volume.fspf)");
  if (ref.place < kFirstBlock || ref.place >= state_.blocks) return poison(failed);
  const crypto::Aes256Gcm* key = mode_ == Mode::Encrypted ? TRY(node_key(ref.epoch)) : nullptr;
  const VolumeResult<const uint8_t*> sealed = stored(*main_, ref.place * kBlockSize, {page, kBlockSize});
  if (!sealed.ok()) return metadata_failure(sealed.error(), failed);
  if (!open_block(key, {BlockType::Node, 0, level}, ref, *sealed, page)) return poison(failed);
  return {};
}

VolumeResult<Ref> VolumeImpl::write_node(unsigned level, const uint8_t* page) {
  Ref ref;
  const crypto::Aes256Gcm* key = nullptr;
  if (mode_ == Mode::Encrypted) {
    TRY(next_nonce(ref));
    key = TRY(node_key(ref.epoch));
  }
  ref.place = TRY(take_block());
  ref.present = true;
  ++fresh_blocks_;
  uint8_t* out = TRY(writer_.reserve(*main_, ref.place * kBlockSize));
  seal(key, {BlockType::Node, 0, level}, page, out, ref);
  writer_.done();
  return ref;
}

// Its epochs are all below `newer_first`: numbers fall from page to page, so that no forged list can be
// followed for ever.
VolumeResult<EpochPage> VolumeImpl::read_epoch_page(uint64_t block, const crypto::Digest& digest,
                                                    uint64_t newer_first) {
  const VolumeError failed = damaged("Verification of the volume's table of epochs failed");
  uint8_t page[kBlockSize];
  if (block < kFirstBlock || block >= state_.blocks) return poison(failed);
  const VolumeResult<void> read = read_exactly(*main_, block * kBlockSize, page);
  if (!read.ok()) return metadata_failure(read.error(), failed);
  if (crypto::sha256(page) != digest) return poison(failed);
  Result<EpochPage> decoded = decode_epoch_page(page);
  if (!decoded.ok() || decoded->first >= newer_first) return poison(failed);
  return std::move(decoded).value();
}

// Epoch pages form a list from the newest back; what has been read stays known.
VolumeResult<Epoch> VolumeImpl::epoch(uint32_t index) {
  const VolumeError failed = damaged("Verification of the volume's table of epochs failed");
  const bool tail_in_memory = !epoch_tail_.epochs.empty();
  uint64_t block = tail_in_memory ? epoch_tail_.previous : state_.epoch_page;
  crypto::Digest digest = tail_in_memory ? epoch_tail_.previous_digest : state_.epoch_digest;
  uint64_t newer_first = kNoEpoch;
  auto known = epochs_.find(index);
  while (known == epochs_.end() && block != 0) {
    const EpochPage page = TRY(read_epoch_page(block, digest, newer_first));
    newer_first = page.first;
    for (size_t i = 0; i < page.epochs.size(); ++i) {
      epochs_.emplace(page.first + static_cast<uint32_t>(i), page.epochs[i]);
    }
    block = page.previous;
    digest = page.previous_digest;
    known = epochs_.find(index);
  }
  if (known == epochs_.end()) return poison(failed);
  return known->second;
}

// The last page gets the new epoch, or is followed by a new page when it is full.
VolumeResult<void> VolumeImpl::load_epoch_tail() {
  if (state_.epochs == 0 || !epoch_tail_.epochs.empty()) return {};
  (void)TRY(epoch(state_.epochs - 1));
  epoch_tail_ = TRY(read_epoch_page(state_.epoch_page, state_.epoch_digest, kNoEpoch));
  return {};
}

VolumeResult<void> VolumeImpl::begin_epoch() {
  TRY(load_epoch_tail());
  if (epoch_tail_.epochs.size() >= kEpochsPerPage) {
    if (epoch_tail_dirty_) {
      TRY(write_epoch_page());
      older_page_written_ = true;
    }
    EpochPage next;
    next.previous = state_.epoch_page;
    next.previous_digest = state_.epoch_digest;
    next.first = state_.epochs;
    epoch_tail_ = next;
    state_.epoch_page = 0;
  }
  Epoch fresh;
  crypto::random_bytes(MutableByteView(fresh.salt));
  if (wanted_epoch_ && !current_epoch_) {
    fresh.id = *wanted_epoch_;
  } else {
    uint8_t id[8];
    crypto::random_bytes(id);
    fresh.id = load_le<uint64_t>(id);
  }
  epoch_tail_.epochs.push_back(fresh);
  epoch_tail_dirty_ = true;
  current_epoch_ = state_.epochs++;
  epochs_[*current_epoch_] = fresh;
  counter_ = 0;
  return {};
}

VolumeResult<void> VolumeImpl::next_nonce(Ref& ref) {
  if (!current_epoch_ || counter_ >= kEncryptionsPerEpoch) TRY(begin_epoch());
  ref.epoch = *current_epoch_;
  ref.counter = counter_++;
  return {};
}

VolumeResult<const crypto::Aes256Gcm*> VolumeImpl::node_key(uint32_t epoch_index) {
  for (const NodeKey& known : node_keys_) {
    if (known.epoch == epoch_index) return static_cast<const crypto::Aes256Gcm*>(known.key.get());
  }
  const Epoch salt = TRY(epoch(epoch_index));
  if (node_keys_.size() >= kNodeKeys) node_keys_.erase(node_keys_.begin());
  node_keys_.push_back(
      {epoch_index, std::make_unique<crypto::Aes256Gcm>(derive_epoch_key(keys_.metadata, salt, kNodeLabel))});
  return static_cast<const crypto::Aes256Gcm*>(node_keys_.back().key.get());
}

VolumeResult<const crypto::Aes256Gcm*> VolumeImpl::chunk_key(Inode& inode, uint32_t epoch_index) {
  for (unsigned i = 0; i < 2; ++i) {
    if (inode.key[i] != nullptr && inode.key_epoch[i] == epoch_index) {
      return static_cast<const crypto::Aes256Gcm*>(inode.key[i].get());
    }
  }
  const Epoch salt = TRY(epoch(epoch_index));
  const unsigned at = inode.key_next++ % 2;
  inode.key[at] = std::make_unique<crypto::Aes256Gcm>(derive_epoch_key(inode.record.key, salt, kChunkLabel));
  inode.key_epoch[at] = epoch_index;
  return static_cast<const crypto::Aes256Gcm*>(inode.key[at].get());
}

// Fresh blocks were written since the last commit: no committed state reaches them, they may be overwritten.
bool VolumeImpl::is_fresh(const Ref& ref) const {
  if (mode_ == Mode::AuthenticatedOnly) return ref.place >= fresh_block_;
  if (!current_epoch_) return false;
  return ref.epoch > fresh_epoch_ || (ref.epoch == fresh_epoch_ && ref.counter >= fresh_counter_);
}

VolumeResult<uint64_t> VolumeImpl::take_block() {
  ++state_.live_blocks;
  if (reserved_ != reserved_end_) return reserved_++;
  if (const std::optional<uint64_t> block = free_blocks_.take()) return *block;
  if (state_.blocks + 1 >= kMaxPlace) return VolumeError{Reason::NoSpace, "the volume is full"};
  return state_.blocks++;
}

// So that a small commit is few writes. Without room side by side the file grows, unless an eighth of it is
// free: then places are taken one by one.
void VolumeImpl::reserve_blocks(uint64_t count) {
  constexpr uint64_t kMost = 64;
  if (count < 2 || count > kMost || compacting_) return;
  if (const std::optional<uint64_t> run = free_blocks_.take_run(count)) {
    reserved_ = *run;
  } else if (free_blocks_.size() > state_.blocks / 8 + 128 || state_.blocks + count >= kMaxPlace) {
    return;
  } else {
    reserved_ = state_.blocks;
    state_.blocks += count;
  }
  reserved_end_ = reserved_ + count;
}

// So many, with zeros if need be. False when there is no room for them.
bool VolumeImpl::make_free_blocks(uint64_t count) {
  constexpr uint64_t kPiece = 64;
  if (free_blocks_.size() >= count) return true;
  const Bytes zeros(kPiece * kBlockSize, 0);
  while (free_blocks_.size() < count) {
    const bool made =
        state_.blocks + kPiece < kMaxPlace && main_->write_at(state_.blocks * kBlockSize, zeros).ok();
    if (!made) return false;
    free_blocks_.add(state_.blocks, kPiece);
    state_.blocks += kPiece;
  }
  return true;
}

void VolumeImpl::return_reserved() {
  free_blocks_.add(reserved_, reserved_end_ - reserved_);
  reserved_ = reserved_end_ = 0;
}

void VolumeImpl::free_later(InodeId inode, uint64_t place) {
  const uint64_t generation = state_.generation + 1;
  if (!freed_.empty()) {
    Freed& last = freed_.back();
    if (last.generation == generation && last.inode == inode && last.place + last.count == place) {
      ++last.count;
      return;
    }
  }
  freed_.push_back({generation, inode, place, 1});
}

void VolumeImpl::free_block(const Ref& ref) {
  if (state_.live_blocks != 0) --state_.live_blocks;
  if (is_fresh(ref)) {
    free_blocks_.add(ref.place, 1);
  } else {
    free_later(0, ref.place);
  }
}

void VolumeImpl::random(MutableByteView out) {
  CLOISTER_CHECK(out.size() <= random_pool_.size());
  if (random_left_ < out.size()) {
    crypto::random_bytes(random_pool_);
    random_left_ = random_pool_.size();
  }
  uint8_t* from = random_pool_.data() + (random_left_ -= out.size());
  std::memcpy(out.data(), from, out.size());
  wipe(from, out.size());
}

}  // namespace cloister::volume
