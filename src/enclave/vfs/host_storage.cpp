#include "enclave/vfs/host_storage.h"

#include <algorithm>
#include <string>

#include "enclave/arch/host.h"

namespace cloister::enclave {
namespace {

Error host_error(std::string_view what, std::string_view name, Errno number) {
  std::string message = std::string(what) + " " + std::string(name) + " (errno " +
                        std::to_string(static_cast<int>(number)) + ")";
  switch (number) {
    case Errno::NoEntry:
      return {Code::NotFound, std::move(message)};
    case Errno::Exists:
    case Errno::NotDirectory:
      return {Code::InvalidArgument, std::move(message)};
    case Errno::Access:
    case Errno::Perm:
    case Errno::ReadOnly:
    case Errno::Loop:
      return {Code::Denied, std::move(message)};
    case Errno::NoSpace:
      return {Code::Unavailable, std::move(message), std::string(volume::kNoSpaceHint)};
    default:
      return {Code::Unavailable, std::move(message)};
  }
}

Error held_by_another() {
  return {Code::Unavailable, "the volume is open for writing by another process",
          "wait until it ends, or mount the volume read-only"};
}

// A link, a pipe or a folder in place of a file: no volume has such a name.
Error open_error(std::string_view name, volume::OpenMode mode, Errno number) {
  const bool another_kind = number == Errno::Loop || number == Errno::NotDirectory ||
                            number == Errno::IsDirectory || number == Errno::NoDeviceAddress ||
                            number == Errno::NoDevice;
  if (another_kind && mode != volume::OpenMode::CreateNew)
    return {Code::Integrity, std::string(name) + " is not a regular file"};
  return number == Errno::Busy ? held_by_another() : host_error("cannot open", name, number);
}

class HostFile final : public volume::StorageFile {
 public:
  HostFile(uint32_t handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  ~HostFile() override { host::storage_close(handle_); }

  Result<size_t> read_at(uint64_t offset, MutableByteView out) override {
    size_t done = 0;
    while (done < out.size()) {
      const auto count = host::storage_read(handle_, offset + done, out.subspan(done));
      if (!count.ok()) return host_error("cannot read", name_, count.error());
      if (count.value() == 0) break;
      done += count.value();
    }
    return done;
  }
  Result<void> write_at(uint64_t offset, ByteView data) override {
    return checked(host::storage_write(handle_, offset, data), "cannot write");
  }
  Result<void> truncate(uint64_t size) override {
    return checked(host::storage_truncate(handle_, size), "cannot resize");
  }
  Result<void> sync() override { return checked(host::storage_sync(handle_), "cannot sync"); }
  Result<uint64_t> size() override {
    const auto size = host::storage_size(handle_);
    if (!size.ok()) return host_error("cannot stat", name_, size.error());
    return size.value();
  }
  MutableByteView staging(size_t size) override {
    return size <= host::kArenaData ? host::staging(size) : MutableByteView();
  }

 private:
  Result<void> checked(const SysResult<void>& result, std::string_view what) const {
    if (!result.ok()) return host_error(what, name_, result.error());
    return {};
  }
  uint32_t handle_;
  std::string name_;
};

class HostStorage final : public volume::Storage {
 public:
  explicit HostStorage(uint32_t handle) : handle_(handle) {}

  Result<std::unique_ptr<volume::StorageFile>> open(std::string_view name, volume::OpenMode mode) override {
    const auto file = host::storage_open(handle_, name, static_cast<uint32_t>(mode));
    if (!file.ok()) return open_error(name, mode, file.error());
    return std::unique_ptr<volume::StorageFile>(std::make_unique<HostFile>(file.value(), std::string(name)));
  }
  Result<void> remove(std::string_view name) override {
    const auto removed = host::storage_remove(handle_, name);
    if (!removed.ok() && removed.error() != Errno::NoEntry)
      return host_error("cannot remove", name, removed.error());
    return {};
  }
  Result<void> sync_names() override {
    const auto synced = host::storage_sync_names(handle_);
    if (!synced.ok()) return host_error("cannot sync", "the volume's folder", synced.error());
    return {};
  }
  Result<void> lock_for_writing(std::string_view owner) override {
    const auto locked = host::storage_lock(handle_, owner);
    if (locked.ok()) return {};
    return locked.error() == Errno::Busy ? held_by_another()
                                         : host_error("cannot lock", "the volume", locked.error());
  }

 private:
  uint32_t handle_;
};

}  // namespace

SysResult<std::unique_ptr<volume::Storage>> bind_host_storage(std::string_view mount_path) {
  const uint32_t handle = TRY(host::storage_bind(mount_path));
  return std::unique_ptr<volume::Storage>(std::make_unique<HostStorage>(handle));
}

}  // namespace cloister::enclave
