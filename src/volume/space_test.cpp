// Free places against a set of numbers.
#include "volume/space.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace cloister::volume {
namespace {

TEST(SpaceMap, KnowsEveryPlaceOnce) {
  constexpr uint64_t kPlaces = 120;  // few enough runs for take_run to look at all
  std::mt19937_64 random(7);
  SpaceMap map;
  std::set<uint64_t> model;
  for (int step = 0; step < 20'000; ++step) {
    const uint64_t start = random() % kPlaces, count = random() % 4;
    switch (random() % 4) {
      case 0:
        map.add(start, count);
        for (uint64_t i = 0; i < count; ++i) model.insert(start + i);
        break;
      case 1:
        if (const auto run = map.take_run(count + 1)) {
          for (uint64_t i = 0; i <= count; ++i) ASSERT_EQ(model.erase(*run + i), 1u) << step;
        } else {
          for (const uint64_t first : model) {
            uint64_t next = first;
            while (model.contains(next)) ++next;
            ASSERT_LE(next - first, count) << step << ": there was a run at " << first;
          }
        }
        break;
      default:
        const auto place = map.take();
        ASSERT_EQ(place.has_value(), !model.empty()) << step;
        if (!place) break;
        ASSERT_EQ(*place, *model.begin()) << step;
        model.erase(model.begin());
    }
    ASSERT_EQ(map.size(), model.size()) << step;
    const uint64_t end = model.empty() ? 0 : *model.rbegin() + 1;
    uint64_t begin = end;
    while (model.contains(begin - 1)) --begin;
    SpaceMap rest = map;
    ASSERT_EQ(rest.take_tail(end), begin) << step;
    ASSERT_EQ(rest.size(), model.size() - (end - begin)) << step;
    ASSERT_EQ(rest.take_tail(end), end) << step;
  }
}

}  // namespace
}  // namespace cloister::volume
