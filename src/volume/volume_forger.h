// For tests: writes into an open volume what the library never would, as an owner of the key who means harm;
// sees what nobody need see, and makes volumes that do not differ from run to run.
#pragma once

#include "volume/volume_impl.h"

namespace cloister::volume {

// The hashes of names follow from key and id, and the order of a tree's records from them: with an id of its
// own a test does the same again when it is given the same seed.
inline std::unique_ptr<Volume> create_with_fixed_id(Storage& storage, const Key& key) {
  return std::move(VolumeImpl::make(storage, key, {}, VolumeId{1})).value();
}

class VolumeForger {
 public:
  explicit VolumeForger(Volume& volume) : volume_(static_cast<VolumeImpl&>(volume)) {}

  // What is in memory goes into the tree first.
  std::map<RecordKey, Bytes> records() {
    CLOISTER_CHECK(volume_.commit().ok());
    std::map<RecordKey, Bytes> out;
    RecordKey key{};
    while (const std::optional<Tree::Record> record = volume_.tree_.lower_bound(key).value()) {
      key = record->key;
      out[key] = Bytes(record->value.begin(), record->value.end());
      ++key.sub;
    }
    return out;
  }
  void put(const RecordKey& key, ByteView value) {
    CLOISTER_CHECK(volume_.tree_.put(key, value).ok());
    volume_.changed_ = true;
  }
  void erase(const RecordKey& key) {
    CLOISTER_CHECK(*volume_.tree_.erase(key));
    volume_.changed_ = true;
  }
  // References to all blocks of the committed state.
  std::vector<std::pair<BlockType, Ref>> references() {
    std::vector<std::pair<BlockType, Ref>> out;
    const auto node = [&](const Ref& ref) {
      out.emplace_back(BlockType::Node, ref);
      return true;
    };
    const auto leaf = [&](const uint8_t* page) -> VolumeResult<void> {
      for (unsigned i = 0; i < page::count(page); ++i) {
        if (page::leaf_key(page, i).kind != Kind::Chunks) continue;
        const ByteView refs = page::leaf_value(page, i);
        for (size_t at = 0; at < refs.size(); at += ref_size(volume_.mode_)) {
          const Ref ref = load_ref(refs.data() + at, volume_.mode_);
          if (ref.present) out.emplace_back(BlockType::Chunk, ref);
        }
      }
      return {};
    };
    CLOISTER_CHECK(volume_.tree_.each_leaf_where(node, leaf).ok());
    return out;
  }
  Epoch epoch(uint32_t index) { return volume_.epoch(index).value(); }
  uint32_t epochs() const { return volume_.state_.epochs; }
  // As if so many blocks had been sealed in the epoch that began.
  void set_counter(uint64_t counter) { volume_.counter_ = counter; }

 private:
  VolumeImpl& volume_;
};

}  // namespace cloister::volume
