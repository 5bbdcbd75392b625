// A whole authenticated-only volume from hostile bytes, with digests made right: the author of a volume may
// be hostile to whoever mounts it. The input is block 8 and what follows; block 8 is the root leaf or an
// inner node over leaves.
//
// With the first byte's highest bit the volume is encrypted, under a fixed key: the input says in the clear
// what nodes and chunks hold, and they are sealed as the owner of the key would. With the next bit its last
// block is the newest epoch page, which may lead to earlier ones. With the one after, it is written to.
#include <map>

#include "crypto/aes_gcm.h"
#include "volume/format.h"
#include "volume/keys.h"
#include "volume/memory_storage.h"

using namespace cloister;
using namespace cloister::volume;

namespace {

// Gives every reference of an inner node the digest of the block it names.
void repair(Bytes& main, uint64_t block, unsigned level) {
  const size_t width = kKeySize + ref_size(Mode::AuthenticatedOnly);
  uint8_t* node = main.data() + block * kBlockSize;
  for (size_t i = 0; level > 0 && i < page::count(node) && kPageHeader + (i + 1) * width <= kBlockSize; ++i) {
    uint8_t* reference = node + kPageHeader + i * width + kKeySize;
    Ref ref = load_ref(reference, Mode::AuthenticatedOnly);
    if (!ref.present || ref.place <= block || ref.place >= main.size() / kBlockSize) continue;
    repair(main, ref.place, level - 1);
    const ByteArray<48> bound = bind_block({}, {BlockType::Node, 0, level - 1});
    ref.digest = crypto::sha256({bound, ByteView(main).subspan(ref.place * kBlockSize, kBlockSize)});
    store_ref(reference, ref, Mode::AuthenticatedOnly);
  }
}

constexpr Mode kSealed = Mode::Encrypted;

class Sealer {
 public:
  explicit Sealer(Bytes& main) : main_(main), keys_(derive_keys(Key(), {})), sealed_(blocks()) {}

  // The volume's superblock, when all is sealed.
  Superblock seal(unsigned height, bool own_epochs) {
    Superblock out;
    if (!own_epochs) main_.resize(main_.size() + kBlockSize);
    const uint64_t page_block = blocks() - 1;
    sealed_.resize(static_cast<size_t>(blocks()));
    if (!own_epochs) encode_epoch_page({0, {}, 0, {Epoch{}}}, at(page_block));
    out.epochs = epoch_page(page_block);
    out.epoch_page = page_block;
    out.epoch_digest = crypto::sha256(block(page_block));
    out.commitment = keys_.commitment;
    out.generation = 1;
    out.height = height;
    out.blocks = blocks();
    out.root.present = true;
    out.root.place = kFirstBlock;
    node(out.root, height - 1);
    seal_superblock(keys_, out, {}, main_.data());
    return out;
  }
  Tag tag(const Superblock& superblock) const { return compute_tag(keys_, superblock); }

 private:
  uint64_t blocks() const { return main_.size() / kBlockSize; }
  uint8_t* at(uint64_t place) { return main_.data() + place * kBlockSize; }
  ByteView block(uint64_t place) const { return ByteView(main_).subspan(place * kBlockSize, kBlockSize); }
  bool usable(const Ref& ref, uint64_t after) const {
    return ref.present && ref.place > after && ref.place < blocks() && !sealed_[ref.place];
  }

  // Pages further back get their digests first; returns how many epochs there are.
  uint32_t epoch_page(uint64_t place) {
    constexpr size_t kDigestOffset = 16;
    sealed_[place] = true;
    const Result<EpochPage> page = decode_epoch_page(block(place));
    if (!page.ok()) return 1;
    if (page->previous >= kFirstBlock && page->previous < place) {
      (void)epoch_page(page->previous);
      const crypto::Digest digest = crypto::sha256(block(page->previous));
      std::memcpy(at(place) + kDigestOffset, digest.data(), digest.size());
    }
    for (size_t i = 0; i < page->epochs.size(); ++i)
      epochs_.emplace(page->first + static_cast<uint32_t>(i), page->epochs[i]);
    return page->first + static_cast<uint32_t>(page->epochs.size());
  }

  void seal_block(const Key256& secret, std::string_view label, const BlockName& name, Ref& ref) {
    sealed_[ref.place] = true;
    if (epochs_.count(ref.epoch) == 0) ref.epoch = 0;
    ref.counter = ref.place;
    const Bytes plain(at(ref.place), at(ref.place) + kBlockSize);
    crypto::GcmTag mac;
    crypto::Aes256Gcm(derive_epoch_key(secret, epochs_[ref.epoch], label))
        .seal(nonce_of(name.type, ref), bind_block({}, name), plain, {at(ref.place), kBlockSize}, mac);
    ref.digest = {};
    std::memcpy(ref.digest.data(), mac.data(), mac.size());
  }

  void chunks(const RecordKey& key, uint64_t leaf, MutableByteView refs) {
    const auto file = files_.find(key.inode);
    const size_t width = ref_size(kSealed);
    for (size_t i = 0; file != files_.end() && (i + 1) * width <= refs.size(); ++i) {
      Ref ref = load_ref(refs.data() + i * width, kSealed);
      const uint64_t index = key.sub * group_count(kSealed) + i;
      if (!usable(ref, leaf) || !lies_in_main(index, ref)) continue;
      seal_block(file->second, kChunkLabel, {BlockType::Chunk, key.inode, index}, ref);
      store_ref(refs.data() + i * width, ref, kSealed);
    }
  }

  void node(Ref& ref, unsigned level) {
    uint8_t* page = at(ref.place);
    const size_t width = ref_size(kSealed);
    if (level == 0 && page::check(page, 0, width)) {
      for (unsigned i = 0; i < page::count(page); ++i) {
        const RecordKey key = page::leaf_key(page, i);
        if (key.kind == Kind::Chunks) chunks(key, ref.place, page::leaf_value_for_change(page, i));
        if (key.kind != Kind::Inode) continue;
        const Result<InodeRecord> inode = decode_inode(page::leaf_value(page, i), kSealed);
        if (inode.ok()) files_.insert_or_assign(key.inode, inode->key);
      }
    }
    const unsigned count = std::min(page::count(page), page::inner_capacity(width));
    for (unsigned i = 0; level > 0 && i < count; ++i) {
      uint8_t* reference = page::inner_reference(page, i, width);
      Ref child = load_ref(reference, kSealed);
      if (!usable(child, ref.place)) continue;
      node(child, level - 1);
      store_ref(reference, child, kSealed);
    }
    seal_block(keys_.metadata, kNodeLabel, {BlockType::Node, 0, level}, ref);
  }

  Bytes& main_;
  const Keys keys_;
  std::vector<bool> sealed_;
  std::map<uint32_t, Epoch> epochs_;
  std::map<InodeId, Key256> files_;
};

void use(Volume& volume, InodeId inode, unsigned depth) {
  const VolumeResult<Attributes> attributes = volume.attributes(inode);
  if (!attributes.ok() || depth > 3) return;
  Bytes out(70'000);
  (void)volume.read(inode, 0, out);
  (void)volume.read(inode, attributes.value().size / 2, out);
  (void)volume.seek_data(inode, 0);
  (void)volume.read_symlink(inode);
  const VolumeResult<std::vector<std::string>> names = volume.list_xattrs(inode);
  for (size_t i = 0; names.ok() && i < names->size(); ++i) (void)volume.get_xattr(inode, (*names)[i]);
  (void)volume.seek_hole(inode, 0);
  (void)volume.lookup(inode, "a");
  std::vector<DirectoryEntry> entries;
  (void)volume.read_directory(inode, 0, 8, entries);
  for (const DirectoryEntry& entry : entries) use(volume, entry.inode, depth + 1);
}

// Everything that changes records of files that are there.
void change(Volume& volume, InodeId directory, unsigned depth) {
  std::vector<DirectoryEntry> entries;
  (void)volume.read_directory(directory, 0, 8, entries);
  (void)volume.create_file(directory, "new", 0644, 0, 0, {});
  for (const DirectoryEntry& entry : entries) {
    (void)volume.write(entry.inode, 18 * kBlockSize, Bytes(17 * kBlockSize, 1), {});
    (void)volume.write(entry.inode, 100, Bytes(10, 2), {});
    (void)volume.truncate(entry.inode, 5000, {});
    (void)volume.set_xattr(entry.inode, "user.a", Bytes(5000, 3), false, false, {});
    (void)volume.remove_xattr(entry.inode, "user.a", {});
    if (entry.type == FileType::Directory && depth < 3) change(volume, entry.inode, depth + 1);
    if (entry.inode % 2 == 0) (void)volume.rename(directory, entry.name, kRootInode, "other", {});
    (void)volume.unlink(directory, entry.name, {});
    (void)volume.remove_directory(directory, entry.name, {});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 16 * kBlockSize) return 0;
  const unsigned height = 1 + data[0] % 3;
  const size_t blocks = (size - 1 + kBlockSize - 1) / kBlockSize;
  Bytes main((kFirstBlock + blocks) * kBlockSize);
  std::memcpy(main.data() + kFirstBlock * kBlockSize, data + 1, size - 1);
  if ((data[0] & 0x80) != 0) {
    Sealer sealer(main);
    const Superblock sealed = sealer.seal(height, (data[0] & 0x40) != 0 && blocks > 1);
    constexpr uint64_t kDisk = 64 << 20;
    MemoryStorage place(false, kDisk);
    place.restore({{"volume.fspf", main}});
    const bool writes = (data[0] & 0x20) != 0;
    auto opened = Volume::open(place, Key(), sealer.tag(sealed), {.read_only = !writes});
    if (!opened.ok()) return 0;
    if (writes) {
      change(**opened, kRootInode, 0);
      (void)(*opened)->commit();
    }
    use(**opened, kRootInode, 0);
    (void)(*opened)->verify_all();
    return 0;
  }
  repair(main, kFirstBlock, height - 1);
  Superblock superblock;
  superblock.mode = Mode::AuthenticatedOnly;
  superblock.generation = 1;
  superblock.height = height;
  superblock.blocks = kFirstBlock + blocks;
  superblock.root.present = true;
  superblock.root.place = kFirstBlock;
  const ByteArray<48> bound = bind_block({}, {BlockType::Node, 0, height - 1});
  superblock.root.digest =
      crypto::sha256({bound, ByteView(main).subspan(kFirstBlock * kBlockSize, kBlockSize)});
  seal_superblock(Keys(), superblock, {}, main.data());
  MemoryStorage storage(false);
  storage.restore({{"volume.fspf", main}});
  auto opened = Volume::open_authenticated(storage, compute_root(superblock), {});
  if (!opened.ok()) return 0;
  use(**opened, kRootInode, 0);
  (void)(*opened)->verify_all();
  return 0;
}
