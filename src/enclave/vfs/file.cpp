#include "enclave/vfs/file.h"

#include <algorithm>
#include <cstring>

#include "enclave/arch/signal.h"
#include "enclave/arch/user_copy.h"
#include "enclave/memory/manager.h"
#include "enclave/vfs/inotify.h"
#include "enclave/vfs/locks.h"
#include "enclave/vfs/mounts.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kMaxOffset = INT64_MAX;

// struct linux_dirent64 up to the name.
struct DirentHead {
  uint64_t inode;
  int64_t next;
  uint16_t size;
  uint8_t type;
} __attribute__((packed));

// d_type is the type bits of st_mode, shifted down (dirent.h, IFTODT).
uint8_t dirent_type(uint32_t mode) { return static_cast<uint8_t>((mode & kTypeMask) >> 12); }

}  // namespace

SysResult<void> File::unnamed() {
  if (--descriptors_ != 0) return {};
  for (FileWatcher* watcher : std::exchange(watchers_, {})) watcher->file_gone();
  release_description_locks(*this);
  return closed();
}

void File::edge(uint16_t bits) {
  for (FileWatcher* watcher : watchers_) {
    if (!watcher->exclusive()) static_cast<void>(watcher->file_edge(bits));
  }
  for (FileWatcher* watcher : watchers_) {
    if (watcher->exclusive() && watcher->file_edge(bits)) break;
  }
  // Room in a socket's queue is no reason for a signal in Linux either, unless a send has failed for want of
  // it.
  const bool room = bits == kPollOut && socket() != nullptr;
  if ((flags_ & kOpenAsync) != 0 && !room) send_io_signal(owner_);
}

SysResult<void> File::tell_of_host_set() {
  SysResult<void> told;
  for (auto it = watchers_.begin(); told.ok() && it != watchers_.end(); ++it) told = (*it)->host_set_opened();
  if (!told.ok()) {
    for (FileWatcher* watcher : watchers_) watcher->host_set_closes();
  }
  return told;
}

int File::levels_of_watchers() const {
  int levels = 0;
  for (const FileWatcher* watcher : watchers_) levels = std::max(levels, watcher->levels_above() + 1);
  return levels;
}

void File::remove_watcher(FileWatcher& watcher) {
  const auto found = std::find(watchers_.begin(), watchers_.end(), &watcher);
  if (found != watchers_.end()) watchers_.erase(found);
}

SysResult<Stat> WaitFile::stat() {
  Stat stat;
  stat.device = 5;
  stat.mode = 0600;
  return stat;
}

InodeFile* InodeFile::g_open[kLists];

InodeFile*& InodeFile::list_of(std::string_view name) {
  return g_open[std::hash<std::string_view>()(name) % kLists];
}

void InodeFile::enter_list() {
  InodeFile*& first = list_of(name_);
  next_ = std::exchange(first, this);
  previous_ = nullptr;
  if (next_ != nullptr) next_->previous_ = this;
}

void InodeFile::leave_list() {
  (previous_ != nullptr ? previous_->next_ : list_of(name_)) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

void InodeFile::set_path(std::string path) {
  leave_list();
  path_ = std::move(path);
  name_ = path_.substr(path_.rfind('/') + 1);
  enter_list();
}

std::vector<InodeFile*> InodeFile::all_open() {
  std::vector<InodeFile*> files;
  for (InodeFile* file : g_open) {
    for (; file != nullptr; file = file->next_) files.push_back(file);
  }
  return files;
}

std::vector<InodeFile*> InodeFile::all_at(const std::string& path) {
  std::vector<InodeFile*> files;
  for (InodeFile* file = list_of(path.substr(path.rfind('/') + 1)); file != nullptr; file = file->next_) {
    if (file->path_ == path && file->state_ == NameState::Kept) files.push_back(file);
  }
  return files;
}

void InodeFile::name_moved(const std::string& from, const std::string& to, const Ref<Inode>& parent,
                           bool is_folder) {
  for (InodeFile* file : all_at(from)) {
    file->set_path(to);
    if (file->parent_) file->parent_ = parent;
  }
  if (!is_folder) return;
  // What is gone moves, too: with the folder that it was in.
  const std::string below = from + '/';
  for (InodeFile* file : all_open()) {
    if (file->path_.starts_with(below)) file->set_path(to + file->path_.substr(from.size()));
  }
}

void InodeFile::name_removed(const std::string& path, bool is_folder) {
  for (InodeFile* file : all_at(path)) file->state_ = NameState::Gone;
  if (!is_folder) return;
  const std::string below = path + '/';  // nothing but names that are gone
  for (InodeFile* file : all_open()) {
    if (file->path_.starts_with(below) && file->state_ == NameState::Gone) file->state_ = NameState::Lost;
  }
}

void InodeFile::name_given(const Inode& inode) {
  for (InodeFile* file : all_open()) {
    if (file->inode_.get() == &inode && file->state_ == NameState::Unnamed) file->state_ = NameState::Gone;
  }
}

bool InodeFile::any_writer(const Stat& stat) {
  for (InodeFile* file : all_open()) {
    if (!file->writer_) continue;
    const auto other = file->stat();
    if (other.ok() && other->device == stat.device && other->inode == stat.inode) return true;
  }
  return false;
}

InodeFile::InodeFile(Ref<Inode> inode, std::string path, uint32_t flags)
    : File(flags), inode_(std::move(inode)), path_(std::move(path)) {
  name_ = path_.substr(path_.rfind('/') + 1);
  enter_list();
  if (writable()) {
    writer_ = true;
    inode_->writer_opened();
  }
}

Ref<InodeFile> InodeFile::again(uint32_t flags) const {
  auto file = make_ref<InodeFile>(inode_, path_, flags & kOpenKept);
  file->parent_ = parent_;
  file->state_ = state_;
  return file;
}

void InodeFile::notify_used(uint32_t mask) {
  if ((flags_ & kOpenPath) == 0) notify(*inode_, parent_.get(), name_, mask, state_ != NameState::Kept);
}

InodeFile::~InodeFile() {
  notify_used(writable() ? kNotifyCloseWrite : kNotifyCloseNoWrite);
  notify_closed(*this);
  leave_list();
  if (writer_) static_cast<void>(inode_->writer_closed());  // close() has reported what there was to report
}

SysResult<void> InodeFile::closed() {
  if (!writer_) return {};
  writer_ = false;
  return inode_->writer_closed();
}

SysResult<size_t> InodeFile::read(MutableByteView out) {
  const size_t count = TRY(pread_kernel(position_, out));
  position_ += count;
  return count;
}

SysResult<size_t> InodeFile::write(ByteView data) {
  if ((flags_ & kOpenAppend) != 0) position_ = TRY(inode_->stat()).size;
  const size_t count = TRY(pwrite_kernel(position_, data));
  position_ += count;
  return count;
}

SysResult<size_t> InodeFile::pread_kernel(uint64_t offset, MutableByteView out) {
  TRY(memory_write_back_file(*inode_));
  return inode_->read(offset, out);
}

bool InodeFile::write_sealed() const {
  const uint32_t* seals = inode_->seals();
  return seals != nullptr && (*seals & (kSealWrite | kSealFutureWrite)) != 0;
}

// How many of the bytes may be written there.
SysResult<size_t> InodeFile::unsealed(uint64_t offset, size_t size) {
  if (write_sealed()) return Errno::Perm;
  const uint32_t* seals = inode_->seals();
  if (seals == nullptr || (*seals & kSealGrow) == 0) return size;
  const uint64_t end = TRY(inode_->stat()).size;
  if (offset <= end && size <= end - offset) return size;
  const uint64_t whole = end & ~(kPage - 1);  // as Linux, which writes page by page
  return offset < whole ? SysResult<size_t>(whole - offset) : Errno::Perm;
}

SysResult<size_t> InodeFile::pwrite_kernel(uint64_t offset, ByteView data) {
  if (data.empty()) return size_t{0};
  if (offset > kMaxOffset - data.size()) return Errno::FileTooBig;
  data = data.first(TRY(unsealed(offset, data.size())));
  const size_t count = TRY(inode_->write(offset, data));
  memory_file_written(*inode_, offset, data.first(count));
  return count;
}

SysResult<int64_t> InodeFile::ioctl(uint64_t request, uint64_t argument) {
  const Stat stat = TRY(inode_->stat());
  if (request != kBytesWaiting || (stat.mode & kTypeMask) != kTypeFile) return Errno::NotTty;
  const uint64_t left = stat.size > position_ ? stat.size - position_ : 0;
  TRY(store_user(argument, static_cast<int32_t>(std::min<uint64_t>(left, INT32_MAX))));
  return 0;
}

SysResult<uint64_t> InodeFile::seek(int64_t offset, int whence) {
  enum { kSet = 0, kCurrent = 1, kEnd = 2, kData = 3, kHole = 4 };
  int64_t base = 0;
  if (whence == kCurrent) base = static_cast<int64_t>(position_);
  if (whence == kEnd) base = static_cast<int64_t>(TRY(inode_->stat()).size);
  if (whence == kData || whence == kHole) {
    if (offset < 0) return Errno::NoDeviceAddress;
    position_ = TRY(inode_->seek_content(static_cast<uint64_t>(offset), whence == kData));
    return position_;
  }
  if (whence < kSet || whence > kEnd) return Errno::Invalid;
  if (offset > 0 && base > INT64_MAX - offset) return Errno::Overflow;
  if (base + offset < 0) return Errno::Invalid;
  position_ = static_cast<uint64_t>(base + offset);
  if (position_ == 0) entries_.clear();
  return position_;
}

SysResult<size_t> InodeFile::read_folder(MutableByteView out) {
  if (position_ == 0 || entries_.empty()) {
    if (state_ != NameState::Kept) return Errno::NoEntry;
    const Stat self = TRY(inode_->stat());
    const Stat above = TRY(TRY(folder_at(parent_path(path_)))->stat());
    entries_ = TRY(inode_->list());
    for (FolderEntry& mount : mounts_in(path_)) {
      std::erase_if(entries_, [&](const FolderEntry& entry) { return entry.name == mount.name; });
      entries_.push_back(std::move(mount));
    }
    entries_.insert(entries_.begin(),
                    {FolderEntry{".", self.inode, kTypeFolder}, FolderEntry{"..", above.inode, kTypeFolder}});
  }
  size_t done = 0;
  while (position_ < entries_.size()) {
    const FolderEntry& entry = entries_[position_];
    const size_t size = (sizeof(DirentHead) + entry.name.size() + 1 + 7) & ~size_t{7};
    if (size > out.size() - done) {
      if (done == 0) return Errno::Invalid;
      break;
    }
    const DirentHead head{entry.inode, static_cast<int64_t>(position_ + 1), static_cast<uint16_t>(size),
                          dirent_type(entry.type)};
    std::memset(out.data() + done, 0, size);
    std::memcpy(out.data() + done, &head, sizeof(head));
    std::memcpy(out.data() + done + sizeof(head), entry.name.data(), entry.name.size());
    done += size;
    ++position_;
  }
  return done;
}

SysResult<Ref<File>> FdTable::get(int32_t fd) const {
  Ref<File> file = TRY(find(fd));
  if ((file->flags() & kOpenPath) != 0) return Errno::BadFile;
  return file;
}

SysResult<Ref<File>> FdTable::find(int32_t fd) const {
  if (fd < 0 || static_cast<size_t>(fd) >= entries_.size() || !entries_[static_cast<size_t>(fd)].file)
    return Errno::BadFile;
  return entries_[static_cast<size_t>(fd)].file;
}

SysResult<int32_t> FdTable::add(Ref<File> file, bool close_on_exec, int32_t lowest) {
  if (lowest < 0 || lowest >= limit_) return Errno::Invalid;
  auto fd = static_cast<size_t>(lowest);
  while (fd < entries_.size() && entries_[fd].file) ++fd;
  if (fd >= static_cast<size_t>(limit_)) return Errno::TooManyFiles;
  TRY(set(static_cast<int32_t>(fd), std::move(file), close_on_exec));
  return static_cast<int32_t>(fd);
}

SysResult<void> FdTable::set(int32_t fd, Ref<File> file, bool close_on_exec) {
  if (fd < 0 || fd >= limit_) return Errno::BadFile;
  const auto index = static_cast<size_t>(fd);
  if (index >= entries_.size()) entries_.resize(index + 1);
  file->named();
  Entry old = std::exchange(entries_[index], Entry{std::move(file), close_on_exec});
  if (old.file) static_cast<void>(drop(old));  // dup2(2): errors of the implicit close are lost
  return {};
}

SysResult<void> FdTable::drop(Entry& entry) {
  const Ref<File> file = std::move(entry.file);
  entry = Entry{};
  release_record_locks(*file, this);  // fcntl(2): any close of the file by the process does
  return file->unnamed();
}

SysResult<void> FdTable::close(int32_t fd) {
  TRY(find(fd));
  Entry entry = std::exchange(entries_[static_cast<size_t>(fd)], Entry{});
  return drop(entry);
}

void FdTable::close_all() {
  for (int32_t fd : open_list()) static_cast<void>(close(fd));
  entries_.clear();
}

void FdTable::copy_from(const FdTable& other) {
  limit_ = other.limit_;
  entries_ = other.entries_;
  for (const Entry& entry : entries_) {
    if (entry.file) entry.file->named();
  }
}

SysResult<bool> FdTable::close_on_exec(int32_t fd) const {
  TRY(find(fd));
  return entries_[static_cast<size_t>(fd)].close_on_exec;
}

SysResult<void> FdTable::set_close_on_exec(int32_t fd, bool value) {
  TRY(find(fd));
  entries_[static_cast<size_t>(fd)].close_on_exec = value;
  return {};
}

std::vector<int32_t> FdTable::open_list() const {
  std::vector<int32_t> list;
  for (size_t fd = 0; fd < entries_.size(); ++fd) {
    if (entries_[fd].file) list.push_back(static_cast<int32_t>(fd));
  }
  return list;
}

}  // namespace cloister::enclave
