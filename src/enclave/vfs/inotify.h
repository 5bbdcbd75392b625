// inotify: who wants to know what happens to files and folders of this enclave, on whatever file system. The
// calls that change or use files say so here (notify_…); as long as nobody watches, that costs one
// comparison, and at renames and removals a look for open files of that name. Watches belong to inodes by
// their numbers, so hard links and second lookups are the same file.
//
// An open file knows the folder and name it was opened by, which renames keep up to date: what happens
// through it is told to the watches of the folder, too. Kernel lock held everywhere.
#pragma once

#include <deque>
#include <map>

#include "enclave/vfs/file.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {

// IN_…
inline constexpr uint32_t kNotifyAccess = 1, kNotifyModify = 2, kNotifyAttributes = 4, kNotifyCloseWrite = 8,
                          kNotifyCloseNoWrite = 0x10, kNotifyOpen = 0x20, kNotifyMovedFrom = 0x40,
                          kNotifyMovedTo = 0x80, kNotifyCreate = 0x100, kNotifyDelete = 0x200,
                          kNotifyDeleteSelf = 0x400, kNotifyMoveSelf = 0x800, kNotifyOverflow = 0x4000,
                          kNotifyIgnored = 0x8000, kNotifyOnlyFolder = 0x1000000, kNotifyKeepLink = 0x2000000,
                          kNotifyExceptUnlinked = 0x4000000, kNotifyMaskCreate = 0x10000000,
                          kNotifyMaskAdd = 0x20000000, kNotifyFolder = 0x40000000, kNotifyOnce = 0x80000000;

class Inotify final : public WaitFile {
 public:
  // Errors: TooManyFiles (so many instances at once).
  static SysResult<Ref<File>> create(uint32_t flags);
  ~Inotify() override;
  // Returns the watch's number. Errors: Exists (with kNotifyMaskCreate), NoSpace.
  SysResult<int32_t> add(Inode& inode, uint32_t mask);
  SysResult<void> remove(int32_t number);

  SysResult<size_t> read(MutableByteView out) override;
  SysResult<int64_t> ioctl(uint64_t request, uint64_t argument) override;
  bool can_tell_owner() override { return true; }
  uint16_t ready() override { return events_.empty() ? uint16_t{0} : kPollIn; }
  void poll_queues(std::vector<WaitQueue*>& queues) override { queues.push_back(&changed_); }
  Inotify* inotify() override { return this; }

  struct Key {  // of an inode
    uint64_t device = 0, inode = 0;
    auto operator<=>(const Key&) const = default;
  };
  // An event for a watch of this one. `mask` with kNotifyFolder.
  void tell(int32_t number, uint32_t mask, uint32_t cookie, std::string_view name, bool unlinked);
  void ignored(int32_t number);  // its inode is gone

 private:
  explicit Inotify(uint32_t flags);
  struct Event {
    int32_t watch;
    uint32_t mask, cookie;
    std::string name;
    size_t size() const;  // as read(2) gives it
    bool operator==(const Event&) const = default;
  };
  struct Mark {
    Key key;
    uint32_t mask;
  };
  void queue(Event event);

  std::map<int32_t, Mark> marks_;
  int32_t last_ = 0;
  std::deque<Event> events_;
  WaitQueue changed_;
};

bool anyone_watches();
// An inode as it was found: with the folder and the name, if it has them.
struct Found {
  Ref<Inode> inode, parent;
  std::string name;
  explicit Found(Ref<Inode> only) : inode(std::move(only)) {}
  explicit Found(const Place& place)
      : inode(place.inode), parent(place.name == "." ? nullptr : place.parent), name(place.name) {}
};
Found found_by(File& file);  // which has an inode
void notify(Inode& inode, Inode* parent, std::string_view name, uint32_t mask, bool unlinked = false);
inline void notify(const Found& found, uint32_t mask) {
  notify(*found.inode, found.parent.get(), found.name, mask);
}
void notify_created(Inode& folder, std::string_view name, bool is_folder);
void notify_linked(Inode& inode, Inode& folder, std::string_view name);
void notify_changed(const Found& found, const AttributeChange& change);
void notify_unlinked(const Place& place, bool is_folder);
void notify_moved(const Place& from, const Place& to, bool is_folder);
// An open file without a name is closed.
void notify_closed(const InodeFile& file);

}  // namespace cloister::enclave
