#include "enclave/vfs/pseudo.h"

#include <algorithm>
#include <cstring>

namespace cloister::enclave::pseudo {
namespace {

Stat basic(uint64_t id, uint64_t inode, uint32_t mode) {
  Stat stat;
  stat.device = id;
  stat.inode = inode;
  stat.mode = mode;
  stat.modified = stat.accessed = stat.changed = to_timespec(realtime_ns());
  return stat;
}

std::string below(std::string_view folder, std::string_view name) {
  return std::string(folder) + "/" + std::string(name);
}

}  // namespace

uint64_t number_of(std::string_view folder, std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const std::string_view part : {folder, std::string_view("/"), name}) {
    for (const char c : part) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return hash >> 16;
}

SysResult<Stat> TextInode::stat() { return basic(id_, number_, kTypeFile | mode_); }

SysResult<size_t> TextInode::read(uint64_t offset, MutableByteView out) {
  if (offset == 0 || text_.empty()) text_ = TRY(make_());
  if (offset >= text_.size()) return size_t{0};
  const size_t count = std::min<uint64_t>(out.size(), text_.size() - offset);
  std::memcpy(out.data(), text_.data() + offset, count);
  return count;
}

SysResult<size_t> TextInode::write(uint64_t, ByteView data) {
  if (!take_) return Errno::Invalid;
  TRY(take_(as_text(data)));
  return data.size();
}

SysResult<Stat> LinkInode::stat() {
  Stat stat = basic(id_, number_, kTypeLink | 0777);
  stat.size = target_.size();
  return stat;
}

SysResult<Stat> Folder::stat() {
  Stat stat = basic(id_, number_, kTypeFolder | 0555);
  stat.links = 2;
  return stat;
}

SysResult<Ref<Inode>> find_row(uint64_t id, std::string_view folder, std::string_view name, const Row* rows,
                               size_t count) {
  const Row* row = std::find_if(rows, rows + count, [name](const Row& one) { return name == one.name; });
  if (row == rows + count) return Errno::NoEntry;
  const uint64_t number = number_of(folder, name);
  if (row->rows == nullptr)
    return Ref<Inode>(
        make_ref<TextInode>(id, number, [row]() -> SysResult<std::string> { return row->make(); }));
  const std::string path = below(folder, name);
  return Ref<Inode>(make_ref<Folder>(
      id, number,
      [row, path](uint64_t file_system, std::string_view entry) {
        return find_row(file_system, path, entry, row->rows, row->count);
      },
      [row, path] { return list_rows(path, row->rows, row->count); }));
}

std::vector<FolderEntry> list_rows(std::string_view folder, const Row* rows, size_t count) {
  std::vector<FolderEntry> list;
  for (const Row* row = rows; row != rows + count; ++row)
    list.push_back({row->name, number_of(folder, row->name), row->rows == nullptr ? kTypeFile : kTypeFolder});
  return list;
}

}  // namespace cloister::enclave::pseudo
