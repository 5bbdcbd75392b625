// Host calls that wait for sockets, other sets of sockets and standard input: SocketPoll asks about a list
// that comes with the call, a poll set keeps its list here and is asked in the time of what is ready. A set
// is an epoll of the host, so edges, one-shot reports and the like are exactly Linux'.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "host/process.h"

namespace cloister::host {
namespace {

constexpr uint64_t kNanoseconds = 1'000'000'000;
constexpr uint64_t kEndless = uint64_t{1} << 62;

struct Pollable {
  int fd = -1;
  std::shared_ptr<void> alive;  // nobody closes it while it is used
};

Pollable pollable(HostProcess& process, uint64_t handle) {
  if (handle == boundary::kConsoleInput) return {STDIN_FILENO, nullptr};
  if ((handle & boundary::kPollSetFlag) != 0) {
    auto set = process.poll_sets.get(handle & ~uint64_t{boundary::kPollSetFlag});
    if (set == nullptr) return {};
    const int fd = set->epoll.get();
    return {fd, std::move(set)};
  }
  auto socket = process.sockets.get(handle);
  if (socket == nullptr) return {};
  const int fd = socket->get();
  return {fd, std::move(socket)};
}

// How many of the items are ready. -EINTR: none, but the thread was unparked before or meanwhile.
int64_t poll_unless_unparked(HostThread& thread, std::vector<pollfd>& items, uint64_t limit) {
  items.push_back({thread.event_fd, POLLIN, 0});
  thread.polling.store(1);
  const uint64_t ns = std::min(limit, kEndless);
  const timespec time{static_cast<time_t>(ns / kNanoseconds), static_cast<long>(ns % kNanoseconds)}, none{};
  const bool woken = thread.unparked.exchange(0) != 0;
  const int ready = ::ppoll(items.data(), items.size(),
                            woken               ? &none
                            : limit >= kEndless ? nullptr
                                                : &time,
                            nullptr);
  const int error = errno;
  thread.polling.store(0);
  const bool event = items.back().revents != 0;
  items.pop_back();
  if (event) {
    uint64_t drained = 0;
    [[maybe_unused]] const ssize_t ignored = ::read(thread.event_fd, &drained, sizeof(drained));
    thread.unparked.store(0);
  }
  if (ready < 0) return -error;
  const int found = ready - (event ? 1 : 0);
  return found == 0 && (event || woken) ? -EINTR : found;
}

int64_t add_member(PollSet& set, uint64_t key, Pollable target, epoll_event& event) {
  PollSet::Member member;
  member.fd = target.fd;
  member.alive = std::move(target.alive);
  int done = ::epoll_ctl(set.epoll.get(), EPOLL_CTL_ADD, member.fd, &event);
  if (done != 0 && errno == EEXIST) {
    member.copy = Descriptor(::fcntl(member.fd, F_DUPFD_CLOEXEC, 0));
    if (!member.copy.valid()) return -errno;
    member.fd = member.copy.get();
    done = ::epoll_ctl(set.epoll.get(), EPOLL_CTL_ADD, member.fd, &event);
  }
  if (done != 0) return -errno;
  set.members[key] = std::move(member);
  return 0;
}

}  // namespace

int64_t call_SocketPoll(Call& call) {
  const uint64_t count = call.a[0];
  if (count > boundary::kMaxPollItems) return -EINVAL;
  std::vector<boundary::PollRecord> records(count);
  std::memcpy(records.data(), call.arena(), count * sizeof(boundary::PollRecord));
  std::vector<Pollable> targets;
  std::vector<pollfd> items;
  for (const boundary::PollRecord& record : records) {
    targets.push_back(pollable(call.process, record.socket));
    items.push_back({targets.back().fd, static_cast<short>(record.events), 0});
  }
  const int64_t found = poll_unless_unparked(call.thread, items, call.a[1]);
  if (found < 0) return found;
  for (size_t i = 0; i < records.size(); ++i) records[i].revents = static_cast<uint16_t>(items[i].revents);
  std::memcpy(call.arena(), records.data(), records.size() * sizeof(boundary::PollRecord));
  return found;
}

int64_t call_PollSetOpen(Call& call) {
  auto set = std::make_shared<PollSet>();
  set->epoll = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!set->epoll.valid()) return -errno;
  return static_cast<int64_t>(call.process.poll_sets.add(std::move(set)));
}

int64_t call_PollSetControl(Call& call) {
  enum : uint64_t { kAdd = 1, kRemove = 2, kModify = 3 };
  const auto set = call.process.poll_sets.get(call.a[0]);
  const uint64_t operation = call.a[1], key = call.a[3];
  if (set == nullptr) return -EINVAL;
  epoll_event event{};
  event.events = static_cast<uint32_t>(call.a[4]);
  event.data.u64 = key;
  const std::scoped_lock guard(set->mutex);
  const auto member = set->members.find(key);
  const bool there = member != set->members.end();
  if (operation == kAdd) {
    Pollable target = pollable(call.process, call.a[2]);
    if (there || target.fd < 0) return there ? -EEXIST : -EINVAL;
    return add_member(*set, key, std::move(target), event);
  }
  if (!there || (operation != kRemove && operation != kModify)) return -EINVAL;
  const int done = ::epoll_ctl(set->epoll.get(), operation == kRemove ? EPOLL_CTL_DEL : EPOLL_CTL_MOD,
                               member->second.fd, &event);
  const int error = errno;
  if (operation == kRemove) set->members.erase(member);
  return done != 0 ? -error : 0;
}

int64_t call_PollSetWait(Call& call) {
  const auto set = call.process.poll_sets.get(call.a[0]);
  const uint64_t room = call.a[1];
  if (set == nullptr || room == 0 || room > boundary::kMaxSetRecords) return -EINVAL;
  std::vector<epoll_event> events(room);
  const auto take = [&] { return ::epoll_wait(set->epoll.get(), events.data(), static_cast<int>(room), 0); };
  int count = take();
  if (count == 0 && call.a[2] != 0) {
    std::vector<pollfd> items{{set->epoll.get(), POLLIN, 0}};
    const int64_t found = poll_unless_unparked(call.thread, items, call.a[2]);
    if (found <= 0) return found;
    count = take();
  }
  if (count < 0) return -errno;
  for (int i = 0; i < count; ++i) {
    const boundary::SetRecord record{events[static_cast<size_t>(i)].data.u64,
                                     events[static_cast<size_t>(i)].events};
    std::memcpy(call.arena() + static_cast<size_t>(i) * sizeof(record), &record, sizeof(record));
  }
  return count;
}

int64_t call_PollSetClose(Call& call) {
  call.process.poll_sets.remove(call.a[0]);
  return 0;
}

}  // namespace cloister::host
