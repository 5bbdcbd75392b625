// For tests: the metadata tree of a state as its owner can write it, whatever this library would write. Pages
// are changed in memory and sealed again in their places, so every MAC is right.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "volume/keys.h"
#include "volume/memory_storage.h"

namespace cloister::volume {

class ForgedTree {
 public:
  struct Node {
    Ref ref;
    Bytes page;
    std::vector<Node> below;  // in the order of the entries
    unsigned level() const { return page::level(page.data()); }
    unsigned count() const { return page::count(page.data()); }
  };

  struct Record {  // of a leaf, until records are added or erased
    Node* leaf;
    unsigned index;
    RecordKey key() const { return page::leaf_key(leaf->page.data(), index); }
    MutableByteView value() const { return page::leaf_value_for_change(leaf->page.data(), index); }
  };

  // An encrypted volume's state `tag`.
  ForgedTree(MemoryStorage& storage, const Key& key, const Tag& tag);
  // Seals every node and the superblock again; the state's new tag.
  Tag store();

  Node& root() { return root_; }
  // The nodes of a level in the order of the entries.
  std::vector<Node*> level(unsigned level);
  // All, in the order of the leaves.
  std::vector<Record> records();
  // The first with this key; there is one.
  Record record(const RecordKey& key);
  void change_inode(InodeId inode, const std::function<void(InodeRecord&)>& change);
  // Changes the superblock, too.
  Superblock& superblock() { return opened_.superblock; }

  static RecordKey key_of(const Node& inner, unsigned index);
  static void set_key(Node& inner, unsigned index, const RecordKey& key);

 private:
  Node load(const Ref& ref, unsigned level);
  void seal(Node& node);
  const crypto::Aes256Gcm& key_of_epoch(uint32_t index);
  MutableByteView block(uint64_t place);

  MemoryStorage& storage_;
  OpenedSuperblock opened_;
  unsigned slot_ = 0;
  std::map<uint32_t, Epoch> epochs_;
  std::map<uint32_t, std::unique_ptr<crypto::Aes256Gcm>> keys_;
  Node root_;
};

}  // namespace cloister::volume
