#include "volume/tall_model.h"

#include <algorithm>

#include "volume/format.h"

namespace cloister::volume {
namespace {

constexpr Timestamp kNow{1'700'000'000, 0};
constexpr uint64_t kLargeChunks = 30'000;                  // 117 MiB
constexpr uint64_t kGroup = group_count(Mode::Encrypted);  // chunks that one record names (mode 1)
const std::string kModelName = "model";
const std::string kBagName = "attributes";
const TallModel::Recover kNever;

bool storage_failure(Reason reason) {
  return reason == Reason::Io || reason == Reason::NoSpace || reason == Reason::Poisoned;
}

std::string directory_name(unsigned index) { return "d" + std::to_string(index); }

// What the write with this number puts into chunk `index`.
Bytes pattern(uint32_t version, uint64_t index, size_t size) {
  Bytes out(size + 7);
  const uint64_t word = (uint64_t{version} << 32 | index) * 0x9e3779b97f4a7c15;
  for (size_t at = 0; at < size; at += 8) std::memcpy(out.data() + at, &word, 8);
  out.resize(size);
  return out;
}

Bytes xattr_value(uint32_t version) { return pattern(version, 0, size_t{version} * 37 % kMaxXattrValue + 1); }

size_t blocks_of(uint64_t size) { return static_cast<size_t>((size + kBlockSize - 1) / kBlockSize); }

// A place to begin a run of `count`.
template <class Map>
auto somewhere(Map& map, std::mt19937& random, unsigned count) {
  const size_t most = map.size() > count ? map.size() - count : 0;
  return std::next(map.begin(), static_cast<ptrdiff_t>(random() % (most + 1)));
}

}  // namespace

struct TallModel::Run {
  Volume& volume;
  std::mt19937& random;
  const Recover& recover;
  bool failed = false;
  std::string difference = {};

  // Of a run whose storage never fails.
  std::string end() const { return failed ? "the storage failed" : difference; }
  bool going() const { return !failed && difference.empty(); }
  // Does one operation until it succeeds; false: it is over.
  template <class F>
  bool attempt(const char* what, F&& operation) {
    while (going()) {
      const auto result = operation();
      if (result.ok()) return true;
      if (!storage_failure(result.error().reason)) {
        difference = std::string(what) + ": " + result.error().message;
      } else if (!recover || !recover()) {
        failed = true;
      }
    }
    return false;
  }
  // 0: it is over.
  InodeId find(InodeId directory, const std::string& name) {
    InodeId found = 0;
    attempt("lookup", [&] {
      VolumeResult<InodeId> inode = volume.lookup(directory, name);
      if (inode.ok()) found = *inode;
      return inode;
    });
    return found;
  }
};

void TallModel::write_small(Run& run, InodeId inode, File& file) {
  static const unsigned kSizes[] = {10, 200, 1000, 1500, 2000, 2048, 2100, 9000};
  const size_t size = run.random() % kSizes[run.random() % 8] + 1;
  ++version_;
  Bytes content;
  file.chunks.clear();
  for (size_t i = 0; i < blocks_of(size); ++i) {
    const Bytes chunk = pattern(version_, i, std::min(kBlockSize, size - i * kBlockSize));
    content.insert(content.end(), chunk.begin(), chunk.end());
    file.chunks[i] = version_;
  }
  file.size = size;
  run.attempt("write", [&] { return run.volume.write(inode, 0, content, kNow); });
}

void TallModel::make_files(Run& run, unsigned directory, unsigned count) {
  const InodeId parent = run.find(kRootInode, directory_name(directory));
  for (unsigned i = 0; i < count && run.going(); ++i) {
    const unsigned number = 100'000 + next_name_++;
    const std::string name =
        "f" + std::to_string(number) + (number % 5 == 0 ? std::string(number % 200, 'x') : "");
    File file;
    if (run.random() % 10 == 0) file.type = FileType::Directory;
    InodeId inode = 0;
    run.attempt("create", [&] {
      VolumeResult<InodeId> made = file.type == FileType::Directory
                                       ? run.volume.make_directory(parent, name, 0755, 0, 0, kNow)
                                       : run.volume.create_file(parent, name, 0640, 0, 0, kNow);
      if (made.ok()) inode = *made;
      return made;
    });
    if (file.type == FileType::Regular) write_small(run, inode, file);
    if (run.going()) directories_[directory][name] = std::make_shared<File>(std::move(file));
  }
}

void TallModel::remove_files(Run& run, unsigned directory, unsigned count) {
  Directory& files = directories_[directory];
  const InodeId parent = run.find(kRootInode, directory_name(directory));
  for (auto at = somewhere(files, run.random, count); count != 0 && at != files.end(); --count) {
    const bool done = run.attempt("remove", [&] {
      return at->second->type == FileType::Directory ? run.volume.remove_directory(parent, at->first, kNow)
                                                     : run.volume.unlink(parent, at->first, kNow);
    });
    if (!done) return;
    at = files.erase(at);
  }
}

// Some of them onto files that are there.
void TallModel::move_files(Run& run, unsigned from, unsigned to, unsigned count) {
  if (from == to) return;
  const InodeId source = run.find(kRootInode, directory_name(from));
  const InodeId target = run.find(kRootInode, directory_name(to));
  auto at = somewhere(directories_[from], run.random, count);
  for (; count != 0 && at != directories_[from].end(); --count) {
    std::string name = at->first;
    if (run.random() % 4 == 0 && !directories_[to].empty()) {
      const auto over = somewhere(directories_[to], run.random, 1);
      if (over->second->type == at->second->type) name = over->first;
    }
    const bool done =
        run.attempt("rename", [&] { return run.volume.rename(source, at->first, target, name, kNow); });
    if (!done) return;
    directories_[to][name] = at->second;
    at = directories_[from].erase(at);
  }
}

void TallModel::rewrite_files(Run& run, unsigned directory, unsigned count) {
  const InodeId parent = run.find(kRootInode, directory_name(directory));
  auto at = somewhere(directories_[directory], run.random, count);
  for (; count != 0 && at != directories_[directory].end() && run.going(); --count, ++at) {
    if (at->second->type != FileType::Regular) continue;
    const InodeId inode = run.find(parent, at->first);
    File file = *at->second;
    run.attempt("truncate", [&] { return run.volume.truncate(inode, 0, kNow); });
    write_small(run, inode, file);
    if (run.going()) at->second = std::make_shared<File>(std::move(file));
  }
}

void TallModel::change_xattrs(Run& run, unsigned directory, unsigned count) {
  const InodeId parent = run.find(kRootInode, directory_name(directory));
  auto at = somewhere(directories_[directory], run.random, count);
  const bool removing = run.random() % 3 == 0;
  for (; count != 0 && at != directories_[directory].end() && run.going(); --count, ++at) {
    const InodeId inode = run.find(parent, at->first);
    const std::string name = "user." + std::string(1, static_cast<char>('a' + run.random() % 3));
    File file = *at->second;
    if (removing) {
      if (file.xattrs.erase(name) == 0) continue;
      run.attempt("remove_xattr", [&] { return run.volume.remove_xattr(inode, name, kNow); });
    } else {
      file.xattrs[name] = ++version_;
      const Bytes value = xattr_value(version_);
      run.attempt("set_xattr", [&] { return run.volume.set_xattr(inode, name, value, false, false, kNow); });
    }
    if (run.going()) at->second = std::make_shared<File>(std::move(file));
  }
}

void TallModel::write_chunks(Run& run, const std::string& name, uint64_t first, uint64_t count,
                             uint64_t stride) {
  File file;
  InodeId inode = 0;
  if (large_.contains(name)) {
    file = *large_[name];
    inode = run.find(kRootInode, name);
  } else {
    run.attempt("create", [&] {
      VolumeResult<InodeId> made = run.volume.create_file(kRootInode, name, 0640, 0, 0, kNow);
      if (made.ok()) inode = *made;
      return made;
    });
  }
  ++version_;
  Bytes content;
  uint64_t begin = first;
  for (uint64_t i = 0; i < count && run.going(); ++i) {
    const uint64_t index = first + i * stride;
    const Bytes chunk = pattern(version_, index, kBlockSize);
    content.insert(content.end(), chunk.begin(), chunk.end());
    file.chunks[index] = version_;
    file.size = std::max(file.size, (index + 1) * kBlockSize);
    if (stride == 1 && i + 1 != count) continue;  // in one piece
    run.attempt("write", [&] { return run.volume.write(inode, begin * kBlockSize, content, kNow); });
    content.clear();
    begin = index + stride;
  }
  if (run.going()) large_[name] = std::make_shared<File>(std::move(file));
}

void TallModel::cut_large(Run& run, const std::string& name, uint64_t to) {
  if (!large_.contains(name)) return;
  const InodeId inode = run.find(kRootInode, name);
  File file = *large_[name];
  if (!run.attempt("truncate", [&] { return run.volume.truncate(inode, to * kBlockSize, kNow); })) return;
  file.size = to * kBlockSize;
  file.chunks.erase(file.chunks.lower_bound(to), file.chunks.end());
  large_[name] = std::make_shared<File>(std::move(file));
}

// Some while a program has them open: they go when the volume is opened next.
void TallModel::remove_large(Run& run, const std::string& name) {
  if (!large_.contains(name)) return;
  const InodeId inode = run.find(kRootInode, name);
  if (run.going() && run.random() % 3 == 0) run.volume.hold(inode);
  if (run.attempt("unlink", [&] { return run.volume.unlink(kRootInode, name, kNow); })) large_.erase(name);
}

void TallModel::change_large(Run& run) {
  const std::string name = "large" + std::to_string(run.random() % 4);
  const unsigned what = run.random() % 8;
  const uint64_t group = run.random() % (kLargeChunks / kGroup);
  if (what < 3) {  // the last of each group, so that a record of full size names one chunk
    const uint64_t most = run.random() % 2 == 0 ? 500 : 20;
    const uint64_t count = std::min<uint64_t>(run.random() % most + 1, kLargeChunks / kGroup - group);
    write_chunks(run, name, group * kGroup + kGroup - 1, count, kGroup);
  } else if (what < 5) {
    write_chunks(run, name, group * kGroup + run.random() % kGroup, run.random() % 500 + 1, 1);
  } else if (what < 7) {
    cut_large(run, name, run.random() % (kLargeChunks + 1));
  } else {
    remove_large(run, name);
  }
}

// Attributes lie in the order of their names' hashes, as names of a directory do: some come anywhere, then a
// run side by side goes.
void TallModel::change_bag(Run& run, unsigned count) {
  const InodeId inode = run.find(kRootInode, kBagName);
  File file = *large_[kBagName];
  if (run.random() % 2 == 0) {
    for (unsigned i = 0; i < count && run.going(); ++i) {
      const std::string name = "user." + std::to_string(run.random() % 800);
      file.xattrs[name] = ++version_;
      const Bytes value = xattr_value(version_);
      run.attempt("set_xattr", [&] { return run.volume.set_xattr(inode, name, value, false, false, kNow); });
    }
  } else {
    std::vector<std::string> names;
    run.attempt("list_xattrs", [&] {
      VolumeResult<std::vector<std::string>> list = run.volume.list_xattrs(inode);
      if (list.ok()) names = *list;
      return list;
    });
    auto at = somewhere(names, run.random, count);
    for (; count != 0 && at != names.end() && run.going(); --count, ++at) {
      file.xattrs.erase(*at);
      run.attempt("remove_xattr", [&] { return run.volume.remove_xattr(inode, *at, kNow); });
    }
  }
  if (run.going()) large_[kBagName] = std::make_shared<File>(std::move(file));
}

void TallModel::step_model(Run& run, unsigned count) {
  Model model = *model_;
  while (count != 0 && run.going()) {
    const std::mt19937 before = run.random;
    run.difference = model.step(run.volume, run.random, run.failed);
    if (run.failed && run.recover && run.recover()) {
      run.failed = false;
      run.random = before;  // the same operation again
    } else {
      --count;
    }
  }
  if (run.going()) model_ = std::make_shared<Model>(std::move(model));
}

std::string TallModel::step(Volume& volume, std::mt19937& random, bool& failed, const Recover& recover) {
  Run run{volume, random, recover};
  const unsigned directory = random() % kDirectories, what = random() % 16;
  const unsigned count = random() % (random() % 2 == 0 ? 400 : 20) + 1;
  if (what < 2) {
    make_files(run, directory, count);
  } else if (what < 4) {
    remove_files(run, directory, count);
  } else if (what == 4) {
    move_files(run, directory, random() % kDirectories, count);
  } else if (what == 5) {
    rewrite_files(run, directory, count);
  } else if (what == 6) {
    change_xattrs(run, directory, count);
  } else if (what < 11) {
    change_bag(run, count);
  } else if (what < 15) {
    change_large(run);
  } else {
    step_model(run, 20);
  }
  failed = run.failed;
  return run.difference;
}

std::string TallModel::fill(Volume& volume, std::mt19937& random, unsigned files) {
  Run run{volume, random, kNever};
  const auto make = [&](const std::string& name) {
    InodeId inode = 0;
    run.attempt("make_directory", [&] {
      VolumeResult<InodeId> made = volume.make_directory(kRootInode, name, 0755, 0, 0, kNow);
      if (made.ok()) inode = *made;
      return made;
    });
    return inode;
  };
  model_ = std::make_shared<Model>(make(kModelName));
  step_model(run, 60);
  for (unsigned i = 0; i < kDirectories; ++i) {
    make(directory_name(i));
    make_files(run, i, files / kDirectories);
    change_xattrs(run, i, files / kDirectories / 4);
  }
  write_chunks(run, kBagName, 0, 1, 1);
  for (int i = 0; i < 6; ++i) change_bag(run, files / 4);
  write_chunks(run, "large0", kGroup - 1, 100, kGroup);
  write_chunks(run, "large1", 5, 200, 1);
  write_chunks(run, "large2", 0, 60, 37);
  return run.end();
}

std::string TallModel::wear(Volume& volume) {
  std::mt19937 random(version_);
  Run run{volume, random, kNever};
  for (unsigned i = 0; i < 270; ++i) write_chunks(run, "worn" + std::to_string(i), 0, 16, 1);
  for (unsigned i = 0; i < 270; ++i) remove_large(run, "worn" + std::to_string(i));
  write_chunks(run, "large3", 0, 900, 1);
  cut_large(run, "large3", 60);
  return run.end();
}

std::string TallModel::touch(Volume& volume) {
  std::mt19937 random(version_);
  Run run{volume, random, kNever};
  rewrite_files(run, version_ % kDirectories, 10);
  return run.end();
}

std::string TallModel::compare(Volume& volume) const {
  std::vector<DirectoryEntry> entries;
  const VolumeResult<uint64_t> next = volume.read_directory(kRootInode, 0, 1000, entries);
  if (!next.ok()) return next.error().message;
  if (entries.size() != kDirectories + 1 + large_.size()) return "number of entries in the root differs";
  for (unsigned i = 0; i < kDirectories; ++i) {
    const std::string name = directory_name(i);
    const VolumeResult<InodeId> inode = volume.lookup(kRootInode, name);
    if (!inode.ok()) return name + ": " + inode.error().message;
    const std::string difference = compare_directory(volume, *inode, directories_[i]);
    if (!difference.empty()) return std::string(name).append("/").append(difference);
  }
  for (const auto& [name, file] : large_) {
    const VolumeResult<InodeId> inode = volume.lookup(kRootInode, name);
    const std::string difference =
        inode.ok() ? compare_file(volume, *inode, *file) : std::string(inode.error().message);
    if (!difference.empty()) return std::string(name).append(": ").append(difference);
  }
  const VolumeResult<InodeId> inode = volume.lookup(kRootInode, kModelName);
  if (!inode.ok()) return kModelName + ": " + inode.error().message;
  return model_->compare_at(volume, *inode);
}

std::string TallModel::compare_directory(Volume& volume, InodeId inode, const Directory& directory) const {
  std::vector<DirectoryEntry> entries;
  uint64_t cookie = 0;
  do {
    const VolumeResult<uint64_t> next = volume.read_directory(inode, cookie, 100, entries);
    if (!next.ok()) return next.error().message;
    cookie = *next;
  } while (cookie != 0);
  if (entries.size() != directory.size()) return "number of entries differs";
  for (const DirectoryEntry& entry : entries) {
    const auto found = directory.find(entry.name);
    if (found == directory.end() || found->second->type != entry.type) return "unexpected " + entry.name;
    const VolumeResult<InodeId> again = volume.lookup(inode, entry.name);
    if (!again.ok() || *again != entry.inode) return entry.name + " is not found";
    const std::string difference = compare_file(volume, entry.inode, *found->second);
    if (!difference.empty()) return std::string(entry.name).append(": ").append(difference);
  }
  return "";
}

std::string TallModel::compare_file(Volume& volume, InodeId inode, const File& file) const {
  const VolumeResult<Attributes> a = volume.attributes(inode);
  if (!a.ok()) return a.error().message;
  const bool directory = file.type == FileType::Directory;
  if (a->type != file.type || a->size != file.size || a->links != (directory ? 2u : 1u))
    return "attributes differ";
  const VolumeResult<std::vector<std::string>> names = volume.list_xattrs(inode);
  if (!names.ok() || names->size() != file.xattrs.size()) return "extended attributes differ";
  for (const auto& [name, version] : file.xattrs) {
    const VolumeResult<Bytes> value = volume.get_xattr(inode, name);
    if (!value.ok() || *value != xattr_value(version)) return name + " differs";
  }
  uint64_t at = 0;  // data begins where a chunk was written, and nowhere else
  Bytes out(kBlockSize);
  for (const auto& [index, version] : file.chunks) {
    const uint64_t begin = index * kBlockSize;
    const VolumeResult<uint64_t> data = volume.seek_data(inode, at);
    if (!data.ok() || *data != begin) return "a chunk before " + std::to_string(index) + " differs";
    const size_t size = static_cast<size_t>(std::min<uint64_t>(kBlockSize, file.size - begin));
    const VolumeResult<size_t> got = volume.read(inode, begin, MutableByteView(out).first(size));
    if (!got.ok()) return got.error().message;
    if (*got != size || !std::ranges::equal(ByteView(out).first(size), pattern(version, index, size)))
      return "chunk " + std::to_string(index) + " differs";
    at = begin + size;
  }
  if (at < file.size && volume.seek_data(inode, at).ok()) return "data after the last chunk";
  return "";
}

}  // namespace cloister::volume
