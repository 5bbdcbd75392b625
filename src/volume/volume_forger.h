// For tests: writes into an open volume what the library never would, as an owner of the key who means harm.
#pragma once

#include "volume/volume_impl.h"

namespace cloister::volume {

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

 private:
  VolumeImpl& volume_;
};

}  // namespace cloister::volume
