// The stored structures other than tree nodes: references, superblocks, epoch pages and inode records, and
// the bytes that bind a block to its position. docs/formats/volume.md is the specification; numbers there and
// here agree.
#pragma once

#include "crypto/aes_gcm.h"
#include "crypto/sha256.h"
#include "volume/page.h"
#include "volume/volume.h"

namespace cloister::volume {

inline constexpr std::string_view kMainName = "volume.fspf";
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr unsigned kSuperblockSlots = 8;  // one block each at the start of volume.fspf
inline constexpr uint64_t kFirstBlock = kSuperblockSlots;
inline constexpr uint64_t kMaxPlace = uint64_t{1} << 46;
inline constexpr uint64_t kMainChunks = 16;  // the first chunks of every file lie in volume.fspf, others may
inline constexpr size_t kInlineMax = 2048;  // bytes of a file kept inside the tree, and of a part of a target
inline constexpr size_t kSmallXattr = 2048;  // bytes of a value kept in the record of its attribute
inline constexpr size_t kValuePart = 2016;   // bytes of a part of a larger one: two such records fill a leaf
inline constexpr size_t kGroupBytes = 1920;  // references to 60 (encrypted) or 48 chunks in one record
inline constexpr uint64_t kMaxFileSize = uint64_t{1} << 54;
inline constexpr size_t kEpochsPerPage = 100;

using VolumeId = ByteArray<16>;

// Where a block lies and what it must be. Encrypted: MAC and nonce. Authenticated-only: SHA-256.
struct Ref {
  ByteArray<32> digest{};  // encrypted: the first 16 bytes
  uint32_t epoch = 0;
  uint64_t counter = 0;
  uint64_t place = 0;    // number of the 4 KiB block in its file
  bool in_main = false;  // a chunk that would lie in the file's object lies in volume.fspf
  bool present = false;
};
// Whether chunk `index` is in volume.fspf; else it is in the file's object.
inline bool lies_in_main(uint64_t index, const Ref& ref) { return index < kMainChunks || ref.in_main; }
// Whether it is in volume.fspf although its file has an object for it.
inline bool is_away(uint64_t index, const Ref& ref) {
  return ref.present && ref.in_main && index >= kMainChunks;
}
constexpr size_t ref_size(Mode mode) { return mode == Mode::Encrypted ? 32 : 40; }
constexpr size_t group_count(Mode mode) { return kGroupBytes / ref_size(mode); }
// No file has references in a group of chunks above it.
constexpr uint64_t last_group(Mode mode) { return kMaxFileSize / kBlockSize / group_count(mode); }
void store_ref(uint8_t* at, const Ref& ref, Mode mode);
inline constexpr uint64_t kInMain = uint64_t{1} << 47;  // of a place that is stored

inline uint64_t load48(const uint8_t* at) {
  return load_le<uint32_t>(at) | (static_cast<uint64_t>(load_le<uint16_t>(at + 4)) << 32);
}

// Inline, so that only those parts are read that the caller uses: chunks have theirs read several times.
inline Ref load_ref(const uint8_t* at, Mode mode) {
  Ref ref;
  const uint64_t stored = load48(at + (mode == Mode::Encrypted ? 26 : 32));
  const uint64_t place = stored & ~kInMain;
  if (place == 0) return ref;
  ref.in_main = (stored & kInMain) != 0;
  ref.present = true;
  ref.place = place - 1;
  if (mode == Mode::Encrypted) {
    std::memcpy(ref.digest.data(), at, 16);
    ref.epoch = load_le<uint32_t>(at + 16);
    ref.counter = load48(at + 20);
  } else {
    std::memcpy(ref.digest.data(), at, 32);
  }
  return ref;
}

// Calls `visit(InodeId, index, Ref)` for every chunk that a leaf names and that lies in volume.fspf.
template <class F>
void each_main_chunk(const uint8_t* leaf, Mode mode, F&& visit) {
  const size_t width = ref_size(mode);
  for (unsigned i = 0; i < page::count(leaf); ++i) {
    const RecordKey key = page::leaf_key(leaf, i);
    const ByteView refs = page::leaf_value(leaf, i);
    for (size_t n = 0; key.kind == Kind::Chunks && (n + 1) * width <= refs.size(); ++n) {
      const Ref ref = load_ref(refs.data() + n * width, mode);
      const uint64_t index = key.sub * group_count(mode) + n;
      if (ref.present && lies_in_main(index, ref)) visit(key.inode, index, ref);
    }
  }
}

// What a block is: part of the authenticated data of each.
enum class BlockType : uint32_t { Node = 1, Chunk = 2 };
struct BlockName {
  BlockType type = BlockType::Chunk;
  uint64_t inode = 0;
  uint64_t index = 0;  // chunk: its number in the file; node: its level
};
ByteArray<48> bind_block(const VolumeId& id, const BlockName& name);
inline crypto::GcmNonce nonce_of(BlockType type, const Ref& ref) {
  crypto::GcmNonce nonce;
  store_le(nonce.data(), static_cast<uint32_t>(type));
  store_le(nonce.data() + 4, ref.counter);
  return nonce;
}

struct Superblock {
  Mode mode = Mode::Encrypted;
  VolumeId id{};
  ByteArray<32> commitment{};
  uint64_t generation = 0;
  Tag previous{};
  Ref root;
  uint32_t height = 1;  // levels of the tree
  uint64_t next_inode = 2;
  uint64_t inodes = 0;
  uint64_t data_size = 0;
  uint64_t blocks = kFirstBlock;  // of volume.fspf, used or free
  uint64_t live_blocks = 0;
  uint32_t epochs = 0;
  uint64_t epoch_page = 0;
  crypto::Digest epoch_digest{};
  // Written together with its blocks, so after a loss of power it may be there without them. Those are the
  // ones sealed at or after this epoch and counter.
  bool one_barrier = false;
  uint32_t first_epoch = 0;
  uint64_t first_counter = 0;
};
inline constexpr size_t kHeadSize = 64;
inline constexpr size_t kBodySize = 256;
inline constexpr size_t kBodyOffset = 112;
inline constexpr size_t kSaltOffset = 64;
inline constexpr size_t kMacOffset = 96;
// Behind a superblock whose writer ended in order: its blocks were durable. Not authenticated. It forbids
// to take the state before when this one is damaged, and spares the next writer's first barrier: forged, it
// costs what a loss of power takes, and who can forge it could take that anyway.
inline constexpr size_t kDoneOffset = kBodyOffset + kBodySize;
inline constexpr std::string_view kDone = "CLSTDONE";
using SuperblockHead = ByteArray<kHeadSize>;
using SuperblockBody = ByteArray<kBodySize>;
SuperblockHead encode_head(const Superblock& superblock);
SuperblockBody encode_body(const Superblock& superblock);
// Unsupported for another version, suite or mode; Malformed when it is no superblock.
Result<Superblock> decode_head(ByteView head);
Result<void> decode_body(ByteView body, Superblock& into);

struct Epoch {
  uint64_t id = 0;
  ByteArray<32> salt{};
};
// A full or the last page of the epoch table; not secret, named by its SHA-256.
struct EpochPage {
  uint64_t previous = 0;  // block, 0 = none
  crypto::Digest previous_digest{};
  uint32_t first = 0;
  std::vector<Epoch> epochs;
};
void encode_epoch_page(const EpochPage& page, uint8_t* block);
Result<EpochPage> decode_epoch_page(ByteView block);

struct InodeRecord {
  FileType type = FileType::Regular;
  bool is_inline = false;  // content (or target) in an Inline record
  bool has_object = false;
  uint16_t permissions = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t links = 0;
  uint64_t size = 0;
  uint64_t chunks = 0;  // that are not holes
  Timestamp modified;
  Timestamp changed;
  InodeId parent = 0;    // directory: its parent; else where it was last linked, for messages only
  uint64_t entries = 0;  // directory
  uint64_t slots = 0;    // regular: blocks of the object, used or free
  uint64_t away = 0;     // regular: of the chunks, how many is_away() tells; builds that did not count left 0
  Key256 key;            // regular, encrypted
  ByteArray<16> object{};
};
Bytes encode_inode(const InodeRecord& record, Mode mode);
Result<InodeRecord> decode_inode(ByteView bytes, Mode mode);

// How many Inline records hold the content (or target).
uint64_t inline_parts(const InodeRecord& record);

// An extended attribute. A large value is not here but in parts, under a number that no other one has.
struct Xattr {
  std::string name;
  Bytes value;
  uint64_t number = 0;  // 0: the value is `value`
  size_t size = 0;      // of a value in parts
};
Bytes encode_xattrs(const std::vector<Xattr>& list);
Result<std::vector<Xattr>> decode_xattrs(ByteView bytes);
inline size_t value_parts(const Xattr& item) { return (item.size + kValuePart - 1) / kValuePart; }
inline constexpr unsigned kPartBits = 6;  // of the sub of a part, below the value's number
inline constexpr uint64_t kMaxValueNumber = uint64_t{1} << (64 - kPartBits);
static_assert(kMaxXattrValue <= kValuePart << kPartBits);
inline RecordKey value_key(InodeId inode, uint64_t number, size_t part) {
  return {inode, Kind::Value, number << kPartBits | part};
}

std::string object_name(const ByteArray<16>& object);  // objects/xx/…

}  // namespace cloister::volume
