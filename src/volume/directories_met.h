// For walks over the directories of a volume: each is entered once. A forged one may lead to itself, or to
// the next by two names on every level: whoever followed those would not come back.
#pragma once

#include <set>

#include "volume/volume.h"

namespace cloister::volume {

class DirectoriesMet {
 public:
  Result<void> enter(InodeId directory) {
    if (met_.insert(directory).second) return {};
    return Error(Code::Integrity,
                 "a directory of the volume has several names: `cloister volume fsck` tells more");
  }

 private:
  std::set<InodeId> met_;
};

}  // namespace cloister::volume
