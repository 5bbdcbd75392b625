#include "volume/forged_tree.h"

#include <algorithm>

#include "crypto/aes_gcm.h"
#include "crypto/random.h"

namespace cloister::volume {
namespace {

constexpr size_t kWidth = ref_size(Mode::Encrypted);

}  // namespace

ForgedTree::ForgedTree(MemoryStorage& storage, const Key& key, const Tag& tag) : storage_(storage) {
  for (slot_ = 0; slot_ < kSuperblockSlots; ++slot_) {
    Result<OpenedSuperblock> opened = open_superblock(key, block(slot_));
    if (!opened.ok() || opened->tag != tag) continue;
    opened_ = std::move(opened).value();
    break;
  }
  CLOISTER_CHECK(slot_ < kSuperblockSlots);
  for (uint64_t place = opened_.superblock.epoch_page; place != 0;) {
    const EpochPage page = decode_epoch_page(block(place)).value();
    for (size_t i = 0; i < page.epochs.size(); ++i)
      epochs_[page.first + static_cast<uint32_t>(i)] = page.epochs[i];
    place = page.previous;
  }
  root_ = load(opened_.superblock.root, opened_.superblock.height - 1);
}

MutableByteView ForgedTree::block(uint64_t place) {
  return MutableByteView(*storage_.content(kMainName)).subspan(place * kBlockSize, kBlockSize);
}

const crypto::Aes256Gcm& ForgedTree::key_of_epoch(uint32_t index) {
  std::unique_ptr<crypto::Aes256Gcm>& key = keys_[index];
  if (key == nullptr) {
    key = std::make_unique<crypto::Aes256Gcm>(
        derive_epoch_key(opened_.keys.metadata, epochs_.at(index), kNodeLabel));
  }
  return *key;
}

ForgedTree::Node ForgedTree::load(const Ref& ref, unsigned level) {
  Node node{ref, Bytes(kBlockSize), {}};
  crypto::GcmTag mac;
  std::memcpy(mac.data(), ref.digest.data(), mac.size());
  const ByteArray<48> bound = bind_block(opened_.superblock.id, {BlockType::Node, 0, level});
  CLOISTER_CHECK(
      key_of_epoch(ref.epoch).open(nonce_of(BlockType::Node, ref), bound, block(ref.place), mac, node.page));
  for (unsigned i = 0; level > 0 && i < node.count(); ++i) {
    const Ref below = load_ref(page::inner_reference(node.page.data(), i, kWidth), Mode::Encrypted);
    node.below.push_back(load(below, level - 1));
  }
  return node;
}

void ForgedTree::seal(Node& node) {
  for (unsigned i = 0; i < node.below.size(); ++i) {
    seal(node.below[i]);
    store_ref(page::inner_reference(node.page.data(), i, kWidth), node.below[i].ref, Mode::Encrypted);
  }
  crypto::GcmTag mac;
  const ByteArray<48> bound = bind_block(opened_.superblock.id, {BlockType::Node, 0, node.level()});
  key_of_epoch(node.ref.epoch)
      .seal(nonce_of(BlockType::Node, node.ref), bound, node.page, block(node.ref.place), mac);
  std::memcpy(node.ref.digest.data(), mac.data(), mac.size());
}

Tag ForgedTree::store() {
  seal(root_);
  Superblock& superblock = opened_.superblock;
  superblock.root = root_.ref;
  ByteArray<32> salt;
  crypto::random_bytes(salt);
  Bytes sealed(kBlockSize);
  seal_superblock(opened_.keys, superblock, salt, sealed.data());
  std::copy(sealed.begin(), sealed.end(), block(slot_).begin());
  return compute_tag(opened_.keys, superblock);
}

std::vector<ForgedTree::Node*> ForgedTree::level(unsigned level) {
  std::vector<Node*> nodes{&root_};
  while (nodes.front()->level() > level) {
    std::vector<Node*> below;
    for (Node* node : nodes) {
      for (Node& child : node->below) below.push_back(&child);
    }
    nodes = std::move(below);
  }
  return nodes;
}

std::vector<ForgedTree::Record> ForgedTree::records() {
  std::vector<Record> out;
  for (Node* leaf : level(0)) {
    for (unsigned i = 0; i < leaf->count(); ++i) out.push_back({leaf, i});
  }
  return out;
}

ForgedTree::Record ForgedTree::record(const RecordKey& key) {
  const std::vector<Record> all = records();
  const auto found = std::ranges::find(all, key, &Record::key);
  CLOISTER_CHECK(found != all.end());
  return *found;
}

void ForgedTree::change_inode(InodeId inode, const std::function<void(InodeRecord&)>& change) {
  const MutableByteView value = record({inode, Kind::Inode, 0}).value();
  InodeRecord changed = decode_inode(value, Mode::Encrypted).value();
  change(changed);
  const Bytes forged = encode_inode(changed, Mode::Encrypted);
  CLOISTER_CHECK(forged.size() == value.size());
  std::ranges::copy(forged, value.begin());
}

RecordKey ForgedTree::key_of(const Node& inner, unsigned index) {
  return page::inner_key(inner.page.data(), index, kWidth);
}

void ForgedTree::set_key(Node& inner, unsigned index, const RecordKey& key) {
  store_key(inner.page.data() + kPageHeader + index * (kKeySize + kWidth), key);
}

}  // namespace cloister::volume
