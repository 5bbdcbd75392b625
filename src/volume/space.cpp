#include "volume/space.h"

#include <algorithm>
#include <iterator>

namespace cloister::volume {

void SpaceMap::add(uint64_t start, uint64_t count) {
  if (count == 0) return;
  uint64_t end = start + count;
  auto next = extents_.upper_bound(start);
  if (next != extents_.begin()) {
    const auto before = std::prev(next);
    if (before->second >= start) {
      start = before->first;
      end = std::max(end, before->second);
      next = extents_.erase(before);
    }
  }
  while (next != extents_.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = extents_.erase(next);
  }
  extents_.emplace(start, end);
}

std::optional<uint64_t> SpaceMap::take() {
  if (extents_.empty()) return std::nullopt;
  const auto first = extents_.begin();
  const uint64_t place = first->first;
  const uint64_t end = first->second;
  auto hint = extents_.erase(first);
  if (place + 1 < end) extents_.emplace_hint(hint, place + 1, end);
  return place;
}

}  // namespace cloister::volume
