// The mount table: root volume, /dev with /dev/shm and, in a standalone image, /dev/attestation, /proc, /sys,
// /tmp, /run, /var/tmp, then the configuration's volumes.
#include "enclave/vfs/mounts.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "enclave/process.h"
#include "enclave/vfs/sealed.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

struct Mount {
  std::string path;
  std::string type;
  Ref<Inode> root;
  bool read_only = false;
  std::unique_ptr<MountedVolume> volume;  // nullptr: in memory
};
std::vector<Mount>* g_mounts;
uint64_t g_next_id = 16;  // st_dev

Mount* find(std::string_view path) {
  for (Mount& mount : *g_mounts) {
    if (mount.path == path) return &mount;
  }
  return nullptr;
}

bool covers(const std::string& mount, std::string_view path) {
  return mount == "/" ||
         (path.starts_with(mount) && (path.size() == mount.size() || path[mount.size()] == '/'));
}

void add(std::string path, std::string type, Ref<Inode> root, bool read_only,
         std::unique_ptr<MountedVolume> volume = nullptr) {
  g_mounts->push_back({std::move(path), std::move(type), std::move(root), read_only, std::move(volume)});
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

SysResult<bool> is_folder(const std::string& path) {
  Process nobody;
  const Place place = TRY(resolve(nobody, kAtCwd, path, LastLink::Follow));
  if (!place.inode) return false;
  if ((TRY(place.inode->stat()).mode & kTypeMask) != kTypeFolder) return Errno::NotDirectory;
  return true;
}

// The image is measured and read-only, so a folder on the way to a mount point that it lacks is made in
// memory.
SysResult<void> make_way_to(const std::string& path) {
  if (path == "/") return {};
  TRY(make_way_to(parent_of(path)));
  if (!TRY(is_folder(path))) add(path, "tmpfs", make_tmpfs(g_next_id++, 0755), true);
  return {};
}

}  // namespace

Ref<Inode> root_inode() { return g_mounts->front().root; }

Ref<Inode> mount_at(std::string_view path) {
  Mount* mount = find(path);
  return mount == nullptr ? Ref<Inode>() : mount->root;
}

bool mount_below(const std::string& path) {
  return std::any_of(g_mounts->begin(), g_mounts->end(),
                     [&](const Mount& mount) { return mount.path != path && covers(path, mount.path); });
}

bool mount_read_only(std::string_view path) {
  const Mount* best = &g_mounts->front();
  for (const Mount& mount : *g_mounts) {
    if (covers(mount.path, path) && mount.path.size() >= best->path.size()) best = &mount;
  }
  return best->read_only;
}

bool mount_read_only(const Inode& inode) {
  return std::any_of(g_mounts->begin(), g_mounts->end(), [&](const Mount& mount) {
    return mount.read_only && mount.root->file_system() == inode.file_system();
  });
}

std::vector<MountInfo> mount_list() {
  std::vector<MountInfo> list;
  for (const Mount& mount : *g_mounts)
    list.push_back({mount.path, mount.type, mount.read_only, mount.root->file_system()});
  return list;
}

std::vector<FolderEntry> mounts_in(std::string_view folder) {
  std::vector<FolderEntry> list;
  for (const Mount& mount : *g_mounts) {
    if (mount.path == "/" || parent_of(mount.path) != folder) continue;
    const auto stat = mount.root->stat();
    if (!stat.ok()) continue;
    list.push_back({mount.path.substr(mount.path.rfind('/') + 1), stat->inode, stat->mode & kTypeMask});
  }
  return list;
}

SysResult<void> vfs_init(const sgx::Manifest& manifest) {
  g_mounts = new std::vector<Mount>;
  auto root = TRY(mount_root_volume(manifest.root));
  const Ref<Inode> root_folder = root->root();
  add("/", "cloister", root_folder, true, std::move(root));
  add("/dev", "devtmpfs", make_devfs(g_next_id++), false);
  add("/dev/shm", "tmpfs", make_tmpfs(g_next_id++, 01777), false);
  if (manifest.standalone) add("/dev/attestation", "attestation", make_attestationfs(g_next_id++), false);
  add("/proc", "proc", make_procfs(g_next_id++), true);
  add("/sys", "sysfs", make_sysfs(g_next_id++), true);
  for (const char* path : {"/tmp", "/run", "/var/tmp"}) {
    TRY(make_way_to(parent_of(path)));
    add(path, "tmpfs", make_tmpfs(g_next_id++, 01777), false);
  }
  return {};
}

SysResult<void> mount_volume(const boundary::MountConfig& mount, std::string& why) {
  Mount* covered = find(mount.path);
  if (covered != nullptr && covered->type != "tmpfs") {
    why = "something else is mounted there";
    return Errno::Busy;
  }
  TRY(make_way_to(parent_of(mount.path)));
  auto volume = TRY(mount_encrypted_volume(mount, g_next_id++, why));
  const Ref<Inode> root = volume->root();
  std::erase_if(*g_mounts, [&](const Mount& other) { return other.path == mount.path; });
  add(mount.path, "cloister", root, mount.read_only, std::move(volume));
  return {};
}

SysResult<void> mount_sealed(const sgx::Standalone& standalone, std::string& why) {
  const std::string& path = standalone.sealed_path;
  if (find(path) != nullptr) {
    why = "something else is mounted at " + path;
    return Errno::Busy;
  }
  TRY(make_way_to(parent_of(path)));
  SealedVolume sealed = TRY(open_sealed_volume(standalone, why));
  auto volume = mount_opened(std::move(sealed), g_next_id++);
  const Ref<Inode> root = volume->root();
  add(path, "cloister", root, false, std::move(volume));
  return {};
}

SysResult<void> write_injected_file(const std::string& path, uint32_t mode, ByteView content) {
  TRY(make_way_to(parent_of(path)));
  const Ref<Inode> folder = make_tmpfs(g_next_id++, 0755);
  const Ref<Inode> file = TRY(folder->create("file", kTypeFile | (mode & 07777)));
  for (size_t done = 0; done < content.size();) done += TRY(file->write(done, content.subspan(done)));
  add(path, "tmpfs", file, true);
  return {};
}

SysResult<void> vfs_sync() {
  SysResult<void> result;
  for (size_t i = 0; i < g_mounts->size(); ++i) {  // by index: a commit waits, and mounts may come meanwhile
    if ((*g_mounts)[i].volume == nullptr || (*g_mounts)[i].read_only) continue;
    if (auto done = (*g_mounts)[i].volume->commit(true); !done.ok()) result = std::move(done);
  }
  return result;
}

SysResult<void> vfs_shutdown() { return vfs_sync(); }

}  // namespace cloister::enclave
