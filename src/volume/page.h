// One 4 KiB node of the metadata tree as it is stored: a leaf of records or an inner node of references.
//
//   leaf    level 0: header, u16 offsets of the records in key order, free bytes (zero), records up to the
//   end inner   level > 0: header, entries {key, reference to the child with keys >= that key} header  u8
//   level, u8 zero, u16 count, u16 start of the record heap (leaf; else zero), u16 zero record  key (17
//   bytes), u16 size, value
//
// The heap has no gaps and unused bytes are zero, so equal content has equal bytes. check() must have
// accepted a page before any other function sees it: its author may be hostile even though its MAC is right.
#pragma once

#include <compare>

#include "base/bytes.h"

namespace cloister::volume {

inline constexpr size_t kBlockSize = 4096;
inline constexpr size_t kPageHeader = 8;
inline constexpr size_t kKeySize = 17;
inline constexpr size_t kRecordOverhead = kKeySize + 2;
inline constexpr size_t kMaxValue = 2560;
inline constexpr unsigned kMaxHeight = 16;

enum class Kind : uint8_t {
  Inode = 1,
  Inline = 2,     // content of a small file, target of a symbolic link; sub: number of the part
  Entry = 3,      // sub: hash of the name
  Attribute = 4,  // extended attribute; sub: hash of the name
  Chunks = 5,     // sub: number of the group
  Orphan = 6,     // inode 0; sub: an inode without links that a program still had open
  Value = 7,      // part of a large value of an extended attribute; sub: number of the value and of the part
};

struct RecordKey {
  uint64_t inode = 0;
  Kind kind = Kind{};
  uint64_t sub = 0;
  auto operator<=>(const RecordKey&) const = default;
};

// The keys that the entries above a node leave to it: low <= key < high. No record has the highest key.
struct KeyRange {
  RecordKey low;
  RecordKey high{.inode = ~uint64_t{0}, .kind = Kind{255}, .sub = ~uint64_t{0}};
};

RecordKey load_key(const uint8_t* at);
void store_key(uint8_t* at, const RecordKey& key);

namespace page {

inline unsigned level(const uint8_t* p) { return p[0]; }
inline unsigned count(const uint8_t* p) { return load_le<uint16_t>(p + 2); }
void clear(uint8_t* p, unsigned level);
// `reference_size` is that of the volume's mode. check() is both: reading a page needs the first alone.
bool well_formed(const uint8_t* p, unsigned level, size_t reference_size);
bool in_order(const uint8_t* p, size_t reference_size);
bool check(const uint8_t* p, unsigned level, size_t reference_size);
// Whether look-ups that the entries above lead here find what is here.
bool within(const uint8_t* p, const KeyRange& range, size_t reference_size);

// --- leaf
unsigned lower_bound(const uint8_t* p, const RecordKey& key);  // first record with a key >= `key`
RecordKey leaf_key(const uint8_t* p, unsigned index);
ByteView leaf_value(const uint8_t* p, unsigned index);
size_t leaf_room(const uint8_t* p);
inline size_t leaf_cost(size_t value_size) { return 2 + kRecordOverhead + value_size; }
void leaf_insert(uint8_t* p, unsigned index, const RecordKey& key, ByteView value);  // needs the room
void leaf_erase(uint8_t* p, unsigned index);
MutableByteView leaf_value_for_change(uint8_t* p, unsigned index);  // same size

// --- inner
inline unsigned inner_capacity(size_t reference_size) {
  return static_cast<unsigned>((kBlockSize - kPageHeader) / (kKeySize + reference_size));
}
unsigned child_index(const uint8_t* p, const RecordKey& key, size_t reference_size);
KeyRange child_range(const uint8_t* p, unsigned index, const KeyRange& range, size_t reference_size);
RecordKey inner_key(const uint8_t* p, unsigned index, size_t reference_size);
uint8_t* inner_reference(uint8_t* p, unsigned index, size_t reference_size);
void inner_insert(uint8_t* p, unsigned index, const RecordKey& key, ByteView reference);
void inner_erase(uint8_t* p, unsigned index, size_t reference_size);

}  // namespace page
}  // namespace cloister::volume
