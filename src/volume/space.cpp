#include "volume/space.h"

#include <algorithm>
#include <iterator>

namespace cloister::volume {

void SpaceMap::add(uint64_t start, uint64_t count) {
  if (count == 0) return;
  uint64_t known = 0;
  uint64_t end = start + count;
  auto next = extents_.upper_bound(start);
  if (next != extents_.begin()) {
    const auto before = std::prev(next);
    if (before->second >= start) {
      start = before->first;
      end = std::max(end, before->second);
      known += before->second - before->first;
      next = extents_.erase(before);
    }
  }
  while (next != extents_.end() && next->first <= end) {
    end = std::max(end, next->second);
    known += next->second - next->first;
    next = extents_.erase(next);
  }
  extents_.emplace(start, end);
  size_ += end - start - known;
}

std::optional<uint64_t> SpaceMap::take() {
  if (extents_.empty()) return std::nullopt;
  const auto first = extents_.begin();
  const uint64_t place = first->first;
  const uint64_t end = first->second;
  auto hint = extents_.erase(first);
  if (place + 1 < end) extents_.emplace_hint(hint, place + 1, end);
  --size_;
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
