// The volume itself. One object, its functions by concern:
//
//   volume_open.cpp     create, open: superblocks, tags, keys
//   volume_commit.cpp   commit, acknowledge, retained states
//   volume_blocks.cpp   sealing and opening of blocks, epochs, places in volume.fspf and in objects
//   volume_names.cpp    directories            volume_inodes.cpp   inodes, attributes, links, removal
//   volume_xattrs.cpp   extended attributes
//   volume_content.cpp  read, write, truncate  volume_chunks.cpp   the cache of chunks and its write-back
//   volume_verify.cpp   verify_all, finding free space again
//
// Lives of a change: names and attributes change the tree and cached inodes; content changes cached chunks.
// Chunks are sealed into new places when the cache is half dirty or at commit; commit then writes changed
// inodes, tree nodes and a superblock (volume_commit.cpp). Nothing that an openable state reaches is
// overwritten.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "volume/keys.h"
#include "volume/run_writer.h"
#include "volume/space.h"
#include "volume/table.h"
#include "volume/tree.h"

namespace cloister::volume {

class LargeValues;
struct Inode;

struct Chunk {
  uint64_t table_a = 0;  // inode
  uint64_t table_b = 0;  // index in the file
  Chunk* table_next = nullptr;
  Chunk* lru_newer = nullptr;
  Chunk* lru_older = nullptr;
  Inode* owner = nullptr;
  Chunk* sibling_next = nullptr;
  Chunk* sibling_previous = nullptr;
  bool dirty = false;
  alignas(64) uint8_t data[kBlockSize];
  ~Chunk() { wipe(data, kBlockSize); }
};

// Blocks of objects, and chunks that are away: 4 GiB, which 17 500 leaves name.
inline constexpr uint64_t kWalkedAtOnce = uint64_t{1} << 20;

struct Inode {
  uint64_t table_a = 0;  // id
  uint64_t table_b = 0;
  Inode* table_next = nullptr;
  Inode* lru_newer = nullptr;
  Inode* lru_older = nullptr;
  InodeRecord record;
  bool dirty = false;         // the record differs from the tree's
  bool listed_dirty = false;  // in dirty_inodes_
  bool inline_loaded = false;
  bool inline_dirty = false;
  Bytes inline_data;
  uint64_t group = kNoGroup;  // the group of references in `refs`
  bool group_dirty = false;
  Bytes refs;               // packed, without holes at the end
  Chunk* chunks = nullptr;  // cached
  size_t dirty_chunks = 0;
  std::unique_ptr<StorageFile> object;
  SpaceMap free_slots;
  SpaceMap away;  // chunks that were: of this mount's writes, or all after a search
  bool slots_searched = false;
  uint64_t read_end = 0;  // where the last read ended: tells sequential readers
  uint32_t key_epoch[2] = {0, 0};
  std::unique_ptr<crypto::Aes256Gcm> key[2];
  unsigned key_next = 0;

  static constexpr uint64_t kNoGroup = ~uint64_t{0};
  uint64_t id() const { return table_a; }
  void note_away(uint64_t index) {
    if (away.size() < kWalkedAtOnce) away.add(index, 1);
  }
  ~Inode() {
    if (!inline_data.empty()) wipe(inline_data.data(), inline_data.size());
  }
};

inline RecordKey orphan_key(InodeId id) { return {0, Kind::Orphan, id}; }

// What a commit may write into volume.fspf (in blocks) to be made durable together with its superblock: so
// much has to be read again by whoever opens the newest state without its tag.
inline constexpr uint64_t kOneBarrierBlocks = 1024;

class VolumeImpl final : public Volume, private TreeIo {
 public:
  VolumeImpl(Storage& storage, const Superblock& superblock, const Keys& keys, const OpenOptions& options);
  ~VolumeImpl() override;

  // --- volume_open.cpp
  // `id` is an encrypted volume's.
  static Result<std::unique_ptr<Volume>> make(Storage& storage, const Key& key, const CreateOptions& options,
                                              const VolumeId& id);
  Result<void> begin(Timestamp now);
  struct Candidate {
    Superblock superblock;
    Keys keys;
    Tag tag{};
    unsigned slot = 0;
    bool done = false;        // kDone follows it
    crypto::Digest digest{};  // of the slot up to kDone
  };
  struct Scan {
    std::vector<Candidate> valid;
    bool wrong_key = false;
    std::optional<Error> newer;  // said by the owner of the key: a later build wrote it
    std::optional<Error> other;  // said by whoever can write there
  };
  static Result<Scan> scan(StorageFile& main, const Key& key);
  static Result<std::unique_ptr<VolumeImpl>> mount(Storage& storage, std::unique_ptr<StorageFile> main,
                                                   const std::vector<Candidate>& valid,
                                                   const Candidate& chosen, const OpenOptions& options);
  Result<void> expect_root();
  // Whether all that the newest commit wrote opens, in whatever order its nodes have their records.
  using CommitOpens = Result<bool> (*)(VolumeImpl&);
  // With `opens`, for repair: a state that is durable, however damaged.
  static Result<std::unique_ptr<Volume>> open_newest(Storage& storage, const Key& key,
                                                     const OpenOptions& options, CommitOpens opens);

  Tag tag() const override { return tag_; }
  Root root() const override { return root_; }
  void set_root(const Root& root) { root_ = root; }
  Mode mode() const override { return mode_; }
  bool read_only() const override { return read_only_; }
  bool found_unfinished_commit() const override { return found_unfinished_; }

  VolumeResult<InodeId> lookup(InodeId directory, std::string_view name) override;
  VolumeResult<InodeId> create_file(InodeId directory, std::string_view name, uint16_t permissions,
                                    uint32_t uid, uint32_t gid, Timestamp now) override;
  VolumeResult<InodeId> make_directory(InodeId directory, std::string_view name, uint16_t permissions,
                                       uint32_t uid, uint32_t gid, Timestamp now) override;
  VolumeResult<InodeId> make_symlink(InodeId directory, std::string_view name, std::string_view target,
                                     uint32_t uid, uint32_t gid, Timestamp now) override;
  VolumeResult<void> link(InodeId inode, InodeId directory, std::string_view name, Timestamp now) override;
  VolumeResult<void> unlink(InodeId directory, std::string_view name, Timestamp now) override;
  VolumeResult<void> remove_directory(InodeId directory, std::string_view name, Timestamp now) override;
  VolumeResult<void> rename(InodeId from, std::string_view from_name, InodeId to, std::string_view to_name,
                            Timestamp now) override;
  VolumeResult<void> exchange(InodeId a, std::string_view a_name, InodeId b, std::string_view b_name,
                              Timestamp now) override;
  VolumeResult<uint64_t> read_directory(InodeId directory, uint64_t cookie, size_t limit,
                                        std::vector<DirectoryEntry>& out) override;
  VolumeResult<std::string> read_symlink(InodeId inode) override;
  VolumeResult<InodeId> parent_of(InodeId directory) override;
  VolumeResult<Attributes> attributes(InodeId inode) override;
  VolumeResult<void> set_attributes(InodeId inode, const AttributeChange& change, Timestamp now) override;
  void hold(InodeId inode) override;
  void release(InodeId inode) override;
  VolumeResult<size_t> read(InodeId inode, uint64_t offset, MutableByteView out) override;
  VolumeResult<void> write(InodeId inode, uint64_t offset, ByteView data, Timestamp now) override;
  VolumeResult<void> truncate(InodeId inode, uint64_t size, Timestamp now) override;
  VolumeResult<uint64_t> seek_data(InodeId inode, uint64_t offset) override;
  VolumeResult<uint64_t> seek_hole(InodeId inode, uint64_t offset) override;
  VolumeResult<Bytes> get_xattr(InodeId inode, std::string_view name) override;
  VolumeResult<void> set_xattr(InodeId inode, std::string_view name, ByteView value, bool create_only,
                               bool replace_only, Timestamp now) override;
  VolumeResult<std::vector<std::string>> list_xattrs(InodeId inode) override;
  VolumeResult<void> remove_xattr(InodeId inode, std::string_view name, Timestamp now) override;
  Result<Tag> commit() override;
  Result<void> acknowledge(const Tag& tag) override;
  bool dirty() const override { return changed_; }
  VolumeResult<void> verify_tree() override;
  Result<void> verify_all() override;
  Usage usage() const override { return {state_.inodes, state_.data_size}; }

 private:
  struct State {  // a superblock on disk that may still be opened
    unsigned slot;
    uint64_t generation;
    Tag tag;
    bool ours;  // made durable here; others may be in the host's caches only
  };
  struct Freed {  // places side by side that states before `generation` reach
    uint64_t generation;
    InodeId inode;  // 0: blocks of volume.fspf
    uint64_t place;
    uint64_t count;
  };
  struct FreedObject {
    uint64_t generation;
    ByteArray<16> object;
  };
  struct BatchItem {
    Inode* inode;
    uint64_t index;
    const uint8_t* data;
    Chunk* chunk;  // null: straight from the caller's buffer
    Ref fresh;
    bool reused;  // keeps the place it had
  };
  struct NameRecord {
    std::string name;
    InodeId inode;
    FileType type;
  };
  // Marks an operation that changes several records: when reading fails in its middle, nothing more is
  // written.
  class Changing {
   public:
    explicit Changing(VolumeImpl& volume) : volume_(volume) { ++volume_.changing_; }
    ~Changing() { --volume_.changing_; }
    Changing(const Changing&) = delete;
    Changing& operator=(const Changing&) = delete;

   private:
    VolumeImpl& volume_;
  };
  // Marks what need not be done: what fails is given up, and the volume goes on. Nothing in it changes a
  // record.
  class Attempt {
   public:
    explicit Attempt(VolumeImpl& volume) : volume_(volume) { volume_.attempting_ = true; }
    ~Attempt() { volume_.attempting_ = false; }
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

   private:
    VolumeImpl& volume_;
  };
  friend class Changing;
  friend class Attempt;
  friend class NodeWalk;
  friend class Salvage;
  friend class VolumeCare;
  friend class VolumeForger;  // of tests: writes what this code never would

  // --- volume_blocks.cpp
  VolumeResult<void> read_node(const Ref& ref, unsigned level, uint8_t* page) override;
  VolumeResult<Ref> write_node(unsigned level, const uint8_t* page) override;
  VolumeResult<void> finish_nodes() override { return writer_.flush(); }
  void forget_node(const Ref& ref) override { free_block(ref); }
  VolumeError poison(VolumeError error);
  VolumeError refuse_node(VolumeError error) override {
    sealed_so_ = true;
    return poison(std::move(error));
  }
  bool writer_went_on();
  VolumeResult<void> check_readable();
  VolumeResult<void> read_exactly(StorageFile& file, uint64_t offset, MutableByteView out);
  VolumeResult<const uint8_t*> stored(StorageFile& file, uint64_t offset, MutableByteView spare);
  VolumeError metadata_failure(const VolumeError& error, const VolumeError& failed);
  static constexpr uint64_t kNoEpoch = uint64_t{1} << 32;
  VolumeResult<EpochPage> read_epoch_page(uint64_t block, const crypto::Digest& digest, uint64_t newer_first);
  VolumeResult<Epoch> epoch(uint32_t index);
  VolumeResult<void> load_epoch_tail();
  VolumeResult<void> begin_epoch();
  VolumeResult<void> next_nonce(Ref& ref);
  VolumeResult<const crypto::Aes256Gcm*> node_key(uint32_t epoch_index);
  VolumeResult<const crypto::Aes256Gcm*> chunk_key(Inode& inode, uint32_t epoch_index);
  void seal(const crypto::Aes256Gcm* key, const BlockName& name, const uint8_t* plain, uint8_t* out,
            Ref& ref) const;
  bool open_block(const crypto::Aes256Gcm* key, const BlockName& name, const Ref& ref, const uint8_t* sealed,
                  uint8_t* block) const;
  bool is_fresh(const Ref& ref) const;
  VolumeResult<uint64_t> take_block();
  void reserve_blocks(uint64_t count);
  bool make_free_blocks(uint64_t count);
  void return_reserved();
  void free_block(const Ref& ref);
  void free_later(InodeId inode, uint64_t place);

  // --- volume_inodes.cpp
  VolumeResult<Inode*> get(InodeId id);
  VolumeResult<Inode*> get_regular(InodeId id);
  VolumeResult<Inode*> get_directory(InodeId id);
  VolumeResult<Inode*> make_inode(FileType type, InodeId parent, uint16_t permissions, uint32_t uid,
                                  uint32_t gid, Timestamp now);
  void mark(Inode& inode);
  VolumeResult<void> load_inline(Inode& inode);
  VolumeResult<void> store_inline(Inode& inode);
  VolumeResult<void> store_inode(Inode& inode);
  VolumeResult<void> delete_inode(Inode& inode);
  VolumeResult<void> erase_found(const RecordKey& key);
  VolumeResult<void> remove_orphans();
  VolumeResult<void> drop_link(Inode& inode, Timestamp now);
  VolumeResult<void> begin_change();
  VolumeResult<void> make_room();
  size_t node_limit() const;  // nodes that stay in memory
  void forget_inode(Inode* inode);
  void random(MutableByteView out);

  // --- volume_xattrs.cpp
  VolumeResult<std::vector<Xattr>> xattrs(ByteView record);
  bool found_by_names(uint64_t hash, const std::vector<Xattr>& list) const;
  VolumeResult<std::vector<Xattr>> xattrs_like(InodeId inode, std::string_view name);
  VolumeResult<void> put_xattrs(InodeId inode, std::string_view name, const std::vector<Xattr>& list,
                                Timestamp now);
  VolumeResult<Bytes> load_value(InodeId inode, Xattr& item);
  VolumeResult<void> replace_parts(InodeId inode, const Xattr& old, const Xattr& fresh, ByteView value);

  // --- volume_names.cpp
  VolumeResult<std::vector<NameRecord>> entries(InodeId directory, uint64_t hash);
  static VolumeResult<std::vector<NameRecord>> parse_entries(ByteView value);
  static Bytes encode_entries(const std::vector<NameRecord>& list);
  VolumeResult<std::optional<NameRecord>> find_entry(InodeId directory, std::string_view name);
  VolumeResult<void> put_entries(InodeId directory, uint64_t hash, const std::vector<NameRecord>& list);
  VolumeResult<void> add_entry(Inode& directory, std::string_view name, const Inode& inode, Timestamp now);
  VolumeResult<void> remove_entry(Inode& directory, std::string_view name, FileType type, Timestamp now);
  VolumeResult<InodeId> make_named(FileType type, InodeId directory, std::string_view name,
                                   std::string_view target, uint16_t permissions, uint32_t uid, uint32_t gid,
                                   Timestamp now);
  VolumeResult<void> check_free(InodeId directory, std::string_view name);
  VolumeResult<void> check_can_move(const NameRecord& moving, InodeId to);
  VolumeResult<void> replace_target(Inode& directory, std::string_view name, const NameRecord& target,
                                    FileType moving, Timestamp now);
  std::string describe(InodeId id);  // a path for messages

  // --- volume_chunks.cpp
  VolumeResult<void> load_group(Inode& inode, uint64_t group);
  VolumeResult<void> store_group(Inode& inode);
  VolumeResult<Ref> chunk_ref(Inode& inode, uint64_t index);
  Ref loaded_ref(const Inode& inode, uint64_t index) const;
  // Calls `visit(index, ref)` for every chunk of a file that is no hole. What is not in the tree yet is not
  // seen.
  template <class F>
  VolumeResult<void> each_chunk(InodeId inode, F&& visit) {
    RecordKey key{inode, Kind::Chunks, 0};
    while (true) {
      const std::optional<Tree::Record> record = TRY(tree_.lower_bound(key));
      if (!record || record->key.inode != inode || record->key.kind != Kind::Chunks) return {};
      key = record->key;
      if (key.sub > last_group(mode_)) {
        return poison(damaged("The volume's metadata holds chunks of a file that none can have"));
      }
      const size_t width = ref_size(mode_);
      for (size_t i = 0; (i + 1) * width <= record->value.size(); ++i) {
        const Ref ref = load_ref(record->value.data() + i * width, mode_);
        if (ref.present) visit(key.sub * group_count(mode_) + i, ref);
      }
      ++key.sub;
      tree_.trim(node_limit());
    }
  }
  Ref exchange_ref(Inode& inode, uint64_t index, const Ref& ref);
  VolumeResult<StorageFile*> file_of(Inode& inode, uint64_t index, const Ref& ref, bool for_writing);
  VolumeResult<StorageFile*> object_of(Inode& inode, bool for_writing);
  VolumeResult<void> open_chunk(Inode& inode, uint64_t index, const Ref& ref, const uint8_t* sealed,
                                uint8_t* block);
  VolumeResult<void> read_chunks(Inode& inode, uint64_t first, uint64_t count, uint8_t* out);
  VolumeResult<Chunk*> cached(Inode& inode, uint64_t index, uint64_t read_ahead);
  Chunk* add_chunk(Inode& inode, uint64_t index);
  void drop_chunk(Chunk* chunk);
  void drop_chunks(Inode& inode, uint64_t first, uint64_t end);
  void mark_chunk(Chunk* chunk);
  VolumeResult<void> flush_chunks(Inode& inode, std::vector<BatchItem>& batch);
  VolumeResult<void> flush_all_chunks();
  VolumeResult<void> write_batch(std::vector<BatchItem>& batch);
  VolumeResult<void> place_batch(std::vector<BatchItem>& batch);
  VolumeResult<void> seal_batch(std::vector<BatchItem>& batch);
  void abandon_batch(const std::vector<BatchItem>& batch);
  VolumeResult<uint64_t> take_slot(Inode& inode);
  VolumeResult<void> find_free_slots(Inode& inode);
  VolumeResult<void> mark_away(Inode& inode, uint64_t many, size_t most, std::vector<Chunk*>& marked);
  VolumeResult<std::vector<Chunk*>> bring_chunks_home();
  void leave_chunks_away(const std::vector<Chunk*>& marked);
  bool is_fresh_chunk(uint64_t index, const Ref& ref) const;
  void free_chunk(Inode& inode, uint64_t index, const Ref& ref);
  void drop_ref(Inode& inode, uint64_t index, const Ref& ref);
  VolumeError chunk_failure(const Inode& inode, uint64_t index);

  // --- volume_content.cpp
  VolumeResult<void> leave_inline(Inode& inode);
  VolumeResult<void> write_chunked(Inode& inode, uint64_t offset, ByteView data);
  VolumeResult<void> shrink_chunks(Inode& inode, uint64_t size);
  void set_size(Inode& inode, uint64_t size, Timestamp now);

  // --- volume_commit.cpp
  VolumeResult<void> settle_opened();
  VolumeResult<void> prepare_writes();
  VolumeResult<void> load_free_list();
  VolumeResult<void> search_when_used_up();
  std::vector<Extent> unreached() const;
  VolumeResult<void> fill_slots();
  VolumeResult<void> write_everything();
  VolumeResult<uint64_t> put_epoch_page(const EpochPage& from, crypto::Digest& digest);  // where it is now
  void drop_epoch_page(uint64_t block);
  VolumeResult<void> write_epoch_page();
  VolumeResult<void> sync_objects();
  VolumeResult<void> write_superblock(const Superblock& next, unsigned slot);
  unsigned choose_slot();
  VolumeResult<void> clear_gone_slots();
  void close();

  // --- volume_verify.cpp
  VolumeResult<void> verify_newest_commit();
  bool of_newest_commit(const Ref& ref) const;  // which was made durable by one barrier
  VolumeResult<void> verify_inode(InodeId id);
  VolumeResult<void> expect_inode(InodeId id);
  VolumeResult<void> verify_record(const RecordKey& key, ByteView value, LargeValues& values);
  VolumeResult<void> verify_inline(const RecordKey& key);
  VolumeResult<void> verify_xattrs(const RecordKey& key, ByteView value, LargeValues& values);
  VolumeResult<void> find_free_blocks();
  VolumeResult<std::vector<uint64_t>> epoch_blocks();  // the blocks of the epoch pages
  VolumeResult<void> search_object(Inode& inode);

  Storage& storage_;
  std::unique_ptr<StorageFile> main_;
  const Mode mode_;
  bool read_only_ = false;
  const bool for_repair_;  // what is free may be doubtful
  const Keys keys_;
  const uint64_t cache_size_;
  const uint64_t direct_read_;  // chunks: at least this many side by side bypass the cache
  const std::optional<uint64_t> wanted_epoch_;

  Superblock state_;  // numbers of the state being built; `generation` is the last committed one
  Tag tag_{};
  Root root_{};
  Tree tree_;
  std::vector<State> states_;          // [0] is the acknowledged one
  uint64_t newest_generation_ = 0;     // on disk, also of states that were discarded
  std::vector<unsigned> stale_slots_;  // hold superblocks newer than the opened one
  std::vector<unsigned> gone_slots_;   // hold superblocks older than the acknowledged one
  bool found_unfinished_ = false;
  bool perhaps_cached_ = false;                // nobody knows whether the opened state is durable
  std::optional<crypto::Digest> opened_slot_;  // what the opened state's slot held, up to kDone
  bool slots_filled_ = false;

  bool changed_ = false;
  bool prepared_ = false;
  bool searched_ = false;
  unsigned changing_ = 0;
  bool attempting_ = false;
  std::optional<VolumeError> poisoned_;
  bool sealed_so_ = false;  // met a node that cannot be, though its MAC is right

  std::map<uint32_t, Epoch> epochs_;       // known salts
  std::optional<uint32_t> current_epoch_;  // index
  EpochPage epoch_tail_;
  bool epoch_tail_dirty_ = false;
  uint64_t counter_ = 0;
  uint32_t fresh_epoch_ = 0;  // blocks sealed at or after this belong to no committed state
  uint64_t fresh_counter_ = 0;
  uint64_t fresh_block_ = 0;  // the same for authenticated-only volumes
  struct NodeKey {
    uint32_t epoch;
    std::unique_ptr<crypto::Aes256Gcm> key;
  };
  std::vector<NodeKey> node_keys_;

  SpaceMap free_blocks_;
  uint64_t reserved_ = 0;  // blocks of volume.fspf side by side that take_block() gives first
  uint64_t reserved_end_ = 0;
  uint64_t fresh_blocks_ = 0;        // written to volume.fspf since the last commit
  bool older_page_written_ = false;  // since then, of epochs: verify_newest_commit() reads the newest only
  bool small_commit_ = false;        // chunks go to volume.fspf, so that one file is made durable
  bool compacting_ = false;
  std::vector<Freed> freed_;
  std::vector<FreedObject> freed_objects_;
  std::map<InodeId, ByteArray<16>> unsynced_objects_;
  std::vector<ByteArray<16>> made_objects_;  // since the last commit: no superblock names them
  bool names_unsynced_ = false;

  Table<Inode> inodes_;
  LruList<Inode> inode_lru_;
  std::vector<InodeId> dirty_inodes_;
  std::map<InodeId, uint32_t> holds_;
  size_t open_objects_ = 0;

  Table<Chunk> chunks_;
  LruList<Chunk> chunk_lru_;
  size_t dirty_chunks_ = 0;
  RunWriter writer_;
  std::unique_ptr<uint8_t[]> bounce_;
  ByteArray<1024> random_pool_{};
  size_t random_left_ = 0;
};

}  // namespace cloister::volume
