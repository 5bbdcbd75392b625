#include "enclave/vfs/epoll.h"

#include <algorithm>

#include "enclave/arch/host.h"
#include "enclave/arch/thread.h"

namespace cloister::enclave {
namespace {

constexpr uint16_t kAlways = kPollError | kPollHangup;
// The bits of poll(2) that the kernel knows; EPOLLRDNORM and EPOLLWRNORM follow IN and OUT.
constexpr uint32_t kKnown = kPollIn | kPollUrgent | kPollOut | kPollReadHangup;
constexpr uint32_t kReadNormal = 0x40, kWriteNormal = 0x100, kEventBits = 0xffff;
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

// What the host's epoll is asked for.
uint32_t to_host(uint32_t events, bool inner) {
  const uint32_t ways = events & (kEpollEdge | kEpollOneShot | kEpollExclusive);
  // An inner epoll is looked at here when its set says something: one report of it may be one of ours or
  // none.
  return inner ? (events & kEpollEdge) | (to_poll(events) & kPollIn) : (events & kEventBits) | ways;
}

}  // namespace

void Epoll::List::append(Item& item) {
  item.listed = true;
  item.next = nullptr;
  item.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &item;
  last_ = &item;
}

void Epoll::List::take_out(Item& item) {
  item.listed = false;
  (item.previous != nullptr ? item.previous->next : first_) = item.next;
  (item.next != nullptr ? item.next->previous : last_) = item.previous;
}

void Epoll::List::put_in_front(List& other) {
  if (other.first_ == nullptr) return;
  (first_ != nullptr ? first_->previous : last_) = other.last_;
  other.last_->next = first_;
  first_ = other.first_;
  other.first_ = other.last_ = nullptr;
}

Epoll::~Epoll() {
  while (!items_.empty()) {
    Item& item = items_.begin()->second;
    item.file().remove_watcher(item);
    items_.erase(items_.begin());
  }
  if (has_set_) host::poll_set_close(set_);
}

SysResult<void> Epoll::control(int32_t operation, int32_t fd, const Ref<File>& file,
                               const EpollEvent& event) {
  constexpr uint32_t kWithExclusive =
      kPollIn | kPollOut | kAlways | kEpollWakeUp | kEpollEdge | kEpollExclusive;
  if (file.get() == this) return Errno::Invalid;
  const bool exclusive = operation != kDelete && (event.events & kEpollExclusive) != 0;
  if (exclusive &&
      (operation == kModify || file->epoll() != nullptr || (event.events & ~kWithExclusive) != 0))
    return Errno::Invalid;
  const Key key{fd, file.get()};
  const auto found = items_.find(key);
  const bool there = found != items_.end();
  switch (operation) {
    case kAdd:
      if (there) return Errno::Exists;
      return add(key, event);
    case kModify:
      if (!there) return Errno::NoEntry;
      if (found->second.exclusive()) return Errno::Invalid;
      return modify(found->second, event);
    case kDelete:
      if (!there) return Errno::NoEntry;
      file->remove_watcher(found->second);
      remove(found->second);
      return {};
    default:
      return Errno::Invalid;
  }
}

SysResult<void> Epoll::add(const Key& key, const EpollEvent& event) {
  File& file = *key.second;
  if (const Epoll* other = file.epoll();
      other != nullptr &&
      (other->contains(*this) || levels_of_watchers() + 1 + other->levels_below() > kMaxLevels))
    return Errno::Loop;
  Item& item = items_.try_emplace(key, *this, key, event).first->second;
  uint32_t handle = 0;
  if (file.host_handle(handle) || file.host_set(handle)) {
    const auto joined = join_host_set(item, handle);
    // Standard input that is a file on the host is always ready.
    const bool file_there =
        handle == host::kConsoleInputHandle && !joined.ok() && joined.error() == Errno::Perm;
    if (!joined.ok() && !file_there) {
      items_.erase(key);
      return joined.error();
    }
  }
  file.add_watcher(item);
  retime(item);
  list_if_ready(item);
  return {};
}

SysResult<void> Epoll::modify(Item& item, const EpollEvent& event) {
  if (item.host_key != 0) {
    uint32_t handle = 0;
    const bool inner = item.file().epoll() != nullptr;
    (void)(inner ? item.file().host_set(handle) : item.file().host_handle(handle));
    TRY(host::poll_set_control(set_, host::SetOperation::Modify, handle, item.host_key,
                               to_host(event.events, inner)));
  }
  item.event = event;
  item.armed = true;
  list_if_ready(item);
  return {};
}

void Epoll::remove(Item& item) {
  leave_host_set(item);
  if (item.listed) ready_.take_out(item);
  if (item.due != kNoDeadline) timed_.erase({item.due, &item});
  items_.erase(Key(item.key));
}

// Errors: those of the host, which has to find room.
SysResult<void> Epoll::join_host_set(Item& item, uint32_t handle) {
  if (!has_set_) {
    set_ = TRY(host::poll_set_open());
    has_set_ = true;
    if (const auto told = tell_of_host_set(); !told.ok()) {
      has_set_ = false;
      host::poll_set_close(set_);
      return told.error();
    }
    pollers_.wake_all();
    waiters_.wake_all();
  }
  const uint64_t key = ++last_host_key_;
  const bool inner = item.file().epoll() != nullptr;
  TRY(host::poll_set_control(set_, host::SetOperation::Add, handle, key, to_host(item.event.events, inner)));
  item.host_key = key;
  hosted_[key] = &item;
  return {};
}

void Epoll::leave_host_set(Item& item) {
  if (item.host_key == 0) return;
  static_cast<void>(host::poll_set_control(set_, host::SetOperation::Remove, 0, item.host_key, 0));
  hosted_.erase(item.host_key);
  item.host_key = 0;
}

SysResult<void> Epoll::Item::host_set_opened() {
  uint32_t handle = 0;
  return host_key == 0 && file().host_set(handle) ? owner.join_host_set(*this, handle) : SysResult<void>();
}

bool Epoll::host_set(uint32_t& handle) {
  handle = host::poll_set_handle(set_);
  return has_set_;
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

// True: a waiter has been woken for it, which is enough for those that watch exclusively.
bool Epoll::Item::file_edge(uint16_t bits) {
  const auto wanted = static_cast<uint16_t>(to_poll(event.events) | kAlways);
  if (!armed || (bits != 0 && (bits & wanted) == 0)) return false;
  if (!listed) owner.ready_.append(*this);
  const bool woken = owner.waiters_.wake(1) != 0;
  owner.pollers_.wake_all();
  owner.edge(kPollIn);
  return woken;
}

// As after an arrival, if there is something now. Of hosted items the host tells the rest.
void Epoll::list_if_ready(Item& item) {
  const uint16_t ready = item.hosted() ? item.file().ready_besides() : item.file().ready();
  if (to_epoll(ready, item.event.events) != 0) static_cast<void>(item.file_edge(0));
}

void Epoll::retime(Item& item) {
  const uint64_t before = next_change();
  if (item.due != kNoDeadline) timed_.erase({item.due, &item});
  item.due = item.file().next_change();
  if (item.due != kNoDeadline) timed_.insert({item.due, &item});
  if (next_change() == before) return;
  if (next_change() < before) {
    waiters_.wake_all();
    pollers_.wake_all();
  }
  retimed();
}

void Epoll::time_passed() {
  if (timed_.empty()) return;
  const uint64_t now = monotonic_ns();
  while (!timed_.empty() && timed_.begin()->first <= now) {
    Item& item = *timed_.begin()->second;
    item.file().time_passed();
    retime(item);
  }
}

// Leaves out of the list what is not ready; true: something is.
bool Epoll::listing_ready() {
  while (Item* item = ready_.first()) {
    if (item->armed && to_epoll(item->file().ready(), item->event.events) != 0) return true;
    ready_.take_out(*item);
  }
  return false;
}

bool Epoll::report(Item& item, uint32_t bits, EpollReports& out) {
  if (bits == 0 || !item.armed) return false;
  if (item.hosted() && out.may_repeat) {
    const auto found = std::find(out.keys.begin(), out.keys.end(), item.key);
    if (found != out.keys.end()) {
      out.events[static_cast<size_t>(found - out.keys.begin())].events |= bits;
      return true;
    }
  }
  if ((item.event.events & kEpollOneShot) != 0) item.armed = false;
  out.events.push_back({bits, item.event.data});
  out.keys.push_back(item.key);
  return true;
}

// Makes the host report anew what it has reported already.
bool Epoll::look_again(Item& item, uint32_t handle) {
  if (!item.exclusive()) {
    return host::poll_set_control(set_, host::SetOperation::Modify, handle, item.host_key,
                                  to_host(item.event.events, false))
        .ok();
  }
  leave_host_set(item);  // epoll refuses to modify these
  return join_host_set(item, handle).ok();
}

void Epoll::take_back(const EpollReports& reports, size_t first) {
  for (size_t i = first; i < reports.keys.size(); ++i) {
    const auto found = items_.find(reports.keys[i]);
    if (found == items_.end()) continue;
    Item& item = found->second;
    item.armed = true;
    uint32_t handle = 0;
    const bool hosted = item.host_key != 0 && item.file().host_handle(handle);
    if (!(hosted && look_again(item, handle)) && !item.listed) ready_.append(item);
  }
  waiters_.wake(1);
}

void Epoll::harvest(EpollReports& out) {
  List batch = std::exchange(ready_, {});
  while (out.left() > 0 && batch.first() != nullptr) {
    Item& item = *batch.first();
    batch.take_out(item);
    out.may_repeat = out.may_repeat || item.hosted();
    const bool told = report(item, to_epoll(item.file().ready(), item.event.events), out);
    const bool stays = !item.hosted() || item.file().ready_besides() != 0;
    if (told && stays && item.armed && (item.event.events & kEpollEdge) == 0 && !item.listed)
      ready_.append(item);
  }
  ready_.put_in_front(batch);
}

// Events of the host's set. With Sleep it waits for them, for `left` or until this thread is woken.
SysResult<void> Epoll::harvest_host(EpollReports& out, uint64_t left, Host way) {
  Thread& self = current();
  std::vector<host::SetEvent> events(std::min<size_t>(out.left(), boundary::kMaxSetRecords));
  const auto most = static_cast<uint32_t>(events.size());
  SysResult<uint32_t> got = uint32_t{0};
  if (way == Host::Sleep) {
    self.parked = true;
    wait_begins();
    got = host::poll_set_wait(set_, events.data(), most, left);
    wait_ends();
    self.parked = false;
  } else {
    got = host::poll_set_wait(set_, events.data(), most, 0);
  }
  if (!got.ok() && got.error() != Errno::Interrupted) return got.error();
  for (uint32_t i = 0; got.ok() && i < got.value(); ++i) {
    const auto found = hosted_.find(events[i].key);
    if (found == hosted_.end()) continue;  // gone meanwhile
    Item& item = *found->second;
    if (Epoll* inner = item.file().epoll(); inner == nullptr) {
      report(item, events[i].events & ((item.event.events & kEventBits) | kAlways), out);
    } else if (item.armed) {
      static_cast<void>(item.file_edge(kPollIn));
    } else {  // or it would be told again and again
      static_cast<void>(host::poll_set_control(set_, host::SetOperation::Modify,
                                               host::poll_set_handle(inner->set_), item.host_key, 0));
    }
  }
  return {};
}

// What is ready now. `ask`: the host, too.
SysResult<void> Epoll::gather(EpollReports& out, bool ask) {
  time_passed();
  // In turns, so that neither side starves the other.
  host_first_ = !host_first_;
  if (has_set_ && host_first_ && (ask || ready_.first() != nullptr)) TRY(harvest_host(out, 0, Host::Ask));
  harvest(out);
  if (!has_set_ || host_first_ || out.left() == 0 || (!ask && out.events.empty())) return {};
  auto more = harvest_host(out, 0, Host::Ask);
  if (!more.ok() && out.events.empty()) return more;
  return {};
}

SysResult<void> Epoll::sleep(EpollReports& out, uint64_t until) {
  WaitNode node;
  waiters_.enter(node);
  WaitNode* const nodes[] = {&node};
  SysResult<void> slept;
  if (has_set_) {
    const uint64_t now = until == kNoDeadline ? 0 : monotonic_ns();
    const uint64_t left = until == kNoDeadline ? kNoDeadline : until - std::min(until, now);
    slept = harvest_host(out, left, Host::Sleep);
  } else {
    wait_any(nodes, 1, until);
  }
  WaitQueue::leave(node);
  return slept;
}

SysResult<void> Epoll::wait(EpollReports& out, uint64_t deadline) {
  for (;;) {
    const bool interrupted = pending_interrupt();  // first: what it passes on may make a signalfd ready
    const bool over = deadline == 0 || (deadline != kNoDeadline && monotonic_ns() >= deadline);
    TRY(gather(out, over || interrupted));
    if (out.events.empty() && !over && !interrupted && ready_.first() == nullptr)
      TRY(sleep(out, std::min(deadline, next_change())));
    const bool any = !out.events.empty();
    // Whoever was woken for what is left over by this one.
    if (ready_.first() != nullptr && (any || over || interrupted)) waiters_.wake(1);
    if (any || over) return {};
    if (interrupted) return Errno::Interrupted;
  }
}

uint16_t Epoll::ready_inside() {
  time_passed();
  return listing_ready() ? kPollIn : uint16_t{0};
}

uint16_t Epoll::ready() {
  if (ready_inside() != 0) return kPollIn;
  if (!has_set_) return 0;
  host::PollItem item{host::poll_set_handle(set_), kPollIn, 0};
  const auto count = host::socket_poll(&item, 1, 0);
  return count.ok() && count.value() != 0 ? kPollIn : uint16_t{0};
}

}  // namespace cloister::enclave
