#include "volume/space.h"

#include <algorithm>
#include <iterator>

namespace cloister::volume {

void SpaceMap::add(uint64_t start, uint64_t count) {
  if (count == 0) return;
  const uint64_t end = start + count;
  const auto at = extents_.lower_bound(start);
  if (at == extents_.end() || at->second > end) {
    extents_.emplace_hint(at, end, start);
    size_ += count;
    return;
  }
  if (start < at->second) {
    size_ += at->second - start;
    at->second = start;
  }
  if (end <= at->first) return;
  auto next = std::next(at);
  auto grown = extents_.extract(at);
  size_ += end - grown.key();
  grown.key() = end;
  for (; next != extents_.end() && next->second <= end; next = extents_.erase(next)) {
    size_ -= std::min(next->first, end) - next->second;
    grown.key() = std::max(grown.key(), next->first);
  }
  extents_.insert(next, std::move(grown));
}

std::optional<uint64_t> SpaceMap::take_run(uint64_t count) {
  constexpr size_t kLooks = 64;
  auto extent = extents_.upper_bound(cursor_);
  for (size_t looks = std::min(kLooks, extents_.size()); looks != 0; --looks, ++extent) {
    if (extent == extents_.end()) extent = extents_.begin();
    auto& [end, start] = *extent;
    cursor_ = start;
    if (end - start < count) continue;
    const uint64_t place = start;
    start += count;
    size_ -= count;
    cursor_ = start;
    if (start == end) extents_.erase(extent);
    return place;
  }
  return std::nullopt;
}

}  // namespace cloister::volume
