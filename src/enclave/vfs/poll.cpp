#include "enclave/vfs/poll.h"

#include <algorithm>
#include <memory>

#include "boundary/host_calls.h"

#include "enclave/arch/host.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/wait.h"
#include "enclave/process.h"

namespace cloister::enclave {
namespace {

constexpr uint16_t kAlways = kPollError | kPollHangup | kPollInvalid;

// What the host is asked about, and whose watch each item answers.
struct HostItems {
  std::vector<host::PollItem> items;
  std::vector<size_t> owners;
  std::vector<bool> inner;  // a part of the owner (epoll), which has another inside the enclave

  explicit HostItems(const std::vector<Watch>& watches) {
    for (size_t i = 0; i < watches.size(); ++i) {
      uint32_t handle = 0;
      if (!watches[i].file) continue;
      const bool whole = watches[i].file->host_handle(handle);
      if (!whole && ((watches[i].events & kPollIn) == 0 || !watches[i].file->host_set(handle))) continue;
      items.push_back({handle, whole ? watches[i].events : kPollIn, 0});
      owners.push_back(i);
      inner.push_back(!whole);
    }
  }
};

// With `sleep` it blocks in the host until something is ready, `left` has passed, or another thread of the
// enclave wakes this one.
SysResult<void> ask_host(HostItems& host, uint64_t left, bool sleep) {
  Thread& self = current();
  SysResult<uint32_t> count = uint32_t{0};
  const auto size = static_cast<uint32_t>(host.items.size());
  if (sleep) {
    self.parked = true;
    wait_begins();
    count = host::socket_poll(host.items.data(), size, left);
    wait_ends();
    self.parked = false;
  } else {
    count = host::socket_poll(host.items.data(), size, 0);
  }
  if (!count.ok() && count.error() == Errno::Interrupted) return {};
  return count.ok() ? SysResult<void>() : count.error();
}

// As Linux: whoever sleeps keeps the files open, but is told of the descriptors. True: some are others now.
bool look_up_again(std::vector<Watch>& watches) {
  bool changed = false;
  for (Watch& watch : watches) {
    if (!watch.file) continue;
    auto file = current().process->files.get(watch.fd);
    if (file.ok() && file.value().get() == watch.file.ref().get()) continue;
    watch.ready = file.ok() ? 0 : kPollInvalid;
    watch.file = file.ok() ? FileUse(std::move(file).value()) : FileUse();
    changed = true;
  }
  return changed;
}

// Asks the files for what the enclave knows.
void look(std::vector<Watch>& watches) {
  for (Watch& watch : watches) {
    uint32_t handle = 0;
    if (!watch.file) continue;
    watch.file->time_passed();  // or the time would come again and again
    const uint16_t ready =
        watch.file->host_handle(handle) ? watch.file->ready_besides() : watch.file->ready_inside();
    watch.ready = static_cast<uint16_t>(ready & (watch.events | kAlways));
  }
}

// After a look: what the host has said, too.
void take_answers(const HostItems& host, std::vector<Watch>& watches) {
  for (size_t i = 0; i < host.items.size(); ++i) {
    Watch& watch = watches[host.owners[i]];
    const uint16_t said = host.items[i].revents;
    watch.ready |= host.inner[i] ? said & watch.events : said;
  }
}

uint32_t count_ready(const std::vector<Watch>& watches) {
  return static_cast<uint32_t>(
      std::count_if(watches.begin(), watches.end(), [](const Watch& watch) { return watch.ready != 0; }));
}

struct Queues {
  std::vector<WaitQueue*> queues;
  std::unique_ptr<WaitNode[]> nodes;
  std::vector<WaitNode*> list;

  explicit Queues(const std::vector<Watch>& watches) {
    for (const Watch& watch : watches) {
      if (watch.file) watch.file->poll_queues(queues);
    }
    nodes = std::make_unique<WaitNode[]>(queues.size());
    for (size_t i = 0; i < queues.size(); ++i) {
      queues[i]->enter(nodes[i]);
      list.push_back(&nodes[i]);
    }
  }
  ~Queues() {
    for (WaitNode* node : list) WaitQueue::leave(*node);
  }
  Queues(const Queues&) = delete;
  Queues& operator=(const Queues&) = delete;
};

SysResult<void> sleep_on(const std::vector<Watch>& watches, HostItems& host, uint64_t until, uint64_t left) {
  const Queues queues(watches);
  if (!host.items.empty()) return ask_host(host, left, true);
  wait_any(queues.list.data(), static_cast<uint32_t>(queues.list.size()), until);
  return {};
}

uint64_t next_change(const std::vector<Watch>& watches, uint64_t deadline) {
  for (const Watch& watch : watches) {
    if (watch.file) deadline = std::min(deadline, watch.file->next_change());
  }
  return deadline;
}

}  // namespace

SysResult<uint32_t> wait_ready(std::vector<Watch>& watches, uint64_t deadline_ns) {
  for (;;) {
    // First: what it passes on may make a signalfd ready, and it may wait.
    const bool interrupted = pending_interrupt();
    HostItems host(watches);  // each time: an epoll may have got its first socket
    if (host.items.size() > boundary::kMaxPollItems) return Errno::Invalid;
    look(watches);
    const uint64_t until = next_change(watches, deadline_ns);
    const uint64_t now = until == kNoDeadline ? 0 : monotonic_ns();
    const bool sleep = count_ready(watches) == 0 && !interrupted && now < until;
    const uint64_t left = until == kNoDeadline ? kNoDeadline : until - std::min(until, now);
    if (sleep) {
      TRY(sleep_on(watches, host, until, left));
      if (look_up_again(watches)) continue;
    } else if (!host.items.empty()) {
      TRY(ask_host(host, 0, false));
    }
    look(watches);
    take_answers(host, watches);
    if (const uint32_t ready = count_ready(watches); ready != 0) return ready;
    if (sleep) continue;
    if (pending_interrupt()) return Errno::Interrupted;
    if (deadline_ns <= now) return 0u;
  }
}

SysResult<void> wait_for_host(uint32_t handle, uint16_t events, uint64_t deadline_ns) {
  Thread& self = current();
  for (;;) {
    if (pending_interrupt()) return kInterruptedRestartable;
    uint64_t left = kNoDeadline;
    if (deadline_ns != kNoDeadline) {
      const uint64_t now = monotonic_ns();
      if (now >= deadline_ns) return Errno::Again;
      left = deadline_ns - now;
    }
    host::PollItem item{handle, events, 0};
    self.parked = true;
    wait_begins();
    const auto count = host::socket_poll(&item, 1, left);
    wait_ends();
    self.parked = false;
    if (!count.ok() && count.error() != Errno::Interrupted) return count.error();
    if (count.ok() && count.value() != 0) return {};
  }
}

}  // namespace cloister::enclave
