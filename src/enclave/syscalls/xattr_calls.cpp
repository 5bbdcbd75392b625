// Extended attributes: the user.* namespace. Others hold what the enclave's host would have to enforce.
#include <algorithm>
#include <string>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/inotify.h"
#include "enclave/vfs/mounts.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kMaxValue = 65536, kMaxList = 65536, kMaxName = 255;

enum class By : uint8_t { Path, Link, Descriptor };

SysResult<Found> of_file(File& file, bool change) {
  if (file.inode() == nullptr) return change ? Errno::Perm : Errno::NoData;  // a pipe, a socket: as may_have
  if (change && mount_read_only(*file.inode())) return Errno::ReadOnly;
  return found_by(file);
}

SysResult<Found> target(SyscallArgs& args, By by, bool change) {
  if (by == By::Descriptor) {
    return of_file(*TRY(args.thread.process->files.get(args.i32(0))), change);
  }
  const std::string path = TRY(string_from_user(args.a[0]));
  const Place place = TRY(resolve_existing(*args.thread.process, kAtCwd, path,
                                           by == By::Link ? LastLink::Keep : LastLink::Follow));
  if (place.open) return of_file(*place.open, change);
  if (change && mount_read_only(place.path)) return Errno::ReadOnly;
  return Found(place);
}

SysResult<std::string> attribute_name(uint64_t address) {
  constexpr std::string_view kPrefix = "user.";
  auto name = string_from_user(address, kMaxName);
  if (!name.ok()) return name.error() == Errno::NameTooLong ? Errno::Range : name.error();
  if (name->empty()) return Errno::Range;
  if (!name->starts_with(kPrefix)) return Errno::NotSupported;
  if (name->size() == kPrefix.size()) return Errno::Invalid;
  return name;
}

// xattr(7): links and special files have no attributes of users.
SysResult<bool> may_have(Inode& inode) {
  const uint32_t type = TRY(inode.stat()).mode & kTypeMask;
  return type == kTypeFile || type == kTypeFolder;
}

// Size 0 asks how large the buffer must be.
SysResult<int64_t> give(uint64_t out, uint64_t room, const void* data, size_t size) {
  if (room != 0) {
    if (size > room) return Errno::Range;
    TRY(copy_to_user(out, data, size));
  }
  return static_cast<int64_t>(size);
}

SysResult<int64_t> get(SyscallArgs& args, By by) {
  const std::string name = TRY(attribute_name(args.a[1]));
  const Found found = TRY(target(args, by, false));
  if (!TRY(may_have(*found.inode))) return Errno::NoData;
  const Bytes value = TRY(found.inode->get_attribute(name));
  return give(args.a[2], args.a[3], value.data(), value.size());
}

SysResult<int64_t> set(SyscallArgs& args, By by) {
  constexpr uint32_t kCreate = 1, kReplace = 2;
  if ((args.u32(4) & ~(kCreate | kReplace)) != 0) return Errno::Invalid;
  const std::string name = TRY(attribute_name(args.a[1]));
  if (args.a[3] > kMaxValue) return Errno::TooBig;
  Bytes value(args.a[3]);
  TRY(copy_from_user(value.data(), args.a[2], value.size()));
  const Found found = TRY(target(args, by, true));
  if (!TRY(may_have(*found.inode))) return Errno::Perm;
  TRY(found.inode->set_attribute(name, value, args.u32(4)));
  notify(found, kNotifyAttributes);
  return 0;
}

SysResult<int64_t> list(SyscallArgs& args, By by) {
  const auto found = target(args, by, false);
  if (!found.ok() && found.error() == Errno::NoData) return 0;
  if (!found.ok()) return found.error();
  std::string text;
  for (const std::string& name : TRY(found->inode->list_attributes())) text.append(name).push_back('\0');
  // More names than any list may have: listxattr(2) calls that a bug, but Linux has it.
  if (text.size() > kMaxList && args.a[2] >= kMaxList) return Errno::TooBig;
  return give(args.a[1], args.a[2], text.data(), text.size());
}

SysResult<int64_t> remove(SyscallArgs& args, By by) {
  const std::string name = TRY(attribute_name(args.a[1]));
  const Found found = TRY(target(args, by, true));
  if (!TRY(may_have(*found.inode))) return Errno::Perm;
  TRY(found.inode->remove_attribute(name));
  notify(found, kNotifyAttributes);
  return 0;
}

}  // namespace

SysResult<int64_t> sys_setxattr(SyscallArgs& args) { return set(args, By::Path); }
SysResult<int64_t> sys_lsetxattr(SyscallArgs& args) { return set(args, By::Link); }
SysResult<int64_t> sys_fsetxattr(SyscallArgs& args) { return set(args, By::Descriptor); }
SysResult<int64_t> sys_getxattr(SyscallArgs& args) { return get(args, By::Path); }
SysResult<int64_t> sys_lgetxattr(SyscallArgs& args) { return get(args, By::Link); }
SysResult<int64_t> sys_fgetxattr(SyscallArgs& args) { return get(args, By::Descriptor); }
SysResult<int64_t> sys_listxattr(SyscallArgs& args) { return list(args, By::Path); }
SysResult<int64_t> sys_llistxattr(SyscallArgs& args) { return list(args, By::Link); }
SysResult<int64_t> sys_flistxattr(SyscallArgs& args) { return list(args, By::Descriptor); }
SysResult<int64_t> sys_removexattr(SyscallArgs& args) { return remove(args, By::Path); }
SysResult<int64_t> sys_lremovexattr(SyscallArgs& args) { return remove(args, By::Link); }
SysResult<int64_t> sys_fremovexattr(SyscallArgs& args) { return remove(args, By::Descriptor); }

}  // namespace cloister::enclave
