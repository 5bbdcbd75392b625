// Inodes and open files. An Inode is a thing in a file system; a File is one open description of it (or of a
// pipe, socket, event counter) with flags and a position; descriptors name Files. Everything here lives under
// the kernel lock, so reference counts are plain integers. Buffers are kernel memory, or user memory that the
// caller has range-checked and touched.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "enclave/arch/clock.h"
#include "enclave/arch/wait.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

class Counted {
 public:
  Counted() = default;
  virtual ~Counted() = default;
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  void retain() { ++count_; }
  void release() {
    if (--count_ == 0) delete this;
  }

 private:
  uint32_t count_ = 0;
};

template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT: like a pointer
  explicit Ref(T* object) : object_(object) {
    if (object_ != nullptr) object_->retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
  Ref(const Ref<U>& other) : Ref(other.get()) {}  // NOLINT: to a base
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->release();
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};
template <class T, class... Arguments>
Ref<T> make_ref(Arguments&&... arguments) {
  return Ref<T>(new T(std::forward<Arguments>(arguments)...));
}

// File types and permissions as in st_mode.
inline constexpr uint32_t kTypeMask = 0170000, kTypeFile = 0100000, kTypeFolder = 0040000,
                          kTypeLink = 0120000, kTypeCharacter = 0020000, kTypeFifo = 0010000,
                          kTypeSocket = 0140000;
inline constexpr uint32_t kOpenAccess = 3, kOpenWrite = 1, kOpenReadWrite = 2, kOpenCreate = 0100,
                          kOpenExclusive = 0200, kOpenTruncate = 01000, kOpenAppend = 02000,
                          kOpenNonBlock = 04000, kOpenDataSync = 010000, kOpenAsync = 020000,
                          kOpenDirect = 040000, kOpenNoAccessTime = 01000000,
                          kOpenSync = 04010000,  // with O_DSYNC
    kOpenDirectory = 0200000, kOpenNoFollow = 0400000, kOpenCloseOnExec = 02000000, kOpenPath = 010000000,
                          kOpenTemporary = 020000000;  // O_TMPFILE without O_DIRECTORY
inline constexpr uint32_t kOpenKept = kOpenAccess | kOpenAppend | kOpenNonBlock | kOpenPath | kOpenDirectory |
                                      kOpenTemporary | kOpenSync | kOpenDirect | kOpenNoAccessTime |
                                      kOpenNoFollow;  // what fcntl(F_GETFL) shows

struct Stat {
  uint64_t device = 0, inode = 0, links = 1;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t special = 0, size = 0, blocks = 0;
  TimeSpec accessed{}, modified{}, changed{};
};

struct FolderEntry {
  std::string name;
  uint64_t inode = 0;
  uint32_t type = 0;
};

struct SpaceInfo {
  uint64_t type = 0x01021994, block = 4096, blocks = 0, free = 0, files = 0, free_files = 0;
  bool read_only = false;
};

struct AttributeChange {  // null: stays
  const uint32_t* mode = nullptr;
  const uint32_t* uid = nullptr;
  const uint32_t* gid = nullptr;
  const TimeSpec* accessed = nullptr;
  const TimeSpec* modified = nullptr;
};

// F_SEAL_…
inline constexpr uint32_t kSealSeal = 1, kSealShrink = 2, kSealGrow = 4, kSealWrite = 8,
                          kSealFutureWrite = 16;

class File;
inline constexpr uint32_t kNoReplace = 1, kExchange = 2;  // RENAME_…

// What a file system does not do answers with the errno that Linux would give.
class Inode : public Counted {
 public:
  virtual SysResult<Stat> stat() = 0;
  virtual SysResult<size_t> read(uint64_t, MutableByteView) { return Errno::Invalid; }
  virtual SysResult<size_t> write(uint64_t, ByteView) { return Errno::Invalid; }
  virtual SysResult<void> truncate(uint64_t) { return Errno::Invalid; }
  virtual SysResult<std::string> read_link() { return Errno::Invalid; }
  virtual SysResult<Ref<Inode>> lookup(std::string_view) { return Errno::NotDirectory; }
  virtual SysResult<Ref<Inode>> create(std::string_view, uint32_t /*mode with type*/) { return Errno::Perm; }
  virtual SysResult<void> symlink(std::string_view, std::string_view /*target*/) { return Errno::Perm; }
  virtual SysResult<void> link(std::string_view, Inode&) { return Errno::Perm; }
  virtual SysResult<void> unlink(std::string_view) { return Errno::Perm; }
  virtual SysResult<void> remove_folder(std::string_view) { return Errno::Perm; }
  virtual SysResult<void> rename(std::string_view, Inode& /*to*/, std::string_view, uint32_t /*flags*/) {
    return Errno::Perm;
  }
  // Every entry without "." and "..".
  virtual SysResult<std::vector<FolderEntry>> list() { return Errno::NotDirectory; }
  virtual SysResult<void> change(const AttributeChange&) { return Errno::Perm; }
  virtual SysResult<void> sync() { return {}; }
  // The next data (or hole) at or after `offset`, as SEEK_DATA; without knowledge of holes all is data.
  virtual SysResult<uint64_t> seek_content(uint64_t offset, bool data) {
    const uint64_t size = TRY(stat()).size;
    if (offset >= size) return Errno::NoDeviceAddress;
    return data ? offset : size;
  }
  virtual SysResult<Bytes> get_attribute(std::string_view) { return Errno::NotSupported; }
  virtual SysResult<void> set_attribute(std::string_view, ByteView, uint32_t /*XATTR_… flags*/) {
    return Errno::NotSupported;
  }
  virtual SysResult<std::vector<std::string>> list_attributes() { return std::vector<std::string>(); }
  virtual SysResult<void> remove_attribute(std::string_view) { return Errno::NotSupported; }
  virtual SpaceInfo space() { return {}; }
  // What fcntl(2) has sealed: kSeal… bits; nullptr: it takes none. Those about size hold in truncate(), those
  // about writing for who writes by a descriptor: a mapping that is older than the seal goes on.
  virtual uint32_t* seals() { return nullptr; }
  // Special files bring their own File; nullptr: the ordinary one.
  virtual SysResult<Ref<File>> open_special(uint32_t /*flags*/) { return Ref<File>(); }
  virtual bool can_poll() const { return false; }
  virtual bool can_map() const { return true; }
  // Written to although its mount takes no writes: it tells the kernel something.
  virtual bool is_order() const { return false; }
  // A link of /proc that stands for an open file, whatever its text says; nullptr: it is none.
  virtual Ref<File> magic_target() const { return nullptr; }
  virtual uint64_t file_system() const = 0;  // st_dev; renames and links stay in one
  // The first writer opens, the last one closes.
  virtual void writer_opened() {}
  virtual SysResult<void> writer_closed() { return {}; }
};

inline constexpr uint16_t kPollIn = 1, kPollUrgent = 2, kPollOut = 4, kPollError = 8, kPollHangup = 16,
                          kPollInvalid = 32, kPollReadHangup = 0x2000;

// Who wants to know of a file's edges and of its end (epoll).
class FileWatcher {
 public:
  virtual ~FileWatcher() = default;
  // Something has arrived, even if the file was ready before: kPoll… bits, 0 for any. True: one that watches
  // exclusively has taken it.
  virtual bool file_edge(uint16_t bits) = 0;
  virtual bool exclusive() const = 0;
  virtual void file_gone() = 0;
  virtual void file_retimed() = 0;                // next_change() is another one
  virtual SysResult<void> host_set_opened() = 0;  // host_set() is true from now on
  virtual void host_set_closes() = 0;             // and soon no more
  virtual int levels_above() const = 0;           // watchers of the watcher
};

class Epoll;
class Inotify;
class PipeEnd;
class Socket;
class SignalFile;
class PidFile;
class TimerFile;

inline constexpr uint64_t kBytesWaiting = 0x541b;  // FIONREAD

// One open description.
class File : public Counted {
 public:
  explicit File(uint32_t flags) : flags_(flags) {}

  virtual SysResult<size_t> read(MutableByteView) { return Errno::Invalid; }
  virtual SysResult<size_t> write(ByteView) { return Errno::Invalid; }
  virtual SysResult<size_t> pread_kernel(uint64_t, MutableByteView) { return Errno::IllegalSeek; }
  virtual SysResult<size_t> pwrite_kernel(uint64_t, ByteView) { return Errno::IllegalSeek; }
  virtual SysResult<uint64_t> seek(int64_t, int) { return Errno::IllegalSeek; }
  // The last bytes of the read just done, which the program's memory could not take: the next read gives them
  // again.
  virtual void unread(ByteView) {}
  // readv and writev move all buffers in one read or write.
  virtual bool takes_vectors_whole() { return true; }
  virtual SysResult<Stat> stat() = 0;
  virtual SysResult<int64_t> ioctl(uint64_t, uint64_t) { return Errno::NotTty; }
  virtual SysResult<void> shut_down(bool /*reading*/, bool /*writing*/) { return Errno::NotSocket; }
  // kPoll… bits that hold now.
  virtual uint16_t ready() { return kPollIn | kPollOut; }
  // The same without what host_set() is about.
  virtual uint16_t ready_inside() { return ready(); }
  // Where a poller waits for ready() to change; none: it never does.
  virtual void poll_queues(std::vector<WaitQueue*>&) {}
  // When ready() may change by time alone (monotonic clock).
  virtual uint64_t next_change() { return kNoDeadline; }
  // It may have come: watchers are to be told.
  virtual void time_passed() {}
  // poll(2) knows nothing of most files with a name: epoll refuses them.
  virtual bool can_poll() { return true; }
  virtual Socket* socket() { return nullptr; }
  virtual Epoll* epoll() { return nullptr; }
  virtual PipeEnd* pipe() { return nullptr; }
  virtual TimerFile* timer() { return nullptr; }
  virtual PidFile* pidfd() { return nullptr; }
  virtual SignalFile* signals() { return nullptr; }
  virtual Inotify* inotify() { return nullptr; }
  // A host socket or kConsoleInputHandle that the host must be asked about; false: none.
  virtual bool host_handle(uint32_t&) { return false; }
  // kPoll… bits that hold besides what the host says of it.
  virtual uint16_t ready_besides() { return 0; }
  // A set of such, of which each may make ready() true; to be asked about together with what is in the
  // enclave.
  virtual bool host_set(uint32_t&) { return false; }
  // All edges are known in the enclave, so that O_ASYNC can be served.
  virtual bool can_tell_owner() { return false; }
  // Bytes of a pipe's buffer; `wanted` 0: as it is. Errors: BadFile (no pipe), Busy (more is in it).
  virtual SysResult<size_t> pipe_size(size_t /*wanted*/) { return Errno::BadFile; }
  // The last descriptor is gone. Errors reach close(2).
  virtual SysResult<void> closed() { return {}; }
  virtual Inode* inode() { return nullptr; }
  // What has no inode, opened by its link in /proc: another description of the same.
  virtual SysResult<Ref<File>> open_again(uint32_t /*flags*/) { return Errno::NoDeviceAddress; }
  virtual std::string path() { return {}; }
  // Something happened by a call on this description: IN_… bits for inotify.
  virtual void notify_used(uint32_t /*mask*/) {}

  uint32_t flags() const { return flags_; }
  void set_status_flags(uint32_t flags) {
    const uint32_t for_files = inode() == nullptr ? 0 : kOpenDirect | kOpenNoAccessTime;
    const uint32_t changeable = kOpenAppend | kOpenNonBlock | for_files;
    flags_ = (flags_ & ~changeable) | (flags & changeable);
  }
  // Whom SIGIO goes to (fcntl(2), F_SETOWN): a process, or minus a group; 0: nobody.
  int32_t owner() const { return owner_; }
  void set_owner(int32_t owner) { owner_ = owner; }
  void set_async(bool on) { flags_ = on ? flags_ | kOpenAsync : flags_ & ~kOpenAsync; }
  bool readable() const { return (flags_ & kOpenAccess) != kOpenWrite && (flags_ & kOpenPath) == 0; }
  bool writable() const { return (flags_ & kOpenAccess) != 0 && (flags_ & kOpenPath) == 0; }
  bool non_blocking() const { return (flags_ & kOpenNonBlock) != 0; }

  // Descriptors, messages on their way and calls (FileUse) that name this description; at 0 it is closed.
  void named() { ++descriptors_; }
  SysResult<void> unnamed();
  bool has_descriptors() const { return descriptors_ != 0; }
  void add_watcher(FileWatcher& watcher) { watchers_.push_back(&watcher); }
  int levels_of_watchers() const;
  void remove_watcher(FileWatcher& watcher);
  void edge(uint16_t bits);  // FileWatcher::file_edge

 protected:
  void retimed() {
    for (FileWatcher* watcher : watchers_) watcher->file_retimed();
  }
  SysResult<void> tell_of_host_set();  // of all watchers or, with an error, of none
  uint32_t flags_;

 private:
  uint32_t descriptors_ = 0;
  int32_t owner_ = 0;
  std::vector<FileWatcher*> watchers_;
};

// Made for waiting, without a name or a place in a file system.
class WaitFile : public File {
 public:
  using File::File;
  SysResult<Stat> stat() override;
  SysResult<uint64_t> seek(int64_t, int) override { return uint64_t{0}; }  // taken and ignored
  bool takes_vectors_whole() override { return false; }
};

// Whether an open file still has the name that it was opened by.
enum class NameState : uint8_t {
  Kept,
  Gone,     // unlinked, removed or replaced; the path says where it was
  Unnamed,  // never had one and may get one (O_TMPFILE)
  Lost,     // and the folder that it was in is gone, too
};

// A regular file or folder, by its inode. Its path is kept right: whoever renames or removes a name says so
// (name_moved, name_removed), because folders that are open or worked in are walked from.
class InodeFile : public File {
 public:
  InodeFile(Ref<Inode> inode, std::string path, uint32_t flags);
  ~InodeFile() override;
  SysResult<size_t> read(MutableByteView out) override;
  SysResult<size_t> write(ByteView data) override;
  SysResult<size_t> pread_kernel(uint64_t offset, MutableByteView out) override;
  SysResult<size_t> pwrite_kernel(uint64_t offset, ByteView data) override;
  SysResult<uint64_t> seek(int64_t offset, int whence) override;
  SysResult<Stat> stat() override { return inode_->stat(); }
  SysResult<int64_t> ioctl(uint64_t request, uint64_t argument) override;
  SysResult<void> closed() override;
  Inode* inode() override { return inode_.get(); }
  std::string path() override { return path_; }
  void unread(ByteView rest) override { position_ -= rest.size(); }
  NameState name_state() const { return state_; }
  bool can_poll() override { return inode_->can_poll(); }
  // The same inode by the same name, as another description.
  Ref<InodeFile> again(uint32_t flags) const;

  // getdents64 into `out`; 0 at the end.
  SysResult<size_t> read_folder(MutableByteView out);

  // The folder that it is known in, for inotify. Files of the kernel's own have none.
  void set_parent(Ref<Inode> parent) { parent_ = std::move(parent); }
  const std::string& name() const { return name_; }
  Inode* parent() const { return parent_.get(); }
  void notify_used(uint32_t mask) override;
  // Nobody may write it, or map it to write, from now on.
  bool write_sealed() const;
  static std::vector<InodeFile*> all_open();
  // A name has become another one, in `parent`, or is gone: of every open file that has it or is below it.
  static void name_moved(const std::string& from, const std::string& to, const Ref<Inode>& parent,
                         bool is_folder);
  static void name_removed(const std::string& path, bool is_folder);
  // O_TMPFILE: a file has got its first name, and is from now on like any other that may lose its last one.
  static void name_given(const Inode& inode);
  // Whether the file is open for writing.
  static bool any_writer(const Stat& stat);
  void set_name_state(NameState state) { state_ = state; }

 private:
  static constexpr size_t kLists = 1024;
  static InodeFile* g_open[kLists];  // lists, by name
  static InodeFile*& list_of(std::string_view name);
  void enter_list();
  void leave_list();
  static std::vector<InodeFile*> all_at(const std::string& path);
  void set_path(std::string path);
  SysResult<size_t> unsealed(uint64_t offset, size_t size);

  InodeFile* next_ = nullptr;
  InodeFile* previous_ = nullptr;
  Ref<Inode> parent_;
  std::string name_;  // the end of the path
  NameState state_ = NameState::Kept;
  Ref<Inode> inode_;
  std::string path_;
  uint64_t position_ = 0;
  bool writer_ = false;
  std::vector<FolderEntry> entries_;  // a listing is taken once, at position 0
};

// A call on a description that may wait: as in Linux, the description stays open until the call is done,
// whatever becomes of its descriptors meanwhile.
class FileUse {
 public:
  FileUse() = default;
  FileUse(Ref<File> file) : file_(std::move(file)) {  // NOLINT: like a pointer
    if (file_) file_->named();
  }
  FileUse(FileUse&&) noexcept = default;
  FileUse& operator=(FileUse other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  ~FileUse() {
    if (file_) static_cast<void>(file_->unnamed());
  }
  const Ref<File>& ref() const { return file_; }
  File* operator->() const { return file_.get(); }
  File& operator*() const { return *file_; }
  explicit operator bool() const { return static_cast<bool>(file_); }

 private:
  Ref<File> file_;
};

class FdTable {
 public:
  static constexpr int32_t kLimit = 65536;

  SysResult<Ref<File>> find(int32_t fd) const;
  // The same, but descriptors of O_PATH, which only name a file, are as good as none (open(2)).
  SysResult<Ref<File>> get(int32_t fd) const;
  SysResult<int32_t> add(Ref<File> file, bool close_on_exec, int32_t lowest = 0);
  SysResult<void> set(int32_t fd, Ref<File> file, bool close_on_exec);  // dup2: closes what was there
  SysResult<void> close(int32_t fd);
  void close_all();
  void copy_from(const FdTable& other);
  SysResult<bool> close_on_exec(int32_t fd) const;
  SysResult<void> set_close_on_exec(int32_t fd, bool value);
  std::vector<int32_t> open_list() const;
  void set_limit(int32_t limit) { limit_ = limit; }  // RLIMIT_NOFILE: at most kLimit

 private:
  struct Entry {
    Ref<File> file;
    bool close_on_exec = false;
  };
  SysResult<void> drop(Entry& entry);
  std::vector<Entry> entries_;
  int32_t limit_ = 1024;  // what get a number now have one below it
};

}  // namespace cloister::enclave
