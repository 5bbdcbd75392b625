// /dev: the few devices that programs open. Random bytes come from the enclave's own generator.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "crypto/random.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

enum class Device : uint8_t { Null, Zero, Full, Random, Terminal };
struct Row {
  const char* name;
  Device device;
  uint32_t major, minor;  // Linux: Documentation/admin-guide/devices.txt
};
constexpr Row kDevices[] = {{"null", Device::Null, 1, 3},      {"zero", Device::Zero, 1, 5},
                            {"full", Device::Full, 1, 7},      {"random", Device::Random, 1, 8},
                            {"urandom", Device::Random, 1, 9}, {"tty", Device::Terminal, 5, 0}};
struct LinkRow {
  const char* name;
  const char* target;
};
constexpr LinkRow kLinks[] = {{"fd", "/proc/self/fd"},
                              {"stdin", "/proc/self/fd/0"},
                              {"stdout", "/proc/self/fd/1"},
                              {"stderr", "/proc/self/fd/2"}};
constexpr uint64_t kFirstLink = 100;

class DeviceInode final : public Inode {
 public:
  DeviceInode(uint64_t id, const Row& row) : id_(id), row_(row) {}
  SysResult<Stat> stat() override {
    Stat stat;
    stat.device = id_;
    stat.inode = 2 + static_cast<uint64_t>(&row_ - kDevices);
    stat.mode = kTypeCharacter | 0666;
    stat.special = row_.major << 8 | row_.minor;
    return stat;
  }
  SysResult<size_t> read(uint64_t, MutableByteView out) override {
    if (row_.device == Device::Null) return size_t{0};
    if (row_.device == Device::Random) {
      crypto::random_bytes(out);
    } else {
      std::memset(out.data(), 0, out.size());
    }
    return out.size();
  }
  SysResult<size_t> write(uint64_t, ByteView data) override {
    if (row_.device == Device::Full) return Errno::NoSpace;
    return data.size();
  }
  SysResult<void> truncate(uint64_t) override { return {}; }
  SysResult<void> change(const AttributeChange&) override { return {}; }
  SysResult<Ref<File>> open_special(uint32_t flags) override {
    if (row_.device != Device::Terminal) return Ref<File>();
    return make_console(flags, (flags & kOpenAccess) == 0 ? 0 : 1);
  }
  bool can_poll() const override { return std::string_view(row_.name) == "random"; }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_;
  const Row& row_;
};

class LinkInode final : public Inode {
 public:
  LinkInode(uint64_t id, const LinkRow& row) : id_(id), row_(row) {}
  SysResult<Stat> stat() override {
    Stat stat;
    stat.device = id_;
    stat.inode = kFirstLink + static_cast<uint64_t>(&row_ - kLinks);
    stat.mode = kTypeLink | 0777;
    stat.size = std::strlen(row_.target);
    return stat;
  }
  SysResult<std::string> read_link() override { return std::string(row_.target); }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_;
  const LinkRow& row_;
};

class DeviceFolder final : public Inode {
 public:
  explicit DeviceFolder(uint64_t id) : id_(id) {}
  SysResult<Stat> stat() override {
    Stat stat;
    stat.device = id_;
    stat.inode = 1;
    stat.links = 2;
    stat.mode = kTypeFolder | 0755;
    return stat;
  }
  SysResult<Ref<Inode>> lookup(std::string_view name) override {
    for (const Row& row : kDevices) {
      if (name == row.name) return Ref<Inode>(make_ref<DeviceInode>(id_, row));
    }
    for (const LinkRow& row : kLinks) {
      if (name == row.name) return Ref<Inode>(make_ref<LinkInode>(id_, row));
    }
    return Errno::NoEntry;
  }
  SysResult<std::vector<FolderEntry>> list() override {
    std::vector<FolderEntry> list;
    for (size_t i = 0; i < std::size(kDevices); ++i)
      list.push_back({kDevices[i].name, 2 + i, kTypeCharacter});
    for (size_t i = 0; i < std::size(kLinks); ++i)
      list.push_back({kLinks[i].name, kFirstLink + i, kTypeLink});
    return list;
  }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_;
};

}  // namespace

Ref<Inode> make_devfs(uint64_t id) { return make_ref<DeviceFolder>(id); }

}  // namespace cloister::enclave
