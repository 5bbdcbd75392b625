// What the extended attributes of one inode say about values in parts, held against the parts that are there:
// in the tree they follow the attributes. For whoever walks over all records.
#pragma once

#include <algorithm>
#include <map>

#include "volume/format.h"

namespace cloister::volume {

class LargeValues {
 public:
  // What follows is of `inode`. False: the inode before lacked a part.
  bool start(InodeId inode) {
    if (inode == inode_) return true;
    const bool before = whole();
    inode_ = inode;
    missing_ = 0;
    sizes_.clear();
    return before;
  }
  // False: another attribute has the same value.
  bool add(const Xattr& item) {
    if (item.number == 0) return true;
    if (!sizes_.emplace(item.number, item.size).second) return false;
    missing_ += value_parts(item);
    return true;
  }
  // False: no attribute has this part, or not of this size.
  bool take_part(const RecordKey& key, size_t size) {
    const auto value = sizes_.find(key.sub >> kPartBits);
    const size_t begin = kValuePart * (key.sub % (1u << kPartBits));
    if (value == sizes_.end() || begin >= value->second ||
        size != std::min(kValuePart, value->second - begin))
      return false;
    --missing_;
    return true;
  }
  bool whole() const { return missing_ == 0; }

 private:
  InodeId inode_ = 0;
  size_t missing_ = 0;
  std::map<uint64_t, size_t> sizes_;  // by number
};

}  // namespace cloister::volume
