#include "volume/node_walk.h"

#include <algorithm>

#include "volume/volume_care.h"

namespace cloister::volume {

Result<void> NodeWalk::run(const Visit& visit, const Follow& follow) {
  visit_ = &visit;
  follow_ = &follow;
  met_again_ = 0;
  // A claimed number of blocks needs no memory.
  const uint64_t blocks = std::min(v_.state_.blocks, TRY(v_.main_->size()) / kBlockSize);
  met_.assign(static_cast<size_t>(blocks), false);
  return below(v_.state_.root, v_.state_.height - 1, {}, true);
}

Result<const crypto::Aes256Gcm*> VolumeCare::key_or_none(VolumeImpl& v,
                                                         const VolumeResult<const crypto::Aes256Gcm*>& key) {
  if (TRY(intact(key))) return *key;
  v.poisoned_.reset();
  return nullptr;
}

Result<bool> NodeWalk::read(const Ref& ref, unsigned level, uint8_t* page) {
  if (!ref.present || ref.in_main || ref.place < kFirstBlock || ref.place >= met_.size()) return false;
  const bool encrypted = v_.mode_ == Mode::Encrypted;
  const crypto::Aes256Gcm* key =
      encrypted ? TRY(VolumeCare::key_or_none(v_, v_.node_key(ref.epoch))) : nullptr;
  if (encrypted && key == nullptr) return false;
  if (!TRY(intact(v_.read_exactly(*v_.main_, ref.place * kBlockSize, {page, kBlockSize})))) return false;
  return v_.open_block(key, {BlockType::Node, 0, level}, ref, page, page) &&
         page::well_formed(page, level, ref_size(v_.mode_));
}

Result<void> NodeWalk::below(const Ref& ref, unsigned level, const KeyRange& range, bool found) {
  if (!(*follow_)(ref)) return {};
  alignas(64) uint8_t page[kBlockSize];
  const bool readable = TRY(read(ref, level, page));
  // A reference to what the block was before does not count: another may be to what it is.
  if (readable && met_[static_cast<size_t>(ref.place)]) {
    ++met_again_;
    return {};
  }
  if (readable) met_[static_cast<size_t>(ref.place)] = true;
  const size_t width = ref_size(v_.mode_);
  found = found && readable && page::in_order(page, width) && page::within(page, range, width);
  TRY((*visit_)({ref, level, range, found, readable ? page : nullptr}));
  for (unsigned i = 0; readable && level > 0 && i < page::count(page); ++i) {
    TRY(below(load_ref(page::inner_reference(page, i, width), v_.mode_), level - 1,
              page::child_range(page, i, range, width), found));
  }
  return {};
}

}  // namespace cloister::volume
