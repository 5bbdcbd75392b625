#include "volume/tree.h"

#include <algorithm>

namespace cloister::volume {

Tree::~Tree() {
  while (Node* node = lru_.oldest()) drop(node);
}

void Tree::start_empty() {
  Node* node = make_node(0);
  root_ = temporary_ref(node);
  height_ = 1;
}

void Tree::start_at(const Ref& root, unsigned height) {
  root_ = root;
  height_ = height;
}

Ref Tree::temporary_ref(const Node* node) const {
  Ref ref;
  ref.present = true;
  ref.place = node->table_a;
  return ref;
}

Tree::Node* Tree::make_node(unsigned level) {
  auto* node = new Node;
  page::clear(node->page, level);
  node->dirty = true;
  ++dirty_;
  nodes_.insert(node, next_temporary_++);
  lru_.add(node);
  return node;
}

void Tree::drop(Node* node) {
  if (node->dirty) --dirty_;
  nodes_.erase(node);
  lru_.remove(node);
  wipe(node->page, kBlockSize);
  delete node;
}

void Tree::discard(Node* node) {
  if (!node->dirty) io_.forget_node(node->origin);
  drop(node);
}

// Its MAC is right, so this is how it was written.
VolumeError Tree::not_in_order(const Ref& ref) {
  return io_.refuse_node(damaged("The volume's metadata is not in order (block " + std::to_string(ref.place) +
                                 " of volume.fspf): `cloister volume fsck` tells more"));
}

VolumeResult<Tree::Node*> Tree::load_in_order(const Ref& ref, unsigned level, bool& is_fresh) {
  Node* node = nodes_.find(ref.place);
  if (node != nullptr && ref.present) {
    if (page::level(node->page) != level) return not_in_order(ref);
    lru_.touch(node);
    return node;
  }
  if (!ref.present || ref.place >= kTemporary) return not_in_order(ref);
  is_fresh = true;
  auto fresh = std::make_unique<Node>();
  TRY(io_.read_node(ref, level, fresh->page));
  if (!page::check(fresh->page, level, ref_size_)) return not_in_order(ref);
  for (unsigned i = 0; level > 0 && i < page::count(fresh->page); ++i) {
    const Ref child = load_ref(page::inner_reference(fresh->page, i, ref_size_), mode_);
    if (!child.present || child.in_main || child.place >= kTemporary) return not_in_order(ref);
  }
  node = fresh.release();
  node->origin = ref;
  nodes_.insert(node, ref.place);
  lru_.add(node);
  return node;
}

// Builds before Tree::merge() kept the key of a first child left trees whose entries lead elsewhere than to
// the records: to go on would be to take those for missing, and to write them a second time.
template <class F>
VolumeResult<Tree::Node*> Tree::load(const Ref& ref, unsigned level, Look look, F&& range) {
  bool fresh = false;
  Node* node = TRY(load_in_order(ref, level, fresh));
  if ((!fresh && look == Look::Once) || page::within(node->page, range(), ref_size_)) return node;
  if (fresh) drop(node);
  return not_in_order(ref);
}

VolumeResult<Tree::Node*> Tree::load(const Below& at, unsigned level) {
  return load(at.ref, level, Look::Always, [&] { return at.range; });
}

VolumeResult<Tree::Node*> Tree::top() { return load({root_, {}}, height_ - 1); }

VolumeResult<Tree::Node*> Tree::below(const Path& path, unsigned depth, Look look) {
  const Step& step = path.steps[depth];
  const Ref ref = load_ref(page::inner_reference(step.node->page, step.index, ref_size_), mode_);
  return load(ref, height_ - 2 - depth, look, [&] { return range_below(path, depth); });
}

// From the nearest steps that have an entry on that side.
KeyRange Tree::range_below(const Path& path, unsigned depth) const {
  KeyRange range;
  bool low = false, high = false;
  for (unsigned i = depth + 1; i-- > 0 && !(low && high);) {
    const Step& step = path.steps[i];
    const KeyRange here = page::child_range(step.node->page, step.index, range, ref_size_);
    if (!low && step.index != 0) range.low = here.low;
    if (!high && step.index + 1 < page::count(step.node->page)) range.high = here.high;
    low = low || step.index != 0;
    high = high || step.index + 1 < page::count(step.node->page);
  }
  return range;
}

std::vector<Tree::Below> Tree::all_below(Node* node, const KeyRange& range) const {
  std::vector<Below> out;
  for (unsigned i = 0; i < page::count(node->page); ++i) {
    out.push_back({load_ref(page::inner_reference(node->page, i, ref_size_), mode_),
                   page::child_range(node->page, i, range, ref_size_)});
  }
  return out;
}

void Tree::make_dirty(Node* node, uint8_t* slot) {
  if (node->dirty) return;
  io_.forget_node(node->origin);
  nodes_.erase(node);
  nodes_.insert(node, next_temporary_++);
  node->dirty = true;
  ++dirty_;
  if (slot != nullptr) {
    store_ref(slot, temporary_ref(node), mode_);
  } else {
    root_ = temporary_ref(node);
  }
}

VolumeResult<const uint8_t*> Tree::leaf_of(const RecordKey& key, Path& path) {
  Node* root = TRY(top());
  path.steps[0] = {root, 0};
  for (unsigned depth = 0; depth + 1 < height_; ++depth) {
    path.steps[depth].index = page::child_index(path.steps[depth].node->page, key, ref_size_);
    Node* node = TRY(below(path, depth, Look::Once));
    path.steps[depth + 1] = {node, 0};
  }
  return static_cast<const uint8_t*>(path.steps[height_ - 1].node->page);
}

VolumeResult<std::optional<ByteView>> Tree::find(const RecordKey& key) {
  Path path;
  const uint8_t* leaf = TRY(leaf_of(key, path));
  const unsigned index = page::lower_bound(leaf, key);
  // Also what follows is looked at: a record in a wrong place is most often there.
  if (index == page::count(leaf)) (void)TRY(next_leaf(key, path));
  if (index == page::count(leaf) || page::leaf_key(leaf, index) != key) return std::optional<ByteView>();
  return std::optional<ByteView>(page::leaf_value(leaf, index));
}

VolumeResult<std::optional<Tree::Record>> Tree::lower_bound(const RecordKey& key) {
  Path path;
  const uint8_t* leaf = TRY(leaf_of(key, path));
  const unsigned index = page::lower_bound(leaf, key);
  if (index == page::count(leaf)) return next_leaf(key, path);
  return std::optional<Record>(Record{page::leaf_key(leaf, index), page::leaf_value(leaf, index)});
}

// The leaf of `key` has nothing after it: from leaf to leaf, up to the first ancestor with another child and
// down its left edge, until one has something. Leaves may be empty.
VolumeResult<std::optional<Tree::Record>> Tree::next_leaf(const RecordKey& key, Path& path) {
  for (unsigned depth = height_ - 1;;) {
    do {
      if (depth == 0) return std::optional<Record>();
      ++path.steps[--depth].index;
    } while (path.steps[depth].index >= page::count(path.steps[depth].node->page));
    for (; depth < height_ - 1; ++depth) {
      Node* node = TRY(below(path, depth, Look::Always));
      path.steps[depth + 1] = {node, 0};
    }
    const uint8_t* leaf = path.steps[depth].node->page;
    const unsigned index = page::lower_bound(leaf, key);
    if (index < page::count(leaf))
      return std::optional<Record>(Record{page::leaf_key(leaf, index), page::leaf_value(leaf, index)});
  }
}

VolumeResult<void> Tree::descend_for_change(const RecordKey& key, Path& path) {
  Node* root = TRY(top());
  path.steps[0] = {root, 0};
  make_dirty(path.steps[0].node, nullptr);
  for (unsigned depth = 0; depth + 1 < height_; ++depth) {
    path.steps[depth].index = page::child_index(path.steps[depth].node->page, key, ref_size_);
    Node* node = TRY(below(path, depth, Look::Once));
    path.steps[depth + 1] = {node, 0};
    make_dirty(path.steps[depth + 1].node, slot_of(path, depth + 1));
  }
  return {};
}

VolumeResult<void> Tree::put(const RecordKey& key, ByteView value) {
  CLOISTER_CHECK(value.size() <= kMaxValue);
  if (height_ + 1 >= kMaxHeight) return VolumeError{Reason::NoSpace, "the volume holds too many records"};
  Path path;
  TRY(descend_for_change(key, path));
  uint8_t* leaf = path.steps[height_ - 1].node->page;
  const unsigned index = page::lower_bound(leaf, key);
  if (index < page::count(leaf) && page::leaf_key(leaf, index) == key) {
    const MutableByteView old = page::leaf_value_for_change(leaf, index);
    if (old.size() == value.size()) {
      if (!value.empty()) std::memcpy(old.data(), value.data(), value.size());
      return {};
    }
    page::leaf_erase(leaf, index);
  }
  if (page::leaf_room(leaf) >= page::leaf_cost(value.size())) {
    page::leaf_insert(leaf, index, key, value);
  } else {
    split_leaf(path, key, value);
  }
  return {};
}

// Distributes the records and the new one over the leaf and one or two new leaves to its right. Appending
// keeps the left leaf full, so that files written in order and names of new inodes pack tightly; parts of a
// value come in order as well, mostly before what belongs to another inode.
void Tree::split_leaf(Path& path, const RecordKey& key, ByteView value) {
  Node* left = path.steps[height_ - 1].node;
  uint8_t old[kBlockSize];
  std::memcpy(old, left->page, kBlockSize);
  const unsigned n = page::count(old);
  const unsigned at = page::lower_bound(old, key);
  const auto item = [&](unsigned i) {
    if (i == at) return Record{key, value};
    const unsigned from = i < at ? i : i - 1;
    return Record{page::leaf_key(old, from), page::leaf_value(old, from)};
  };
  size_t total = 0;
  for (unsigned i = 0; i <= n; ++i) total += page::leaf_cost(item(i).value.size());
  const size_t capacity = kBlockSize - kPageHeader;
  size_t target = at == n || key.kind == Kind::Value ? capacity : total / 2;
  page::clear(left->page, 0);
  uint8_t* into = left->page;
  size_t used = 0;
  for (unsigned i = 0; i <= n; ++i) {
    const Record record = item(i);
    const size_t cost = page::leaf_cost(record.value.size());
    const bool full =
        used != 0 && (used + cost > capacity || (used + cost / 2 > target && total - used <= capacity));
    if (full || (at == n && i == n)) {
      Node* right = make_node(0);
      insert_child(path, height_ - 1, record.key, right);
      into = right->page;
      total -= used;
      used = 0;
      target = capacity;
    }
    page::leaf_insert(into, page::count(into), record.key, record.value);
    used += cost;
  }
}

// Links `child` into the parent of path.steps[depth] right after the step's own node, which becomes `child`.
// True when the tree grew.
bool Tree::insert_child(Path& path, unsigned depth, const RecordKey& key, Node* child) {
  uint8_t packed[40];
  const auto reference = [&](const Node* node) {
    store_ref(packed, temporary_ref(node), mode_);
    return ByteView(packed, ref_size_);
  };
  if (depth == 0) {
    Node* root = make_node(page::level(child->page) + 1);
    page::inner_insert(root->page, 0, RecordKey{}, reference(path.steps[0].node));
    page::inner_insert(root->page, 1, key, reference(child));
    for (unsigned i = height_; i > 0; --i) path.steps[i] = path.steps[i - 1];
    path.steps[0] = {root, 1};
    path.steps[1].node = child;
    root_ = temporary_ref(root);
    ++height_;
    return true;
  }
  Step* parent = &path.steps[depth - 1];
  bool grew = false;
  if (page::count(parent->node->page) == page::inner_capacity(ref_size_)) {
    const unsigned n = page::count(parent->node->page);
    const unsigned keep = parent->index + 1 == n ? n - 1 : n / 2;
    Node* right = make_node(page::level(parent->node->page));
    Node* left = parent->node;
    const unsigned index = parent->index;
    for (unsigned i = keep; i < n; ++i) {
      page::inner_insert(right->page, i - keep, page::inner_key(left->page, i, ref_size_),
                         ByteView(page::inner_reference(left->page, i, ref_size_), ref_size_));
    }
    for (unsigned i = n; i-- > keep;) page::inner_erase(left->page, i, ref_size_);
    grew = insert_child(path, depth - 1, page::inner_key(right->page, 0, ref_size_), right);
    depth += grew ? 1 : 0;
    parent = &path.steps[depth - 1];
    if (index < keep) {  // the step stays in the left half
      parent->node = left;
      parent->index = index;
      --path.steps[depth - 2].index;
    } else {
      parent->node = right;
      parent->index = index - keep;
    }
  }
  page::inner_insert(parent->node->page, parent->index + 1, key, reference(child));
  ++parent->index;
  path.steps[depth].node = child;
  return grew;
}

VolumeResult<bool> Tree::erase(const RecordKey& key) {
  if (!TRY(find(key)).has_value()) return false;
  Path path;
  TRY(descend_for_change(key, path));
  uint8_t* leaf = path.steps[height_ - 1].node->page;
  page::leaf_erase(leaf, page::lower_bound(leaf, key));
  TRY(shrink(path));
  return true;
}

VolumeResult<void> Tree::shrink(Path& path) {
  for (unsigned depth = height_ - 1; depth > 0; --depth) TRY(merge(path, depth));
  while (height_ > 1) {
    Node* root = TRY(top());
    if (page::count(root->page) != 1) break;
    root_ = load_ref(page::inner_reference(root->page, 0, ref_size_), mode_);
    --height_;
    discard(root);
  }
  return {};
}

// Removes an empty node, or joins a node that is less than a third full with a neighbour when both fit
// comfortably.
VolumeResult<void> Tree::merge(Path& path, unsigned depth) {
  Node* node = path.steps[depth].node;
  const Step& parent = path.steps[depth - 1];
  uint8_t* up = parent.node->page;
  const unsigned siblings = page::count(up);
  if (page::count(node->page) == 0 && siblings > 1) {
    discard(node);
    page::inner_erase(up, parent.index, ref_size_);
    return {};
  }
  const unsigned level = page::level(node->page);
  const size_t capacity = kBlockSize - kPageHeader;
  const auto used = [&](const uint8_t* p) {
    return level == 0 ? capacity - page::leaf_room(p) : page::count(p) * (kKeySize + ref_size_);
  };
  if (siblings < 2 || used(node->page) * 3 > capacity) return {};
  const unsigned left_index = parent.index + 1 < siblings ? parent.index : parent.index - 1;
  uint8_t* left_slot = page::inner_reference(up, left_index, ref_size_);
  Step& at = path.steps[depth - 1];
  at.index = left_index;
  Node* left = TRY(below(path, depth - 1, Look::Once));
  ++at.index;
  Node* right = TRY(below(path, depth - 1, Look::Once));
  if (left == right || (used(left->page) + used(right->page)) * 5 > capacity * 4) return {};
  make_dirty(left, left_slot);
  // The first child also holds the keys from the parent's entry up to its own (page::inner_insert).
  const RecordKey first = page::inner_key(up, left_index + 1, ref_size_);
  for (unsigned i = 0; i < page::count(right->page); ++i) {
    const unsigned end = page::count(left->page);
    if (level == 0) {
      page::leaf_insert(left->page, end, page::leaf_key(right->page, i), page::leaf_value(right->page, i));
    } else {
      page::inner_insert(left->page, end, i == 0 ? first : page::inner_key(right->page, i, ref_size_),
                         ByteView(page::inner_reference(right->page, i, ref_size_), ref_size_));
    }
  }
  discard(right);
  page::inner_erase(up, left_index + 1, ref_size_);
  return {};
}

VolumeResult<void> Tree::write_dirty(Node* node, uint8_t* slot, std::vector<Written>& written) {
  CLOISTER_CHECK(node != nullptr);  // dirty nodes stay in the cache
  const unsigned level = page::level(node->page);
  for (unsigned i = 0; level > 0 && i < page::count(node->page); ++i) {
    uint8_t* reference = page::inner_reference(node->page, i, ref_size_);
    const Ref child = load_ref(reference, mode_);
    if (child.place >= kTemporary) TRY(write_dirty(nodes_.find(child.place), reference, written));
  }
  const Ref ref = TRY(io_.write_node(level, node->page));
  written.push_back({node, slot, ref});
  if (slot != nullptr) store_ref(slot, ref, mode_);
  return {};
}

VolumeResult<void> Tree::flush() {
  if (dirty_ == 0) return {};
  std::vector<Written> written;
  VolumeResult<void> result = write_dirty(nodes_.find(root_.place), nullptr, written);
  if (result.ok()) result = io_.finish_nodes();
  if (!result.ok()) {
    for (const Written& item : written) {
      io_.forget_node(item.ref);
      if (item.slot != nullptr) store_ref(item.slot, temporary_ref(item.node), mode_);
    }
    return result;
  }
  for (const Written& item : written) {
    nodes_.erase(item.node);
    nodes_.insert(item.node, item.ref.place);
    item.node->origin = item.ref;
    item.node->dirty = false;
    --dirty_;
  }
  root_ = written.back().ref;
  return {};
}

void Tree::trim(size_t limit) {
  if (nodes_.size() - dirty_ <= limit) return;
  limit -= limit / 8;  // some at a time, because finding clean ones may mean passing many dirty ones
  Node* node = lru_.oldest();
  while (node != nullptr && nodes_.size() - dirty_ > limit) {
    Node* newer = node->lru_newer;
    if (!node->dirty) drop(node);
    node = newer;
  }
}

}  // namespace cloister::volume
