// Inodes of /proc and /sys: texts, links and folders that are made when somebody looks.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "enclave/vfs/file.h"

namespace cloister::enclave::pseudo {

// Inode numbers come from names, so that every look at a file finds the same one.
uint64_t number_of(std::string_view folder, std::string_view name);

// A text is made when it is read from its beginning, and kept for the reads that follow. What is written goes
// to `take`, if there is one.
class TextInode final : public Inode {
 public:
  using Make = std::function<SysResult<std::string>()>;
  using Take = std::function<SysResult<void>(std::string_view)>;
  TextInode(uint64_t id, uint64_t number, Make make, uint32_t mode = 0444, Take take = nullptr)
      : id_(id), number_(number), mode_(mode), make_(std::move(make)), take_(std::move(take)) {}
  SysResult<Stat> stat() override;
  SysResult<size_t> read(uint64_t offset, MutableByteView out) override;
  SysResult<size_t> write(uint64_t offset, ByteView data) override;
  bool is_order() const override { return static_cast<bool>(take_); }
  bool can_map() const override { return false; }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_, number_;
  uint32_t mode_;
  Make make_;
  Take take_;
  std::string text_;
};

class LinkInode final : public Inode {
 public:
  LinkInode(uint64_t id, uint64_t number, std::string target, Ref<File> file = nullptr)
      : id_(id), number_(number), target_(std::move(target)), file_(std::move(file)) {}
  SysResult<Stat> stat() override;
  SysResult<std::string> read_link() override { return target_; }
  Ref<File> magic_target() const override { return file_; }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_, number_;
  std::string target_;
  Ref<File> file_;
};

// A folder whose entries two functions give.
class Folder final : public Inode {
 public:
  using Lookup = std::function<SysResult<Ref<Inode>>(uint64_t id, std::string_view name)>;
  using List = std::function<std::vector<FolderEntry>()>;
  Folder(uint64_t id, uint64_t number, Lookup look_up, List make_list)
      : id_(id), number_(number), lookup_(std::move(look_up)), list_(std::move(make_list)) {}
  SysResult<Stat> stat() override;
  SysResult<Ref<Inode>> lookup(std::string_view name) override { return lookup_(id_, name); }
  SysResult<std::vector<FolderEntry>> list() override { return list_(); }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_, number_;
  Lookup lookup_;
  List list_;
};

// A tree that is the same for everybody: a row is a text or, with `rows`, a folder.
struct Row {
  const char* name;
  std::string (*make)();
  const Row* rows = nullptr;
  size_t count = 0;
};
template <size_t kCount>
constexpr Row folder_row(const char* name, const Row (&rows)[kCount]) {
  return {name, nullptr, rows, kCount};
}
SysResult<Ref<Inode>> find_row(uint64_t id, std::string_view folder, std::string_view name, const Row* rows,
                               size_t count);
std::vector<FolderEntry> list_rows(std::string_view folder, const Row* rows, size_t count);

}  // namespace cloister::enclave::pseudo
