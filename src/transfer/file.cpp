#include "transfer/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/files.h"

namespace cloister::transfer {

namespace fs = std::filesystem;

Error system_error(const fs::path& path, std::string_view what, int number) {
  Error error = file_error(path, what, number);
  if (number == EEXIST || number == EISDIR) return Error(Code::InvalidArgument, error.message());
  return error;
}

Result<File> File::open_to_read(const fs::path& path) {
  // Non-blocking, so that a pipe by that name is refused and not waited for.
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), path);
  if (!file.fd_.valid()) return system_error(path, "open", errno);
  struct stat status = {};
  if (::fstat(file.fd_.get(), &status) != 0) return system_error(path, "look at", errno);
  if (!S_ISREG(status.st_mode)) return Error(Code::InvalidArgument, path.string() + " is not a regular file");
  return file;
}

Result<File> File::create(const fs::path& path) {
  File file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), path);
  if (!file.fd_.valid()) return system_error(path, "create", errno);
  return file;
}

Result<File> File::create_temporary(const fs::path& folder) {
  std::string name = (folder / ".cloister-XXXXXX").string();
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return system_error(folder, "create a file in", errno);
  return File(fd, name);
}

Result<uint64_t> File::size() const {
  struct stat status = {};
  if (::fstat(fd_.get(), &status) != 0) return system_error(path_, "look at", errno);
  return static_cast<uint64_t>(status.st_size);
}

Result<size_t> File::read_at(uint64_t offset, MutableByteView out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t count =
        ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(path_, "read", errno);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

Result<void> File::read_exact_at(uint64_t offset, MutableByteView out) const {
  const size_t count = TRY(read_at(offset, out));
  if (count < out.size()) return Error(Code::Malformed, path_.string() + " ends early");
  return {};
}

Result<void> File::write_at(uint64_t offset, ByteView data) const {
  while (!data.empty()) {
    const ssize_t count = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(path_, "write", errno);
    offset += static_cast<uint64_t>(count);
    data = data.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<void> File::sync() const {
  if (::fsync(fd_.get()) != 0) return system_error(path_, "sync", errno);
  return {};
}

RemoveOnExit::~RemoveOnExit() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

NewFolder::NewFolder(fs::path target, fs::path path)
    : target_(std::move(target)), path_(std::move(path)), remove_(std::make_unique<RemoveOnExit>(path_)) {}

Result<NewFolder> NewFolder::beside(const fs::path& folder) {
  fs::path target = folder.has_filename() ? folder : folder.parent_path();
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(target, ignored)) && !fs::is_empty(target, ignored)) {
    return Error(Code::InvalidArgument, target.string() + " exists and is not empty",
                 "name a folder that does not exist yet");
  }
  std::string made = (parent_of(target) / ".cloister-XXXXXX").string();
  if (::mkdtemp(made.data()) == nullptr) return system_error(parent_of(target), "create a folder in", errno);
  return NewFolder(std::move(target), std::move(made));
}

// One syncfs for all: thousands of small files are durable sooner than with one fsync each.
Result<void> NewFolder::finish() {
  const Descriptor fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return system_error(path_, "open", errno);
  if (::syncfs(fd.get()) != 0) return system_error(path_, "sync", errno);
  TRY(rename_durably(path_, target_));  // replaces an empty folder
  remove_->keep();
  return {};
}

Result<crypto::Digest> sha256_of(const File& file) {
  crypto::Sha256 hash;
  Bytes part(1 << 20);
  for (uint64_t offset = 0;;) {
    const size_t count = TRY(file.read_at(offset, part));
    if (count == 0) return hash.finish();
    hash.update(ByteView(part).first(count));
    offset += count;
  }
}

fs::path parent_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

Result<void> rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return system_error(to, "create", errno);
  return sync_folder(parent_of(to));
}

}  // namespace cloister::transfer
