// epoll: a set of watched files. Level-triggered items are asked each time. An edge-triggered item is
// reported again when its file has had an edge since (File::edges) or bits that were not set at the last
// report; for host sockets, whose new bytes the enclave cannot see, a read or a refused or short write counts
// as the edge, so a program may see one report more than on Linux, never one less.
#pragma once

#include <map>
#include <utility>

#include "enclave/vfs/file.h"

namespace cloister::enclave {

inline constexpr uint32_t kEpollExclusive = 1u << 28, kEpollWakeUp = 1u << 29, kEpollOneShot = 1u << 30,
                          kEpollEdge = 1u << 31;

struct EpollEvent {  // struct epoll_event
  uint32_t events;
  uint64_t data;
} __attribute__((packed));

class Epoll final : public File, private FileWatcher {
 public:
  Epoll() : File(kOpenReadWrite) {}
  ~Epoll() override { clear(); }

  enum Operation : int32_t { kAdd = 1, kDelete = 2, kModify = 3 };
  SysResult<void> control(int32_t operation, int32_t fd, const Ref<File>& file, const EpollEvent& event);
  // Waits for events until `deadline` (monotonic clock) and fills at most `room`.
  SysResult<size_t> wait(EpollEvent* out, size_t room, uint64_t deadline);

  Epoll* epoll() override { return this; }
  SysResult<Stat> stat() override;
  SysResult<uint64_t> seek(int64_t, int) override { return uint64_t{0}; }
  uint16_t ready() override;
  void poll_queues(std::vector<WaitQueue*>& queues) override;
  void add_inner_watches(std::vector<Watch>& watches) override;
  uint64_t next_change() override;
  SysResult<void> closed() override {
    clear();
    return {};
  }

 private:
  using Key = std::pair<int32_t, File*>;
  struct Item {
    EpollEvent event{};
    bool armed = true;      // a one-shot item is not after its report
    uint16_t reported = 0;  // edge-triggered: bits of the last report…
    Edges edges;            // …and the file's edges then
  };
  void file_edge() override;
  void file_gone(File& file) override;
  void clear();
  int levels_above() const override { return levels_of_watchers(); }
  int levels_below() const;
  bool contains(const Epoll& other) const;
  static uint16_t wanted(const Key& key, const Item& item, uint16_t& hidden);
  std::vector<Watch> watches(std::vector<Key>& keys);
  size_t harvest(const std::vector<Watch>& watches, const std::vector<Key>& keys, EpollEvent* out,
                 size_t room);

  std::map<Key, Item> items_;
  WaitQueue changed_;
  size_t start_ = 0;  // where the next report begins, so that nobody starves
};

}  // namespace cloister::enclave
