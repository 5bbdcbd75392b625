#include "enclave/vfs/epoll.h"

#include <algorithm>

#include "enclave/arch/thread.h"
#include "enclave/vfs/poll.h"

namespace cloister::enclave {
namespace {

constexpr uint16_t kAlways = kPollError | kPollHangup;
// The bits of poll(2) that the kernel knows; EPOLLRDNORM and EPOLLWRNORM follow IN and OUT.
constexpr uint32_t kKnown = kPollIn | kPollUrgent | kPollOut | kPollReadHangup;
constexpr uint32_t kReadNormal = 0x40, kWriteNormal = 0x100;
constexpr int kMaxLevels = 5;  // of one epoll in another, as Linux

uint16_t to_poll(uint32_t events) {
  auto bits = static_cast<uint16_t>(events & kKnown);
  if ((events & kReadNormal) != 0) bits |= kPollIn;
  if ((events & kWriteNormal) != 0) bits |= kPollOut;
  return bits;
}

uint32_t to_epoll(uint16_t ready, uint32_t events) {
  uint32_t bits = ready & (events | kAlways);
  if ((ready & kPollIn) != 0) bits |= events & kReadNormal;
  if ((ready & kPollOut) != 0) bits |= events & kWriteNormal;
  return bits;
}

}  // namespace

SysResult<void> Epoll::control(int32_t operation, int32_t fd, const Ref<File>& file,
                               const EpollEvent& event) {
  if (file.get() == this) return Errno::Invalid;
  if (file->inode() != nullptr) {
    const uint32_t type = TRY(file->stat()).mode & kTypeMask;
    if (type == kTypeFile || type == kTypeFolder) return Errno::Perm;
  }
  const Key key{fd, file.get()};
  const auto found = items_.find(key);
  const bool there = found != items_.end();
  switch (operation) {
    case kAdd:
      if (there) return Errno::Exists;
      if (const auto* other = file->epoll();
          other != nullptr &&
          (other->contains(*this) || levels_of_watchers() + 1 + other->levels_below() > kMaxLevels))
        return Errno::Loop;
      items_[key].event = event;
      file->add_watcher(*this);
      break;
    case kModify:
      if (!there) return Errno::NoEntry;
      if (((event.events | found->second.event.events) & kEpollExclusive) != 0) return Errno::Invalid;
      found->second = Item{event};
      break;
    case kDelete:
      if (!there) return Errno::NoEntry;
      file->remove_watcher(*this);
      items_.erase(found);
      break;
    default:
      return Errno::Invalid;
  }
  file_edge();
  return {};
}

// Both go down at most kMaxLevels.
bool Epoll::contains(const Epoll& other) const {
  if (&other == this) return true;
  return std::any_of(items_.begin(), items_.end(), [&](const auto& item) {
    const Epoll* inner = item.first.second->epoll();
    return inner != nullptr && inner->contains(other);
  });
}

int Epoll::levels_below() const {
  int levels = 0;
  for (const auto& [key, item] : items_) {
    if (const Epoll* inner = key.second->epoll()) levels = std::max(levels, inner->levels_below());
  }
  return levels + 1;
}

void Epoll::file_edge() {
  changed_.wake_all();
  edge();
}

void Epoll::file_gone(File& file) {
  std::erase_if(items_, [&](const auto& item) { return item.first.second == &file; });
  changed_.wake_all();
}

void Epoll::clear() {
  for (const auto& [key, item] : items_) key.second->remove_watcher(*this);
  items_.clear();
}

// The bits to ask for; `hidden`: those that were reported and have had no edge since.
uint16_t Epoll::wanted(const Key& key, const Item& item, uint16_t& hidden) {
  hidden = 0;
  if (!item.armed) return 0;
  if ((item.event.events & kEpollEdge) != 0) {
    const Edges edges = key.second->edges();
    if (item.edges.in == edges.in) hidden |= item.reported & ~kPollOut;
    if (item.edges.out == edges.out) hidden |= item.reported & kPollOut;
  }
  return static_cast<uint16_t>(to_poll(item.event.events) & ~hidden);
}

std::vector<Watch> Epoll::watches(std::vector<Key>& keys) {
  std::vector<Watch> list;
  for (const auto& [key, item] : items_) {
    uint16_t hidden = 0;
    const uint16_t events = wanted(key, item, hidden);
    // Errors and hang-ups are always asked for; one that was reported would wake us for ever.
    if (!item.armed || (hidden & kAlways) != 0) continue;
    list.push_back({Ref<File>(key.second), events, 0});
    keys.push_back(key);
  }
  return list;
}

size_t Epoll::harvest(const std::vector<Watch>& watches, const std::vector<Key>& keys, EpollEvent* out,
                      size_t room) {
  size_t count = 0;
  const size_t size = watches.size();
  const size_t begin = size == 0 ? 0 : start_ % size;
  for (size_t i = 0; i < size && count < room; ++i) {
    const size_t at = (begin + i) % size;
    const auto found = items_.find(keys[at]);
    if (watches[at].ready == 0 || found == items_.end()) continue;
    Item& item = found->second;
    const uint32_t bits = to_epoll(watches[at].ready, item.event.events);
    if (bits == 0 || !item.armed) continue;
    uint16_t hidden = 0;
    (void)wanted(keys[at], item, hidden);
    item.reported = static_cast<uint16_t>(hidden | watches[at].ready);
    item.edges = keys[at].second->edges();
    if ((item.event.events & kEpollOneShot) != 0) item.armed = false;
    out[count++] = {bits, item.event.data};
    start_ = at + 1;
  }
  return count;
}

SysResult<size_t> Epoll::wait(EpollEvent* out, size_t room, uint64_t deadline) {
  for (;;) {
    std::vector<Key> keys;
    std::vector<Watch> list = watches(keys);
    TRY(wait_ready(list, deadline, &changed_));
    if (const size_t count = harvest(list, keys, out, room); count != 0) return count;
    if (deadline != kNoDeadline && monotonic_ns() >= deadline) return size_t{0};
  }
}

SysResult<Stat> Epoll::stat() {
  Stat stat;
  stat.device = 5;
  stat.mode = 0600;
  return stat;
}

uint16_t Epoll::ready() {
  std::vector<Key> keys;
  for (const Watch& watch : watches(keys)) {
    if (((watch.events | kAlways) & watch.file->ready()) != 0) return kPollIn;
  }
  return 0;
}

void Epoll::poll_queues(std::vector<WaitQueue*>& queues) {
  queues.push_back(&changed_);
  for (const auto& [key, item] : items_) key.second->poll_queues(queues);
}

void Epoll::add_inner_watches(std::vector<Watch>& list) {
  std::vector<Key> keys;
  for (Watch& watch : watches(keys)) list.push_back(std::move(watch));
}

uint64_t Epoll::next_change() {
  uint64_t next = kNoDeadline;
  for (const auto& [key, item] : items_) next = std::min(next, key.second->next_change());
  return next;
}

}  // namespace cloister::enclave
