// epoll, as Linux does it: files tell their watchers of every arrival (File::edge), which puts the item on
// the ready list and wakes one waiter; a wait looks at the list only, so it costs what is ready and not what
// is watched. A level-triggered item that was reported goes back to the end of the list, until it is found
// not ready.
//
// What arrives at host sockets the enclave cannot see. They are members of a set that the host keeps, an
// epoll there, and waiting means waiting for that set: edges and one-shot reports of host sockets are the
// host kernel's own. An epoll with such a set is a member of the sets of those that watch it.
#pragma once

#include <map>
#include <set>
#include <utility>

#include "enclave/vfs/file.h"

namespace cloister::enclave {

inline constexpr uint32_t kEpollExclusive = 1u << 28, kEpollWakeUp = 1u << 29, kEpollOneShot = 1u << 30,
                          kEpollEdge = 1u << 31;

struct EpollEvent {  // struct epoll_event
  uint32_t events;
  uint64_t data;
} __attribute__((packed));

// What one wait gives, and whose each event is.
struct EpollReports {
  explicit EpollReports(size_t most) : room(most) { events.reserve(most); }
  size_t left() const { return room - events.size(); }

  size_t room;
  bool may_repeat = false;  // the host and the list may both have something to say of an item
  std::vector<EpollEvent> events;
  std::vector<std::pair<int32_t, File*>> keys;
};

class Epoll final : public WaitFile {
 public:
  Epoll() : WaitFile(kOpenReadWrite) {}
  ~Epoll() override;

  enum Operation : int32_t { kAdd = 1, kDelete = 2, kModify = 3 };
  SysResult<void> control(int32_t operation, int32_t fd, const Ref<File>& file, const EpollEvent& event);
  // Waits until there are events to report, or `deadline` (monotonic clock).
  SysResult<void> wait(EpollReports& out, uint64_t deadline);
  // Those from `first` on have reached nobody: they are ready again.
  void take_back(const EpollReports& reports, size_t first);

  Epoll* epoll() override { return this; }
  bool can_poll() override { return true; }
  uint16_t ready() override;
  uint16_t ready_inside() override;
  void poll_queues(std::vector<WaitQueue*>& queues) override { queues.push_back(&pollers_); }
  bool host_set(uint32_t& handle) override;
  uint64_t next_change() override { return timed_.empty() ? kNoDeadline : timed_.begin()->first; }
  void time_passed() override;

 private:
  using Key = std::pair<int32_t, File*>;
  struct Item final : FileWatcher {
    Item(Epoll& its_owner, const Key& its_key, const EpollEvent& its_event)
        : owner(its_owner), key(its_key), event(its_event) {}
    bool file_edge(uint16_t bits) override;
    void file_gone() override { owner.remove(*this); }
    void file_retimed() override { owner.retime(*this); }
    SysResult<void> host_set_opened() override;
    void host_set_closes() override { owner.leave_host_set(*this); }
    bool exclusive() const override { return (event.events & kEpollExclusive) != 0; }
    int levels_above() const override { return owner.levels_of_watchers(); }
    File& file() const { return *key.second; }
    bool hosted() const { return host_key != 0 && file().epoll() == nullptr; }

    Epoll& owner;
    const Key key;
    EpollEvent event;
    bool armed = true;           // a one-shot item is not after its report
    uint64_t host_key = 0;       // in the host's set; 0: not there
    uint64_t due = kNoDeadline;  // in timed_
    bool listed = false;
    Item* next = nullptr;  // in the ready list
    Item* previous = nullptr;
  };
  class List {
   public:
    void append(Item& item);
    void take_out(Item& item);
    void put_in_front(List& other);  // which is empty afterwards
    Item* first() const { return first_; }

   private:
    Item* first_ = nullptr;
    Item* last_ = nullptr;
  };
  enum class Host : bool { Ask, Sleep };

  SysResult<void> add(const Key& key, const EpollEvent& event);
  SysResult<void> modify(Item& item, const EpollEvent& event);
  void remove(Item& item);
  SysResult<void> join_host_set(Item& item, uint32_t handle);
  void leave_host_set(Item& item);
  bool look_again(Item& item, uint32_t handle);
  void list_if_ready(Item& item);
  void retime(Item& item);
  bool listing_ready();
  int levels_below() const;
  bool contains(const Epoll& other) const;
  static bool report(Item& item, uint32_t bits, EpollReports& out);
  void harvest(EpollReports& out);
  SysResult<void> harvest_host(EpollReports& out, uint64_t left, Host way);
  SysResult<void> gather(EpollReports& out, bool ask);
  SysResult<void> sleep(EpollReports& out, uint64_t until);

  std::map<Key, Item> items_;
  List ready_;
  std::map<uint64_t, Item*> hosted_;            // by host_key
  std::set<std::pair<uint64_t, Item*>> timed_;  // whose files change by time alone
  uint64_t last_host_key_ = 0;
  bool has_set_ = false, host_first_ = false;
  uint32_t set_ = 0;
  WaitQueue waiters_;  // in epoll_wait: one is enough for one arrival
  WaitQueue pollers_;  // in poll and select
};

}  // namespace cloister::enclave
