// Files in enclave memory: /tmp, /run, /dev/shm and folders made for mount points. They are gone with the
// enclave. Content lies in 64 KiB pieces so that sparse files stay small and growing never copies.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "enclave/memory/manager.h"
#include "enclave/vfs/pipe.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr size_t kPiece = 64 << 10;
constexpr uint64_t kMaxFile = uint64_t{1} << 40;

// One file system: numbers, and how much it holds against the image's heap.
struct Space : Counted {
  uint64_t id = 0, next_inode = 1, used = 0;
  uint64_t limit() const { return memory_heap_limit() / 2; }
};

class Node final : public Inode {
 public:
  Node(Ref<Space> space, uint32_t mode)
      : space_(std::move(space)), mode_(mode), number_(space_->next_inode++) {
    modified_ = changed_ = accessed_ = to_timespec(realtime_ns());
    links_ = is(kTypeFolder) ? 2 : 1;
  }
  ~Node() override {
    drop_pieces(0);
    for (const auto& [name, value] : attributes_) space_->used -= name.size() + value.size();
  }

  SysResult<Stat> stat() override {
    Stat stat;
    stat.device = space_->id;
    stat.inode = number_;
    stat.links = links_;
    stat.mode = mode_;
    stat.uid = uid_;
    stat.gid = gid_;
    stat.size = is(kTypeLink) ? target_.size() : size_;
    stat.blocks = pieces_.size() * (kPiece / 512);
    stat.accessed = accessed_;
    stat.modified = modified_;
    stat.changed = changed_;
    return stat;
  }

  SysResult<size_t> read(uint64_t offset, MutableByteView out) override {
    if (is(kTypeFolder)) return Errno::IsDirectory;
    if (offset >= size_) return size_t{0};
    const size_t count = std::min<uint64_t>(out.size(), size_ - offset);
    for (size_t done = 0; done < count;) {
      const uint64_t at = offset + done;
      const size_t part = std::min(count - done, kPiece - at % kPiece);
      const auto piece = pieces_.find(at / kPiece);
      if (piece == pieces_.end()) {
        std::memset(out.data() + done, 0, part);
      } else {
        std::memcpy(out.data() + done, piece->second.get() + at % kPiece, part);
      }
      done += part;
    }
    return count;
  }

  SysResult<size_t> write(uint64_t offset, ByteView data) override {
    if (offset > kMaxFile || data.size() > kMaxFile - offset) return Errno::FileTooBig;
    size_t done = 0;
    while (done < data.size()) {
      const uint64_t at = offset + done;
      const size_t part = std::min(data.size() - done, kPiece - at % kPiece);
      auto& piece = pieces_[at / kPiece];
      if (piece == nullptr) {
        if (space_->used + kPiece > space_->limit()) {
          pieces_.erase(at / kPiece);
          break;
        }
        piece = std::make_unique<uint8_t[]>(kPiece);
        space_->used += kPiece;
      }
      std::memcpy(piece.get() + at % kPiece, data.data() + done, part);
      done += part;
    }
    if (done == 0 && !data.empty()) return Errno::NoSpace;
    size_ = std::max(size_, offset + done);
    touch();
    return done;
  }

  SysResult<void> truncate(uint64_t size) override {
    if (is(kTypeFolder)) return Errno::IsDirectory;
    if (size > kMaxFile) return Errno::FileTooBig;
    if (size != size_ && (seals_ & (size < size_ ? kSealShrink : kSealGrow)) != 0) return Errno::Perm;
    if (size < size_) {
      drop_pieces((size + kPiece - 1) / kPiece);
      const auto last = pieces_.find(size / kPiece);
      if (last != pieces_.end()) std::memset(last->second.get() + size % kPiece, 0, kPiece - size % kPiece);
    }
    size_ = size;
    touch();
    return {};
  }

  SysResult<std::string> read_link() override {
    if (!is(kTypeLink)) return Errno::Invalid;
    return target_;
  }

  SysResult<Ref<Inode>> lookup(std::string_view name) override {
    if (!is(kTypeFolder)) return Errno::NotDirectory;
    const auto found = entries_.find(name);
    if (found == entries_.end()) return Errno::NoEntry;
    return Ref<Inode>(found->second);
  }

  SysResult<Ref<Inode>> create(std::string_view name, uint32_t mode) override {
    const Ref<Node> node = make_ref<Node>(space_, mode);
    TRY(add(name, node));
    return Ref<Inode>(node);
  }
  SysResult<void> symlink(std::string_view name, std::string_view target) override {
    const Ref<Node> node = make_ref<Node>(space_, kTypeLink | 0777);
    node->target_ = target;
    return add(name, node);
  }
  SysResult<void> link(std::string_view name, Inode& other) override {
    auto& node = static_cast<Node&>(other);  // file_system() was compared
    if (node.is(kTypeFolder)) return Errno::Perm;
    TRY(add(name, Ref<Node>(&node)));
    ++node.links_;
    return {};
  }
  SysResult<void> unlink(std::string_view name) override {
    const auto found = entries_.find(name);
    if (found == entries_.end()) return Errno::NoEntry;
    if (found->second->is(kTypeFolder)) return Errno::IsDirectory;
    remove(found);
    return {};
  }
  SysResult<void> remove_folder(std::string_view name) override {
    const auto found = entries_.find(name);
    if (found == entries_.end()) return Errno::NoEntry;
    if (!found->second->is(kTypeFolder)) return Errno::NotDirectory;
    if (!found->second->entries_.empty()) return Errno::NotEmpty;
    remove(found);
    return {};
  }
  SysResult<void> rename(std::string_view name, Inode& to, std::string_view to_name,
                         uint32_t flags) override {
    auto& target = static_cast<Node&>(to);
    const auto found = entries_.find(name);
    if (found == entries_.end()) return Errno::NoEntry;
    const Ref<Node> node = found->second;
    if (target.links_ == 0) return Errno::NoEntry;  // the folder itself has been removed
    if (node->is(kTypeFolder) && node->contains(target)) return Errno::Invalid;
    const auto old = target.entries_.find(to_name);
    if (flags == kExchange) return exchange(found, target, old);
    if (old != target.entries_.end()) {
      if (flags == kNoReplace) return Errno::Exists;
      if (old->second.get() == node.get()) return {};
      if (old->second->is(kTypeFolder) != node->is(kTypeFolder))
        return node->is(kTypeFolder) ? Errno::NotDirectory : Errno::IsDirectory;
      if (!old->second->entries_.empty()) return Errno::NotEmpty;
      target.remove(old);
    }
    entries_.erase(found);
    target.entries_.emplace(to_name, node);
    if (node->is(kTypeFolder)) {
      --links_;
      ++target.links_;
    }
    touch();
    target.touch();
    return {};
  }
  SysResult<std::vector<FolderEntry>> list() override {
    if (!is(kTypeFolder)) return Errno::NotDirectory;
    std::vector<FolderEntry> list;
    for (const auto& [name, node] : entries_) list.push_back({name, node->number_, node->mode_ & kTypeMask});
    return list;
  }
  SysResult<void> change(const AttributeChange& change) override {
    if (change.mode != nullptr) mode_ = (mode_ & kTypeMask) | (*change.mode & 07777);
    if (change.uid != nullptr) uid_ = *change.uid;
    if (change.gid != nullptr) gid_ = *change.gid;
    if (change.accessed != nullptr) accessed_ = *change.accessed;
    if (change.modified != nullptr) modified_ = *change.modified;
    changed_ = to_timespec(realtime_ns());
    return {};
  }
  SysResult<Bytes> get_attribute(std::string_view name) override {
    const auto found = attributes_.find(name);
    if (found == attributes_.end()) return Errno::NoData;
    return found->second;
  }
  SysResult<void> set_attribute(std::string_view name, ByteView value, uint32_t flags) override {
    constexpr uint32_t kCreate = 1, kReplace = 2;
    const auto found = attributes_.find(name);
    const bool there = found != attributes_.end();
    if (there && (flags & kCreate) != 0) return Errno::Exists;
    if (!there && (flags & kReplace) != 0) return Errno::NoData;
    const uint64_t before = there ? name.size() + found->second.size() : 0;
    const uint64_t after = name.size() + value.size();
    if (space_->used - before + after > space_->limit()) return Errno::NoSpace;
    space_->used += after - before;
    attributes_[std::string(name)].assign(value.begin(), value.end());
    changed_ = to_timespec(realtime_ns());
    return {};
  }
  SysResult<std::vector<std::string>> list_attributes() override {
    std::vector<std::string> names;
    for (const auto& [name, value] : attributes_) names.push_back(name);
    return names;
  }
  SysResult<void> remove_attribute(std::string_view name) override {
    const auto found = attributes_.find(name);
    if (found == attributes_.end()) return Errno::NoData;
    space_->used -= found->first.size() + found->second.size();
    attributes_.erase(found);
    changed_ = to_timespec(realtime_ns());
    return {};
  }
  SpaceInfo space() override {
    SpaceInfo info;
    info.blocks = space_->limit() / info.block;
    info.free = info.blocks - std::min(info.blocks, space_->used / info.block);
    return info;
  }
  SysResult<Ref<File>> open_special(uint32_t flags) override {
    if (!is(kTypeFifo)) return Ref<File>();
    return open_fifo(fifo_, Ref<Inode>(this), flags);
  }
  uint32_t* seals() override { return is(kTypeFile) ? &seals_ : nullptr; }
  uint64_t file_system() const override { return space_->id; }

 private:
  using Entries = std::map<std::string, Ref<Node>, std::less<>>;

  bool is(uint32_t type) const { return (mode_ & kTypeMask) == type; }
  void touch() { modified_ = changed_ = to_timespec(realtime_ns()); }
  void drop_pieces(uint64_t from) {
    const auto first = pieces_.lower_bound(from);
    space_->used -= static_cast<uint64_t>(std::distance(first, pieces_.end())) * kPiece;
    pieces_.erase(first, pieces_.end());
  }
  SysResult<void> add(std::string_view name, const Ref<Node>& node) {
    if (!is(kTypeFolder)) return Errno::NotDirectory;
    if (links_ == 0) return Errno::NoEntry;  // the folder itself has been removed
    if (!entries_.emplace(name, node).second) return Errno::Exists;
    if (node->is(kTypeFolder)) ++links_;
    touch();
    return {};
  }
  SysResult<void> exchange(Entries::iterator mine, Node& other, Entries::iterator its) {
    if (its == other.entries_.end()) return Errno::NoEntry;
    Ref<Node>& a = mine->second;
    Ref<Node>& b = its->second;
    if (b->is(kTypeFolder) && b->contains(*this)) return Errno::Invalid;
    const uint64_t a_links = a->is(kTypeFolder) ? 1 : 0, b_links = b->is(kTypeFolder) ? 1 : 0;
    std::swap(a, b);
    links_ = links_ - a_links + b_links;
    other.links_ = other.links_ - b_links + a_links;
    touch();
    other.touch();
    return {};
  }
  void remove(Entries::iterator entry) {
    Node& node = *entry->second;
    node.links_ = node.is(kTypeFolder) ? 0 : node.links_ - 1;
    if (node.is(kTypeFolder)) --links_;
    node.changed_ = to_timespec(realtime_ns());
    entries_.erase(entry);
    touch();
  }
  bool contains(const Node& other) const {
    if (&other == this) return true;
    return std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) {
      return entry.second->is(kTypeFolder) && entry.second->contains(other);
    });
  }

  Ref<Space> space_;
  uint32_t mode_, uid_ = 0, gid_ = 0;
  uint32_t seals_ = kSealSeal;
  uint64_t number_, links_ = 1, size_ = 0;
  TimeSpec accessed_{}, modified_{}, changed_{};
  std::string target_;
  Ref<Counted> fifo_;
  Entries entries_;
  std::map<std::string, Bytes, std::less<>> attributes_;
  std::map<uint64_t, std::unique_ptr<uint8_t[]>> pieces_;
};

}  // namespace

Ref<Inode> make_tmpfs(uint64_t id, uint32_t root_mode) {
  Ref<Space> space = make_ref<Space>();
  space->id = id;
  return make_ref<Node>(std::move(space), kTypeFolder | root_mode);
}

}  // namespace cloister::enclave
