// The metadata tree: a copy-on-write B+tree of 4 KiB pages (page.h) with a cache of verified nodes.
//
// A node that changes gets a temporary number (>= kTemporary) and stays in memory; its old block is left
// alone, because committed states reach it. flush() writes the changed nodes bottom up, each parent receiving
// the reference of its child, and so leaves one root reference that covers everything. Views into values are
// valid until the next call.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "volume/errors.h"
#include "volume/format.h"
#include "volume/table.h"

namespace cloister::volume {

// Blocks, seen by the tree.
class TreeIo {
 public:
  virtual ~TreeIo() = default;
  // Reads, verifies and decrypts.
  virtual VolumeResult<void> read_node(const Ref& ref, unsigned level, uint8_t* page) = 0;
  // Seals a node and queues it for writing; finish_nodes() writes what is queued.
  virtual VolumeResult<Ref> write_node(unsigned level, const uint8_t* page) = 0;
  virtual VolumeResult<void> finish_nodes() = 0;
  // The newest state no longer reaches this block.
  virtual void forget_node(const Ref& ref) = 0;
  // A node says what cannot be, though it is verified: nothing that builds on it may be written. Returns the
  // error.
  virtual VolumeError refuse_node(VolumeError error) = 0;
};

class Tree {
 public:
  struct Record {
    RecordKey key;
    ByteView value;
  };

  Tree(TreeIo& io, Mode mode) : io_(io), mode_(mode), ref_size_(ref_size(mode)) {}
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void start_empty();
  void start_at(const Ref& root, unsigned height);

  VolumeResult<std::optional<ByteView>> find(const RecordKey& key);
  VolumeResult<std::optional<Record>> lower_bound(
      const RecordKey& key);                                     // the first record with a key >= `key`
  VolumeResult<void> put(const RecordKey& key, ByteView value);  // value.size() <= kMaxValue
  VolumeResult<bool> erase(const RecordKey& key);                // false: there was none

  // Writes all changed nodes. On failure the tree is as before.
  VolumeResult<void> flush();
  const Ref& root() const { return root_; }  // valid after flush()
  unsigned height() const { return height_; }
  size_t dirty_nodes() const { return dirty_; }
  // Drops clean nodes, least recently used first, until at most `limit` nodes are cached.
  void trim(size_t limit);

  // Calls `visit(page)` for the leaves that are reached by references for which `wanted` is true alone. While
  // it is asked, and by a visit that is done, nodes may be dropped.
  template <class Wanted, class Visit>
  VolumeResult<void> each_leaf_where(Wanted&& wanted, Visit&& visit) {
    return each_leaf_below({root_, {}}, height_ - 1, wanted, visit);
  }
  // Has every node for whose reference `misplaced` is true written elsewhere by the next flush (and so what
  // is above it). The tree is flushed.
  template <class F>
  VolumeResult<void> relocate(F&& misplaced) {
    Path path;
    Node* root = TRY(top());
    path.steps[0] = {root, 0};
    if (misplaced(root_)) make_dirty(path.steps[0].node, nullptr);
    return relocate_below(path, 0, misplaced);
  }

 private:
  struct Node {
    uint64_t table_a = 0;
    uint64_t table_b = 0;
    Node* table_next = nullptr;
    Node* lru_newer = nullptr;
    Node* lru_older = nullptr;
    bool dirty = false;
    Ref origin;  // clean: where it was read from or written to
    alignas(64) uint8_t page[kBlockSize];
  };
  struct Step {
    Node* node;
    unsigned index;
  };
  struct Below {
    Ref ref;
    KeyRange range;
  };
  struct Path {
    Step steps[kMaxHeight];  // [0] is the root
  };
  struct Written {
    Node* node;
    uint8_t* slot;  // the reference in the parent; null for the root
    Ref ref;
  };
  static constexpr uint64_t kTemporary = kMaxPlace;

  // One that was in memory has been looked at, unless a forged tree leads to it by two ways: then whoever
  // goes from node to node must look again, or would go on for ever.
  enum class Look { Once, Always };
  VolumeError not_in_order(const Ref& ref);
  VolumeResult<Node*> load_in_order(const Ref& ref, unsigned level, bool& fresh);
  template <class F>
  VolumeResult<Node*> load(const Ref& ref, unsigned level, Look look, F&& range);
  VolumeResult<Node*> load(const Below& at, unsigned level);
  VolumeResult<Node*> top();
  VolumeResult<Node*> below(const Path& path, unsigned depth, Look look);  // where that step leads
  KeyRange range_below(const Path& path, unsigned depth) const;
  std::vector<Below> all_below(Node* node, const KeyRange& range) const;
  Node* make_node(unsigned level);
  void make_dirty(Node* node, uint8_t* slot);
  void drop(Node* node);
  void discard(Node* node);  // from the tree, not only from the cache
  Ref temporary_ref(const Node* node) const;
  VolumeResult<const uint8_t*> leaf_of(const RecordKey& key, Path& path);
  VolumeResult<void> descend_for_change(const RecordKey& key, Path& path);
  VolumeResult<std::optional<Record>> next_leaf(const RecordKey& key, Path& path);
  void split_leaf(Path& path, const RecordKey& key, ByteView value);
  bool insert_child(Path& path, unsigned depth, const RecordKey& key, Node* child);
  VolumeResult<void> shrink(Path& path);
  VolumeResult<void> merge(Path& path, unsigned depth);
  VolumeResult<void> write_dirty(Node* node, uint8_t* slot, std::vector<Written>& written);

  template <class Wanted, class Visit>
  VolumeResult<void> each_leaf_below(const Below& at, unsigned level, Wanted& wanted, Visit& visit) {
    if (!wanted(at.ref)) return {};
    Node* node = TRY(load(at, level));
    if (level == 0) return visit(static_cast<const uint8_t*>(node->page));
    for (const Below& child : all_below(node, at.range))
      TRY(each_leaf_below(child, level - 1, wanted, visit));
    return {};
  }

  template <class F>
  VolumeResult<void> relocate_below(Path& path, unsigned depth, F& misplaced) {
    Node* node = path.steps[depth].node;
    const unsigned level = height_ - 1 - depth;
    if (level == 0) return {};
    for (unsigned i = 0; i < page::count(node->page); ++i) {
      path.steps[depth].index = i;
      const Ref ref = load_ref(page::inner_reference(node->page, i, ref_size_), mode_);
      const bool moves = misplaced(ref);
      if (level == 1 && !moves) continue;
      Node* child = TRY(below(path, depth, Look::Once));
      if (moves) {
        for (unsigned above = 0; above <= depth; ++above)
          make_dirty(path.steps[above].node, slot_of(path, above));
        make_dirty(child, slot_of(path, depth + 1));
      }
      path.steps[depth + 1] = {child, 0};
      TRY(relocate_below(path, depth + 1, misplaced));
    }
    return {};
  }
  uint8_t* slot_of(const Path& path, unsigned depth) const {
    if (depth == 0) return nullptr;
    return page::inner_reference(path.steps[depth - 1].node->page, path.steps[depth - 1].index, ref_size_);
  }

  TreeIo& io_;
  const Mode mode_;
  const size_t ref_size_;
  Ref root_;
  unsigned height_ = 1;
  Table<Node> nodes_;
  LruList<Node> lru_;
  size_t dirty_ = 0;
  uint64_t next_temporary_ = kTemporary;
};

}  // namespace cloister::volume
