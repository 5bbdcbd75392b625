// Free places of one file of the storage, as extents. Nothing of it is stored: what a mount frees it reuses,
// and what earlier mounts freed is found again by walking the tree once half of the file is unused
// (volume_verify.cpp).
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace cloister::volume {

class SpaceMap {
 public:
  // Adding what is already free changes nothing: a forged tree may name one place twice.
  void add(uint64_t start, uint64_t count);
  // The lowest free place.
  std::optional<uint64_t> take();
  // The first of `count` places side by side, found among the next few extents after the last one found.
  std::optional<uint64_t> take_run(uint64_t count);
  uint64_t size() const { return size_; }  // free places
  // `end`, or where the free places that reach up to it begin.
  uint64_t end_without_tail(uint64_t end) const {
    if (extents_.empty() || extents_.rbegin()->first != end) return end;
    return extents_.rbegin()->second;
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
