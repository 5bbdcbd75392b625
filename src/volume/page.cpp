#include "volume/page.h"

#include <bitset>

namespace cloister::volume {
namespace {

uint64_t raw64(const uint8_t* p) {
  uint64_t value;
  std::memcpy(&value, p, 8);
  return value;
}
unsigned raw16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, 2);
  return value;
}
void put16(uint8_t* p, size_t value) { store_le(p, static_cast<uint16_t>(value)); }

unsigned heap(const uint8_t* p) { return raw16(p + 4); }
// The table of record offsets: two bytes each, behind the header.
size_t slot(size_t index) { return kPageHeader + 2 * index; }
unsigned record_offset(const uint8_t* p, unsigned index) { return raw16(p + slot(index)); }

}  // namespace

RecordKey load_key(const uint8_t* at) {
  return {.inode = raw64(at), .kind = static_cast<Kind>(at[16]), .sub = raw64(at + 8)};
}

void store_key(uint8_t* at, const RecordKey& key) {
  store_le(at, key.inode);
  store_le(at + 8, key.sub);
  at[16] = static_cast<uint8_t>(key.kind);
}

namespace page {
namespace {

bool well_formed_inner(const uint8_t* p, size_t reference_size) {
  return count(p) != 0 && count(p) <= inner_capacity(reference_size) && heap(p) == 0;
}

// The records must tile the heap exactly, or later insertions and removals would move overlapping bytes.
bool well_formed_leaf(const uint8_t* p) {
  const unsigned n = count(p);
  const size_t start = heap(p);
  if (start > kBlockSize || start < kPageHeader + 2 * static_cast<size_t>(n)) return false;
  std::bitset<kBlockSize> begins;
  unsigned found = 0;
  for (size_t at = start; at < kBlockSize; ++found) {
    if (kBlockSize - at < kRecordOverhead) return false;
    const size_t size = raw16(p + at + kKeySize);
    if (size > kMaxValue || kBlockSize - at - kRecordOverhead < size) return false;
    begins[at] = true;
    at += kRecordOverhead + size;
  }
  if (found != n) return false;
  for (unsigned i = 0; i < n; ++i) {
    const unsigned offset = record_offset(p, i);
    if (offset >= kBlockSize || !begins[offset]) return false;
  }
  return true;
}

// The first key an inner node has to obey: its first child takes every smaller one.
unsigned first_key(const uint8_t* p) { return level(p) == 0 ? 0 : 1; }
RecordKey key_at(const uint8_t* p, unsigned index, size_t reference_size) {
  return level(p) == 0 ? leaf_key(p, index) : inner_key(p, index, reference_size);
}

}  // namespace

void clear(uint8_t* p, unsigned new_level) {
  std::memset(p, 0, kBlockSize);
  p[0] = static_cast<uint8_t>(new_level);
  if (new_level == 0) put16(p + 4, kBlockSize);
}

bool well_formed(const uint8_t* p, unsigned expected_level, size_t reference_size) {
  if (level(p) != expected_level || p[1] != 0 || raw16(p + 6) != 0) return false;
  return expected_level == 0 ? well_formed_leaf(p) : well_formed_inner(p, reference_size);
}

bool in_order(const uint8_t* p, size_t reference_size) {
  for (unsigned i = 1; i < count(p); ++i) {
    if (key_at(p, i - 1, reference_size) >= key_at(p, i, reference_size)) return false;
  }
  return true;
}

bool check(const uint8_t* p, unsigned expected_level, size_t reference_size) {
  return well_formed(p, expected_level, reference_size) && in_order(p, reference_size);
}

bool within(const uint8_t* p, const KeyRange& range, size_t reference_size) {
  const unsigned n = count(p);
  const unsigned first = first_key(p);
  return n <= first ||
         (key_at(p, first, reference_size) >= range.low && key_at(p, n - 1, reference_size) < range.high);
}

unsigned lower_bound(const uint8_t* p, const RecordKey& key) {
  unsigned low = 0;
  unsigned high = count(p);
  while (low < high) {
    const unsigned middle = (low + high) / 2;
    if (leaf_key(p, middle) < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

RecordKey leaf_key(const uint8_t* p, unsigned index) { return load_key(p + record_offset(p, index)); }

ByteView leaf_value(const uint8_t* p, unsigned index) {
  const uint8_t* record = p + record_offset(p, index);
  return {record + kRecordOverhead, raw16(record + kKeySize)};
}

MutableByteView leaf_value_for_change(uint8_t* p, unsigned index) {
  uint8_t* record = p + record_offset(p, index);
  return {record + kRecordOverhead, raw16(record + kKeySize)};
}

size_t leaf_room(const uint8_t* p) { return heap(p) - slot(count(p)); }

void leaf_insert(uint8_t* p, unsigned index, const RecordKey& key, ByteView value) {
  const unsigned n = count(p);
  const size_t offset = heap(p) - kRecordOverhead - value.size();
  std::memmove(p + slot(index + 1), p + slot(index), slot(n) - slot(index));
  put16(p + slot(index), offset);
  put16(p + 2, n + 1);
  put16(p + 4, offset);
  store_key(p + offset, key);
  put16(p + offset + kKeySize, value.size());
  if (!value.empty()) std::memcpy(p + offset + kRecordOverhead, value.data(), value.size());
}

void leaf_erase(uint8_t* p, unsigned index) {
  const unsigned n = count(p);
  const unsigned start = heap(p);
  const unsigned offset = record_offset(p, index);
  const size_t size = kRecordOverhead + leaf_value(p, index).size();
  std::memmove(p + start + size, p + start, offset - start);
  std::memset(p + start, 0, size);
  std::memmove(p + slot(index), p + slot(index + 1), slot(n) - slot(index + 1));
  put16(p + slot(n - 1), 0);
  for (unsigned i = 0; i + 1 < n; ++i) {
    const unsigned other = record_offset(p, i);
    if (other < offset) put16(p + slot(i), other + size);
  }
  put16(p + 2, n - 1);
  put16(p + 4, start + size);
}

unsigned child_index(const uint8_t* p, const RecordKey& key, size_t reference_size) {
  unsigned low = 1;  // the first child also takes every smaller key
  unsigned high = count(p);
  while (low < high) {
    const unsigned middle = (low + high) / 2;
    if (inner_key(p, middle, reference_size) <= key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}

KeyRange child_range(const uint8_t* p, unsigned index, const KeyRange& range, size_t reference_size) {
  KeyRange out = range;
  if (index != 0) out.low = inner_key(p, index, reference_size);
  if (index + 1 < count(p)) out.high = inner_key(p, index + 1, reference_size);
  return out;
}

RecordKey inner_key(const uint8_t* p, unsigned index, size_t reference_size) {
  return load_key(p + kPageHeader + index * (kKeySize + reference_size));
}

uint8_t* inner_reference(uint8_t* p, unsigned index, size_t reference_size) {
  return p + kPageHeader + index * (kKeySize + reference_size) + kKeySize;
}

void inner_insert(uint8_t* p, unsigned index, const RecordKey& key, ByteView reference) {
  const size_t size = kKeySize + reference.size();
  const unsigned n = count(p);
  uint8_t* at = p + kPageHeader + index * size;
  std::memmove(at + size, at, (n - index) * size);
  store_key(at, key);
  std::memcpy(at + kKeySize, reference.data(), reference.size());
  put16(p + 2, n + 1);
  // The first child takes every smaller key, so what is split off it may begin before its own: builds before
  // inner_erase() kept the key left such pages.
  if (index == 1 && inner_key(p, 0, reference.size()) >= key) store_key(p + kPageHeader, RecordKey{});
}

void inner_erase(uint8_t* p, unsigned index, size_t reference_size) {
  const size_t size = kKeySize + reference_size;
  const unsigned n = count(p);
  uint8_t* at = p + kPageHeader + index * size;
  if (index == 0 && n > 1) std::memcpy(at + size, at, kKeySize);  // whose keys the next child takes
  std::memmove(at, at + size, (n - index - 1) * size);
  std::memset(p + kPageHeader + (n - 1) * size, 0, size);
  put16(p + 2, n - 1);
}

}  // namespace page
}  // namespace cloister::volume
