#include "volume/format.h"

#include <algorithm>

namespace cloister::volume {
namespace {

constexpr std::string_view kMagic = "CLSTFSPF";
constexpr std::string_view kEpochMagic = "CLSTEPOC";
constexpr uint8_t kSuiteNone = 0;
constexpr uint8_t kSuiteAes256Gcm = 1;
constexpr uint8_t kFlagInline = 1;
constexpr uint8_t kFlagObject = 2;
constexpr uint8_t kFlagAway = 4;
constexpr uint32_t kOneBarrier = 1;
constexpr uint16_t kInParts = 0xffff;  // in place of the size of an attribute's value

void store48(uint8_t* at, uint64_t value) {
  for (int i = 0; i < 6; ++i) at[i] = static_cast<uint8_t>(value >> (8 * i));
}

void write_time(ByteWriter& out, const Timestamp& time) {
  out.le(static_cast<uint64_t>(time.seconds)).le(time.nanoseconds);
}

Result<Timestamp> read_time(ByteReader& in) {
  Timestamp time;
  time.seconds = static_cast<int64_t>(TRY(in.le<uint64_t>()));
  time.nanoseconds = TRY(in.le<uint32_t>());
  if (time.nanoseconds >= 1'000'000'000) return Error(Code::Malformed, "inode record: bad time");
  return time;
}

}  // namespace

void store_ref(uint8_t* at, const Ref& ref, Mode mode) {
  std::memset(at, 0, ref_size(mode));
  if (!ref.present) return;
  if (mode == Mode::Encrypted) {
    std::memcpy(at, ref.digest.data(), 16);
    store_le(at + 16, ref.epoch);
    store48(at + 20, ref.counter);
    store48(at + 26, (ref.place + 1) | (ref.in_main ? kInMain : 0));
  } else {
    std::memcpy(at, ref.digest.data(), 32);
    store48(at + 32, (ref.place + 1) | (ref.in_main ? kInMain : 0));
  }
}

ByteArray<48> bind_block(const VolumeId& id, const BlockName& name) {
  ByteArray<48> out{};
  std::memcpy(out.data(), id.data(), id.size());
  store_le(out.data() + 16, name.inode);
  store_le(out.data() + 24, name.index);
  store_le(out.data() + 32, static_cast<uint32_t>(kBlockSize));
  store_le(out.data() + 36, static_cast<uint32_t>(name.type));
  return out;
}

SuperblockHead encode_head(const Superblock& superblock) {
  SuperblockHead out{};
  const bool encrypted = superblock.mode == Mode::Encrypted;
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  store_le(out.data() + 8, kFormatVersion);
  out[12] = encrypted ? kSuiteAes256Gcm : kSuiteNone;
  out[13] = encrypted ? 1 : 2;
  store_le(out.data() + 14, static_cast<uint16_t>(kBodySize));
  std::memcpy(out.data() + 16, superblock.id.data(), superblock.id.size());
  std::memcpy(out.data() + 32, superblock.commitment.data(), superblock.commitment.size());
  return out;
}

Result<Superblock> decode_head(ByteView head) {
  ByteReader in(head, "superblock");
  if (as_text(TRY(in.take(8))) != kMagic) return Error(Code::Malformed, "not a superblock");
  const uint32_t version = TRY(in.le<uint32_t>());
  const uint8_t suite = TRY(in.le<uint8_t>());
  const uint8_t mode = TRY(in.le<uint8_t>());
  const uint16_t size = TRY(in.le<uint16_t>());
  const bool known = (mode == 1 && suite == kSuiteAes256Gcm) || (mode == 2 && suite == kSuiteNone);
  if (version != kFormatVersion || !known || size != kBodySize) {
    return Error(Code::Unsupported,
                 "the volume has format version " + std::to_string(version) + ", cipher suite " +
                     std::to_string(suite) + ", mode " + std::to_string(mode) + " and superblocks of " +
                     std::to_string(size) +
                     " bytes: this build reads version 1, suite 1 in mode 1 or 0 in mode 2, 256 bytes");
  }
  Superblock out;
  out.mode = mode == 1 ? Mode::Encrypted : Mode::AuthenticatedOnly;
  out.id = TRY(in.array<16>());
  out.commitment = TRY(in.array<32>());
  return out;
}

SuperblockBody encode_body(const Superblock& s) {
  ByteWriter out;
  out.le(s.generation).bytes(s.previous).bytes(s.root.digest).le(s.root.epoch).le(s.height);
  out.le(s.root.counter).le(s.root.place).le(s.next_inode).le(s.inodes).le(s.data_size);
  out.le(s.blocks).le(s.live_blocks).le(s.epochs).le(uint32_t{0}).le(s.epoch_page).bytes(s.epoch_digest);
  out.le(s.one_barrier ? kOneBarrier : 0).le(s.first_epoch).le(s.first_counter);
  SuperblockBody body{};
  std::memcpy(body.data(), out.view().data(), out.size());
  return body;
}

Result<void> decode_body(ByteView body, Superblock& s) {
  ByteReader in(body, "superblock");
  s.generation = TRY(in.le<uint64_t>());
  s.previous = TRY(in.array<16>());
  s.root.digest = TRY(in.array<32>());
  s.root.epoch = TRY(in.le<uint32_t>());
  s.height = TRY(in.le<uint32_t>());
  s.root.counter = TRY(in.le<uint64_t>());
  s.root.place = TRY(in.le<uint64_t>());
  s.root.present = true;
  s.next_inode = TRY(in.le<uint64_t>());
  s.inodes = TRY(in.le<uint64_t>());
  s.data_size = TRY(in.le<uint64_t>());
  s.blocks = TRY(in.le<uint64_t>());
  s.live_blocks = TRY(in.le<uint64_t>());
  s.epochs = TRY(in.le<uint32_t>());
  (void)TRY(in.le<uint32_t>());
  s.epoch_page = TRY(in.le<uint64_t>());
  s.epoch_digest = TRY(in.array<32>());
  const bool sane = s.height >= 1 && s.height <= kMaxHeight && s.blocks >= kFirstBlock &&
                    s.blocks < kMaxPlace && s.root.place >= kFirstBlock && s.root.place < s.blocks &&
                    s.epoch_page < s.blocks && s.next_inode > kRootInode;
  if (!sane) return Error(Code::Malformed, "superblock: a number is out of range");
  const uint32_t flags = TRY(in.le<uint32_t>());
  s.one_barrier = flags == kOneBarrier;
  s.first_epoch = TRY(in.le<uint32_t>());
  s.first_counter = TRY(in.le<uint64_t>());
  const ByteView rest = in.rest();
  if (flags > kOneBarrier || std::any_of(rest.begin(), rest.end(), [](uint8_t byte) { return byte != 0; })) {
    return Error(Code::Unsupported, "the volume uses a feature that this build does not know");
  }
  return {};
}

void encode_epoch_page(const EpochPage& page, uint8_t* block) {
  ByteWriter out;
  out.text(kEpochMagic).le(page.previous).bytes(page.previous_digest).le(page.first);
  out.le(static_cast<uint32_t>(page.epochs.size()));
  for (const Epoch& epoch : page.epochs) out.le(epoch.id).bytes(epoch.salt);
  CLOISTER_CHECK(out.size() <= kBlockSize);
  std::memset(block, 0, kBlockSize);
  std::memcpy(block, out.view().data(), out.size());
}

Result<EpochPage> decode_epoch_page(ByteView block) {
  ByteReader in(block, "epoch page");
  if (as_text(TRY(in.take(8))) != kEpochMagic) return Error(Code::Malformed, "not an epoch page");
  EpochPage page;
  page.previous = TRY(in.le<uint64_t>());
  page.previous_digest = TRY(in.array<32>());
  page.first = TRY(in.le<uint32_t>());
  const uint32_t count = TRY(in.le<uint32_t>());
  if (count == 0 || count > kEpochsPerPage) return Error(Code::Malformed, "epoch page: bad count");
  for (uint32_t i = 0; i < count; ++i) {
    Epoch epoch;
    epoch.id = TRY(in.le<uint64_t>());
    epoch.salt = TRY(in.array<32>());
    page.epochs.push_back(epoch);
  }
  return page;
}

Bytes encode_inode(const InodeRecord& r, Mode mode) {
  ByteWriter out;
  const uint8_t flags = static_cast<uint8_t>(
      (r.is_inline ? kFlagInline : 0) | (r.has_object ? kFlagObject : 0) | (r.away != 0 ? kFlagAway : 0));
  out.le(static_cast<uint8_t>(r.type)).le(flags).le(r.permissions).le(r.uid).le(r.gid).le(r.links);
  out.le(r.size).le(r.chunks);
  write_time(out, r.modified);
  write_time(out, r.changed);
  out.le(r.parent).le(r.type == FileType::Directory ? r.entries : r.slots);
  if (r.type == FileType::Regular && mode == Mode::Encrypted) out.bytes(r.key.expose());
  if (r.away != 0) out.le(r.away);
  if (r.has_object) out.bytes(r.object);
  return out.take();
}

Result<InodeRecord> decode_inode(ByteView bytes, Mode mode) {
  ByteReader in(bytes, "inode record");
  InodeRecord r;
  const uint8_t type = TRY(in.le<uint8_t>());
  const uint8_t flags = TRY(in.le<uint8_t>());
  if (type < 1 || type > 3 || flags > (kFlagInline | kFlagObject | kFlagAway)) {
    return Error(Code::Malformed, "inode record: bad type or flags");
  }
  r.type = static_cast<FileType>(type);
  r.is_inline = (flags & kFlagInline) != 0;
  r.has_object = (flags & kFlagObject) != 0;
  r.permissions = TRY(in.le<uint16_t>()) & 07777;
  r.uid = TRY(in.le<uint32_t>());
  r.gid = TRY(in.le<uint32_t>());
  r.links = TRY(in.le<uint32_t>());
  r.size = TRY(in.le<uint64_t>());
  r.chunks = TRY(in.le<uint64_t>());
  r.modified = TRY(read_time(in));
  r.changed = TRY(read_time(in));
  r.parent = TRY(in.le<uint64_t>());
  const uint64_t number = TRY(in.le<uint64_t>());
  (r.type == FileType::Directory ? r.entries : r.slots) = number;
  if (r.type == FileType::Regular && mode == Mode::Encrypted) r.key = Key256(TRY(in.array<32>()));
  if ((flags & kFlagAway) != 0) r.away = TRY(in.le<uint64_t>());
  if (r.has_object) r.object = TRY(in.array<16>());
  const bool link = r.type == FileType::Symlink;
  const bool sane = r.size <= kMaxFileSize && r.chunks < kMaxPlace && r.slots < kMaxPlace &&
                    r.away < kMaxPlace && (!r.is_inline || r.size <= (link ? kMaxTarget : kInlineMax)) &&
                    (!link || r.is_inline);
  if (!sane) return Error(Code::Malformed, "inode record: a number is out of range");
  TRY(in.expect_end());
  return r;
}

uint64_t inline_parts(const InodeRecord& r) {
  return r.is_inline ? (r.size + kInlineMax - 1) / kInlineMax : 0;
}

Bytes encode_xattrs(const std::vector<Xattr>& list) {
  ByteWriter out;
  for (const Xattr& item : list) {
    out.le(static_cast<uint8_t>(item.name.size())).text(item.name);
    if (item.number == 0) {
      out.le(static_cast<uint16_t>(item.value.size())).bytes(item.value);
    } else {
      out.le(kInParts).le(static_cast<uint32_t>(item.size)).le(item.number);
    }
  }
  return out.take();
}

Result<std::vector<Xattr>> decode_xattrs(ByteView bytes) {
  ByteReader in(bytes, "extended attribute");
  std::vector<Xattr> out;
  while (!in.at_end()) {
    Xattr item;
    const uint8_t name_size = TRY(in.le<uint8_t>());
    item.name = as_text(TRY(in.take(name_size)));
    const uint16_t size = TRY(in.le<uint16_t>());
    if (size == kInParts) {
      item.size = TRY(in.le<uint32_t>());
      item.number = TRY(in.le<uint64_t>());
      if (item.size <= kSmallXattr || item.size > kMaxXattrValue || item.number == 0 ||
          item.number >= kMaxValueNumber) {
        return Error(Code::Malformed, "extended attribute: a number is out of range");
      }
    } else {
      const ByteView value = TRY(in.take(size));
      item.value.assign(value.begin(), value.end());
    }
    out.push_back(std::move(item));
  }
  return out;
}

std::string object_name(const ByteArray<16>& object) {
  const std::string hex = to_hex(object);
  return "objects/" + hex.substr(0, 2) + "/" + hex.substr(2);
}

}  // namespace cloister::volume
