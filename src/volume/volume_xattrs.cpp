// Extended attributes: a record per hash of a name, holding the attributes whose names share it.
//
// A value that is too large for that has records of its own. Their number comes from the counter of inodes,
// so no two values of a volume ever have the same, whatever their attributes are called, and it stays while
// the attribute has a large value. As on XFS the values of a file have no limit together: nothing is held in
// memory but one of them.
#include <algorithm>

#include "volume/volume_impl.h"

namespace cloister::volume {

VolumeResult<std::vector<Xattr>> VolumeImpl::xattrs(ByteView record) {
  Result<std::vector<Xattr>> list = decode_xattrs(record);
  const auto given = [&](const Xattr& item) { return item.number < state_.next_inode; };
  if (!list.ok() || !std::all_of(list->begin(), list->end(), given))
    return poison(damaged("The volume's metadata holds a malformed extended attribute"));
  return std::move(list).value();
}

bool VolumeImpl::found_by_names(uint64_t hash, const std::vector<Xattr>& list) const {
  return std::all_of(list.begin(), list.end(), [&](const Xattr& item) {
    return !item.name.empty() && hash_name(keys_.names, item.name) == hash;
  });
}

VolumeResult<std::vector<Xattr>> VolumeImpl::xattrs_like(InodeId id, std::string_view name) {
  (void)TRY(get(id));
  const std::optional<ByteView> record = TRY(tree_.find({id, Kind::Attribute, hash_name(keys_.names, name)}));
  return record ? xattrs(*record) : std::vector<Xattr>();
}

VolumeResult<void> VolumeImpl::put_xattrs(InodeId id, std::string_view name, const std::vector<Xattr>& list,
                                          Timestamp now) {
  const RecordKey key{id, Kind::Attribute, hash_name(keys_.names, name)};
  if (list.empty()) {
    TRY(tree_.erase(key));
  } else {
    TRY(tree_.put(key, encode_xattrs(list)));
  }
  Inode* inode = TRY(get(id));
  inode->record.changed = now;
  mark(*inode);
  return {};
}

VolumeResult<Bytes> VolumeImpl::load_value(InodeId id, Xattr& item) {
  if (item.number == 0) return std::move(item.value);
  Bytes out;
  out.reserve(item.size);  // bounded by decode_xattrs()
  for (size_t part = 0; out.size() < item.size; ++part) {
    const std::optional<ByteView> value = TRY(tree_.find(value_key(id, item.number, part)));
    if (!value || value->size() != std::min(kValuePart, item.size - out.size()))
      return poison(damaged("The volume's metadata lacks a part of an extended attribute"));
    out.insert(out.end(), value->begin(), value->end());
  }
  return out;
}

// The parts of `fresh`, whose value is `value`, in place of those that `old` had.
VolumeResult<void> VolumeImpl::replace_parts(InodeId id, const Xattr& old, const Xattr& fresh,
                                             ByteView value) {
  for (size_t part = 0; part < value_parts(fresh); ++part) {
    const size_t at = part * kValuePart;
    const ByteView piece = value.subspan(at, std::min(kValuePart, value.size() - at));
    TRY(tree_.put(value_key(id, fresh.number, part), piece));
  }
  for (size_t part = value_parts(fresh); part < value_parts(old); ++part) {
    TRY(erase_found(value_key(id, old.number, part)));
  }
  return {};
}

VolumeResult<Bytes> VolumeImpl::get_xattr(InodeId id, std::string_view name) {
  TRY(check_readable());
  TRY(make_room());
  std::vector<Xattr> list = TRY(xattrs_like(id, name));
  for (Xattr& item : list) {
    if (item.name == name) return load_value(id, item);
  }
  return VolumeError{Reason::NoData, "no such extended attribute"};
}

VolumeResult<void> VolumeImpl::set_xattr(InodeId id, std::string_view name, ByteView value, bool create_only,
                                         bool replace_only, Timestamp now) {
  TRY(begin_change());
  const VolumeError too_large{Reason::NoSpace, "the extended attribute is too large"};
  if (name.empty() || name.size() > 255)
    return VolumeError{Reason::Range, "bad name of an extended attribute"};
  if (value.size() > kMaxXattrValue) return too_large;
  std::vector<Xattr> list = TRY(xattrs_like(id, name));
  auto found = std::find_if(list.begin(), list.end(), [&](const Xattr& item) { return item.name == name; });
  if (found != list.end() && create_only) return VolumeError{Reason::Exists, "the extended attribute exists"};
  if (found == list.end() && replace_only) return VolumeError{Reason::NoData, "no such extended attribute"};
  if (found == list.end()) found = list.insert(found, Xattr{std::string(name), {}, 0, 0});
  const Xattr old = *found;
  *found = Xattr{old.name, {}, 0, 0};
  if (value.size() <= kSmallXattr) {
    found->value.assign(value.begin(), value.end());
  } else {
    found->size = value.size();
    found->number = old.number != 0 ? old.number : state_.next_inode;
  }
  if (found->number >= kMaxValueNumber || encode_xattrs(list).size() > kMaxValue) return too_large;
  const Changing changing(*this);
  if (found->number == state_.next_inode) ++state_.next_inode;
  TRY(replace_parts(id, old, *found, value));
  return put_xattrs(id, name, list, now);
}

VolumeResult<std::vector<std::string>> VolumeImpl::list_xattrs(InodeId id) {
  TRY(check_readable());
  TRY(make_room());
  (void)TRY(get(id));
  std::vector<std::string> names;
  RecordKey key{id, Kind::Attribute, 0};
  while (true) {
    const std::optional<Tree::Record> record = TRY(tree_.lower_bound(key));
    if (!record || record->key.inode != id || record->key.kind != Kind::Attribute) return names;
    key.sub = record->key.sub + 1;
    const std::vector<Xattr> list = TRY(xattrs(record->value));
    for (const Xattr& item : list) names.push_back(item.name);
    if (key.sub == 0) return names;
  }
}

VolumeResult<void> VolumeImpl::remove_xattr(InodeId id, std::string_view name, Timestamp now) {
  TRY(begin_change());
  std::vector<Xattr> list = TRY(xattrs_like(id, name));
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const Xattr& item) { return item.name == name; });
  if (found == list.end()) return VolumeError{Reason::NoData, "no such extended attribute"};
  const Xattr old = std::move(*found);
  list.erase(found);
  const Changing changing(*this);
  TRY(replace_parts(id, old, {}, {}));
  return put_xattrs(id, name, list, now);
}

}  // namespace cloister::volume
