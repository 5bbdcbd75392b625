// A whole authenticated-only volume from hostile bytes, with digests made right: the author of a volume may
// be hostile to whoever mounts it. The input is block 8 and what follows; block 8 is the root leaf or an
// inner node over leaves.
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

void use(Volume& volume, InodeId inode, unsigned depth) {
  const VolumeResult<Attributes> attributes = volume.attributes(inode);
  if (!attributes.ok() || depth > 3) return;
  Bytes out(70'000);
  (void)volume.read(inode, 0, out);
  (void)volume.read(inode, attributes.value().size / 2, out);
  (void)volume.seek_data(inode, 0);
  (void)volume.read_symlink(inode);
  (void)volume.list_xattrs(inode);
  (void)volume.lookup(inode, "a");
  std::vector<DirectoryEntry> entries;
  (void)volume.read_directory(inode, 0, 8, entries);
  for (const DirectoryEntry& entry : entries) use(volume, entry.inode, depth + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 16 * kBlockSize) return 0;
  const unsigned height = 1 + data[0] % 3;
  const size_t blocks = (size - 1 + kBlockSize - 1) / kBlockSize;
  Bytes main((kFirstBlock + blocks) * kBlockSize);
  std::memcpy(main.data() + kFirstBlock * kBlockSize, data + 1, size - 1);
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
