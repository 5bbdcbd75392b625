// For tests: a file system as plain maps, random operations applied to it and to a volume alike, and
// comparison. Whatever the volume answers must be what the model answers, and everything must be there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "volume/volume.h"

namespace cloister::volume {

struct ModelNode {
  FileType type = FileType::Regular;
  std::string content;  // or target
  uint16_t permissions = 0;
  uint32_t links = 1;
  std::map<std::string, int> children;
  std::map<std::string, std::string> xattrs;
};

class Model {
 public:
  // Of everything in the volume, or of what is below one of its directories (made with permissions 0755).
  explicit Model(InodeId root = kRootInode) : root_(root) {
    nodes_[0] = {.type = FileType::Directory, .permissions = 0755, .links = 2};
  }

  // Applies one random operation to both; an error says how they differ. Storage failures (Io, NoSpace,
  // Poisoned) are reported through `failed` and leave the model as before, which then no longer describes the
  // volume.
  std::string step(Volume& volume, std::mt19937& random, bool& failed);
  // Compares everything reachable; "" when equal.
  std::string compare(Volume& volume) const { return compare_at(volume, root_); }
  std::string compare_at(Volume& volume, InodeId root) const { return compare_node(volume, root, 0, ""); }
  // Calls `visit` with everything but the root: path ("/a/b") and what is there.
  void visit(const std::function<void(const std::string&, const ModelNode&)>& visit) const {
    visit_below(0, "", visit);
  }

 private:
  void visit_below(int directory, const std::string& path,
                   const std::function<void(const std::string&, const ModelNode&)>& visit) const;
  std::string compare_node(Volume& volume, InodeId inode, int node, const std::string& path) const;
  int find(int directory, const std::string& name) const;
  bool inside(int directory, int of) const;
  void drop(int node);
  Reason rename(int from, const std::string& from_name, int to, const std::string& to_name);

  InodeId root_;
  std::map<int, ModelNode> nodes_;
  int next_ = 1;
};

}  // namespace cloister::volume
