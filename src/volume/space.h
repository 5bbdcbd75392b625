// Free places of one file of the storage, as extents. What a mount frees it reuses. What earlier mounts freed
// in volume.fspf a writer learns from the one before (free_list.h); when that is used up and half of it is
// unused, the tree is walked. In objects a file's references are, when that is worth it (volume_chunks.cpp).
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <optional>

namespace cloister::volume {

struct Extent {
  uint64_t start, count;
};

class SpaceMap {
 public:
  // Adding what is already free changes nothing: a forged tree may name one place twice.
  void add(uint64_t start, uint64_t count);
  // The lowest free place. Inline, because every chunk takes one and an optional is returned through memory.
  std::optional<uint64_t> take() {
    if (extents_.empty()) return std::nullopt;
    const auto first = extents_.begin();
    const uint64_t place = first->second++;
    --size_;
    if (first->second == first->first) extents_.erase(first);
    return place;
  }
  // The first of `count` places side by side, found among the next few extents after the last one found.
  std::optional<uint64_t> take_run(uint64_t count);
  uint64_t size() const { return size_; }  // free places
  // Takes the free places that reach up to `end`; where they begin, or `end`.
  uint64_t take_tail(uint64_t end) {
    if (extents_.empty() || extents_.rbegin()->first != end) return end;
    const uint64_t begin = extents_.rbegin()->second;
    size_ -= end - begin;
    extents_.erase(std::prev(extents_.end()));
    return begin;
  }
  template <class F>
  void each(F&& visit) const {
    for (const auto& [end, start] : extents_) visit(Extent{start, end - start});
  }
  void clear() {
    extents_.clear();
    size_ = 0;
  }
  bool empty() const { return extents_.empty(); }

 private:
  // End -> start: places are taken by the thousand, from the start.
  std::map<uint64_t, uint64_t> extents_;
  uint64_t size_ = 0;
  uint64_t cursor_ = 0;  // where take_run() goes on
};

}  // namespace cloister::volume
