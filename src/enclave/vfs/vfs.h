// Paths, mounts and what the rest of the kernel asks of the file systems. Kernel lock held everywhere.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "boundary/config.h"
#include "enclave/vfs/file.h"
#include "sgx/manifest.h"

namespace cloister::enclave {

struct Process;

inline constexpr int32_t kAtCwd = -100;

// Mounts the root volume (Io: it is not the measured one), /dev, /proc and /tmp.
SysResult<void> vfs_init(const sgx::Manifest& manifest);
// An encrypted volume of the configuration. `why` gets words for its owner.
SysResult<void> mount_volume(const boundary::MountConfig& mount, std::string& why);
// The volume of a standalone image (vfs/sealed.h).
SysResult<void> mount_sealed(const sgx::Standalone& standalone, std::string& why);
SysResult<void> write_injected_file(const std::string& path, uint32_t mode, ByteView content);
// Commits every volume and waits until the service knows the tags.
SysResult<void> vfs_shutdown();
SysResult<void> vfs_sync();

// Descriptors 0, 1 and 2.
SysResult<void> open_console(Process& process);
void process_close_files(Process& process);

// Where a path leads. `parent` and `name` are of the last component (name "." for a root); `inode` is null
// when it does not exist.
struct Place {
  Ref<Inode> parent;
  std::string name;
  std::string path;  // absolute, without links and dots
  Ref<Inode> inode;
  bool must_be_folder = false;  // the path ended with a slash
  // What a magic link at the end stands for. Without an inode of its own (a pipe), `inode` is the link's.
  Ref<File> open;
};
enum class LastLink : bool { Follow, Keep };
// What openat2(2) forbids a path, RESOLVE_…
inline constexpr uint32_t kWithinMount = 1, kNoMagicLinks = 2, kNoLinks = 4, kBeneath = 8, kInRoot = 16;
// Errors: those of path resolution(7); a missing last component is no error.
SysResult<Place> resolve(Process& process, int32_t folder_fd, std::string_view path, LastLink last,
                         uint32_t limits = 0);
// The same, but the inode must exist.
SysResult<Place> resolve_existing(Process& process, int32_t folder_fd, std::string_view path, LastLink last,
                                  uint32_t limits = 0);

// The folder at an absolute path without links and dots.
SysResult<Ref<Inode>> folder_at(const std::string& path);
std::string parent_path(const std::string& path);
// The working folder's path, whether or not it still is there.
std::string working_path(const Process& process);
SysResult<void> change_folder(Process& process, std::string_view path);

SysResult<Ref<File>> open_at(Process& process, int32_t folder_fd, std::string_view path, uint32_t flags,
                             uint32_t mode, uint32_t limits = 0);
inline SysResult<Ref<File>> open_path(Process& process, std::string_view path, uint32_t flags,
                                      uint32_t mode) {
  return open_at(process, kAtCwd, path, flags, mode);
}

struct MountInfo {
  std::string path, type;
  bool read_only;
  uint64_t device;  // st_dev
};
std::vector<MountInfo> mount_list();

// File systems (volumefs.cpp, tmpfs.cpp, devfs.cpp, procfs.cpp, proc_system.cpp).
Ref<Inode> make_tmpfs(uint64_t id, uint32_t root_mode);
Ref<Inode> make_devfs(uint64_t id);
Ref<Inode> make_procfs(uint64_t id);
Ref<Inode> make_sysfs(uint64_t id);
Ref<Inode> make_attestationfs(uint64_t id);
Ref<File> make_console(uint32_t flags, int host_fd);

class MountedVolume {
 public:
  virtual ~MountedVolume() = default;
  virtual Ref<Inode> root() = 0;
  // Makes the state durable. `final`: also returns only after the service knows its tag, whatever the
  // volume's sync policy.
  virtual SysResult<void> commit(bool final) = 0;
};
SysResult<std::unique_ptr<MountedVolume>> mount_root_volume(const ByteArray<32>& root);
SysResult<std::unique_ptr<MountedVolume>> mount_encrypted_volume(const boundary::MountConfig& mount,
                                                                 uint64_t id, std::string& why);

struct SealedVolume;
std::unique_ptr<MountedVolume> mount_opened(SealedVolume sealed, uint64_t id);

}  // namespace cloister::enclave
