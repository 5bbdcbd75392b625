#include "sgx/root_plan.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/descriptor.h"
#include "sgx/patch_build.h"
#include "volume/errors.h"

namespace cloister::sgx {
namespace {

namespace fs = std::filesystem;
using volume::FileType;

constexpr size_t kBuffer = size_t{1} << 20;
constexpr int kMaxLinks = 40;
// Of everything in an image: the first moment that zip and gzip can write down, too.
constexpr volume::Timestamp kImageTime{315532800, 0};  // 1980-01-01
constexpr unsigned kMaxDepth = 256;
constexpr size_t kMaxPath = 4095;

Error host_error(std::string_view what, const fs::path& path, int number) {
  const std::string text = std::string(what) + " " + path.string() + ": " + std::strerror(number);
  if (number == ENOENT || number == ENOTDIR) return {Code::NotFound, text};
  if (number == EACCES || number == EPERM) return {Code::Denied, text};
  return {Code::Unavailable, text};
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// Goes along a normalised path, one component at a time. Whoever walks says of each whether it is a link.
class LinkWalk {
 public:
  explicit LinkWalk(std::string path) : rest_(std::move(path)) {}

  bool more() const { return !rest_.empty(); }
  const std::string& at() const { return at_; }
  // The place so far with the next component, which is taken off the rest.
  std::string next() {
    const size_t slash = rest_.find('/', 1);
    std::string step = at_ + rest_.substr(0, slash);
    rest_.erase(0, slash);
    return step;
  }
  void enter(std::string step) { at_ = std::move(step); }
  // `next` was a link to `target`. Unsupported: too many of them, as in Linux.
  Result<void> follow(const std::string& target) {
    if (++links_ > kMaxLinks) return Error(Code::Unsupported, "too many symbolic links at " + at_);
    std::string path = target.starts_with("/") ? target : std::string(at_).append("/").append(target);
    rest_ = TRY(image_path(path.append(rest_)));
    at_.clear();
    return {};
  }

 private:
  std::string rest_, at_;
  int links_ = 0;
};

template <class T>
Result<T> lowered(volume::VolumeResult<T> result, const std::string& path) {
  if (result.ok()) return volume::lower(std::move(result));
  return static_cast<Error>(result.error()).within(path);
}

// Writes one plan into one volume; remembers the inode of every folder.
class PlanWriter {
 public:
  explicit PlanWriter(volume::Volume& volume) : volume_(volume), buffer_(kBuffer) {
    folders_["/"] = volume::kRootInode;
  }

  Result<void> write(const std::string& path, const RootNode& node) {
    if (path == "/") return permissions(volume::kRootInode, node, path);
    const volume::InodeId folder = folders_.at(parent_of(path));
    switch (node.type) {
      case FileType::Directory: {
        const auto made = volume_.make_directory(folder, name_of(path), node.permissions, 0, 0, kImageTime);
        if (!made.ok()) return static_cast<Error>(made.error()).within(path);
        folders_[path] = made.value();
        return permissions(made.value(), node, path);
      }
      case FileType::Symlink: {
        const auto made = volume_.make_symlink(folder, name_of(path), node.text, 0, 0, kImageTime);
        if (!made.ok()) return static_cast<Error>(made.error()).within(path);
        return {};
      }
      case FileType::Regular:
        return file(folder, path, node);
    }
    return {};
  }

 private:
  Result<void> permissions(volume::InodeId inode, const RootNode& node, const std::string& path) {
    volume::AttributeChange change;
    change.permissions = node.permissions;
    change.modified = kImageTime;
    return lowered(volume_.set_attributes(inode, change, kImageTime), path);
  }

  Result<void> file(volume::InodeId folder, const std::string& path, const RootNode& node) {
    const auto made = volume_.create_file(folder, name_of(path), node.permissions, 0, 0, kImageTime);
    if (!made.ok()) return static_cast<Error>(made.error()).within(path);
    if (node.source.empty()) {
      TRY(lowered(volume_.write(made.value(), 0, as_bytes(node.text), kImageTime), path));
      return permissions(made.value(), node, path);
    }
    const Descriptor fd(::open(node.source.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0) return host_error("cannot read", node.source, errno);
    for (uint64_t done = 0;;) {
      const ssize_t count = ::read(fd.get(), buffer_.data(), buffer_.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return host_error("cannot read", node.source, errno);
      if (count == 0) break;
      const auto size = static_cast<size_t>(count);
      TRY(lowered(volume_.write(made.value(), done, {buffer_.data(), size}, kImageTime), path));
      done += size;
    }
    return permissions(made.value(), node, path);
  }

  volume::Volume& volume_;
  Bytes buffer_;
  std::map<std::string, volume::InodeId> folders_;
};

}  // namespace

Result<std::string> image_path(std::string_view text) {
  if (text.find('\0') != std::string_view::npos || text.size() > kMaxPath)
    return Error(Code::InvalidArgument, "not a path: " + std::string(text.substr(0, 64)));
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('/', at), text.size());
    const std::string_view part = text.substr(at, end - at);
    if (part == "..") {
      if (parts.empty()) return Error(Code::InvalidArgument, "path above the root: " + std::string(text));
      parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    at = end + 1;
  }
  std::string path;
  for (const std::string_view part : parts) path.append("/").append(part);
  return path.empty() ? "/" : path;
}

void RootPlan::merge_usr_as(const fs::path& host) {
  for (const char* name : {"bin", "lib", "lib32", "lib64", "libx32", "sbin"}) {
    std::error_code error;
    const fs::path target = fs::read_symlink(host / name, error);
    if (!error && target == fs::path("usr") / name) merged_.insert(std::string("/") + name);
  }
}

Result<void> RootPlan::add_merged_links() {
  for (const std::string& name : merged_) {
    const auto folder = nodes_.find("/usr" + name);
    if (folder != nodes_.end() && folder->second.type == FileType::Directory && !nodes_.contains(name))
      TRY(add_link(name, "usr" + name));
  }
  return {};
}

// Where `path` is once the links of the plan on its way are followed; its last component is not.
Result<std::string> RootPlan::place_of(const std::string& path) {
  const std::string top = path.substr(0, path.find('/', 1));
  if (top != path && merged_.contains(top) && !nodes_.contains(top)) TRY(add_link(top, "usr" + top));
  LinkWalk walk(parent_of(path) == "/" ? "" : parent_of(path));
  while (walk.more()) {
    std::string step = walk.next();
    const auto found = nodes_.find(step);
    if (found != nodes_.end() && found->second.type == FileType::Symlink)
      TRY(walk.follow(found->second.text));
    else
      walk.enter(std::move(step));
  }
  return (walk.at() == "/" ? "" : walk.at()) + "/" + name_of(path);
}

Result<void> RootPlan::add(const std::string& wanted, RootNode node) {
  const std::string path = wanted == "/" ? wanted : TRY(place_of(wanted));
  if (path != "/") TRY(add_parents(path));
  const auto [at, fresh] = nodes_.emplace(path, node);
  if (fresh) return {};
  RootNode& old = at->second;
  if (old.type == FileType::Directory && node.type == FileType::Directory) {
    if (!node.implied) old.permissions = node.permissions;
    old.implied = old.implied && node.implied;
    return {};
  }
  if (old.type == node.type && old.text == node.text && old.source == node.source) return {};
  return Error(Code::InvalidArgument, path + " is given twice with different content");
}

Result<void> RootPlan::add_parents(const std::string& path) {
  const std::string parent = parent_of(path);
  const auto found = nodes_.find(parent);
  if (found != nodes_.end()) {
    if (found->second.type == FileType::Directory) return {};
    return Error(Code::InvalidArgument,
                 path + " cannot be in the image: " + parent + " is not a folder there");
  }
  return add(parent, {FileType::Directory, 0755, {}, {}, true});
}

Result<void> RootPlan::add_folder(const std::string& path, uint16_t permissions) {
  return add(path, {FileType::Directory, permissions, {}, {}, false});
}

Result<void> RootPlan::add_file(const std::string& path, const fs::path& source) {
  struct stat status {};
  if (::stat(source.c_str(), &status) != 0) return host_error("cannot find", source, errno);
  if (!S_ISREG(status.st_mode)) return Error(Code::InvalidArgument, source.string() + " is not a file");
  std::error_code error;
  const fs::path absolute = fs::absolute(source, error);
  if (error) return host_error("cannot find", source, error.value());
  const auto permissions = static_cast<uint16_t>(status.st_mode & 0777);
  return add(path, {FileType::Regular, permissions, absolute, {}, false});
}

Result<void> RootPlan::add_content(const std::string& path, std::string content, uint16_t permissions) {
  return add(path, {FileType::Regular, permissions, {}, std::move(content), false});
}

Result<void> RootPlan::add_link(const std::string& path, std::string target) {
  return add(path, {FileType::Symlink, 0777, {}, std::move(target), false});
}

Result<void> RootPlan::add_tree(const std::string& path, const fs::path& source) {
  struct stat status {};
  if (::stat(source.c_str(), &status) != 0) return host_error("cannot find", source, errno);
  if (!S_ISDIR(status.st_mode)) return add_file(path, source);
  if (static_cast<unsigned>(std::count(path.begin(), path.end(), '/')) > kMaxDepth)
    return Error(Code::Unsupported, source.string() + ": folders are nested too deeply");
  TRY(add_folder(path, static_cast<uint16_t>(status.st_mode & 01777)));
  std::error_code error;
  for (fs::directory_iterator at(source, error), end; !error && at != end; at.increment(error)) {
    const fs::path& entry = at->path();
    const std::string below = (path == "/" ? "/" : path + "/") + entry.filename().string();
    const fs::file_status kind = at->symlink_status(error);
    if (error) break;
    if (fs::is_symlink(kind)) {
      const fs::path target = fs::read_symlink(entry, error);
      if (error) break;
      TRY(add_link(below, target.string()));
    } else if (fs::is_directory(kind)) {
      TRY(add_tree(below, entry));
    } else if (fs::is_regular_file(kind)) {
      TRY(add_file(below, entry));
    }  // devices, pipes and sockets have no place in an image
  }
  if (error) return host_error("cannot read", source, error.value());
  return {};
}

Result<std::string> RootPlan::add_host_path(const std::string& path) {
  LinkWalk walk(TRY(image_path(path)));
  while (walk.more()) {
    const std::string step = walk.next();
    std::error_code error;
    const fs::file_status kind = fs::symlink_status(step, error);
    if (error || !fs::exists(kind)) return host_error("cannot find", step, error ? error.value() : ENOENT);
    if (!fs::is_symlink(kind)) {
      walk.enter(step);
      continue;
    }
    const std::string target = fs::read_symlink(step, error).string();
    if (error) return host_error("cannot read", step, error.value());
    TRY(add_link(step, target));
    TRY(walk.follow(target));
  }
  TRY(add_file(walk.at(), walk.at()));
  return walk.at();
}

const RootNode* RootPlan::find(const std::string& path) const {
  LinkWalk walk(path);
  const RootNode* node = nullptr;
  while (walk.more()) {
    const std::string step = walk.next();
    const auto found = nodes_.find(step);
    if (found == nodes_.end()) return nullptr;
    node = &found->second;
    if (node->type != FileType::Symlink) {
      walk.enter(step);
    } else if (!walk.follow(node->text).ok()) {
      return nullptr;
    }
  }
  return node;
}

Result<volume::Root> RootPlan::write(volume::Storage& storage) const {
  volume::CreateOptions create;
  create.mode = volume::Mode::AuthenticatedOnly;
  create.now = kImageTime;
  const auto volume = TRY(volume::Volume::create(storage, volume::Key(), create));
  PlanWriter writer(*volume);
  for (const auto& [path, node] : nodes_) TRY(writer.write(path, node));
  TRY(add_patch_table(*volume, kImageTime));
  TRY(volume->commit());
  return volume->root();
}

}  // namespace cloister::sgx
