#include "volume/space.h"

#include <algorithm>
#include <iterator>

namespace cloister::volume {

// Both reuse the node of the extent that they change: places are taken and given back by the thousand.
void SpaceMap::add(uint64_t start, uint64_t count) {
  if (count == 0) return;
  const uint64_t end = start + count;
  auto at = extents_.upper_bound(start);
  if (at != extents_.begin() && std::prev(at)->second >= start) {
    --at;
  } else {
    at = extents_.emplace_hint(at, start, start);
  }
  if (at->second >= end) return;
  size_ += end - at->second;
  at->second = end;
  for (auto next = std::next(at); next != extents_.end() && next->first <= end; next = extents_.erase(next)) {
    size_ -= std::min(next->second, end) - next->first;
    at->second = std::max(at->second, next->second);
  }
}

std::optional<uint64_t> SpaceMap::take() {
  if (extents_.empty()) return std::nullopt;
  auto first = extents_.extract(extents_.begin());
  const uint64_t place = first.key();
  --size_;
  if (place + 1 < first.mapped()) {
    first.key() = place + 1;
    extents_.insert(extents_.begin(), std::move(first));
  }
  return place;
}

std::optional<uint64_t> SpaceMap::take_run(uint64_t count) {
  constexpr size_t kLooks = 64;
  auto extent = extents_.lower_bound(cursor_);
  for (size_t looks = std::min(kLooks, extents_.size()); looks != 0; --looks, ++extent) {
    if (extent == extents_.end()) extent = extents_.begin();
    const auto [start, end] = *extent;
    cursor_ = start;
    if (end - start < count) continue;
    const auto hint = extents_.erase(extent);
    if (start + count < end) extents_.emplace_hint(hint, start + count, end);
    size_ -= count;
    cursor_ = start + count;
    return start;
  }
  return std::nullopt;
}

}  // namespace cloister::volume
