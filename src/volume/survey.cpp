// The survey: two walks over all nodes of the tree, the first for what inodes say, then what the records say
// about each other is compared. No key is believed: a damaged tree has records that no look-up finds.
#include <algorithm>
#include <map>

#include "volume/care.h"
#include "volume/large_values.h"
#include "volume/node_walk.h"
#include "volume/volume_care.h"

namespace cloister::volume {
namespace {

constexpr size_t kMaxProblems = 1000;

struct Known {
  bool stored = false;  // has an inode record
  InodeRecord record;
  bool orphan = false;
  uint64_t names = 0;           // entries that name it
  InodeId named_in = 0;         // the last of them is in this directory
  FileType named_as{};          // and says this
  uint64_t entries = 0;         // directory: names in it
  uint64_t subdirectories = 0;  // of these, directories
  bool looking = false;         // its way to the root was or is being followed,
  bool below_root = false;      // and leads there
  uint64_t inline_parts = 0;
  uint64_t chunks = 0;
  uint64_t away = 0;      // of these, in volume.fspf although the file has an object for them
  uint64_t beyond = 0;    // of these, behind the end of the file
  uint64_t no_place = 0;  // of these, where another is, or behind the end of the object
};

uint64_t chunk_count(const InodeRecord& record) {
  return record.is_inline ? 0 : record.size / kBlockSize + (record.size % kBlockSize != 0 ? 1 : 0);
}

}  // namespace

class Surveyor {
 public:
  Surveyor(Mode mode, InodeId next_inode) : mode_(mode), next_inode_(next_inode) {}

  void use_block(uint64_t block) {
    if (block >= blocks_.size()) return problem("block " + std::to_string(block) + " is beyond the end");
    if (blocks_[block]) return problem("block " + std::to_string(block) + " of volume.fspf is used twice");
    blocks_[block] = true;
    ++out_.used_blocks;
  }
  // Counts of blocks and slots come from the volume's author, who may be hostile: what is tracked is bounded
  // by the sizes that the files have.
  void start(uint64_t blocks, uint64_t file_size) {
    blocks_.assign(static_cast<size_t>(std::min(blocks, file_size / kBlockSize)), false);
    out_.blocks = blocks;
  }
  // The chunks that follow are of `inode`, whose object has `file_size` bytes.
  void start_object(InodeId inode, uint64_t file_size) {
    slots_of_ = inode;
    const InodeRecord& record = inodes_[inode].record;
    const uint64_t slots = record.has_object ? std::min(record.slots, file_size / kBlockSize) : 0;
    slots_.assign(static_cast<size_t>(slots), false);
  }
  bool object_started(InodeId inode) const { return slots_of_ == inode; }

  // Every node that is wrong is told, not all below it.
  void node(const NodeWalk::Node& node) {
    use_block(node.ref.place);
    const size_t width = ref_size(mode_);
    if (page::in_order(node.page, width) && page::within(node.page, node.range, width)) return;
    problem("block " + std::to_string(node.ref.place) +
            " of volume.fspf, a node of the metadata, is not in order: look-ups miss records");
  }

  void inode(InodeId inode, InodeRecord record) {
    Known& known = inodes_[inode];
    if (known.stored) problem(name(inode) + " has two records");
    known.stored = true;
    known.record = std::move(record);
  }

  void entry(InodeId directory, InodeId inode, FileType type) {
    Known& in = inodes_[directory];
    ++in.entries;
    in.subdirectories += type == FileType::Directory;
    Known& known = inodes_[inode];
    ++known.names;
    known.named_in = directory;
    known.named_as = type;
  }

  void chunks(InodeId inode, uint64_t group, ByteView refs) {
    Known& known = inodes_[inode];
    const size_t width = ref_size(mode_);
    for (size_t i = 0; (i + 1) * width <= refs.size(); ++i) {
      const Ref ref = load_ref(refs.data() + i * width, mode_);
      if (!ref.present) continue;
      const uint64_t index = group * group_count(mode_) + i;
      ++known.chunks;
      known.away += is_away(index, ref);
      known.beyond += group > last_group(mode_) || index >= chunk_count(known.record);
      if (lies_in_main(index, ref)) {
        use_block(ref.place);
      } else if (ref.place >= slots_.size() || slots_[ref.place]) {
        ++known.no_place;
      } else {
        slots_[ref.place] = true;
        ++out_.used_slots;
      }
    }
  }

  void start_inode(InodeId inode) {
    const InodeId before = values_of_;
    values_of_ = inode;
    if (!values_.start(inode)) problem(name(before) + " lacks a part of an extended attribute");
  }
  void attributes(InodeId inode, ByteView record) {
    (void)inodes_[inode];  // that there is one is looked at in the end
    const Result<std::vector<Xattr>> list = decode_xattrs(record);
    if (!list.ok()) return problem(name(inode) + " has a malformed extended attribute");
    for (const Xattr& item : *list) {
      if (!values_.add(item)) problem(name(inode) + " has two extended attributes with one value");
      if (item.number >= next_inode_) problem(name(inode) + " has a value whose number was not given yet");
    }
  }
  void value_part(const RecordKey& key, size_t size) {
    if (!values_.take_part(key, size)) problem(name(key.inode) + " has a part of no extended attribute");
  }

  Survey finish() {
    start_inode(0);
    (void)inodes_[kRootInode];
    for (const auto& [inode, known] : inodes_) check(inode, known);
    std::sort(out_.objects.begin(), out_.objects.end());
    return std::move(out_);
  }

  void problem(std::string text) {
    if (out_.problems.size() < kMaxProblems) out_.problems.push_back(std::move(text));
  }
  Known& at(InodeId inode) { return inodes_[inode]; }

 private:
  static std::string name(InodeId inode) { return "inode " + std::to_string(inode); }

  void check(InodeId inode, const Known& known) {
    const InodeRecord& r = known.record;
    if (!known.stored && known.names == 0) {
      return problem("there are records of " + name(inode) + ", which does not exist");
    }
    if (!known.stored) {
      return problem(name(inode) + " is named in directory " + std::to_string(known.named_in) +
                     " but does not exist");
    }
    if (known.inline_parts != inline_parts(r))
      problem(name(inode) + " has more or less content than its size");
    if (known.names != 0 && known.named_as != r.type) problem(name(inode) + " is not what its name says");
    if (r.type == FileType::Directory) {
      ++out_.directories;
      check_directory(inode, known);
      return;
    }
    ++(r.type == FileType::Symlink ? out_.symlinks : out_.files);
    if (r.links != known.names) {
      problem(name(inode) + " counts " + std::to_string(r.links) + " names, there are " +
              std::to_string(known.names));
    }
    if (r.links == 0) ++out_.unlinked;
    if (r.links == 0 && !known.orphan) problem(name(inode) + " has no name and would never be removed");
    if (r.type == FileType::Regular && !r.is_inline && r.chunks != known.chunks) {
      problem(name(inode) + " counts " + std::to_string(r.chunks) + " chunks, there are " +
              std::to_string(known.chunks));
    }
    if (r.away > known.away) {
      problem(name(inode) + " counts " + std::to_string(r.away) + " chunks in volume.fspf, there are " +
              std::to_string(known.away));
    }
    if (known.no_place != 0) {
      problem(name(inode) + " has " + std::to_string(known.no_place) +
              " chunks where another is, or beyond the end of its object");
    }
    if (known.beyond != 0) {
      problem(name(inode) + " has " + std::to_string(known.beyond) + " chunks behind its end");
    }
    if (r.has_object) {
      out_.objects.push_back(object_name(r.object));
      out_.slots += r.slots;
    }
  }

  void check_directory(InodeId inode, const Known& known) {
    const InodeRecord& r = known.record;
    if (r.links == 0 && known.orphan) return;  // removed while it was somebody's working directory
    if (r.entries != known.entries) {
      problem(name(inode) + " counts " + std::to_string(r.entries) + " entries, there are " +
              std::to_string(known.entries));
    }
    if (r.links != known.subdirectories + 2) problem(name(inode) + " counts its directories wrongly");
    if (inode == kRootInode) return;
    if (known.names != 1 || known.named_in != r.parent) {
      problem(name(inode) + " is a directory and not named once, in its parent");
    }
    if (!below_root(inode)) problem(name(inode) + " is not below the root");
  }

  // Looks at each directory once, however deep it lies.
  bool below_root(InodeId inode) {
    std::vector<Known*> way;
    bool below = true;
    for (InodeId at = inode; at != kRootInode;) {
      const auto found = inodes_.find(at);
      if (found == inodes_.end() || found->second.looking) {
        below = found != inodes_.end() && found->second.below_root;
        break;
      }
      found->second.looking = true;
      way.push_back(&found->second);
      at = found->second.record.parent;
    }
    for (Known* known : way) known->below_root = below;
    return below;
  }

  const Mode mode_;
  const InodeId next_inode_;
  Survey out_;
  std::map<InodeId, Known> inodes_;
  std::vector<bool> blocks_;
  std::vector<bool> slots_;
  InodeId slots_of_ = 0;
  LargeValues values_;
  InodeId values_of_ = 0;
};

// Zero when there is none: what should be in it is then beyond its end.
Result<uint64_t> VolumeCare::object_size(VolumeImpl& v, const InodeRecord& record) {
  if (!record.has_object) return uint64_t{0};
  Result<std::unique_ptr<StorageFile>> file = v.storage_.open(object_name(record.object), OpenMode::Read);
  if (!file.ok() && file.error().code() == Code::NotFound) return uint64_t{0};
  if (!file.ok()) return Error(file.error());
  return (*file)->size();
}

// All but inode records.
Result<void> VolumeCare::survey_record(VolumeImpl& v, Surveyor& surveyor, const RecordKey& key,
                                       ByteView value) {
  if (key.kind == Kind::Orphan) {
    surveyor.at(key.sub).orphan = true;
    return {};
  }
  const InodeRecord& record = surveyor.at(key.inode).record;
  if (key.kind == Kind::Chunks) {
    if (!surveyor.object_started(key.inode)) {
      const uint64_t size = TRY(object_size(v, record));
      surveyor.start_object(key.inode, size);
    }
    surveyor.chunks(key.inode, key.sub, value);
  } else if (key.kind == Kind::Entry) {
    const std::vector<VolumeImpl::NameRecord> list = TRY(lower(v.parse_entries(value)));
    for (const VolumeImpl::NameRecord& item : list) surveyor.entry(key.inode, item.inode, item.type);
  } else if (key.kind == Kind::Inline) {
    ++surveyor.at(key.inode).inline_parts;
  } else if (key.kind == Kind::Attribute) {
    surveyor.attributes(key.inode, value);
  } else if (key.kind == Kind::Value) {
    surveyor.value_part(key, value.size());
  }
  return {};
}

Result<Survey> VolumeCare::survey(VolumeImpl& v) {
  if (v.changed_) return Error(Code::InvalidArgument, "the volume has uncommitted changes");
  TRY(lower(v.check_readable()));
  Surveyor surveyor(v.mode_, v.state_.next_inode);
  const uint64_t main_size = TRY(v.main_->size());
  surveyor.start(v.state_.blocks, main_size);
  // Without these, nodes would be what cannot be read.
  const std::vector<uint64_t> epoch_pages = TRY(lower(v.epoch_blocks()));
  NodeWalk walk(v);
  TRY(walk.run([&](const NodeWalk::Node& node) -> Result<void> {
    if (node.page == nullptr) {
      return Error(Code::Integrity, "Verification of the volume's metadata failed (block " +
                                        std::to_string(node.ref.place) + " of volume.fspf)");
    }
    surveyor.node(node);
    for (unsigned i = 0; node.level == 0 && i < page::count(node.page); ++i) {
      const RecordKey key = page::leaf_key(node.page, i);
      if (key.kind != Kind::Inode) continue;
      surveyor.inode(key.inode, TRY(decode_inode(page::leaf_value(node.page, i), v.mode_)));
    }
    return {};
  }));
  if (walk.met_again() != 0) {
    surveyor.problem(std::to_string(walk.met_again()) + " nodes of the metadata are named twice");
  }
  TRY(walk.run([&](const NodeWalk::Node& node) -> Result<void> {
    for (unsigned i = 0; node.page != nullptr && node.level == 0 && i < page::count(node.page); ++i) {
      const RecordKey key = page::leaf_key(node.page, i);
      surveyor.start_inode(key.inode);
      if (key.kind != Kind::Inode) TRY(survey_record(v, surveyor, key, page::leaf_value(node.page, i)));
    }
    return {};
  }));
  for (const uint64_t block : epoch_pages) surveyor.use_block(block);
  return surveyor.finish();
}

Result<Survey> survey(Volume& volume) { return VolumeCare::survey(static_cast<VolumeImpl&>(volume)); }

}  // namespace cloister::volume
