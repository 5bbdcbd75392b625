// A walk over all nodes of a state by its references alone. Whoever looks for a damaged tree's records cannot
// ask the keys above them: those may be what is wrong.
#pragma once

#include <functional>
#include <vector>

#include "volume/volume_impl.h"

namespace cloister::volume {

class NodeWalk {
 public:
  struct Node {
    Ref ref;
    unsigned level = 0;
    KeyRange range;                 // what the entries above leave to it
    bool found = false;             // look-ups find what it holds; else some of that, or nothing
    const uint8_t* page = nullptr;  // well formed, in whatever order; null: it cannot be read
  };
  using Visit = std::function<Result<void>(const Node&)>;
  using Follow = std::function<bool(const Ref&)>;

  // Of the committed state, whatever is being built.
  explicit NodeWalk(VolumeImpl& v) : v_(v) {}
  // Each node once, before those below it, and each reference to what cannot be read. Ends with a failing
  // visit, and where the host's files cannot be read at all.
  Result<void> run(const Visit& visit) {
    return run(visit, [](const Ref&) { return true; });
  }
  // Only what is reached by references that `follow` accepts alone.
  Result<void> run(const Visit& visit, const Follow& follow);
  // References to nodes that had been met, and could be read.
  uint64_t met_again() const { return met_again_; }

 private:
  Result<void> below(const Ref& ref, unsigned level, const KeyRange& range, bool found);
  Result<bool> read(const Ref& ref, unsigned level, uint8_t* page);

  VolumeImpl& v_;
  const Visit* visit_ = nullptr;
  const Follow* follow_ = nullptr;
  std::vector<bool> met_;
  uint64_t met_again_ = 0;
};

}  // namespace cloister::volume
