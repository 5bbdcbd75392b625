// Content of files: read, write, truncate, data and holes.
// A file of up to 2 KiB is a record of the tree; a larger one is chunks of 4 KiB. Bytes of the last chunk
// beyond the end of the file are zero, so that growing a file needs no writing.
#include <algorithm>

#include "volume/volume_impl.h"

namespace cloister::volume {
namespace {

constexpr uint64_t kDirectWrite = 16;  // chunks: at least this many bypass the cache
constexpr uint64_t kDirectBatch = kMaxRun / kBlockSize;
constexpr uint64_t kReadAhead = 32;

}  // namespace

void VolumeImpl::set_size(Inode& inode, uint64_t size, Timestamp now) {
  state_.data_size -= std::min(state_.data_size, inode.record.size);
  state_.data_size += size;
  inode.record.size = size;
  inode.record.modified = inode.record.changed = now;
  mark(inode);
}

VolumeResult<size_t> VolumeImpl::read(InodeId id, uint64_t offset, MutableByteView out) {
  TRY(check_readable());
  TRY(make_room());
  Inode* inode = TRY(get_regular(id));
  if (offset >= inode->record.size) return size_t{0};
  const size_t total = static_cast<size_t>(std::min<uint64_t>(out.size(), inode->record.size - offset));
  if (inode->record.is_inline) {
    TRY(load_inline(*inode));
    if (total != 0) std::memcpy(out.data(), inode->inline_data.data() + offset, total);
    return total;
  }
  const bool sequential = offset == inode->read_end;
  inode->read_end = offset + total;
  size_t done = 0;
  while (done < total) {
    const uint64_t index = (offset + done) / kBlockSize;
    const size_t in = static_cast<size_t>((offset + done) % kBlockSize);
    uint64_t direct = 0;
    if (in == 0) {
      const uint64_t whole = (total - done) / kBlockSize;
      while (direct < whole && chunks_.find(id, index + direct) == nullptr) ++direct;
    }
    if (direct >= direct_read_) {
      TRY(read_chunks(*inode, index, direct, out.data() + done));
      done += static_cast<size_t>(direct) * kBlockSize;
      continue;
    }
    const Chunk* chunk = TRY(cached(*inode, index, sequential ? kReadAhead : 1));
    const size_t take = std::min(kBlockSize - in, total - done);
    std::memcpy(out.data() + done, chunk->data + in, take);
    done += take;
  }
  return total;
}

// A small file becomes one dirty chunk.
VolumeResult<void> VolumeImpl::leave_inline(Inode& inode) {
  TRY(load_inline(inode));
  if (!inode.inline_data.empty()) {
    Chunk* chunk = add_chunk(inode, 0);
    std::memset(chunk->data, 0, kBlockSize);
    std::memcpy(chunk->data, inode.inline_data.data(), inode.inline_data.size());
    mark_chunk(chunk);
    wipe(inode.inline_data.data(), inode.inline_data.size());
    inode.inline_data.clear();
  }
  inode.inline_dirty = true;
  inode.record.is_inline = false;
  mark(inode);
  return {};
}

VolumeResult<void> VolumeImpl::write(InodeId id, uint64_t offset, ByteView data, Timestamp now) {
  TRY(begin_change());
  Inode* inode = TRY(get_regular(id));
  if (data.empty()) return {};
  if (offset > kMaxFileSize || data.size() > kMaxFileSize - offset) {
    return VolumeError{Reason::TooLarge, "the file would be too large"};
  }
  const uint64_t end = offset + data.size();
  if (inode->record.is_inline) {
    if (end <= kInlineMax) {
      TRY(load_inline(*inode));
      if (inode->inline_data.size() < end) inode->inline_data.resize(static_cast<size_t>(end), 0);
      std::memcpy(inode->inline_data.data() + offset, data.data(), data.size());
      inode->inline_dirty = true;
      set_size(*inode, std::max(end, inode->record.size), now);
      return {};
    }
    TRY(leave_inline(*inode));
  }
  set_size(*inode, inode->record.size, now);
  TRY(write_chunked(*inode, offset, data));
  return {};
}

VolumeResult<void> VolumeImpl::write_chunked(Inode& inode, uint64_t offset, ByteView data) {
  size_t done = 0;
  while (done < data.size()) {
    const uint64_t at = offset + done;
    const uint64_t index = at / kBlockSize;
    const size_t in = static_cast<size_t>(at % kBlockSize);
    const uint64_t whole = in == 0 ? std::min((data.size() - done) / kBlockSize, kDirectBatch) : 0;
    size_t take = 0;
    if (whole >= kDirectWrite) {
      std::vector<BatchItem> batch;
      batch.reserve(whole);
      for (uint64_t i = 0; i < whole; ++i) {
        // Not by a temporary, which would be read again before its stores are done.
        BatchItem& item = batch.emplace_back();
        item.inode = &inode;
        item.index = index + i;
        item.data = data.data() + done + i * kBlockSize;
      }
      TRY(write_batch(batch));
      if (inode.chunks != nullptr) drop_chunks(inode, index, index + whole);
      take = static_cast<size_t>(whole) * kBlockSize;
    } else {
      take = std::min(kBlockSize - in, data.size() - done);
      Chunk* chunk = chunks_.find(inode.id(), index);
      if (chunk == nullptr && (take == kBlockSize || index * kBlockSize >= inode.record.size)) {
        chunk = add_chunk(inode, index);
        if (take != kBlockSize) std::memset(chunk->data, 0, kBlockSize);
      } else if (chunk == nullptr) {
        chunk = TRY(cached(inode, index, 1));
      }
      std::memcpy(chunk->data + in, data.data() + done, take);
      mark_chunk(chunk);
    }
    done += take;
    const uint64_t end = offset + done;
    if (end > inode.record.size) {
      state_.data_size += end - inode.record.size;
      inode.record.size = end;
    }
  }
  return {};
}

VolumeResult<void> VolumeImpl::truncate(InodeId id, uint64_t size, Timestamp now) {
  TRY(begin_change());
  Inode* inode = TRY(get_regular(id));
  if (size > kMaxFileSize) return VolumeError{Reason::TooLarge, "the file would be too large"};
  if (inode->record.is_inline) {
    if (size <= kInlineMax) {
      TRY(load_inline(*inode));
      inode->inline_data.resize(static_cast<size_t>(size), 0);
      inode->inline_dirty = true;
    } else {
      TRY(leave_inline(*inode));
    }
  } else if (size < inode->record.size) {
    const Changing changing(*this);
    TRY(shrink_chunks(*inode, size));
  }
  set_size(*inode, size, now);
  return {};
}

VolumeResult<void> VolumeImpl::shrink_chunks(Inode& inode, uint64_t size) {
  const uint64_t keep = (size + kBlockSize - 1) / kBlockSize;
  const size_t tail = static_cast<size_t>(size % kBlockSize);
  if (tail != 0) {
    const bool stored = TRY(chunk_ref(inode, keep - 1)).present;
    const Chunk* held = chunks_.find(inode.id(), keep - 1);
    if (stored || (held != nullptr && held->dirty)) {  // else a hole, and stays one
      Chunk* chunk = TRY(cached(inode, keep - 1, 1));
      std::memset(chunk->data + tail, 0, kBlockSize - tail);
      mark_chunk(chunk);
    }
  }
  drop_chunks(inode, keep, ~uint64_t{0});
  if (inode.group_dirty) TRY(store_group(inode));
  inode.group = Inode::kNoGroup;
  inode.refs.clear();
  const size_t per_group = group_count(mode_);
  const size_t width = ref_size(mode_);
  while (true) {
    const std::optional<Tree::Record> record =
        TRY(tree_.lower_bound({inode.id(), Kind::Chunks, keep / per_group}));
    if (!record || record->key.inode != inode.id() || record->key.kind != Kind::Chunks) break;
    const RecordKey key = record->key;
    Bytes refs(record->value.begin(), record->value.end());
    const uint64_t first = key.sub * per_group;
    const size_t from = keep > first ? static_cast<size_t>(keep - first) : 0;
    for (size_t i = from; (i + 1) * width <= refs.size(); ++i) {
      drop_ref(inode, first + i, load_ref(refs.data() + i * width, mode_));
    }
    if (from == 0) {
      TRY(erase_found(key));
      continue;
    }
    if (refs.size() > from * width) refs.resize(from * width);
    TRY(tree_.put(key, refs));
    // What follows the group that stays in part goes whole.
    while (true) {
      const std::optional<Tree::Record> later =
          TRY(tree_.lower_bound({inode.id(), Kind::Chunks, key.sub + 1}));
      if (!later || later->key.inode != inode.id() || later->key.kind != Kind::Chunks) break;
      const RecordKey later_key = later->key;
      for (size_t i = 0; (i + 1) * width <= later->value.size(); ++i) {
        drop_ref(inode, later_key.sub * per_group + i, load_ref(later->value.data() + i * width, mode_));
      }
      TRY(erase_found(later_key));
    }
    break;
  }
  if (size == 0) {
    inode.record.is_inline = true;
    inode.inline_data.clear();
    inode.inline_loaded = true;
    inode.inline_dirty = true;
    inode.record.chunks = inode.record.away = 0;
    inode.away.clear();
  }
  return {};
}

VolumeResult<uint64_t> VolumeImpl::seek_data(InodeId id, uint64_t offset) {
  TRY(check_readable());
  TRY(make_room());
  Inode* inode = TRY(get_regular(id));
  const VolumeError end{Reason::NotFound, "no data after the offset"};
  if (offset >= inode->record.size) return end;
  if (inode->record.is_inline) return offset;
  if (inode->group_dirty) TRY(store_group(*inode));
  uint64_t best = ~uint64_t{0};
  const uint64_t index = offset / kBlockSize;
  for (const Chunk* chunk = inode->chunks; chunk != nullptr; chunk = chunk->sibling_next) {
    if (chunk->dirty && chunk->table_b >= index) best = std::min(best, chunk->table_b);
  }
  RecordKey key{id, Kind::Chunks, index / group_count(mode_)};
  for (bool found = false; !found;) {
    const std::optional<Tree::Record> record = TRY(tree_.lower_bound(key));
    if (!record || record->key.inode != id || record->key.kind != Kind::Chunks) break;
    if (record->key.sub > last_group(mode_)) break;
    for (size_t i = 0; !found && (i + 1) * ref_size(mode_) <= record->value.size(); ++i) {
      const uint64_t at = record->key.sub * group_count(mode_) + i;
      found = at >= index && load_ref(record->value.data() + i * ref_size(mode_), mode_).present;
      if (found) best = std::min(best, at);
    }
    key.sub = record->key.sub + 1;
  }
  if (best == ~uint64_t{0} || best > kMaxFileSize / kBlockSize) return end;
  const uint64_t data = std::max(offset, best * kBlockSize);
  if (data >= inode->record.size) return end;
  return data;
}

VolumeResult<uint64_t> VolumeImpl::seek_hole(InodeId id, uint64_t offset) {
  TRY(check_readable());
  TRY(make_room());
  Inode* inode = TRY(get_regular(id));
  if (offset >= inode->record.size) return VolumeError{Reason::NotFound, "the offset is beyond the end"};
  if (inode->record.is_inline) return inode->record.size;
  uint64_t index = offset / kBlockSize;
  while (index * kBlockSize < inode->record.size) {
    const Chunk* chunk = chunks_.find(id, index);
    const bool cached_data = chunk != nullptr && chunk->dirty;
    if (!cached_data && !TRY(chunk_ref(*inode, index)).present) return std::max(offset, index * kBlockSize);
    ++index;
  }
  return inode->record.size;
}

}  // namespace cloister::volume
