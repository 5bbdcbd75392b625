// Opening the newest state of a volume that is to be repaired, without its tag. Two things look alike there:
// a commit that a loss of power cut short, of which the state before must be taken, and a state that was
// durable and is damaged, of which nothing may be given up. The check of volume_verify.cpp tells them apart
// where nodes are in order. Here they need not be: one that is not says nothing of the other blocks of its
// commit.
#include "volume/care.h"
#include "volume/node_walk.h"
#include "volume/volume_care.h"

namespace cloister::volume {

Result<bool> VolumeCare::chunk_opens(VolumeImpl& v, InodeId inode, const InodeRecord& record,
                                     const WrittenChunk& chunk) {
  const VolumeResult<Epoch> salt = v.epoch(chunk.ref.epoch);
  if (!TRY(intact(salt))) return false;
  Chunk content;  // forgets it
  if (!TRY(intact(v.read_exactly(*v.main_, chunk.ref.place * kBlockSize, content.data)))) return false;
  const crypto::Aes256Gcm key(derive_epoch_key(record.key, *salt, kChunkLabel));
  return v.open_block(&key, {BlockType::Chunk, inode, chunk.index}, chunk.ref, content.data, content.data);
}

// Chunks of which no inode record is left, and so no key, are not asked for: a repair drops them.
Result<bool> VolumeCare::newest_commit_opens(VolumeImpl& v) {
  bool open = true;
  uint64_t nodes = 0;
  WrittenChunks chunks;
  NodeWalk walk(v);
  const auto fresh = [&](const Ref& ref) {
    return open && nodes <= kOneBarrierBlocks && v.of_newest_commit(ref);
  };
  TRY(walk.run(
      [&](const NodeWalk::Node& node) -> Result<void> {
        ++nodes;
        open = open && node.page != nullptr;
        if (!open || node.level != 0) return {};
        each_main_chunk(node.page, v.mode_, [&](InodeId inode, uint64_t index, const Ref& ref) {
          if (v.of_newest_commit(ref)) chunks[inode].push_back({index, ref});
        });
        return {};
      },
      fresh));
  if (!open || nodes > kOneBarrierBlocks) return false;
  const auto look_for_keys = [&](const NodeWalk::Node& node) -> Result<void> {
    for (unsigned i = 0; node.page != nullptr && node.level == 0 && i < page::count(node.page); ++i) {
      const RecordKey key = page::leaf_key(node.page, i);
      const auto written = chunks.find(key.inode);
      if (key.kind != Kind::Inode || written == chunks.end()) continue;
      const Result<InodeRecord> record = decode_inode(page::leaf_value(node.page, i), v.mode_);
      for (size_t n = 0; open && record.ok() && n < written->second.size(); ++n)
        open = TRY(chunk_opens(v, key.inode, *record, written->second[n]));
    }
    return {};
  };
  if (!chunks.empty()) TRY(walk.run(look_for_keys));
  return open && (v.state_.epochs == 0 || TRY(intact(v.epoch(v.state_.epochs - 1))));
}

Result<std::unique_ptr<Volume>> open_newest_for_repair(Storage& storage, const Key& key,
                                                       const OpenOptions& options) {
  if (!options.read_only) TRY(storage.lock_for_writing(options.owner));
  OpenOptions for_repair = options;
  for_repair.for_repair = true;
  return VolumeImpl::open_newest(storage, key, for_repair, VolumeCare::newest_commit_opens);
}

}  // namespace cloister::volume
