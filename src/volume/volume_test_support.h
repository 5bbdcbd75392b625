// What the tests of volumes share.
#pragma once

#include <gtest/gtest.h>

#include "volume/care.h"
#include "volume/memory_storage.h"

namespace cloister::volume {

inline constexpr OpenOptions kSmallCache{.cache_size = 1u << 20};
inline constexpr OpenOptions kForRepair{.cache_size = 1u << 20, .for_repair = true};

// Bytes of all its files.
inline size_t size_of(MemoryStorage& storage) {
  size_t size = 0;
  for (const std::string& name : storage.names()) size += storage.content(name)->size();
  return size;
}

// Any one key will do.
inline Key test_key(uint8_t byte) {
  Key key;
  key.expose().fill(byte);
  return key;
}

// Neither in the structure nor in a byte.
inline void expect_no_fault(Volume& volume) {
  const auto seen = survey(volume);
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  EXPECT_TRUE(seen->problems.empty()) << seen->problems.front();
  const auto verified = volume.verify_all();
  ASSERT_TRUE(verified.ok()) << verified.error().message();
}

}  // namespace cloister::volume
