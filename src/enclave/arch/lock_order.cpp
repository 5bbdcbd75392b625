#include "enclave/arch/lock_order.h"

#include <iterator>

#include "base/result.h"
#include "enclave/arch/thread_block.h"

namespace cloister::enclave {
namespace {

constexpr const char* kNames[] = {"kernel lock", "random generator", "clock", "heap", "sleepers"};
static_assert(std::size(kNames) == static_cast<size_t>(LockRank::Count));

uint64_t bit(LockRank rank) { return uint64_t{1} << static_cast<int>(rank); }

// No memory, no log: any lock may be held.
[[noreturn]] void broken(const char* what, LockRank first, const char* middle, LockRank second) {
  static char text[128];
  char* at = text;
  for (const char* part : {"lock order: ", what, lock_name(first), middle, lock_name(second)}) {
    while (*part != 0 && at < text + sizeof(text) - 1) *at++ = *part++;
  }
  *at = 0;
  this_block()->held_locks = 0;  // the way out takes some
  panic(__FILE__, __LINE__, text);
}

}  // namespace

const char* lock_name(LockRank rank) { return kNames[static_cast<size_t>(rank)]; }

void lock_taken(LockRank rank, bool tried) {
  uint64_t& held = this_block()->held_locks;
  if (!tried) {
    for (auto other = static_cast<uint8_t>(rank); other < static_cast<uint8_t>(LockRank::Count); ++other) {
      if ((held & bit(LockRank{other})) != 0)
        broken("taking the ", rank, " while holding the ", LockRank{other});
    }
  }
  held |= bit(rank);
}

void lock_released(LockRank rank) {
  uint64_t& held = this_block()->held_locks;
  if ((held & bit(rank)) == 0) broken("giving back the ", rank, " without holding the ", rank);
  held &= ~bit(rank);
}

}  // namespace cloister::enclave
