// What an image's root volume will hold: a tree of names, each with where its bytes come from. It is complete
// before a byte is written, so conflicts are found first, and it is written in the order of its paths with
// neutral times and owners: equal content gives an equal root hash on every machine, path, user and day.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "base/result.h"
#include "volume/volume.h"

namespace cloister::sgx {

struct RootNode {
  volume::FileType type = volume::FileType::Directory;
  uint16_t permissions = 0755;
  std::filesystem::path source;  // of a file on this machine; empty: `text` is the content
  std::string text;              // content, or the target of a link
  bool implied = false;          // a folder that only had to be there for something below it
};

// Paths are those inside the image: absolute, normalised. A name that is given twice must mean the same thing
// twice; InvalidArgument otherwise. NotFound and Denied for what cannot be read on this machine.
class RootPlan {
 public:
  // Paths below /bin, /lib and so on are below /usr where `host` has links there, as Debian does.
  void merge_usr_as(const std::filesystem::path& host);
  // Those links, for programs that go by the other name.
  Result<void> add_merged_links();

  // Links of the plan are followed on the way to a path.
  Result<void> add_folder(const std::string& path, uint16_t permissions = 0755);
  Result<void> add_file(const std::string& path, const std::filesystem::path& source);  // follows links
  Result<void> add_content(const std::string& path, std::string content, uint16_t permissions = 0644);
  Result<void> add_link(const std::string& path, std::string target);
  // A file, or a folder with all that is below it, links as links.
  Result<void> add_tree(const std::string& path, const std::filesystem::path& source);
  // A path of this machine under the same name, with every symbolic link on the way, so that it means the
  // same inside. Returns where the last link led.
  Result<std::string> add_host_path(const std::string& path);

  // The node behind a path, through the plan's own links; nullptr: nothing there.
  const RootNode* find(const std::string& path) const;
  const std::map<std::string, RootNode>& nodes() const { return nodes_; }

  // Makes the authenticated volume. Deterministic.
  Result<volume::Root> write(volume::Storage& storage) const;

 private:
  Result<void> add(const std::string& wanted, RootNode node);
  Result<std::string> place_of(const std::string& path);
  Result<void> add_parents(const std::string& path);

  std::map<std::string, RootNode> nodes_;  // a folder stands before what is in it
  std::set<std::string> merged_;           // "/bin", when that is a link to usr/bin
};

// "a//b/../c" → "/a/c"; InvalidArgument when it leaves the root or holds a NUL.
Result<std::string> image_path(std::string_view text);

}  // namespace cloister::sgx
