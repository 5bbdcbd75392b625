// Repair: what salvage.cpp, mend.cpp and mend_content.cpp share.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "volume/node_walk.h"
#include "volume/volume_care.h"

namespace cloister::volume {

class Salvage {
 public:
  explicit Salvage(VolumeImpl& v) : v_(v) {}
  Result<Repaired> run(const VolumeCare::Publish& publish);
  static void give_up(VolumeImpl& v, const Error& error);

 private:
  struct Known {
    bool stored = false;  // has an inode record
    bool orphan = false;
    bool reached = false;  // from the root, or needs not be
    FileType type{};
    bool is_inline = false;
    uint64_t inline_size = 0;  // of the first parts, up to one that is missing
    uint64_t inline_parts = 0;
    uint64_t names = 0;    // entries that name it
    InodeId named_in = 0;  // directory: the one that does
    uint64_t entries = 0;  // directory: names in it
    uint64_t subdirectories = 0;
    uint64_t older_refs = 0;  // of two for one chunk
  };
  using NameRecord = VolumeImpl::NameRecord;

  // --- salvage.cpp: all records into a new tree
  Result<void> start();
  Result<void> collect();
  Result<void> take_leaf(const NodeWalk::Node& node);
  Result<void> take(const RecordKey& key, ByteView value, bool in_place);
  bool plausible(const RecordKey& key, ByteView value);
  bool plausible_xattrs(uint64_t hash, ByteView value) const;
  Bytes joined(const RecordKey& key, const Bytes& known, bool known_in_place, ByteView value, bool in_place);
  Bytes join_chunks(InodeId inode, ByteView one, ByteView other);
  Bytes join_entries(InodeId directory, ByteView preferred, ByteView other);
  void tell_collected();

  // --- mend.cpp: names and inodes agree
  Result<void> mend_structure();
  Result<void> learn();
  Result<void> filter();
  Result<bool> keep(const RecordKey& key, ByteView value);
  Result<bool> keep_entries(const RecordKey& key, ByteView value);
  bool accept_name(const RecordKey& at, NameRecord& item);
  Result<void> make_directory(InodeId id);
  Result<void> reach_directories();
  Result<void> reach(InodeId id);
  Result<void> name_files();
  Result<void> take_name_away(InodeId inode);
  Result<void> put_in_lost_and_found(InodeId id);
  Result<InodeId> lost_and_found();
  Result<void> mend_inodes();
  void mend_inode(Inode& inode, const Known& known);

  // --- mend_content.cpp: every chunk is what it must be
  Result<void> mend_content();
  Result<void> mend_inline(Inode& inode, const Known& known);
  Result<void> mend_attributes(const Inode& inode);
  Result<bool> has_parts(const Inode& inode, const Xattr& item);
  Result<void> drop_parts(const Inode& inode, const std::map<uint64_t, size_t>& sizes);
  struct Count {
    uint64_t there = 0, in_object = 0, away = 0, beyond = 0, slots = 0;
    std::vector<std::pair<uint64_t, uint64_t>> unreadable;  // runs of chunks: first, number
  };
  Result<void> mend_chunks(Inode& inode, const Known& known);
  Result<Bytes> mend_group(Inode& inode, uint64_t group, const Bytes& refs, Count& count);
  Result<void> mend_object(Inode& inode, const Count& count);
  void tell_chunks(const Inode& inode, const Known& known, const Count& count);
  Result<bool> chunk_opens(Inode& inode, uint64_t index, const Ref& ref);

  // Calls `visit(key, value)` for every record of the new tree, which it may change up to there.
  template <class F>
  Result<void> each_record(F&& visit) {
    RecordKey key{};
    while (true) {
      TRY(v_.make_room());
      const std::optional<Tree::Record> record = TRY(v_.tree_.lower_bound(key));
      if (!record) return {};
      key = record->key;
      const Bytes value(record->value.begin(), record->value.end());
      TRY(visit(key, value));
      if (++key.sub == 0) key.kind = static_cast<Kind>(static_cast<uint8_t>(key.kind) + 1);
    }
  }
  void mended(std::string text) { tell(out_.mended, std::move(text)); }
  void lost(std::string text) { tell(out_.lost, std::move(text)); }
  // Of one inode. Finding what it is called takes time, so only for what is listed.
  void mended(InodeId id, std::string_view text) { tell_of(out_.mended, id, text); }
  void lost(InodeId id, std::string_view text) { tell_of(out_.lost, id, text); }
  static void tell(std::vector<std::string>& list, std::string text);
  void tell_of(std::vector<std::string>& list, InodeId id, std::string_view text);

  VolumeImpl& v_;
  Repaired out_;
  std::map<InodeId, Known> known_;
  std::set<RecordKey> out_of_place_;  // records of the new tree that stood so in the old one
  uint64_t misplaced_ = 0;            // records
  uint64_t doubles_ = 0;
  uint64_t unreadable_ = 0;   // nodes
  uint64_t implausible_ = 0;  // records
  uint64_t left_over_ = 0;    // records of what does not exist
  uint64_t ownerless_ = 0;    // the same, where the inode may have been lost
  InodeId called_id_ = 0;     // the last one told of
  std::string called_;        // what it is called
  uint64_t chunks_in_main_ = 0;
  InodeId lost_and_found_ = 0;
  std::string lost_and_found_name_ = "lost+found";
};

}  // namespace cloister::volume
