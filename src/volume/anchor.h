// The anchor of a volume that has no service to keep its tag: a file in another folder that names the newest
// acknowledged state, under a key that only the volume's enclave has. Put back alone, the volume's folder no
// longer fits it. Put back together, both fit: what an anchor is worth is docs/adr/0010.
//
// Two slots, written in turn, so that a write that is torn by a crash leaves the record before. Format:
// docs/formats/volume.md, "Anchor".
#pragma once

#include <functional>

#include "volume/volume.h"

namespace cloister::volume {

inline constexpr std::string_view kAnchorName = "anchor";
using AnchorContext = ByteArray<64>;  // what the key is derived from; not secret, meaningless here

class Anchor {
 public:
  // The MAC key of a context; an error makes the slot invalid.
  using KeyFor = std::function<Result<Key>(const AnchorContext&)>;

  // NotFound: there is none. Integrity: no slot is valid under its key.
  static Result<std::unique_ptr<Anchor>> open(Storage& storage, const KeyFor& key_for);
  // A first record that names no state yet, durable on return.
  static Result<std::unique_ptr<Anchor>> create(Storage& storage, const AnchorContext& context,
                                                const Key& key);

  const AnchorContext& context() const { return context_; }
  bool names_a_state() const { return sequence_ != 0; }
  const Tag& tag() const { return tag_; }
  uint64_t sequence() const { return sequence_; }

  // Names the next state; durable on return. After an error either record may be found by the next `open`.
  Result<void> advance(const Tag& tag);

 private:
  Anchor(std::unique_ptr<StorageFile> file, const AnchorContext& context, const Key& key)
      : file_(std::move(file)), context_(context), key_(key) {}
  Result<void> write(uint64_t sequence, const Tag& tag);

  std::unique_ptr<StorageFile> file_;
  AnchorContext context_;
  Key key_;
  uint64_t sequence_ = 0;
  Tag tag_{};
};

struct AnchoredKeys {
  Key volume, anchor;
};
struct Anchored {
  std::unique_ptr<Anchor> anchor;
  std::unique_ptr<Volume> volume;  // each commit: commit, anchor->advance, acknowledge
};

// The volume in `place` in the state that the anchor in `anchor_place` names; made under `fresh` when there
// is neither, and again when a start was interrupted before the first state. Integrity: the volume is not in
// that state, or is there without its anchor. Both storages must outlive the result.
Result<Anchored> open_anchored(Storage& place, Storage& anchor_place, const AnchorContext& fresh,
                               const std::function<Result<AnchoredKeys>(const AnchorContext&)>& keys_for,
                               Timestamp now);

}  // namespace cloister::volume
