// Create and open: finding the superblock that a tag names among the slots of volume.fspf.
#include <algorithm>

#include "crypto/random.h"
#include "volume/volume_impl.h"

namespace cloister::volume {
namespace {

constexpr std::string_view kReplay = "The FSPF tag is not fresh - suspected replay attack";
constexpr std::string_view kOwner = "cloister";

Result<std::unique_ptr<StorageFile>> open_main(Storage& storage, OpenMode mode) {
  Result<std::unique_ptr<StorageFile>> file = storage.open(kMainName, mode);
  if (!file.ok() && file.error().code() == Code::NotFound) {
    return Error(Code::NotFound, "there is no volume here: volume.fspf is missing");
  }
  return file;
}

// A tag or a root says that there is a volume: then its absence is not a mistake of who asks.
Result<std::unique_ptr<StorageFile>> open_named(Storage& storage, OpenMode mode) {
  Result<std::unique_ptr<StorageFile>> file = open_main(storage, mode);
  if (file.ok() || file.error().code() != Code::NotFound) return file;
  return Error(Code::Integrity, file.error().message());
}

Result<std::unique_ptr<StorageFile>> create_main(Storage& storage) {
  Result<std::unique_ptr<StorageFile>> file = storage.open(kMainName, OpenMode::CreateNew);
  if (file.ok() || file.error().code() != Code::InvalidArgument) return file;
  return Error(Code::InvalidArgument, "there is a volume here already",
               "name another folder, or remove this one if nobody needs what it holds");
}

// Up to one slot; a short file gives a short (then invalid) slot.
Result<Bytes> read_slot(StorageFile& main, unsigned slot) {
  Bytes block(kBlockSize);
  size_t done = 0;
  while (done < block.size()) {
    const size_t got = TRY(main.read_at(slot * kBlockSize + done, MutableByteView(block).subspan(done)));
    if (got == 0 || got > block.size() - done) break;
    done += got;
  }
  block.resize(done);
  return block;
}

}  // namespace

VolumeImpl::VolumeImpl(Storage& storage, const Superblock& superblock, const Keys& keys,
                       const OpenOptions& options)
    : storage_(storage),
      mode_(superblock.mode),
      read_only_(options.read_only),
      for_repair_(options.for_repair),
      keys_(keys),
      cache_size_(std::max<uint64_t>(options.cache_size, 1u << 20)),
      direct_read_(options.cache_reads ? 8 : 1),
      wanted_epoch_(options.epoch),
      state_(superblock),
      tree_(*this, superblock.mode) {}

VolumeImpl::~VolumeImpl() {
  if (prepared_ && !poisoned_) close();
  if (!poisoned_) {
    for (const ByteArray<16>& object : made_objects_) (void)storage_.remove(object_name(object));
  }
  while (Inode* inode = inode_lru_.oldest()) forget_inode(inode);
  wipe(random_pool_.data(), random_pool_.size());
}

Result<std::unique_ptr<Volume>> VolumeImpl::make(Storage& storage, const Key& key,
                                                 const CreateOptions& options, const VolumeId& id) {
  TRY(storage.lock_for_writing(kOwner));
  Superblock first;
  first.mode = options.mode;
  Keys keys;
  if (options.mode == Mode::Encrypted) {
    first.id = id;
    keys = derive_keys(key, id);
    first.commitment = keys.commitment;
  }
  auto volume = std::make_unique<VolumeImpl>(storage, first, keys, OpenOptions{});
  volume->main_ = TRY(create_main(storage));
  const Result<void> begun = volume->begin(options.now);
  if (begun.ok()) return std::unique_ptr<Volume>(std::move(volume));
  // It holds nothing, and would be in the way of the next attempt.
  volume.reset();
  (void)storage.remove(kMainName);
  return begun.error();
}

// The first state of a new volume.
Result<void> VolumeImpl::begin(Timestamp now) {
  TRY(main_->write_at(0, Bytes(kSuperblockSlots * kBlockSize)));  // takes their place on the disk
  slots_filled_ = true;
  names_unsynced_ = true;
  prepared_ = true;
  fresh_block_ = kFirstBlock;
  tree_.start_empty();
  state_.next_inode = kRootInode;
  VolumeResult<Inode*> root = make_inode(FileType::Directory, kRootInode, 0755, 0, 0, now);
  TRY(lower(std::move(root)));
  TRY(commit());
  return {};
}

Result<VolumeImpl::Scan> VolumeImpl::scan(StorageFile& main, const Key& key) {
  Scan scan;
  for (unsigned slot = 0; slot < kSuperblockSlots; ++slot) {
    const Bytes block = TRY(read_slot(main, slot));
    Result<OpenedSuperblock> opened = open_superblock(key, block);
    if (opened.ok()) {
      const bool done =
          block.size() == kBlockSize && as_text(ByteView(block).subspan(kDoneOffset, kDone.size())) == kDone;
      const crypto::Digest digest = crypto::sha256(ByteView(block).first(kDoneOffset));
      scan.valid.push_back({opened->superblock, opened->keys, opened->tag, slot, done, digest});
    } else if (opened.error().code() == Code::Denied) {
      scan.wrong_key = true;
    } else if (opened.error().code() == Code::Unsupported &&
               decode_head(ByteView(block).first(kHeadSize)).ok()) {
      scan.newer = opened.error();  // the body, and its MAC was right
    } else if (opened.error().code() != Code::Malformed && !scan.other) {
      scan.other = opened.error();
    }
  }
  return scan;
}

Result<std::unique_ptr<VolumeImpl>> VolumeImpl::mount(Storage& storage, std::unique_ptr<StorageFile> main,
                                                      const std::vector<Candidate>& valid,
                                                      const Candidate& chosen, const OpenOptions& options) {
  auto volume = std::make_unique<VolumeImpl>(storage, chosen.superblock, chosen.keys, options);
  volume->main_ = std::move(main);
  volume->tag_ = chosen.tag;
  volume->perhaps_cached_ = !chosen.done;
  if (chosen.superblock.mode == Mode::Encrypted) volume->opened_slot_ = chosen.digest;
  volume->states_.push_back({chosen.slot, chosen.superblock.generation, chosen.tag, false});
  for (const Candidate& other : valid) {
    volume->newest_generation_ = std::max(volume->newest_generation_, other.superblock.generation);
    if (other.superblock.generation > chosen.superblock.generation)
      volume->stale_slots_.push_back(other.slot);
    if (other.superblock.generation < chosen.superblock.generation) volume->gone_slots_.push_back(other.slot);
  }
  volume->fresh_epoch_ = chosen.superblock.epochs;
  volume->fresh_block_ = chosen.superblock.blocks;
  volume->tree_.start_at(chosen.superblock.root, chosen.superblock.height);
  return volume;
}

Result<void> VolumeImpl::expect_root() {
  const VolumeResult<Inode*> root = get_directory(kRootInode);
  if (root.ok()) return {};
  const Reason reason = root.error().reason;
  if (reason == Reason::Io || reason == Reason::Integrity) return static_cast<Error>(root.error());
  return Error(Code::Integrity, "The volume has no root directory");
}

Result<std::unique_ptr<Volume>> Volume::create(Storage& storage, const Key& key,
                                               const CreateOptions& options) {
  VolumeId id{};
  if (options.mode == Mode::Encrypted) crypto::random_bytes(id);
  return VolumeImpl::make(storage, key, options, id);
}

namespace {

Error no_state(const VolumeImpl::Scan& scan) {
  if (scan.wrong_key) return {Code::Integrity, "wrong volume key"};
  if (scan.newer) return *scan.newer;
  if (scan.other) return *scan.other;
  return {Code::Integrity, "Verification of volume.fspf failed: it holds no state of a volume"};
}

}  // namespace

Result<std::unique_ptr<Volume>> Volume::open(Storage& storage, const Key& key, const Tag& tag,
                                             const OpenOptions& options) {
  if (!options.read_only) TRY(storage.lock_for_writing(options.owner));
  std::unique_ptr<StorageFile> main =
      TRY(open_named(storage, options.read_only ? OpenMode::Read : OpenMode::ReadWrite));
  const VolumeImpl::Scan scan = TRY(VolumeImpl::scan(*main, key));
  for (const VolumeImpl::Candidate& candidate : scan.valid) {
    if (equal_constant_time(candidate.tag, tag)) {
      std::unique_ptr<VolumeImpl> volume =
          TRY(VolumeImpl::mount(storage, std::move(main), scan.valid, candidate, options));
      if (!options.for_repair) TRY(volume->expect_root());
      return std::unique_ptr<Volume>(std::move(volume));
    }
  }
  if (!scan.valid.empty()) return Error(Code::Integrity, std::string(kReplay));
  // Whatever stands in place of the state that the tag names, also another version.
  const Error none = no_state(scan);
  return scan.newer && !scan.wrong_key ? none : Error(Code::Integrity, none.message());
}

Result<std::unique_ptr<Volume>> Volume::open_newest_without_freshness(Storage& storage, const Key& key,
                                                                      const OpenOptions& options) {
  if (!options.read_only) TRY(storage.lock_for_writing(options.owner));
  return VolumeImpl::open_newest(storage, key, options, nullptr);
}

// What remains of a commit that a loss of power cut short is left aside for the state before it.
Result<std::unique_ptr<Volume>> VolumeImpl::open_newest(Storage& storage, const Key& key,
                                                        const OpenOptions& options, CommitOpens opens) {
  const OpenMode mode = options.read_only ? OpenMode::Read : OpenMode::ReadWrite;
  std::unique_ptr<StorageFile> main = TRY(open_main(storage, mode));
  Scan scan = TRY(VolumeImpl::scan(*main, key));
  if (scan.valid.empty()) return no_state(scan);
  std::sort(scan.valid.begin(), scan.valid.end(), [](const Candidate& a, const Candidate& b) {
    return a.superblock.generation > b.superblock.generation;
  });
  bool may_be_unfinished = false;
  const auto mount_whole = [&](const Candidate& candidate) -> Result<std::unique_ptr<Volume>> {
    std::unique_ptr<VolumeImpl> volume =
        TRY(VolumeImpl::mount(storage, std::move(main), scan.valid, candidate, options));
    Result<void> whole =
        candidate.superblock.one_barrier ? lower(volume->verify_newest_commit()) : Result<void>();
    // What its writer sealed out of order is for a repair, which does not stop there as the check did.
    may_be_unfinished = !whole.ok() && !volume->sealed_so_;
    if (opens != nullptr && !whole.ok() && whole.error().code() == Code::Integrity) {
      const bool durable = candidate.done || scan.valid.size() == 1 || TRY(opens(*volume));
      may_be_unfinished = !durable;
      if (durable) whole = {};
      volume->poisoned_.reset();
    }
    TRY(std::move(whole));
    if (!options.for_repair) TRY(volume->expect_root());
    return std::unique_ptr<Volume>(std::move(volume));
  };
  Result<std::unique_ptr<Volume>> newest = mount_whole(scan.valid[0]);
  const bool unfinished = !newest.ok() && newest.error().code() == Code::Integrity && may_be_unfinished &&
                          !scan.valid[0].done && scan.valid.size() > 1;
  if (!unfinished) return newest;
  // Only the newest can be unfinished: the next commit begins after the barrier.
  main = TRY(open_main(storage, mode));
  Result<std::unique_ptr<Volume>> before = mount_whole(scan.valid[1]);
  if (!before.ok()) return newest;
  static_cast<VolumeImpl&>(**before).found_unfinished_ = true;
  return before;
}

Result<std::unique_ptr<Volume>> Volume::open_authenticated(Storage& storage, const Root& root,
                                                           const OpenOptions& options) {
  std::unique_ptr<StorageFile> main = TRY(open_named(storage, OpenMode::Read));
  OpenOptions fixed = options;
  fixed.read_only = true;
  std::optional<Error> problem;
  for (unsigned slot = 0; slot < kSuperblockSlots; ++slot) {
    const Bytes block = TRY(read_slot(*main, slot));
    Result<Superblock> parsed = parse_authenticated_superblock(block);
    if (!parsed.ok()) {
      if (parsed.error().code() != Code::Malformed && !problem) problem = parsed.error();
      continue;
    }
    if (compute_root(*parsed) != root) {
      problem = Error(Code::Integrity, "Verification of the volume's root failed");
      continue;
    }
    VolumeImpl::Candidate chosen{*parsed, Keys{}, {}, slot};
    std::memcpy(chosen.tag.data(), root.data(), chosen.tag.size());
    std::unique_ptr<VolumeImpl> volume = TRY(VolumeImpl::mount(storage, std::move(main), {}, chosen, fixed));
    TRY(volume->expect_root());
    volume->set_root(root);
    return std::unique_ptr<Volume>(std::move(volume));
  }
  if (problem) return Error(Code::Integrity, problem->message());
  return Error(Code::Integrity, "Verification of volume.fspf failed: it holds no state of a volume");
}

}  // namespace cloister::volume
