#include "enclave/vfs/inotify.h"

#include <cstring>

#include "enclave/arch/user_copy.h"

namespace cloister::enclave {
namespace {

using Key = Inotify::Key;

// As Linux' usual settings: fs.inotify.max_queued_events, max_user_instances, max_user_watches.
constexpr size_t kMostEvents = 16384, kMostInstances = 128, kMostWatches = 65536;
constexpr uint32_t kEvents = 0xfff;

struct EventHead {  // struct inotify_event up to the name
  int32_t watch;
  uint32_t mask, cookie, size;
};

struct Watcher {
  Inotify* instance;
  int32_t number;
};
std::map<Key, std::vector<Watcher>> g_watches;
size_t g_instances = 0, g_watch_count = 0;

struct Facts {
  Key key;
  bool folder = false, gone = false;
};
Facts facts_of(Inode& inode) {
  const auto stat = inode.stat();
  if (!stat.ok()) return {};
  return {{stat->device, stat->inode}, (stat->mode & kTypeMask) == kTypeFolder, stat->links == 0};
}

void forget(const Key& key, const Inotify* instance, int32_t number) {
  const auto found = g_watches.find(key);
  if (found == g_watches.end()) return;
  g_watch_count -= std::erase_if(
      found->second, [&](const Watcher& w) { return w.instance == instance && w.number == number; });
  if (found->second.empty()) g_watches.erase(found);
}

void tell(const Key& key, uint32_t mask, std::string_view name = {}, uint32_t cookie = 0,
          bool unlinked = false) {
  const auto found = g_watches.find(key);
  if (found == g_watches.end()) return;
  const std::vector<Watcher> watchers = found->second;  // one-shot watches go
  for (const Watcher& watcher : watchers)
    watcher.instance->tell(watcher.number, mask, cookie, name, unlinked);
}

// The last name is gone; so is the file, unless somebody has it open.
void end_if_gone(Inode& inode, const InodeFile* except = nullptr) {
  const Facts facts = facts_of(inode);
  if (!facts.gone || !g_watches.contains(facts.key)) return;
  for (InodeFile* file : InodeFile::all_open()) {
    if (file != except && facts_of(*file->inode()).key == facts.key) return;
  }
  tell(facts.key, kNotifyDeleteSelf);
  const auto found = g_watches.find(facts.key);
  if (found == g_watches.end()) return;
  const std::vector<Watcher> watchers = found->second;
  for (const Watcher& watcher : watchers) watcher.instance->ignored(watcher.number);
}

uint32_t folder_bit(bool is_folder) { return is_folder ? kNotifyFolder : 0; }

}  // namespace

bool anyone_watches() { return g_watch_count != 0; }

Inotify::Inotify(uint32_t flags) : WaitFile(flags) { ++g_instances; }

SysResult<Ref<File>> Inotify::create(uint32_t flags) {
  if (g_instances >= kMostInstances) return Errno::TooManyFiles;
  return Ref<File>(new Inotify(flags));
}

Inotify::~Inotify() {
  for (const auto& [number, mark] : marks_) forget(mark.key, this, number);
  --g_instances;
}

size_t Inotify::Event::size() const {
  constexpr size_t kStep = sizeof(EventHead);
  return kStep + (name.empty() ? 0 : (name.size() + 1 + kStep - 1) / kStep * kStep);
}

SysResult<int32_t> Inotify::add(Inode& inode, uint32_t mask) {
  constexpr uint32_t kKept = kEvents | kNotifyExceptUnlinked | kNotifyOnce;
  const Stat stat = TRY(inode.stat());
  const Key key{stat.device, stat.inode};
  if (const auto found = g_watches.find(key); found != g_watches.end()) {
    for (const Watcher& watcher : found->second) {
      if (watcher.instance != this) continue;
      if ((mask & kNotifyMaskCreate) != 0) return Errno::Exists;
      uint32_t& old = marks_[watcher.number].mask;
      old = ((mask & kNotifyMaskAdd) != 0 ? old : 0) | (mask & kKept);
      return watcher.number;
    }
  }
  if (g_watch_count >= kMostWatches) return Errno::NoSpace;
  marks_[++last_] = {key, mask & kKept};
  g_watches[key].push_back({this, last_});
  ++g_watch_count;
  return last_;
}

SysResult<void> Inotify::remove(int32_t number) {
  if (!marks_.contains(number)) return Errno::Invalid;
  ignored(number);
  return {};
}

void Inotify::ignored(int32_t number) {
  forget(marks_[number].key, this, number);
  marks_.erase(number);
  queue({number, kNotifyIgnored, 0, {}});
}

void Inotify::tell(int32_t number, uint32_t mask, uint32_t cookie, std::string_view name, bool unlinked) {
  const auto found = marks_.find(number);
  if (found == marks_.end()) return;
  const uint32_t wanted = found->second.mask;
  if ((mask & wanted & kEvents) == 0) return;
  if (unlinked && (wanted & kNotifyExceptUnlinked) != 0) return;
  queue({number, mask, cookie, std::string(name)});
  if ((wanted & kNotifyOnce) != 0) ignored(number);
}

// An event that says the same as the one before it says nothing.
void Inotify::queue(Event event) {
  if (!events_.empty() && events_.back() == event) return;
  if (events_.size() > kMostEvents) return;
  if (events_.size() == kMostEvents) event = {-1, kNotifyOverflow, 0, {}};
  events_.push_back(std::move(event));
  changed_.wake_all();
  edge(kPollIn);
}

SysResult<size_t> Inotify::read(MutableByteView out) {
  while (events_.empty()) {
    if (non_blocking()) return Errno::Again;
    if (changed_.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
  }
  size_t done = 0;
  while (!events_.empty()) {
    const Event& event = events_.front();
    const size_t size = event.size();
    if (size > out.size() - done) break;
    const EventHead head{event.watch, event.mask, event.cookie, static_cast<uint32_t>(size - sizeof(head))};
    std::memset(out.data() + done, 0, size);
    std::memcpy(out.data() + done, &head, sizeof(head));
    std::memcpy(out.data() + done + sizeof(head), event.name.data(), event.name.size());
    done += size;
    events_.pop_front();
  }
  return done == 0 ? SysResult<size_t>(Errno::Invalid) : done;
}

SysResult<int64_t> Inotify::ioctl(uint64_t request, uint64_t argument) {
  if (request != kBytesWaiting) return Errno::NotTty;
  size_t size = 0;
  for (const Event& event : events_) size += event.size();
  TRY(store_user(argument, static_cast<int32_t>(size)));
  return 0;
}

void notify(Inode& inode, Inode* parent, std::string_view name, uint32_t mask, bool unlinked) {
  if (!anyone_watches()) return;
  const Facts facts = facts_of(inode);
  mask |= folder_bit(facts.folder);
  if (parent != nullptr) tell(facts_of(*parent).key, mask, name, 0, unlinked);
  tell(facts.key, mask);
}

Found found_by(File& file) {
  auto& open = static_cast<InodeFile&>(file);
  Found found{Ref<Inode>(open.inode())};
  found.parent = Ref<Inode>(open.parent());
  found.name = open.name();
  return found;
}

void notify_created(Inode& folder, std::string_view name, bool is_folder) {
  if (anyone_watches()) tell(facts_of(folder).key, kNotifyCreate | folder_bit(is_folder), name);
}

void notify_linked(Inode& inode, Inode& folder, std::string_view name) {
  if (!anyone_watches()) return;
  tell(facts_of(inode).key, kNotifyAttributes);
  tell(facts_of(folder).key, kNotifyCreate, name);
}

void notify_changed(const Found& found, const AttributeChange& change) {
  uint32_t mask = 0;
  if (change.mode != nullptr || change.uid != nullptr || change.gid != nullptr) mask |= kNotifyAttributes;
  // Both times at once are a call for times; one alone looks like the use that sets it.
  if (change.accessed != nullptr && change.modified != nullptr)
    mask |= kNotifyAttributes;
  else if (change.accessed != nullptr)
    mask |= kNotifyAccess;
  else if (change.modified != nullptr)
    mask |= kNotifyModify;
  if (mask != 0) notify(found, mask);
}

void notify_unlinked(const Place& place, bool is_folder) {
  if (!anyone_watches()) return;
  if (!is_folder) tell(facts_of(*place.inode).key, kNotifyAttributes);
  end_if_gone(*place.inode);
  tell(facts_of(*place.parent).key, kNotifyDelete | folder_bit(is_folder), place.name);
}

void notify_moved(const Place& from, const Place& to, bool is_folder) {
  static uint32_t cookie = 0;
  if (!anyone_watches()) return;
  if (++cookie == 0) ++cookie;
  tell(facts_of(*from.parent).key, kNotifyMovedFrom | folder_bit(is_folder), from.name, cookie);
  tell(facts_of(*to.parent).key, kNotifyMovedTo | folder_bit(is_folder), to.name, cookie);
  if (to.inode) tell(facts_of(*to.inode).key, kNotifyAttributes | folder_bit(is_folder));
  tell(facts_of(*from.inode).key, kNotifyMoveSelf);
  if (to.inode) end_if_gone(*to.inode);
}

void notify_closed(const InodeFile& file) {
  if (!anyone_watches()) return;
  auto& self = const_cast<InodeFile&>(file);  // only asked
  end_if_gone(*self.inode(), &file);
}

}  // namespace cloister::enclave
