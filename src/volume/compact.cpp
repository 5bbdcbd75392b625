// Compaction in place, by ordinary commits.
//
// A file of n used blocks needs n places, so exactly the blocks at place n and beyond must move, into the
// gaps below n: writing takes the lowest free place, so it is enough to write them again. Moving a node of
// the tree also writes the nodes above it, which leaves new gaps: a few rounds follow until nothing lies too
// high. Ends are lowered by a commit of their own, after the state that still reached beyond them was given
// up, and the host's files are cut after that: no crash finds a state with its blocks missing.
#include <algorithm>

#include "volume/volume_care.h"

namespace cloister::volume {
namespace {

constexpr unsigned kRounds = 16;
constexpr uint64_t kNodesPerRound = 16384;  // they are all in memory: 64 MiB

}  // namespace

Result<void> VolumeCare::settle(VolumeImpl& v, const Publish& publish) {
  const Tag tag = TRY(v.commit());
  TRY(publish(tag));
  return v.acknowledge(tag);
}

VolumeResult<std::vector<InodeId>> VolumeCare::files_with_chunks(VolumeImpl& v) {
  std::vector<InodeId> out;
  RecordKey key{};
  while (true) {
    TRY(v.make_room());
    const std::optional<Tree::Record> record = TRY(v.tree_.lower_bound(key));
    if (!record) return out;
    key = record->key;
    if (key.kind == Kind::Inode) {
      const InodeRecord record_here = TRY(lift(decode_inode(record->value, v.mode_)));
      // A file that became small may have kept its object.
      if (record_here.type == FileType::Regular && (record_here.has_object || !record_here.is_inline)) {
        out.push_back(key.inode);
      }
    }
    if (++key.sub == 0) key.kind = static_cast<Kind>(static_cast<uint8_t>(key.kind) + 1);
  }
}

// Writes the chunks of a file that lie too high again: in volume.fspf at `main_end` or later, in its object
// beyond the number of its chunks there.
VolumeResult<uint64_t> VolumeCare::move_chunks(VolumeImpl& v, InodeId id, uint64_t main_end) {
  TRY(v.begin_change());
  Inode* inode = TRY(v.get(id));
  if (inode->group_dirty) TRY(v.store_group(*inode));
  struct Place {
    uint64_t index, place;
  };
  std::vector<Place> in_object;
  std::vector<uint64_t> moving;
  size_t coming_home = 0;  // from volume.fspf into the object
  TRY(v.each_chunk(id, [&](uint64_t index, const Ref& ref) {
    if (!lies_in_main(index, ref)) {
      in_object.push_back({index, ref.place});
    } else if (ref.in_main || ref.place >= main_end) {
      moving.push_back(index);
      coming_home += ref.in_main;
    }
  }));
  std::vector<bool> used(in_object.size() + coming_home, false);
  for (const Place& item : in_object) {
    if (item.place < used.size()) {
      used[static_cast<size_t>(item.place)] = true;
    } else {
      moving.push_back(item.index);
    }
  }
  inode->free_slots.clear();
  inode->slots_searched = true;
  inode->record.slots = std::max<uint64_t>(inode->record.slots, used.size());
  for (size_t slot = 0; slot < used.size(); ++slot) {
    if (!used[slot]) inode->free_slots.add(slot, 1);
  }
  std::vector<VolumeImpl::BatchItem> batch;
  constexpr size_t kGroup = 256;  // chunks in memory at a time
  for (size_t done = 0; done < moving.size(); ++done) {
    v.mark_chunk(TRY(v.cached(*inode, moving[done], 1)));
    if (done % kGroup != kGroup - 1 && done + 1 != moving.size()) continue;
    TRY(v.flush_chunks(*inode, batch));
    TRY(v.write_batch(batch));
    v.drop_chunks(*inode, 0, ~uint64_t{0});
  }
  return moving.size();
}

VolumeResult<uint64_t> VolumeCare::move_nodes(VolumeImpl& v, uint64_t main_end) {
  uint64_t moved = 0;
  TRY(v.tree_.relocate([&](const Ref& ref) {
    const bool moves = ref.place >= main_end && ref.place < kMaxPlace && moved < kNodesPerRound;
    moved += moves;
    v.changed_ = v.changed_ || moves;  // also when a later node cannot be read
    return moves;
  }));
  return moved;
}

// A page names the one before it: whoever moves one writes those after it again. All but the newest page are
// full, one for a hundred mounts, so it is simpler to write the whole list. The commit writes the newest.
VolumeResult<uint64_t> VolumeCare::move_epoch_pages(VolumeImpl& v, uint64_t main_end) {
  const std::vector<uint64_t> pages = TRY(v.epoch_blocks());  // the newest first
  const auto misplaced = [&](uint64_t block) { return block >= main_end; };
  if (std::none_of(pages.begin(), pages.end(), misplaced)) return uint64_t{0};
  TRY(v.load_epoch_tail());
  v.epoch_tail_dirty_ = true;
  v.changed_ = true;
  if (std::none_of(pages.begin() + 1, pages.end(), misplaced)) return uint64_t{1};
  EpochPage page;
  while (page.first < v.epoch_tail_.first) {
    const uint32_t count = std::min(static_cast<uint32_t>(kEpochsPerPage), v.epoch_tail_.first - page.first);
    page.epochs.clear();
    for (uint32_t i = 0; i < count; ++i) page.epochs.push_back(TRY(v.epoch(page.first + i)));
    page.previous = TRY(v.put_epoch_page(page, page.previous_digest));
    page.first += count;
  }
  v.epoch_tail_.previous = page.previous;
  v.epoch_tail_.previous_digest = page.previous_digest;
  v.older_page_written_ = true;
  for (size_t i = 1; i < pages.size(); ++i) v.drop_epoch_page(pages[i]);
  return pages.size();
}

VolumeResult<uint64_t> VolumeCare::object_end(VolumeImpl& v, InodeId id) {
  uint64_t end = 0;
  TRY(v.each_chunk(id, [&](uint64_t index, const Ref& ref) {
    if (!lies_in_main(index, ref)) end = std::max(end, ref.place + 1);
  }));
  return end;
}

Result<uint64_t> VolumeCare::shorten(StorageFile& file, uint64_t blocks) {
  const uint64_t size = TRY(file.size());
  if (size <= blocks * kBlockSize) return uint64_t{0};
  TRY(file.truncate(blocks * kBlockSize));
  return size - blocks * kBlockSize;
}

// Lowers the ends of objects, commits that, and cuts the host's files: also those that an earlier compaction
// or a discarded state left longer than their ends.
Result<uint64_t> VolumeCare::cut_objects(VolumeImpl& v, const std::vector<InodeId>& files,
                                         const Publish& publish) {
  for (const InodeId id : files) {
    TRY(lower(v.begin_change()));
    Inode* inode = TRY(lower(v.get(id)));
    const uint64_t end = TRY(lower(object_end(v, id)));
    if (!inode->record.has_object || end >= inode->record.slots) continue;
    inode->record.slots = end;
    inode->free_slots.clear();
    inode->slots_searched = true;
    v.mark(*inode);
  }
  TRY(settle(v, publish));
  uint64_t freed = 0;
  for (const InodeId id : files) {
    TRY(lower(v.make_room()));
    Inode* inode = TRY(lower(v.get(id)));
    if (!inode->record.has_object) continue;
    StorageFile* object = TRY(lower(v.object_of(*inode, true)));
    freed += TRY(shorten(*object, inode->record.slots));
  }
  return freed;
}

// The same for volume.fspf, of which every free place is known. Nothing else changes.
Result<uint64_t> VolumeCare::cut_main(VolumeImpl& v, const Publish& publish) {
  const uint64_t end = v.free_blocks_.take_tail(v.state_.blocks);
  if (end < v.state_.blocks) {
    v.state_.blocks = end;
    v.changed_ = true;
    TRY(settle(v, publish));
  }
  return shorten(*v.main_, v.state_.blocks);
}

Result<Compacted> VolumeCare::compact(VolumeImpl& v, const Publish& publish) {
  if (v.mode_ != Mode::Encrypted) {
    return Error(Code::Unsupported, "only encrypted volumes change", "copy its content into a new volume");
  }
  TRY(lower(v.begin_change()));
  TRY(settle(v, publish));
  // Everything goes to the lowest place there is, and chunks to their objects.
  v.compacting_ = true;
  Result<Compacted> done = compact_in_rounds(v, publish);
  v.compacting_ = false;
  return done;
}

Result<uint64_t> VolumeCare::move_in_rounds(VolumeImpl& v, const std::vector<InodeId>& files,
                                            const Publish& publish) {
  uint64_t sum = 0;
  for (unsigned round = 0; round < kRounds; ++round) {
    TRY(lower(v.find_free_blocks()));
    const uint64_t main_end = kFirstBlock + v.state_.live_blocks;
    uint64_t moved = TRY(lower(move_epoch_pages(v, main_end)));
    moved += TRY(lower(move_nodes(v, main_end)));
    for (const InodeId id : files) moved += TRY(lower(move_chunks(v, id, main_end)));
    TRY(settle(v, publish));
    sum += moved;
    if (moved == 0) break;
  }
  return sum;
}

Result<Compacted> VolumeCare::compact_in_rounds(VolumeImpl& v, const Publish& publish) {
  Compacted out;
  const std::vector<InodeId> files = TRY(lower(files_with_chunks(v)));
  out.moved = TRY(move_in_rounds(v, files, publish));
  const uint64_t generation = v.state_.generation;
  out.freed = TRY(cut_objects(v, files, publish));
  const bool left_gaps = v.state_.generation != generation;
  if (left_gaps) out.moved += TRY(move_in_rounds(v, files, publish));
  out.freed += TRY(cut_main(v, publish));
  return out;
}

Result<Compacted> compact(Volume& volume, const std::function<Result<void>(const Tag&)>& publish) {
  return VolumeCare::compact(static_cast<VolumeImpl&>(volume), publish);
}

}  // namespace cloister::volume
