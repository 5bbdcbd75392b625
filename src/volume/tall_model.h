// For tests: a volume whose tree of metadata has three levels and more, and what must be in it. Changes come
// in runs, as programs make them, so that inner nodes of the tree split and merge: hundreds of files made,
// removed, moved, given attributes; large files written densely or one chunk a group, cut and removed. The
// content of a file is told by the number of the write that each of its chunks is from.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "volume/model.h"

namespace cloister::volume {

class TallModel {
 public:
  // An operation failed because of the storage: true = it was repaired, the operation is tried again.
  using Recover = std::function<bool()>;
  // Fills an empty volume; about `files` small files. "" or what went wrong.
  std::string fill(Volume& volume, std::mt19937& random, unsigned files);
  // Leaves so much free space in volume.fspf and in an object that the next writers look for it.
  std::string wear(Volume& volume);
  // One small change to both. "" or what went wrong.
  std::string touch(Volume& volume);
  // One run of changes to both. What differs, or "". A failure of the storage that `recover` does not repair
  // is told by `failed`: then this no longer describes the volume.
  std::string step(Volume& volume, std::mt19937& random, bool& failed, const Recover& recover);
  // Compares everything; "" when equal.
  std::string compare(Volume& volume) const;

 private:
  struct File {
    FileType type = FileType::Regular;
    uint64_t size = 0;
    std::map<uint64_t, uint32_t> chunks;  // number of the write
    std::map<std::string, uint32_t> xattrs;
  };
  // Copies of a model share what did not change since.
  using Directory = std::map<std::string, std::shared_ptr<const File>>;
  struct Run;  // what one step needs

  static constexpr unsigned kDirectories = 6;

  void make_files(Run& run, unsigned directory, unsigned count);
  void remove_files(Run& run, unsigned directory, unsigned count);
  void move_files(Run& run, unsigned from, unsigned to, unsigned count);
  void rewrite_files(Run& run, unsigned directory, unsigned count);
  void change_xattrs(Run& run, unsigned directory, unsigned count);
  void write_small(Run& run, InodeId inode, File& file);
  void write_chunks(Run& run, const std::string& name, uint64_t first, uint64_t count, uint64_t stride);
  void cut_large(Run& run, const std::string& name, uint64_t to);
  void remove_large(Run& run, const std::string& name);
  void change_large(Run& run);
  void change_bag(Run& run, unsigned count);
  void step_model(Run& run, unsigned count);
  std::string compare_directory(Volume& volume, InodeId inode, const Directory& directory) const;
  std::string compare_file(Volume& volume, InodeId inode, const File& file) const;

  Directory directories_[kDirectories];
  Directory large_;                     // in the root
  std::shared_ptr<const Model> model_;  // of one more directory
  uint32_t version_ = 0;
  uint32_t next_name_ = 0;
};

}  // namespace cloister::volume
