#include "fuse/filesystem.h"

#include <cerrno>
#include <ctime>

#include "base/files.h"

namespace cloister::fuse {

using volume::InodeId;
using volume::Reason;

int errno_of(Reason reason) {
  switch (reason) {
    case Reason::NotFound:
      return ENOENT;
    case Reason::Exists:
      return EEXIST;
    case Reason::NotDirectory:
      return ENOTDIR;
    case Reason::IsDirectory:
      return EISDIR;
    case Reason::NotEmpty:
      return ENOTEMPTY;
    case Reason::NameTooLong:
      return ENAMETOOLONG;
    case Reason::Invalid:
      return EINVAL;
    case Reason::ReadOnly:
      return EROFS;
    case Reason::TooLarge:
      return EFBIG;
    case Reason::NoSpace:
      return ENOSPC;
    case Reason::TooManyLinks:
      return EMLINK;
    case Reason::NoData:
      return ENODATA;
    case Reason::Range:
      return ERANGE;
    case Reason::Io:
    case Reason::Integrity:
    case Reason::Poisoned:
      return EIO;
  }
  return EIO;
}

int errno_of(const Error& error) {
  const bool full = error.hint() == volume::kNoSpaceHint || error.hint() == kFullDiskHint;
  return error.code() == Code::Unavailable && full ? ENOSPC : EIO;
}

volume::Timestamp now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
}

void FileSystem::note(const volume::VolumeError& error) {
  if (failure_) return;
  failure_ = error;
  log_(error.message + ": everything is refused from now on");
}

void FileSystem::keep_named(InodeId directory, std::string_view name) {
  const volume::VolumeResult<InodeId> inode = volume_.lookup(directory, name);
  if (!inode.ok()) return;
  const auto reference = references_.find(*inode);
  if (reference == references_.end() || reference->second.held) return;
  reference->second.held = true;
  volume_.hold(*inode);
}

void FileSystem::forget(InodeId inode, uint64_t count) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto reference = references_.find(inode);
  if (reference == references_.end()) return;
  if (reference->second.count > count) {
    reference->second.count -= count;
    return;
  }
  const bool held = reference->second.held;
  references_.erase(reference);
  if (held) volume_.release(inode);
}

Result<void> FileSystem::commit_locked() {
  if (volume_.read_only()) return {};
  const volume::Tag tag = TRY(volume_.commit());
  if (published_ == tag) return {};
  TRY(publish_(tag));
  published_ = tag;
  return volume_.acknowledge(tag);
}

Result<void> FileSystem::commit() {
  const std::lock_guard<std::mutex> guard(mutex_);
  Result<void> result = commit_locked();
  if (!result.ok()) {
    if (!failure_) log_("cannot commit: " + result.error().message());
    if (result.error().code() == Code::Integrity && !failure_) {
      failure_ = volume::VolumeError{Reason::Integrity, result.error().message()};
    }
  }
  return result;
}

Result<void> FileSystem::finish() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    for (const auto& [inode, reference] : references_) {
      if (reference.held) volume_.release(inode);
    }
    references_.clear();
    if (failure_) return Error(Code::Integrity, failure_->message);
  }
  return commit();
}

}  // namespace cloister::fuse
