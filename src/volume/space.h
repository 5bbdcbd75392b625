// Free places of one file of the storage, as extents. Nothing of it is stored: what a mount frees it reuses,
// and what earlier mounts freed is found again by walking the tree once half of the file is unused
// (volume_space.cpp).
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
  // `end`, or where the free places that reach up to it begin.
  uint64_t end_without_tail(uint64_t end) const {
    if (extents_.empty() || extents_.rbegin()->second != end) return end;
    return extents_.rbegin()->first;
  }
  void clear() { extents_.clear(); }
  bool empty() const { return extents_.empty(); }

 private:
  std::map<uint64_t, uint64_t> extents_;  // start -> end
};

}  // namespace cloister::volume
