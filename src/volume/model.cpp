#include "volume/model.h"

#include <algorithm>

namespace cloister::volume {
namespace {

constexpr Timestamp kNow{1'700'000'000, 0};
constexpr Reason kFine = static_cast<Reason>(255);

bool storage_failure(Reason reason) {
  return reason == Reason::Io || reason == Reason::NoSpace || reason == Reason::Poisoned ||
         reason == Reason::Integrity;
}

template <class T>
Reason reason_of(const VolumeResult<T>& result) {
  return result.ok() ? kFine : result.error().reason;
}

std::string text(std::mt19937& random, size_t size) {
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

}  // namespace

int Model::find(int directory, const std::string& name) const {
  const auto& children = nodes_.at(directory).children;
  const auto found = children.find(name);
  return found == children.end() ? -1 : found->second;
}

void Model::visit_below(int directory, const std::string& path,
                        const std::function<void(const std::string&, const ModelNode&)>& visit) const {
  for (const auto& [name, child] : nodes_.at(directory).children) {
    std::string below = path;
    below.append("/").append(name);
    visit(below, nodes_.at(child));
    visit_below(child, below, visit);
  }
}

bool Model::inside(int directory, int of) const {
  if (directory == of) return true;
  for (const auto& [name, child] : nodes_.at(of).children) {
    if (nodes_.at(child).type == FileType::Directory && inside(directory, child)) return true;
  }
  return false;
}

void Model::drop(int node) {
  ModelNode& n = nodes_.at(node);
  if (n.type == FileType::Directory || --n.links == 0) nodes_.erase(node);
}

Reason Model::rename(int from, const std::string& from_name, int to, const std::string& to_name) {
  const int source = find(from, from_name);
  const int target = find(to, to_name);
  if (source < 0) return Reason::NotFound;
  if (target == source) return kFine;
  const bool directory = nodes_.at(source).type == FileType::Directory;
  if (directory && inside(to, source)) return Reason::Invalid;
  if (target >= 0) {
    const ModelNode& t = nodes_.at(target);
    if (t.type == FileType::Directory && !directory) return Reason::IsDirectory;
    if (t.type != FileType::Directory && directory) return Reason::NotDirectory;
    if (!t.children.empty()) return Reason::NotEmpty;
    if (t.type == FileType::Directory) --nodes_.at(to).links;
    drop(target);
  }
  nodes_.at(from).children.erase(from_name);
  nodes_.at(to).children[to_name] = source;
  if (directory) {
    --nodes_.at(from).links;
    ++nodes_.at(to).links;
  }
  return kFine;
}

std::string Model::step(Volume& volume, std::mt19937& random, bool& failed) {
  // A random directory, by walking down both sides together.
  const auto walk = [&](int& node) -> VolumeResult<InodeId> {
    node = 0;
    InodeId inode = root_;
    for (int depth = 0; depth < 4; ++depth) {
      std::vector<std::pair<std::string, int>> below;
      for (const auto& [name, child] : nodes_.at(node).children) {
        if (nodes_.at(child).type == FileType::Directory) below.emplace_back(name, child);
      }
      if (below.empty() || random() % 3 == 0) break;
      const auto& chosen = below[random() % below.size()];
      VolumeResult<InodeId> found = volume.lookup(inode, chosen.first);
      if (!found.ok()) return found;
      inode = *found;
      node = chosen.second;
    }
    return inode;
  };
  int directory = 0;
  int other_directory = 0;
  const VolumeResult<InodeId> parent = walk(directory);
  const VolumeResult<InodeId> other = walk(other_directory);
  if (!parent.ok() || !other.ok()) {
    const Reason reason = parent.ok() ? reason_of(other) : reason_of(parent);
    failed = storage_failure(reason);
    return failed ? "" : "a directory of the model is missing";
  }
  const std::string name = "n" + std::to_string(random() % 12);
  const std::string other_name = "n" + std::to_string(random() % 12);
  const int node = find(directory, name);
  const unsigned operation = random() % 14;
  Reason expected = kFine;
  Reason actual = kFine;
  std::string content;
  const auto finish = [&]() -> std::string {
    if (storage_failure(actual)) {
      failed = true;
      return "";
    }
    if (expected == actual) return "";
    return "operation " + std::to_string(operation) + " on " + name + ": model " +
           std::to_string(static_cast<int>(expected)) + ", volume " +
           std::to_string(static_cast<int>(actual));
  };
  const auto make = [&](FileType type, const std::string& target) {
    ModelNode made{.type = type,
                   .content = target,
                   .permissions = static_cast<uint16_t>(type == FileType::Symlink ? 0777 : 0640)};
    if (type == FileType::Directory) {
      made.links = 2;
      ++nodes_.at(directory).links;
    }
    nodes_[next_] = made;
    nodes_.at(directory).children[name] = next_++;
  };
  if (operation <= 1) {
    expected = node >= 0 ? Reason::Exists : kFine;
    actual = reason_of(volume.create_file(*parent, name, 0640, 0, 0, kNow));
    if (actual == kFine && expected == kFine) make(FileType::Regular, "");
    return finish();
  }
  if (operation == 2) {
    expected = node >= 0 ? Reason::Exists : kFine;
    actual = reason_of(volume.make_directory(*parent, name, 0640, 0, 0, kNow));
    if (actual == kFine && expected == kFine) make(FileType::Directory, "");
    return finish();
  }
  if (operation == 3) {
    expected = node >= 0 ? Reason::Exists : kFine;
    content = "target" + std::to_string(random() % 1000);
    if (random() % 4 == 0) content.resize(random() % (kMaxTarget - 16) + 16, 't');  // in one part or two
    actual = reason_of(volume.make_symlink(*parent, name, content, 0, 0, kNow));
    if (actual == kFine && expected == kFine) make(FileType::Symlink, content);
    return finish();
  }
  if (operation == 4) {
    if (node < 0)
      expected = Reason::NotFound;
    else if (nodes_.at(node).type == FileType::Directory)
      expected = Reason::IsDirectory;
    actual = reason_of(volume.unlink(*parent, name, kNow));
    if (actual == kFine && expected == kFine) {
      nodes_.at(directory).children.erase(name);
      drop(node);
    }
    return finish();
  }
  if (operation == 5) {
    if (node < 0)
      expected = Reason::NotFound;
    else if (nodes_.at(node).type != FileType::Directory)
      expected = Reason::NotDirectory;
    else if (!nodes_.at(node).children.empty())
      expected = Reason::NotEmpty;
    actual = reason_of(volume.remove_directory(*parent, name, kNow));
    if (actual == kFine && expected == kFine) {
      nodes_.at(directory).children.erase(name);
      --nodes_.at(directory).links;
      drop(node);
    }
    return finish();
  }
  if (operation == 6) {
    actual = reason_of(volume.rename(*parent, name, *other, other_name, kNow));
    if (!storage_failure(actual)) expected = rename(directory, name, other_directory, other_name);
    return finish();
  }
  if (node < 0) return "";
  const VolumeResult<InodeId> inode = volume.lookup(*parent, name);
  actual = reason_of(inode);
  if (actual != kFine) return finish();
  ModelNode& n = nodes_.at(node);
  if (operation == 7) {
    const bool directory_type = n.type == FileType::Directory;
    expected = directory_type                           ? Reason::IsDirectory
               : find(other_directory, other_name) >= 0 ? Reason::Exists
                                                        : kFine;
    actual = reason_of(volume.link(*inode, *other, other_name, kNow));
    if (actual == kFine && expected == kFine) {
      ++n.links;
      nodes_.at(other_directory).children[other_name] = node;
    }
    return finish();
  }
  if (operation == 8) {
    const uint16_t permissions = random() % 4096;
    actual = reason_of(volume.set_attributes(*inode, {.permissions = permissions}, kNow));
    if (actual == kFine) n.permissions = permissions;
    return finish();
  }
  if (operation == 9) {
    const std::string key = "user.x" + std::to_string(random() % 4);
    if (random() % 4 == 0) {
      expected = n.xattrs.contains(key) ? kFine : Reason::NoData;
      actual = reason_of(volume.remove_xattr(*inode, key, kNow));
      if (actual == kFine) n.xattrs.erase(key);
      return finish();
    }
    static const size_t kMost[] = {600, 600, 5000, kMaxXattrValue};  // in its record, in parts
    content = text(random, random() % kMost[random() % 4]);
    actual = reason_of(volume.set_xattr(*inode, key, as_bytes(content), false, false, kNow));
    if (actual == kFine) n.xattrs[key] = content;
    return finish();
  }
  if (n.type == FileType::Directory) return "";
  if (n.type == FileType::Symlink) return "";
  static const size_t kSizes[] = {1, 100, 2000, 2100, 4096, 5000, 65536, 70'000, 200'000};
  const size_t size = random() % kSizes[random() % 9] + 1;
  const size_t offset = random() % 2 == 0 ? 0 : random() % (random() % 2 == 0 ? 5000 : 300'000);
  if (operation == 10 || operation == 11) {
    const size_t at = random() % 3 == 0   ? n.content.size()
                      : random() % 4 == 0 ? offset / 4096 * 4096
                                          : offset;
    content = text(random, size);
    actual = reason_of(volume.write(*inode, at, as_bytes(content), kNow));
    if (actual == kFine) {
      if (n.content.size() < at + size) n.content.resize(at + size);
      n.content.replace(at, size, content);
    }
    return finish();
  }
  if (operation == 12) {
    const size_t to = random() % 4 == 0 ? 0 : offset;
    actual = reason_of(volume.truncate(*inode, to, kNow));
    if (actual == kFine) n.content.resize(to);
    return finish();
  }
  Bytes out(size);
  const VolumeResult<size_t> got = volume.read(*inode, offset, out);
  actual = reason_of(got);
  if (actual == kFine) {
    const std::string want = offset < n.content.size() ? n.content.substr(offset, size) : "";
    if (as_text(ByteView(out).first(*got)) != want) return "read of " + name + " differs";
  }
  return finish();
}

std::string Model::compare_node(Volume& volume, InodeId inode, int node, const std::string& path) const {
  const ModelNode& n = nodes_.at(node);
  VolumeResult<Attributes> attributes = volume.attributes(inode);
  if (!attributes.ok()) return path + ": " + attributes.error().message;
  if (attributes->type != n.type) return path + ": type differs";
  if (attributes->permissions != n.permissions) return path + ": permissions differ";
  if (attributes->links != n.links) return path + ": links differ";
  VolumeResult<std::vector<std::string>> xattrs = volume.list_xattrs(inode);
  if (!xattrs.ok() || xattrs->size() != n.xattrs.size()) return path + ": attributes differ";
  for (const auto& [key, value] : n.xattrs) {
    VolumeResult<Bytes> got = volume.get_xattr(inode, key);
    if (!got.ok() || as_text(*got) != value)
      return std::string(path).append(": attribute ").append(key).append(" differs");
  }
  if (n.type == FileType::Symlink) {
    VolumeResult<std::string> target = volume.read_symlink(inode);
    return target.ok() && *target == n.content ? "" : path + ": target differs";
  }
  if (n.type == FileType::Regular) {
    if (attributes->size != n.content.size()) return path + ": size differs";
    Bytes out(n.content.size() + 10);
    VolumeResult<size_t> got = volume.read(inode, 0, out);
    if (!got.ok()) return path + ": " + got.error().message;
    return as_text(ByteView(out).first(*got)) == n.content ? "" : path + ": content differs";
  }
  std::vector<DirectoryEntry> entries;
  uint64_t cookie = 0;
  do {
    VolumeResult<uint64_t> next = volume.read_directory(inode, cookie, 3, entries);
    if (!next.ok()) return path + ": " + next.error().message;
    cookie = *next;
  } while (cookie != 0);
  if (entries.size() != n.children.size()) return path + ": number of entries differs";
  for (const DirectoryEntry& entry : entries) {
    const auto child = n.children.find(entry.name);
    if (child == n.children.end()) return path + ": unexpected " + entry.name;
    std::string below = compare_node(volume, entry.inode, child->second, path + "/" + entry.name);
    if (!below.empty()) return below;
  }
  return "";
}

}  // namespace cloister::volume
