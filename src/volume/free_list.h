// The free places of volume.fspf that a writer which ended in order leaves for the next one, behind its
// newest superblock: so the first change of a mount need not walk the whole tree to find room. Sealed, and
// bound to the tag of the state that it belongs to; there is room for 367 runs, the longest.
#pragma once

#include <vector>

#include "volume/keys.h"
#include "volume/space.h"

namespace cloister::volume {

inline constexpr size_t kFreeListOffset = kDoneOffset + kDone.size();
inline constexpr size_t kFreeListSize = kBlockSize - kFreeListOffset;

// `salt` must be random and used once. Writes kFreeListSize bytes.
void seal_free_list(const Keys& keys, const Tag& tag, const ByteArray<32>& salt, std::vector<Extent> extents,
                    uint8_t* out);
// `in`: kFreeListSize bytes of the host's. Nothing when they are not the list of that state.
std::vector<Extent> open_free_list(const Keys& keys, const Tag& tag, ByteView in);

}  // namespace cloister::volume
