// Repair, last part: what files hold. Every chunk is read; what is not what its reference says becomes a
// hole, and is told.
#include <algorithm>

#include "base/text.h"
#include "volume/salvage.h"

namespace cloister::volume {
namespace {

constexpr std::string_view kLostTarget = "(lost)";

uint64_t chunks_of(uint64_t size) { return size / kBlockSize + (size % kBlockSize != 0 ? 1 : 0); }

}  // namespace

Result<void> Salvage::mend_content() {
  v_.state_.inodes = 0;
  v_.state_.data_size = 0;
  for (const auto& [id, known] : known_) {
    if (!known.stored) continue;
    TRY(v_.make_room());
    Inode* inode = TRY(v_.get(id));
    TRY(mend_attributes(*inode));
    if (inode->record.is_inline) {
      TRY(mend_inline(*inode, known));
    } else if (inode->record.type == FileType::Regular) {
      TRY(mend_chunks(*inode, known));
    }
    ++v_.state_.inodes;
    if (inode->record.type == FileType::Regular) v_.state_.data_size += inode->record.size;
  }
  return {};
}

Result<void> Salvage::mend_inline(Inode& inode, const Known& known) {
  const uint64_t there = known.inline_size;
  if (inode.record.size == there) return {};
  lost(inode.id(), "its content of " + std::to_string(inode.record.size) + " bytes, of which " +
                       std::to_string(there) + " are there");
  inode.record.size = there;
  if (inode.record.type == FileType::Symlink && there == 0) {
    inode.inline_data.assign(kLostTarget.begin(), kLostTarget.end());
    inode.inline_loaded = inode.inline_dirty = true;
    inode.record.size = kLostTarget.size();
  }
  v_.mark(inode);
  return {};
}

// Those whose values are in parts that are not all there go, and so do parts of none.
Result<void> Salvage::mend_attributes(const Inode& inode) {
  std::map<uint64_t, size_t> sizes;
  RecordKey key{inode.id(), Kind::Attribute, 0};
  while (true) {
    const std::optional<Tree::Record> record = TRY(v_.tree_.lower_bound(key));
    if (!record || record->key.inode != inode.id() || record->key.kind != Kind::Attribute) break;
    key = record->key;
    const std::vector<Xattr> before = TRY(decode_xattrs(record->value));
    std::vector<Xattr> after;
    for (const Xattr& item : before) {
      if (item.number == 0 || (TRY(has_parts(inode, item)) && sizes.emplace(item.number, item.size).second)) {
        after.push_back(item);
      } else {
        lost(inode.id(), "extended attribute " + printable(item.name));
      }
    }
    if (after.empty()) {
      TRY(v_.tree_.erase(key));
    } else if (after.size() != before.size()) {
      TRY(v_.tree_.put(key, encode_xattrs(after)));
    }
    v_.tree_.trim(v_.node_limit());
    if (++key.sub == 0) break;
  }
  return drop_parts(inode, sizes);
}

Result<bool> Salvage::has_parts(const Inode& inode, const Xattr& item) {
  for (size_t part = 0; part < value_parts(item); ++part) {
    const std::optional<ByteView> value = TRY(v_.tree_.find(value_key(inode.id(), item.number, part)));
    if (!value || value->size() != std::min(kValuePart, item.size - part * kValuePart)) return false;
  }
  return true;
}

Result<void> Salvage::drop_parts(const Inode& inode, const std::map<uint64_t, size_t>& sizes) {
  uint64_t dropped = 0;
  RecordKey key{inode.id(), Kind::Value, 0};
  while (true) {
    const std::optional<Tree::Record> record = TRY(v_.tree_.lower_bound(key));
    if (!record || record->key.inode != inode.id() || record->key.kind != Kind::Value) break;
    key = record->key;
    const auto value = sizes.find(key.sub >> kPartBits);
    if (value == sizes.end() || key.sub % (1u << kPartBits) * kValuePart >= value->second) {
      TRY(v_.tree_.erase(key));
      ++dropped;
    }
    if (v_.tree_.dirty_nodes() > v_.node_limit()) TRY(v_.tree_.flush());
    v_.tree_.trim(v_.node_limit());
    if (++key.sub == 0) break;
  }
  if (dropped != 0) mended(inode.id(), "parts of extended attributes that are not there");
  return {};
}

Result<bool> Salvage::chunk_opens(Inode& inode, uint64_t index, const Ref& ref) {
  if (ref.epoch >= v_.state_.epochs) return false;
  const VolumeResult<StorageFile*> file = v_.file_of(inode, index, ref, false);
  uint8_t block[kBlockSize];
  const VolumeResult<void> read =
      file.ok() ? v_.read_exactly(**file, ref.place * kBlockSize, block) : VolumeResult<void>(file.error());
  if (!TRY(intact(read))) return false;
  const crypto::Aes256Gcm* key = TRY(VolumeCare::key_or_none(v_, v_.chunk_key(inode, ref.epoch)));
  const bool opens =
      key != nullptr && v_.open_block(key, {BlockType::Chunk, inode.id(), index}, ref, block, block);
  wipe(block, sizeof block);
  return opens;
}

Result<Bytes> Salvage::mend_group(Inode& inode, uint64_t group, const Bytes& refs, Count& count) {
  const size_t width = ref_size(v_.mode_);
  Bytes out(refs.size(), 0);
  size_t end = 0;
  for (size_t at = 0; at < refs.size(); at += width) {
    const Ref ref = load_ref(refs.data() + at, v_.mode_);
    const uint64_t index = group * group_count(v_.mode_) + at / width;
    if (!ref.present) continue;
    if (index >= chunks_of(inode.record.size)) {
      ++count.beyond;
    } else if (TRY(chunk_opens(inode, index, ref))) {
      ++count.there;
      const bool in_object = !lies_in_main(index, ref);
      count.in_object += in_object;
      count.away += is_away(index, ref);
      if (in_object) count.slots = std::max(count.slots, ref.place + 1);
      std::memcpy(out.data() + at, refs.data() + at, width);
      end = at + width;
    } else if (!count.unreadable.empty() &&
               count.unreadable.back().first + count.unreadable.back().second == index) {
      ++count.unreadable.back().second;
    } else {
      count.unreadable.emplace_back(index, 1);
    }
  }
  out.resize(end);
  return out;
}

Result<void> Salvage::mend_chunks(Inode& inode, const Known& known) {
  Count count;
  RecordKey key{inode.id(), Kind::Chunks, 0};
  while (true) {
    const std::optional<Tree::Record> record = TRY(v_.tree_.lower_bound(key));
    if (!record || record->key.inode != inode.id() || record->key.kind != Kind::Chunks) break;
    key = record->key;
    const Bytes before(record->value.begin(), record->value.end());
    const Bytes after = TRY(mend_group(inode, key.sub, before, count));
    if (after.empty()) {
      TRY(v_.tree_.erase(key));
    } else if (after != before) {
      TRY(v_.tree_.put(key, after));
    }
    ++key.sub;
    if (v_.tree_.dirty_nodes() > v_.node_limit()) TRY(v_.tree_.flush());
    v_.tree_.trim(v_.node_limit());
  }
  chunks_in_main_ += count.there - count.in_object;
  tell_chunks(inode, known, count);
  if (inode.record.chunks != count.there || inode.record.away != count.away) v_.mark(inode);
  inode.record.chunks = count.there;
  inode.record.away = count.away;
  return mend_object(inode, count);
}

Result<void> Salvage::mend_object(Inode& inode, const Count& count) {
  InodeRecord& r = inode.record;
  if (!r.has_object) return {};
  const VolumeResult<StorageFile*> object = v_.object_of(inode, false);
  if (!object.ok() && object.error().reason != Reason::Integrity) return static_cast<Error>(object.error());
  if (!object.ok()) r.has_object = false;
  const uint64_t slots = object.ok() ? std::max(r.slots, count.slots) : 0;
  if (object.ok() && slots == r.slots) return {};
  r.slots = slots;
  v_.mark(inode);
  return {};
}

void Salvage::tell_chunks(const Inode& inode, const Known& known, const Count& count) {
  uint64_t dropped = count.beyond + known.older_refs;
  for (const auto& [first, number] : count.unreadable) {
    dropped += number;
    const uint64_t end = std::min((first + number) * kBlockSize, inode.record.size);
    lost(inode.id(), "bytes " + std::to_string(first * kBlockSize) + " to " + std::to_string(end - 1) +
                         ", which are zeros now");
  }
  const uint64_t declared = inode.record.chunks;
  if (count.beyond != 0) {
    mended(inode.id(), std::to_string(count.beyond) + " chunks behind its end");
  }
  if (declared > count.there + dropped) {
    lost(inode.id(), std::to_string(declared - count.there - dropped) +
                         " chunks of 4096 bytes of which nothing is known, they are zeros now");
  } else if (declared < count.there) {
    mended(inode.id(), std::to_string(count.there - declared) +
                           " chunks more than it counted; what had been cut off may be there again");
  }
}

}  // namespace cloister::volume
