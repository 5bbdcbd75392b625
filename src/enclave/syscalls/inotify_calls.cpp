// inotify_init1, inotify_add_watch, inotify_rm_watch.
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/inotify.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

SysResult<int64_t> make(SyscallArgs& args, uint32_t flags) {
  if ((flags & ~(kOpenCloseOnExec | kOpenNonBlock)) != 0) return Errno::Invalid;
  return add_file(args, TRY(Inotify::create(flags & kOpenNonBlock)), flags);
}

}  // namespace

SysResult<int64_t> sys_inotify_init(SyscallArgs& args) { return make(args, 0); }
SysResult<int64_t> sys_inotify_init1(SyscallArgs& args) { return make(args, args.u32(0)); }

SysResult<int64_t> sys_inotify_add_watch(SyscallArgs& args) {
  constexpr uint32_t kKnown = 0xf700efff;  // every IN_… bit
  const uint32_t mask = args.u32(2);
  if ((mask & kKnown) == 0) return Errno::Invalid;
  if ((mask & kNotifyMaskAdd) != 0 && (mask & kNotifyMaskCreate) != 0) return Errno::Invalid;
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  if (file->inotify() == nullptr) return Errno::Invalid;
  const std::string path = TRY(string_from_user(args.a[1]));
  const LastLink last = (mask & kNotifyKeepLink) != 0 ? LastLink::Keep : LastLink::Follow;
  const Place place = TRY(resolve_existing(*args.thread.process, kAtCwd, path, last));
  if ((mask & kNotifyOnlyFolder) != 0 && (TRY(place.inode->stat()).mode & kTypeMask) != kTypeFolder)
    return Errno::NotDirectory;
  return TRY(file->inotify()->add(*place.inode, mask));
}

SysResult<int64_t> sys_inotify_rm_watch(SyscallArgs& args) {
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  if (file->inotify() == nullptr) return Errno::Invalid;
  TRY(file->inotify()->remove(args.i32(1)));
  return 0;
}

}  // namespace cloister::enclave
