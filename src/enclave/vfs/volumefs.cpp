// A volume as a file system. The volume library keeps names, content and their verification; here are only
// the translation to inodes and errno, and the moments at which a new tag is made and told to the service.
#include <algorithm>
#include <utility>

#include "crypto/random.h"
#include "enclave/arch/log.h"
#include "enclave/arch/wait.h"
#include "enclave/syscalls/private_calls.h"
#include "enclave/vfs/host_storage.h"
#include "enclave/vfs/sealed.h"
#include "enclave/vfs/vfs.h"
#include "volume/volume.h"

namespace cloister::enclave {
namespace {

using volume::InodeId;
using volume::Reason;
using volume::Volume;

// A changed file's last close commits, but not more often than this: 10 000 small files are one matter, not
// 10 000. What is closed and not yet committed is lost in a crash of the host, as on any file system without
// fsync.
constexpr uint64_t kCommitInterval = kSecond;

volume::Timestamp now() {
  const TimeSpec time = to_timespec(realtime_ns());
  return {time.seconds, static_cast<uint32_t>(time.nanoseconds)};
}
TimeSpec timespec(const volume::Timestamp& time) { return {time.seconds, time.nanoseconds}; }

// Wrong bytes end the enclave before the program could act on them: there is no state that it could trust.
Errno from_volume(const volume::VolumeError& error) {
  switch (error.reason) {
    case Reason::NotFound:
      return Errno::NoEntry;
    case Reason::Exists:
      return Errno::Exists;
    case Reason::NotDirectory:
      return Errno::NotDirectory;
    case Reason::IsDirectory:
      return Errno::IsDirectory;
    case Reason::NotEmpty:
      return Errno::NotEmpty;
    case Reason::NameTooLong:
      return Errno::NameTooLong;
    case Reason::Invalid:
      return Errno::Invalid;
    case Reason::ReadOnly:
      return Errno::ReadOnly;
    case Reason::TooLarge:
      return Errno::FileTooBig;
    case Reason::NoSpace:
      return Errno::NoSpace;
    case Reason::TooManyLinks:
      return Errno::TooManyLinks;
    case Reason::NoData:
      return Errno::NoData;
    case Reason::Range:
      return Errno::Range;
    case Reason::Integrity:
    case Reason::Poisoned:
      end_enclave(3, error.message);
    case Reason::Io:
      log(LogLevel::Error, "{}", error.message);
      return Errno::Io;
  }
  return Errno::Io;
}

#define TRY_VOLUME(expression)                                          \
  ({                                                                    \
    auto volume_result = (expression);                                  \
    if (!volume_result.ok()) return from_volume(volume_result.error()); \
    std::move(volume_result).value();                                   \
  })
#define TRY_VOLUME_VOID(expression)                                     \
  do {                                                                  \
    auto volume_result = (expression);                                  \
    if (!volume_result.ok()) return from_volume(volume_result.error()); \
  } while (false)

uint32_t type_bits(volume::FileType type) {
  switch (type) {
    case volume::FileType::Directory:
      return kTypeFolder;
    case volume::FileType::Symlink:
      return kTypeLink;
    case volume::FileType::Regular:
      return kTypeFile;
  }
  return kTypeFile;
}

// The volume with what its mount needs. Inodes keep it alive.
class Shared : public Counted {
 public:
  Shared(std::unique_ptr<volume::Storage> storage, std::unique_ptr<Volume> volume, uint64_t id)
      : storage_(std::move(storage)), volume_(std::move(volume)), id_(id) {}

  Volume& volume() { return *volume_; }
  uint64_t id() const { return id_; }
  // Its tags go to an anchor, not to a service.
  void keep_tags_in(std::unique_ptr<volume::Anchor> anchor, std::unique_ptr<volume::Storage> storage) {
    last_told_ = volume_->tag();
    anchor_storage_ = std::move(storage);
    anchor_ = std::move(anchor);
  }
  void report_as(const boundary::MountConfig& mount) {
    name_ = mount.name;
    last_told_ = known_ = mount.create ? volume::Tag{} : mount.tag;
    sync_policy_ = mount.sync_policy;
    silent_ = mount.update_policy == boundary::UpdatePolicy::Ephemeral;
  }

  // One at a time: tags must reach the service in order. Threads that wait meanwhile share the next one: it
  // holds all that was written before it began.
  SysResult<void> commit(bool final) {
    const uint64_t wanted = begun_ + 1;
    while (committing_) {
      turn_.wait(kNoDeadline, false);
      if (!final && done_ >= wanted) return {};
    }
    committing_ = true;
    const uint64_t mine = ++begun_;
    SysResult<void> result = commit_now(final);
    if (result.ok()) done_ = mine;
    committing_ = false;
    turn_.wake_all();
    return result;
  }
  // A volume just made has a tag that nobody knows yet. Nobody waits here: the agent is busy mounting.
  SysResult<void> announce() {
    const volume::Tag tag = volume_->tag();
    const boundary::TagChange change{name_, last_told_, tag};
    last_told_ = tag;
    if (silent_) return {};
    return tags_changed({&change, 1}, false);
  }
  SysResult<void> file_closed() {
    if (!volume_->dirty() || volume_->read_only()) return {};
    const uint64_t time = monotonic_ns();
    if (time < next_commit_) return {};
    return commit(false);
  }

 private:
  SysResult<void> commit_now(bool final) {
    auto committed = volume_->commit();
    if (!committed.ok()) return failed(committed.error());
    const volume::Tag tag = committed.value();
    if (anchor_ != nullptr) {
      TRY(anchor(tag));
    } else if (tag != known_ && !silent_) {
      const bool tell = final || sync_policy_ != boundary::SyncPolicy::OnClose;
      if (!tell) return {};
      const bool wait = final || sync_policy_ == boundary::SyncPolicy::Strict;
      TRY(tell_service(tag, wait));
      if (!wait) return {};  // the older state stays until a commit that waits
      known_ = tag;
    }
    if (auto known = volume_->acknowledge(tag); !known.ok()) return failed(known.error());
    next_commit_ = monotonic_ns() + kCommitInterval;
    return {};
  }
  // What it was told before and has not answered, or has refused, it does not hold.
  SysResult<void> tell_service(const volume::Tag& tag, bool wait) {
    if (tag == last_told_) return wait ? tags_answered() : SysResult<void>();
    const boundary::TagChange change{name_, last_told_, tag};
    last_told_ = tag;
    return tags_changed({&change, 1}, wait);
  }
  SysResult<void> anchor(const volume::Tag& tag) {
    if (tag == last_told_) return {};
    if (auto advanced = anchor_->advance(tag); !advanced.ok()) return failed(advanced.error());
    last_told_ = tag;
    return {};
  }
  static SysResult<void> failed(const Error& error) {
    if (error.code() == Code::Integrity) end_enclave(3, error.message());
    log(LogLevel::Error, "{}", error.message());
    return error.hint() == volume::kNoSpaceHint ? Errno::NoSpace : Errno::Io;
  }

  std::unique_ptr<volume::Storage> storage_, anchor_storage_;
  std::unique_ptr<Volume> volume_;
  std::unique_ptr<volume::Anchor> anchor_;  // null: the service keeps the tags
  uint64_t id_;
  std::string name_;
  volume::Tag last_told_{};
  volume::Tag known_{};  // to the service: it has answered
  boundary::SyncPolicy sync_policy_ = boundary::SyncPolicy::Strict;
  bool silent_ = false;
  bool committing_ = false;
  uint64_t begun_ = 0, done_ = 0;  // commits, and the last of them that succeeded
  WaitQueue turn_;
  uint64_t next_commit_ = 0;
};

class VolumeInode final : public Inode {
 public:
  VolumeInode(Ref<Shared> shared, InodeId id) : shared_(std::move(shared)), id_(id) { volume().hold(id_); }
  ~VolumeInode() override { volume().release(id_); }

  SysResult<Stat> stat() override {
    const volume::Attributes a = TRY_VOLUME(volume().attributes(id_));
    Stat stat;
    stat.device = shared_->id();
    stat.inode = id_;
    stat.links = a.links;
    stat.mode = type_bits(a.type) | (a.type == volume::FileType::Symlink ? 0777u : a.permissions);
    stat.uid = a.uid;
    stat.gid = a.gid;
    stat.size = a.size;
    stat.blocks = (a.allocated + 511) / 512;
    stat.modified = timespec(a.modified);
    stat.accessed = stat.modified;  // reading changes nothing, so there is no access time of its own
    stat.changed = timespec(a.changed);
    return stat;
  }
  SysResult<size_t> read(uint64_t offset, MutableByteView out) override {
    return TRY_VOLUME(volume().read(id_, offset, out));
  }
  SysResult<size_t> write(uint64_t offset, ByteView data) override {
    TRY_VOLUME_VOID(volume().write(id_, offset, data, now()));
    return data.size();
  }
  SysResult<void> truncate(uint64_t size) override {
    TRY_VOLUME_VOID(volume().truncate(id_, size, now()));
    return {};
  }
  SysResult<std::string> read_link() override { return TRY_VOLUME(volume().read_symlink(id_)); }
  SysResult<Ref<Inode>> lookup(std::string_view name) override {
    return inode(TRY_VOLUME(volume().lookup(id_, name)));
  }
  SysResult<Ref<Inode>> create(std::string_view name, uint32_t mode) override {
    const auto permissions = static_cast<uint16_t>(mode & 07777);
    switch (mode & kTypeMask) {
      case kTypeFolder:
        return inode(TRY_VOLUME(volume().make_directory(id_, name, permissions, 0, 0, now())));
      case kTypeFile:
        return inode(TRY_VOLUME(volume().create_file(id_, name, permissions, 0, 0, now())));
      default:
        return Errno::Perm;  // devices, pipes and sockets have no place in a volume
    }
  }
  SysResult<void> symlink(std::string_view name, std::string_view target) override {
    TRY_VOLUME(volume().make_symlink(id_, name, target, 0, 0, now()));
    return {};
  }
  SysResult<void> link(std::string_view name, Inode& other) override {
    TRY_VOLUME_VOID(volume().link(same(other).id_, id_, name, now()));
    return {};
  }
  SysResult<void> unlink(std::string_view name) override {
    TRY_VOLUME_VOID(volume().unlink(id_, name, now()));
    return {};
  }
  SysResult<void> remove_folder(std::string_view name) override {
    TRY_VOLUME_VOID(volume().remove_directory(id_, name, now()));
    return {};
  }
  SysResult<void> rename(std::string_view name, Inode& to, std::string_view to_name,
                         uint32_t flags) override {
    if (flags == kExchange) {
      TRY_VOLUME_VOID(volume().exchange(id_, name, same(to).id_, to_name, now()));
      return {};
    }
    if (flags == kNoReplace && volume().lookup(same(to).id_, to_name).ok()) return Errno::Exists;
    TRY_VOLUME_VOID(volume().rename(id_, name, same(to).id_, to_name, now()));
    return {};
  }
  SysResult<std::vector<FolderEntry>> list() override {
    constexpr size_t kBatch = 256;
    std::vector<FolderEntry> list;
    std::vector<volume::DirectoryEntry> batch;
    uint64_t cookie = 0;
    do {
      batch.clear();
      cookie = TRY_VOLUME(volume().read_directory(id_, cookie, kBatch, batch));
      for (auto& entry : batch) list.push_back({std::move(entry.name), entry.inode, type_bits(entry.type)});
    } while (cookie != 0);
    return list;
  }
  SysResult<void> change(const AttributeChange& change) override {
    volume::AttributeChange out;
    if (change.mode != nullptr) out.permissions = static_cast<uint16_t>(*change.mode & 07777);
    if (change.uid != nullptr) out.uid = *change.uid;
    if (change.gid != nullptr) out.gid = *change.gid;
    if (change.modified != nullptr)
      out.modified =
          volume::Timestamp{change.modified->seconds, static_cast<uint32_t>(change.modified->nanoseconds)};
    TRY_VOLUME_VOID(volume().set_attributes(id_, out, now()));
    return {};
  }
  SysResult<void> sync() override { return shared_->commit(false); }
  SysResult<uint64_t> seek_content(uint64_t offset, bool data) override {
    const auto found = data ? volume().seek_data(id_, offset) : volume().seek_hole(id_, offset);
    if (found.ok()) return found.value();
    return found.error().reason == Reason::NotFound ? Errno::NoDeviceAddress : from_volume(found.error());
  }
  SysResult<Bytes> get_attribute(std::string_view name) override {
    return TRY_VOLUME(volume().get_xattr(id_, name));
  }
  SysResult<void> set_attribute(std::string_view name, ByteView value, uint32_t flags) override {
    TRY_VOLUME_VOID(volume().set_xattr(id_, name, value, (flags & 1) != 0, (flags & 2) != 0, now()));
    return {};
  }
  SysResult<std::vector<std::string>> list_attributes() override {
    return TRY_VOLUME(volume().list_xattrs(id_));
  }
  SysResult<void> remove_attribute(std::string_view name) override {
    TRY_VOLUME_VOID(volume().remove_xattr(id_, name, now()));
    return {};
  }
  SpaceInfo space() override {
    const Volume::Usage usage = volume().usage();
    SpaceInfo info;
    info.blocks = uint64_t{1} << 32;  // how much room the host has is the host's word; writes tell
    info.free = info.blocks - std::min(info.blocks, usage.data_size / info.block);
    info.files = uint64_t{1} << 32;
    info.free_files = info.files - std::min(info.files, usage.files);
    info.read_only = volume().read_only();
    return info;
  }
  uint64_t file_system() const override { return shared_->id(); }
  void writer_opened() override {}
  SysResult<void> writer_closed() override { return shared_->file_closed(); }

 private:
  Volume& volume() { return shared_->volume(); }
  Ref<Inode> inode(InodeId id) { return make_ref<VolumeInode>(shared_, id); }
  // The caller has compared file_system().
  static VolumeInode& same(Inode& other) { return static_cast<VolumeInode&>(other); }

  Ref<Shared> shared_;
  InodeId id_;
};

class Mounted final : public MountedVolume {
 public:
  explicit Mounted(Ref<Shared> shared) : shared_(std::move(shared)) {}
  Ref<Inode> root() override { return make_ref<VolumeInode>(shared_, volume::kRootInode); }
  SysResult<void> commit(bool final) override {
    return shared_->volume().read_only() ? SysResult<void>() : shared_->commit(final);
  }

 private:
  Ref<Shared> shared_;
};

Result<std::unique_ptr<Volume>> open_volume(const boundary::MountConfig& mount, volume::Storage& storage) {
  if (mount.create || mount.update_policy == boundary::UpdatePolicy::Ephemeral) {
    volume::CreateOptions create;
    create.now = now();
    return Volume::create(storage, mount.key, create);
  }
  volume::OpenOptions options;
  options.read_only = mount.read_only;
  options.owner = "an enclave";
  options.epoch = mount.epoch;
  if (mount.update_policy == boundary::UpdatePolicy::NoRollbackProtection) {
    auto volume = TRY(Volume::open_newest_without_freshness(storage, mount.key, options));
    if (volume->found_unfinished_commit())
      log(LogLevel::Warning, "the newest state of a volume is not whole: the one before it was opened");
    return volume;
  }
  return Volume::open(storage, mount.key, mount.tag, options);
}

}  // namespace

SysResult<std::unique_ptr<MountedVolume>> mount_root_volume(const ByteArray<32>& root) {
  auto storage = TRY(bind_host_storage("root"));
  volume::OpenOptions options;
  options.read_only = true;
  auto volume = Volume::open_authenticated(*storage, root, options);
  if (!volume.ok()) {
    log(LogLevel::Error, "root volume: {}", volume.error().message());
    return Errno::Io;
  }
  auto shared = make_ref<Shared>(std::move(storage), std::move(volume).value(), 1);
  return std::unique_ptr<MountedVolume>(std::make_unique<Mounted>(std::move(shared)));
}

SysResult<std::unique_ptr<MountedVolume>> mount_encrypted_volume(const boundary::MountConfig& mount,
                                                                 uint64_t id, std::string& why) {
  auto storage = bind_host_storage(mount.path);
  if (!storage.ok()) {
    why = "the host gives no folder for it (errno " + std::to_string(static_cast<int>(storage.error())) + ")";
    return storage.error();
  }
  auto volume = open_volume(mount, *storage.value());
  if (!volume.ok()) {
    why = volume.error().message();
    if (volume.error().code() == Code::Integrity) end_enclave(3, "volume " + mount.name + ": " + why);
    return Errno::Io;
  }
  auto shared = make_ref<Shared>(std::move(storage).value(), std::move(volume).value(), id);
  shared->report_as(mount);
  auto mounted = std::make_unique<Mounted>(shared);
  if (mount.create) TRY(shared->announce());
  return std::unique_ptr<MountedVolume>(std::move(mounted));
}

std::unique_ptr<MountedVolume> mount_opened(SealedVolume sealed, uint64_t id) {
  auto shared = make_ref<Shared>(std::move(sealed.storage), std::move(sealed.opened.volume), id);
  shared->keep_tags_in(std::move(sealed.opened.anchor), std::move(sealed.anchor_storage));
  return std::make_unique<Mounted>(std::move(shared));
}

}  // namespace cloister::enclave
