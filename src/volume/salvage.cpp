// Repair, first part: every record that a node of the old tree holds goes into a new one.
//
// Keys decide nothing here. A record that look-ups missed may have been written a second time, by a program
// that was told there was none: chunks tell by their nonces which of the two is newer, an inode by its time,
// names are united. Blocks of the old tree stay until the new state has been published.
#include "volume/salvage.h"

#include <algorithm>

namespace cloister::volume {
namespace {

constexpr size_t kMaxLines = 1000;

bool newer(const Ref& a, const Ref& b) {
  return a.epoch != b.epoch ? a.epoch > b.epoch : a.counter > b.counter;
}

bool after(const Timestamp& a, const Timestamp& b) {
  return a.seconds != b.seconds ? a.seconds > b.seconds : a.nanoseconds > b.nanoseconds;
}

}  // namespace

void Salvage::tell(std::vector<std::string>& list, std::string text) {
  if (list.size() < kMaxLines) {
    list.push_back(std::move(text));
  } else if (list.size() == kMaxLines) {
    list.emplace_back("more than that; the first are listed");
  }
}

void Salvage::tell_of(std::vector<std::string>& list, InodeId id, std::string_view text) {
  if (list.size() < kMaxLines && called_id_ != id) called_ = printable(v_.describe(called_id_ = id));
  tell(list, called_ + ": " + std::string(text));
}

Result<Repaired> Salvage::run(const VolumeCare::Publish& publish) {
  TRY(start());
  TRY(collect());
  tell_collected();
  TRY(mend_structure());
  TRY(mend_content());
  v_.state_.live_blocks += chunks_in_main_;
  TRY(VolumeCare::settle(v_, publish));
  return std::move(out_);
}

// What prepares other writers looks for records: orphans, free places.
Result<void> Salvage::start() {
  if (v_.mode_ != Mode::Encrypted) {
    return Error(Code::Unsupported, "only encrypted volumes change", "copy its content into a new volume");
  }
  if (v_.read_only_) return Error(Code::Denied, "the volume is read-only");
  if (v_.changed_) return Error(Code::InvalidArgument, "the volume has uncommitted changes");
  TRY(v_.check_readable());
  TRY(v_.settle_opened());
  v_.prepared_ = true;
  while (Inode* inode = v_.inode_lru_.oldest()) v_.forget_inode(inode);
  v_.dirty_inodes_.clear();
  v_.free_blocks_.clear();
  const std::vector<uint64_t> pages = TRY(v_.epoch_blocks());
  v_.state_.live_blocks = pages.size();
  return {};
}

Result<void> Salvage::collect() {
  NodeWalk walk(v_);
  v_.tree_.trim(0);
  v_.tree_.start_empty();
  v_.changed_ = true;
  TRY(walk.run([&](const NodeWalk::Node& node) -> Result<void> {
    if (node.page == nullptr && node.level + 1 == v_.state_.height) {
      return Error(Code::Integrity, "Verification of the root of the volume's metadata failed (block " +
                                        std::to_string(node.ref.place) +
                                        " of volume.fspf): there is nothing to mend it from");
    }
    if (node.page == nullptr) {
      ++unreadable_;
      const InodeId end = node.range.high.inode;
      lost("block " + std::to_string(node.ref.place) +
           " of volume.fspf, a node of the metadata: what it held about inodes from " +
           std::to_string(node.range.low.inode) +
           (end == ~uint64_t{0} ? " on" : " to " + std::to_string(end)));
      return {};
    }
    v_.free_later(0, node.ref.place);
    return node.level == 0 ? take_leaf(node) : Result<void>();
  }));
  if (walk.met_again() != 0) mended(std::to_string(walk.met_again()) + " nodes that were named twice");
  return {};
}

Result<void> Salvage::take_leaf(const NodeWalk::Node& node) {
  for (unsigned i = 0; i < page::count(node.page); ++i) {
    TRY(v_.make_room());
    const RecordKey key = page::leaf_key(node.page, i);
    TRY(take(key, page::leaf_value(node.page, i), node.found));
  }
  return {};
}

bool Salvage::plausible_xattrs(uint64_t hash, ByteView value) const {
  const Result<std::vector<Xattr>> list = decode_xattrs(value);
  return list.ok() && !list->empty() && v_.found_by_names(hash, *list);
}

// Of the form that every reader asks for.
bool Salvage::plausible(const RecordKey& key, ByteView value) {
  const bool of_inode = key.inode != 0 && key.inode <= ~uint64_t{0} / 2;
  switch (key.kind) {
    case Kind::Inode:
      return of_inode && key.sub == 0 && decode_inode(value, v_.mode_).ok();
    case Kind::Inline:
      return of_inode && !value.empty() && key.sub < 2 &&
             value.size() <= (key.sub == 0 ? kInlineMax : kMaxTarget - kInlineMax);
    case Kind::Entry:
      return of_inode && !value.empty() && VolumeImpl::parse_entries(value).ok();
    case Kind::Attribute:
      return of_inode && plausible_xattrs(key.sub, value);
    case Kind::Value:
      return of_inode && key.sub >> kPartBits != 0 && !value.empty() && value.size() <= kValuePart;
    case Kind::Chunks:
      return of_inode && value.size() <= kGroupBytes && value.size() % ref_size(v_.mode_) == 0 &&
             key.sub <= last_group(v_.mode_);
    case Kind::Orphan:
      return key.inode == 0 && value.empty();
  }
  return false;
}

Result<void> Salvage::take(const RecordKey& key, ByteView value, bool in_place) {
  if (key.kind < Kind::Inode || key.kind > Kind::Value) {
    return Error(Code::Unsupported, "the volume holds records of a kind that this build does not know",
                 "mend it with the build that wrote them");
  }
  if (!plausible(key, value)) {
    ++implausible_;
    return {};
  }
  misplaced_ += !in_place;
  const std::optional<ByteView> known = TRY(v_.tree_.find(key));
  if (!known) {
    if (!in_place) out_of_place_.insert(key);
    TRY(v_.tree_.put(key, value));
    return {};
  }
  ++doubles_;
  const Bytes before(known->begin(), known->end());
  const Bytes both = joined(key, before, out_of_place_.count(key) == 0, value, in_place);
  if (in_place) out_of_place_.erase(key);
  TRY(v_.tree_.put(key, both));
  return {};
}

Bytes Salvage::joined(const RecordKey& key, const Bytes& known, bool known_in_place, ByteView value,
                      bool in_place) {
  Bytes fresh(value.begin(), value.end());
  const bool take_fresh = in_place || !known_in_place;
  if (key.kind == Kind::Chunks) return join_chunks(key.inode, known, fresh);
  if (key.kind == Kind::Entry)
    return take_fresh ? join_entries(key.inode, fresh, known) : join_entries(key.inode, known, fresh);
  if (key.kind == Kind::Inode) {
    const Result<InodeRecord> a = decode_inode(known, v_.mode_), b = decode_inode(fresh, v_.mode_);
    if (after(a->changed, b->changed)) return known;
    if (after(b->changed, a->changed)) return fresh;
  }
  return take_fresh ? fresh : known;
}

Bytes Salvage::join_chunks(InodeId inode, ByteView one, ByteView other) {
  const size_t width = ref_size(v_.mode_);
  Bytes out(std::max(one.size(), other.size()), 0);
  for (size_t at = 0; at < out.size(); at += width) {
    const Ref a = at < one.size() ? load_ref(one.data() + at, v_.mode_) : Ref{};
    const Ref b = at < other.size() ? load_ref(other.data() + at, v_.mode_) : Ref{};
    known_[inode].older_refs += a.present && b.present;
    const bool first = a.present && (!b.present || newer(a, b));
    store_ref(out.data() + at, first ? a : b, v_.mode_);
  }
  return out;
}

Bytes Salvage::join_entries(InodeId directory, ByteView preferred, ByteView other) {
  std::vector<NameRecord> list = VolumeImpl::parse_entries(preferred).value();
  const std::vector<NameRecord> more = VolumeImpl::parse_entries(other).value();
  for (const NameRecord& item : more) {
    const bool has =
        std::any_of(list.begin(), list.end(), [&](const NameRecord& n) { return n.name == item.name; });
    if (has) continue;
    list.push_back(item);
    if (VolumeImpl::encode_entries(list).size() <= kMaxValue) continue;
    list.pop_back();
    lost(printable(item.name) + " in directory inode " + std::to_string(directory) +
         ": no room beside names like it");
  }
  return VolumeImpl::encode_entries(list);
}

void Salvage::tell_collected() {
  if (misplaced_ != 0) mended(std::to_string(misplaced_) + " records that look-ups missed, or might have");
  if (doubles_ != 0)
    mended(std::to_string(doubles_) +
           " records that were there twice: names of both are kept, of inodes and "
           "chunks the newer counts, of the rest what look-ups found");
  if (implausible_ != 0) lost(std::to_string(implausible_) + " malformed records");
}

// Half of a new tree must not become a state.
void Salvage::give_up(VolumeImpl& v, const Error& error) {
  if (v.changed_) (void)v.poison(from_storage(error));
}

Result<Repaired> repair(Volume& volume, const std::function<Result<void>(const Tag&)>& publish) {
  VolumeImpl& v = static_cast<VolumeImpl&>(volume);
  Result<Repaired> done = Salvage(v).run(publish);
  if (!done.ok()) Salvage::give_up(v, done.error());
  return done;
}

}  // namespace cloister::volume
