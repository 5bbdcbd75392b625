// Host calls for the folders of volumes: ciphertext objects by name. Names come from the enclave; the
// operating system resolves them below the folder and follows no links.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "host/process.h"
#include "sgx/image.h"

namespace cloister::host {
namespace {

constexpr uint64_t kMaxNameSize = 255;

int open_below(int folder, const std::string& name, uint64_t flags, uint64_t mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, folder, name.c_str(), &how, sizeof(how)));
}

bool valid_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameSize && name[0] != '/' &&
         name.find('\0') == std::string::npos;
}

std::string folder_part(const std::string& name) { return name.substr(0, name.rfind('/') + 1); }

// Makes the folders on the way to `name`.
void make_folders(StorageFolder& storage, const std::string& name) {
  for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    const std::string folder = name.substr(0, slash);
    const std::string above = folder_part(folder);
    const Descriptor parent(
        open_below(storage.folder.get(), above.empty() ? "." : above, O_RDONLY | O_DIRECTORY, 0));
    if (parent.valid() && mkdirat(parent.get(), folder.substr(above.size()).c_str(), 0700) == 0)
      storage.unsynced.insert(above);
  }
}

std::shared_ptr<StorageFolder> storage_of(Call& call) { return call.process.storages.get(call.a[0]); }
std::shared_ptr<Descriptor> file_of(Call& call) { return call.process.files.get(call.a[0]); }

int64_t result_of(int64_t value) { return value < 0 ? -errno : value; }

// flock tells nobody who holds the lock; the file's text does.
std::string lock_text(const std::string& owner) {
  return owner + " (process " + std::to_string(getpid()) + ")\n";
}

}  // namespace

int64_t call_StorageBind(Call& call) {
  std::string path;
  if (!call.text(call.a[0], path)) return -EINVAL;
  const RunOptions& options = *call.process.options;
  const sgx::ImageFiles image{options.image};
  std::filesystem::path folder;
  auto storage = std::make_shared<StorageFolder>();
  if (path == "image" || path == "root") {
    folder = path == "image" ? image.folder : image.root();
    storage->read_only = true;
  } else if (path == "sealed" || path == "anchor") {
    folder = path == "sealed" ? options.sealed : options.sealed_anchor;
    if (folder.empty()) return -ENOENT;
  } else {
    const auto volume = options.volumes.find(path);
    if (volume == options.volumes.end()) return -ENOENT;
    folder = volume->second;
  }
  storage->folder = Descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!storage->folder.valid()) return -errno;
  return static_cast<int64_t>(call.process.storages.add(std::move(storage)));
}

int64_t call_StorageOpen(Call& call) {
  enum : uint64_t { kRead = 0, kReadWrite = 1, kCreateNew = 2 };
  const auto storage = storage_of(call);
  std::string name;
  if (storage == nullptr || !call.text(call.a[1], name) || !valid_name(name) || call.a[2] > kCreateNew)
    return -EINVAL;
  if (storage->read_only && call.a[2] != kRead) return -EROFS;
  uint64_t flags = O_NOFOLLOW | O_NONBLOCK | (call.a[2] == kRead ? O_RDONLY : O_RDWR);
  if (call.a[2] == kCreateNew) {
    make_folders(*storage, name);
    flags |= O_CREAT | O_EXCL;
  }
  auto file = std::make_shared<Descriptor>(
      open_below(storage->folder.get(), name, flags, call.a[2] == kCreateNew ? 0600 : 0));
  if (!file->valid()) return -errno;
  struct stat status {};
  if (fstat(file->get(), &status) != 0) return -errno;
  if (!S_ISREG(status.st_mode)) return -ELOOP;
  // As the volume library does for those that open the folder outside.
  const bool lock = name == "volume.fspf" && call.a[2] != kRead && storage->lock.valid();
  if (lock && !storage->main.take(file->get())) return errno == EAGAIN ? -EBUSY : -errno;
  if (call.a[2] == kCreateNew) storage->unsynced.insert(folder_part(name));
  return static_cast<int64_t>(call.process.files.add(std::move(file)));
}

int64_t call_StorageRead(Call& call) {
  const auto file = file_of(call);
  if (file == nullptr || call.a[2] > boundary::kArenaSize) return -EINVAL;
  return result_of(pread(file->get(), call.arena(), call.a[2], static_cast<off_t>(call.a[1])));
}

int64_t call_StorageWrite(Call& call) {
  const auto file = file_of(call);
  const uint64_t size = call.a[2], from = call.a[3];
  if (file == nullptr || size > boundary::kArenaSize || from > boundary::kArenaSize - size) return -EINVAL;
  for (uint64_t done = 0; done < size;) {
    const ssize_t count =
        pwrite(file->get(), call.arena() + from + done, size - done, static_cast<off_t>(call.a[1] + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -errno;
    done += static_cast<uint64_t>(count);
  }
  return static_cast<int64_t>(size);
}

int64_t call_StorageTruncate(Call& call) {
  const auto file = file_of(call);
  return file == nullptr ? -EINVAL : result_of(ftruncate(file->get(), static_cast<off_t>(call.a[1])));
}

int64_t call_StorageSync(Call& call) {
  const auto file = file_of(call);
  return file == nullptr ? -EINVAL : result_of(fdatasync(file->get()));
}

int64_t call_StorageSize(Call& call) {
  const auto file = file_of(call);
  struct stat status {};
  if (file == nullptr) return -EINVAL;
  return fstat(file->get(), &status) != 0 ? -errno : static_cast<int64_t>(status.st_size);
}

int64_t call_StorageClose(Call& call) {
  call.process.files.remove(call.a[0]);
  return 0;
}

int64_t call_StorageRemove(Call& call) {
  const auto storage = storage_of(call);
  std::string name;
  if (storage == nullptr || !call.text(call.a[1], name) || !valid_name(name)) return -EINVAL;
  if (storage->read_only) return -EROFS;
  const std::string above = folder_part(name);
  const Descriptor parent(
      open_below(storage->folder.get(), above.empty() ? "." : above, O_RDONLY | O_DIRECTORY, 0));
  if (!parent.valid()) return -errno;
  return result_of(unlinkat(parent.get(), name.substr(above.size()).c_str(), 0));
}

int64_t call_StorageSyncNames(Call& call) {
  const auto storage = storage_of(call);
  if (storage == nullptr) return -EINVAL;
  for (const std::string& name : storage->unsynced) {
    const Descriptor folder(
        open_below(storage->folder.get(), name.empty() ? "." : name, O_RDONLY | O_DIRECTORY, 0));
    if (!folder.valid() || fsync(folder.get()) != 0) return -errno;
  }
  storage->unsynced.clear();
  return 0;
}

int64_t call_StorageLock(Call& call) {
  const auto storage = storage_of(call);
  std::string owner;
  if (storage == nullptr || !call.text(call.a[1], owner)) return -EINVAL;
  if (storage->read_only) return -EROFS;
  if (storage->lock.valid()) return 0;
  Descriptor lock(
      open_below(storage->folder.get(), "volume.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!lock.valid()) return -errno;
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK ? -EBUSY : -errno;
  const std::string text = lock_text(owner);
  // The text is for people; on a full disk the lock holds without it.
  const bool written = ftruncate(lock.get(), 0) == 0 && pwrite(lock.get(), text.data(), text.size(), 0) >= 0;
  if (!written && errno != ENOSPC && errno != EDQUOT) return -errno;
  storage->lock = std::move(lock);
  return 0;
}

}  // namespace cloister::host
