// File system calls as the kernel sends them, each a few lines over volume::Volume.
//
// open, create and flush are answered with ENOSYS, which the kernel takes as "never ask again":
// opening and closing then cost nothing (FileSystem says why nobody needs to know). Data that the kernel has
// not written back yet exists only there, so lseek for data and holes is left to it as well: asked here, it
// would be told of holes where it holds data.
#include "fuse/operations.h"

#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace cloister::fuse {
namespace {

using volume::Attributes;
using volume::FileType;
using volume::InodeId;
using volume::Volume;
using volume::VolumeError;
using volume::VolumeResult;

constexpr double kForever = 365.0 * 86400;  // seconds: nobody else changes what the kernel caches

Mounted& mounted(fuse_req_t request) { return *static_cast<Mounted*>(fuse_req_userdata(request)); }
FileSystem& files(fuse_req_t request) { return mounted(request).files; }

void fail(fuse_req_t request, const VolumeError& error) { fuse_reply_err(request, errno_of(error.reason)); }
void answer(fuse_req_t request, const VolumeResult<void>& result) {
  fuse_reply_err(request, result.ok() ? 0 : errno_of(result.error().reason));
}

mode_t type_bits(FileType type) {
  switch (type) {
    case FileType::Directory:
      return S_IFDIR;
    case FileType::Symlink:
      return S_IFLNK;
    case FileType::Regular:
      return S_IFREG;
  }
  return S_IFREG;
}

// What belongs to 0 in the volume belongs to whoever mounts it, as it does to whoever copies it out
// (tree_copy.h): programs in enclaves are 0, and an ordinary user could use nothing of 0. Root sees no
// change.
uint32_t mounting_user() {
  static const uint32_t id = ::geteuid();
  return id;
}
uint32_t mounting_group() {
  static const uint32_t id = ::getegid();
  return id;
}
uint32_t outside(uint32_t id, uint32_t mounting) { return id == 0 ? mounting : id; }
uint32_t inside(uint32_t id, uint32_t mounting) { return id == mounting ? 0 : id; }

struct stat to_stat(InodeId inode, const Attributes& a) {
  struct stat out {};
  out.st_ino = inode;
  out.st_mode = type_bits(a.type) | a.permissions;
  out.st_nlink = a.links;
  out.st_uid = outside(a.uid, mounting_user());
  out.st_gid = outside(a.gid, mounting_group());
  out.st_size = static_cast<off_t>(a.type == FileType::Directory ? 4096 : a.size);
  out.st_blksize = 4096;
  out.st_blocks = static_cast<blkcnt_t>((a.allocated + 511) / 512);
  out.st_mtim = {a.modified.seconds, static_cast<long>(a.modified.nanoseconds)};
  out.st_ctim = {a.changed.seconds, static_cast<long>(a.changed.nanoseconds)};
  out.st_atim = out.st_mtim;  // volumes do not keep the time of the last access
  return out;
}

// Inside run(): the answer that makes the kernel refer to `inode`.
VolumeResult<fuse_entry_param> entry_of(FileSystem& fs, Volume& volume, InodeId inode) {
  const Attributes attributes = TRY(volume.attributes(inode));
  fuse_entry_param entry{};
  entry.ino = inode;
  entry.attr = to_stat(inode, attributes);
  entry.attr_timeout = entry.entry_timeout = kForever;
  fs.refer(inode);
  return entry;
}

void answer_entry(fuse_req_t request, const VolumeResult<fuse_entry_param>& entry) {
  if (!entry.ok()) return fail(request, entry.error());
  FileSystem& fs = files(request);
  if (fuse_reply_entry(request, &*entry) != 0) fs.forget(entry->ino, 1);
}

void op_init(void*, fuse_conn_info* connection) {
  connection->max_write = kMaxTransfer;
  connection->max_readahead = kMaxTransfer;
  connection->max_background = 64;
  connection->want |=
      connection->capable & (FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_PARALLEL_DIROPS |
                             FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
  // Truncating opens and lost set-id bits arrive as setattr; data is copied once, not through a pipe.
  connection->want &= ~(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_AUTO_INVAL_DATA |
                        FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

void op_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  FileSystem& fs = files(request);
  const auto entry = fs.run([&](Volume& volume) -> VolumeResult<fuse_entry_param> {
    const InodeId inode = TRY(volume.lookup(parent, name));
    return entry_of(fs, volume, inode);
  });
  if (!entry.ok() && entry.error().reason == volume::Reason::NotFound) {
    fuse_entry_param absent{};  // inode 0: the kernel remembers the absence
    absent.entry_timeout = kForever;
    fuse_reply_entry(request, &absent);
    return;
  }
  answer_entry(request, entry);
}

void op_forget(fuse_req_t request, fuse_ino_t inode, uint64_t count) {
  files(request).forget(inode, count);
  fuse_reply_none(request);
}

void op_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* list) {
  for (size_t i = 0; i < count; ++i) files(request).forget(list[i].ino, list[i].nlookup);
  fuse_reply_none(request);
}

void op_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  const auto attributes = files(request).run([&](Volume& volume) { return volume.attributes(inode); });
  if (!attributes.ok()) return fail(request, attributes.error());
  const struct stat status = to_stat(inode, *attributes);
  fuse_reply_attr(request, &status, kForever);
}

// As the kernel would (it leaves this to us, channel.cpp): what remains of the permissions when somebody
// without privileges writes to a file, or anybody gives it another owner.
VolumeResult<void> clear_set_id(Volume& volume, InodeId inode, volume::AttributeChange& change) {
  const Attributes a = TRY(volume.attributes(inode));
  if (a.type != FileType::Regular) return {};
  unsigned kept = a.permissions & ~static_cast<unsigned>(S_ISUID);
  if ((a.permissions & S_IXGRP) != 0) kept &= ~static_cast<unsigned>(S_ISGID);
  if (kept != a.permissions) change.permissions = static_cast<uint16_t>(kept);
  return {};
}

volume::Timestamp to_time(const timespec& time) { return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)}; }

void op_setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int what, fuse_file_info*) {
  const volume::Timestamp time = (what & FUSE_SET_ATTR_CTIME) != 0 ? to_time(wanted->st_ctim) : now();
  volume::AttributeChange change;
  if ((what & FUSE_SET_ATTR_MODE) != 0) change.permissions = static_cast<uint16_t>(wanted->st_mode & 07777);
  if ((what & FUSE_SET_ATTR_UID) != 0) change.uid = inside(wanted->st_uid, mounting_user());
  if ((what & FUSE_SET_ATTR_GID) != 0) change.gid = inside(wanted->st_gid, mounting_group());
  if ((what & FUSE_SET_ATTR_MTIME_NOW) != 0) {
    change.modified = time;
  } else if ((what & FUSE_SET_ATTR_MTIME) != 0) {
    change.modified = to_time(wanted->st_mtim);
  }
  const bool stranger_truncates = (what & FUSE_SET_ATTR_SIZE) != 0 && fuse_req_ctx(request)->uid != 0;
  const bool given_away = (what & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0;
  const auto attributes = files(request).run([&](Volume& volume) -> VolumeResult<Attributes> {
    if (!change.permissions && (stranger_truncates || given_away)) TRY(clear_set_id(volume, inode, change));
    if ((what & FUSE_SET_ATTR_SIZE) != 0) {
      TRY(volume.truncate(inode, static_cast<uint64_t>(wanted->st_size), time));
    }
    TRY(volume.set_attributes(inode, change, time));
    return volume.attributes(inode);
  });
  if (!attributes.ok()) return fail(request, attributes.error());
  const struct stat status = to_stat(inode, *attributes);
  fuse_reply_attr(request, &status, kForever);
}

void op_readlink(fuse_req_t request, fuse_ino_t inode) {
  const auto target = files(request).run([&](Volume& volume) { return volume.read_symlink(inode); });
  if (!target.ok()) return fail(request, target.error());
  fuse_reply_readlink(request, target->c_str());
}

// --- names

// In a directory with the set-group-id bit new files take its group, and new directories the bit too.
VolumeResult<uint32_t> group_for(Volume& volume, InodeId parent, const fuse_ctx& caller,
                                 mode_t* directory_mode) {
  const Attributes attributes = TRY(volume.attributes(parent));
  if ((attributes.permissions & S_ISGID) == 0) return inside(caller.gid, mounting_group());
  if (directory_mode != nullptr) *directory_mode |= S_ISGID;
  return attributes.gid;
}

void op_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
  if (!S_ISREG(mode)) {  // what mknod(2) says of a file system without such nodes
    fuse_reply_err(request, EPERM);
    return;
  }
  FileSystem& fs = files(request);
  const fuse_ctx& caller = *fuse_req_ctx(request);
  const uint32_t user = inside(caller.uid, mounting_user());
  answer_entry(request, fs.run([&](Volume& volume) -> VolumeResult<fuse_entry_param> {
    const uint32_t group = TRY(group_for(volume, parent, caller, nullptr));
    const InodeId inode =
        TRY(volume.create_file(parent, name, static_cast<uint16_t>(mode & 07777), user, group, now()));
    return entry_of(fs, volume, inode);
  }));
}

void op_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  FileSystem& fs = files(request);
  const fuse_ctx& caller = *fuse_req_ctx(request);
  const uint32_t user = inside(caller.uid, mounting_user());
  answer_entry(request, fs.run([&](Volume& volume) -> VolumeResult<fuse_entry_param> {
    const uint32_t group = TRY(group_for(volume, parent, caller, &mode));
    const InodeId inode =
        TRY(volume.make_directory(parent, name, static_cast<uint16_t>(mode & 07777), user, group, now()));
    return entry_of(fs, volume, inode);
  }));
}

void op_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  FileSystem& fs = files(request);
  const fuse_ctx& caller = *fuse_req_ctx(request);
  const uint32_t user = inside(caller.uid, mounting_user());
  answer_entry(request, fs.run([&](Volume& volume) -> VolumeResult<fuse_entry_param> {
    const uint32_t group = TRY(group_for(volume, parent, caller, nullptr));
    const InodeId inode = TRY(volume.make_symlink(parent, name, target, user, group, now()));
    return entry_of(fs, volume, inode);
  }));
}

void op_link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name) {
  FileSystem& fs = files(request);
  answer_entry(request, fs.run([&](Volume& volume) -> VolumeResult<fuse_entry_param> {
    TRY(volume.link(inode, parent, name, now()));
    return entry_of(fs, volume, inode);
  }));
}

void op_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  FileSystem& fs = files(request);
  answer(request, fs.run([&](Volume& volume) {
    fs.keep_named(parent, name);
    return volume.unlink(parent, name, now());
  }));
}

void op_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  FileSystem& fs = files(request);
  answer(request, fs.run([&](Volume& volume) {
    fs.keep_named(parent, name);
    return volume.remove_directory(parent, name, now());
  }));
}

void op_rename(fuse_req_t request, fuse_ino_t from, const char* from_name, fuse_ino_t to, const char* to_name,
               unsigned flags) {
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  FileSystem& fs = files(request);
  answer(request, fs.run([&](Volume& volume) -> VolumeResult<void> {
    if ((flags & RENAME_NOREPLACE) != 0 && volume.lookup(to, to_name).ok()) {
      return VolumeError{volume::Reason::Exists, "the target exists"};
    }
    fs.keep_named(to, to_name);
    return volume.rename(from, from_name, to, to_name, now());
  }));
}

// --- content

void op_open(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, ENOSYS); }

void op_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info*) {
  const MutableByteView out(mounted(request).read_buffer.get(), std::min<size_t>(size, kMaxTransfer));
  const auto count = files(request).run(
      [&](Volume& volume) { return volume.read(inode, static_cast<uint64_t>(offset), out); });
  if (!count.ok()) return fail(request, count.error());
  fuse_reply_buf(request, reinterpret_cast<const char*>(out.data()), *count);
}

void op_write(fuse_req_t request, fuse_ino_t inode, const char* data, size_t size, off_t offset,
              fuse_file_info* file) {
  const ByteView bytes(reinterpret_cast<const uint8_t*>(data), size);
  // What the kernel writes back was allowed earlier; a file with set-id bits is not written back but through.
  const bool stranger = !file->writepage && fuse_req_ctx(request)->uid != 0;
  const auto done = files(request).run([&](Volume& volume) -> VolumeResult<void> {
    volume::AttributeChange change;
    if (stranger) TRY(clear_set_id(volume, inode, change));
    if (change.permissions) TRY(volume.set_attributes(inode, change, now()));
    return volume.write(inode, static_cast<uint64_t>(offset), bytes, now());
  });
  if (!done.ok()) return fail(request, done.error());
  fuse_reply_write(request, size);
}

void op_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  mounted(request).fsyncs.waiting.push_back(request);  // channel.cpp says when to answer
}

// --- reading directories

// Cookies 1 and 2 follow "." and ".."; all others are the volume's.
struct Listing {
  fuse_req_t request;
  bool with_attributes;
  std::vector<char> buffer;
  size_t used = 0;

  // False when it does not fit. With attributes the kernel refers to what it is told of, except the dots.
  bool add(FileSystem& fs, Volume& volume, const volume::DirectoryEntry& item, uint64_t cookie) {
    fuse_entry_param entry{};
    entry.attr.st_ino = item.inode;
    entry.attr.st_mode = type_bits(item.type);
    const bool dots = item.name == "." || item.name == "..";
    if (with_attributes && !dots) {
      VolumeResult<fuse_entry_param> full = entry_of(fs, volume, item.inode);
      if (full.ok()) entry = *full;  // else the name alone: looking it up will say what is wrong
    }
    char* at = buffer.data() + used;
    const size_t room = buffer.size() - used;
    const auto next = static_cast<off_t>(cookie);
    const size_t size = with_attributes
                            ? fuse_add_direntry_plus(request, at, room, item.name.c_str(), &entry, next)
                            : fuse_add_direntry(request, at, room, item.name.c_str(), &entry.attr, next);
    if (size <= room) {
      used += size;
      return true;
    }
    if (entry.ino != 0) unused.push_back(entry.ino);
    return false;
  }
  std::vector<InodeId> unused;  // references that were taken but not passed on
};

VolumeResult<void> list(FileSystem& fs, Volume& volume, InodeId directory, uint64_t cookie, Listing& out) {
  if (cookie == 0 && !out.add(fs, volume, {".", directory, FileType::Directory}, 1)) return {};
  if (cookie <= 1) {
    const InodeId parent = TRY(volume.parent_of(directory));
    if (!out.add(fs, volume, {"..", parent, FileType::Directory}, 2)) return {};
  }
  if (cookie <= 2) cookie = 0;
  while (true) {
    std::vector<volume::DirectoryEntry> entries;
    const uint64_t next = TRY(volume.read_directory(directory, cookie, 1, entries));
    // Names that share a record share its cookie: all but the last lead back to before it.
    for (size_t i = 0; i < entries.size(); ++i) {
      const bool last = i + 1 == entries.size();
      if (!out.add(fs, volume, entries[i], last && next != 0 ? next : std::max<uint64_t>(cookie, 2)))
        return {};
    }
    if (next == 0) return {};
    cookie = next;
  }
}

void answer_listing(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool with_attributes) {
  FileSystem& fs = files(request);
  Listing out{request, with_attributes, std::vector<char>(std::min<size_t>(size, kMaxTransfer)), 0, {}};
  const VolumeResult<void> done =
      fs.run([&](Volume& volume) { return list(fs, volume, inode, static_cast<uint64_t>(offset), out); });
  for (const InodeId unused : out.unused) fs.forget(unused, 1);
  if (!done.ok()) return fail(request, done.error());
  fuse_reply_buf(request, out.buffer.data(), out.used);
}

void op_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info*) {
  answer_listing(request, inode, size, offset, false);
}
void op_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info*) {
  answer_listing(request, inode, size, offset, true);
}

// --- extended attributes: those of users only

bool for_users(std::string_view name) { return name.starts_with("user.") && name.size() > 5; }

void answer_bytes(fuse_req_t request, ByteView bytes, size_t room) {
  if (room == 0) {
    fuse_reply_xattr(request, bytes.size());
  } else if (bytes.size() > room) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

void op_getxattr(fuse_req_t request, fuse_ino_t inode, const char* name, size_t size) {
  if (!for_users(name)) {
    fuse_reply_err(request, EOPNOTSUPP);
    return;
  }
  const auto value = files(request).run([&](Volume& volume) { return volume.get_xattr(inode, name); });
  if (!value.ok()) return fail(request, value.error());
  answer_bytes(request, *value, size);
}

void op_setxattr(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value, size_t size,
                 int flags) {
  if (!for_users(name)) {
    fuse_reply_err(request, EOPNOTSUPP);
    return;
  }
  answer(request, files(request).run([&](Volume& volume) {
    return volume.set_xattr(inode, name, ByteView(reinterpret_cast<const uint8_t*>(value), size),
                            (flags & XATTR_CREATE) != 0, (flags & XATTR_REPLACE) != 0, now());
  }));
}

void op_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size) {
  const auto names = files(request).run([&](Volume& volume) { return volume.list_xattrs(inode); });
  if (!names.ok()) return fail(request, names.error());
  std::string joined;
  for (const std::string& name : *names) {
    if (for_users(name)) joined.append(name).push_back('\0');
  }
  answer_bytes(request, as_bytes(joined), size);
}

void op_removexattr(fuse_req_t request, fuse_ino_t inode, const char* name) {
  if (!for_users(name)) {
    fuse_reply_err(request, EOPNOTSUPP);
    return;
  }
  answer(request,
         files(request).run([&](Volume& volume) { return volume.remove_xattr(inode, name, now()); }));
}

void op_statfs(fuse_req_t request, fuse_ino_t) {
  struct statvfs host {};
  if (::fstatvfs(mounted(request).volume_folder.get(), &host) != 0) {
    fuse_reply_err(request, errno);
    return;
  }
  const auto usage =
      files(request).run([&](Volume& volume) -> VolumeResult<Volume::Usage> { return volume.usage(); });
  struct statvfs out {};
  const uint64_t unit = host.f_frsize != 0 ? host.f_frsize : host.f_bsize;
  out.f_bsize = out.f_frsize = 4096;
  out.f_blocks = host.f_blocks * unit / 4096;
  out.f_bfree = host.f_bfree * unit / 4096;
  out.f_bavail = host.f_bavail * unit / 4096;
  out.f_ffree = out.f_favail = uint64_t{1} << 40;
  out.f_files = out.f_ffree + (usage.ok() ? usage->files : 0);
  out.f_namemax = 255;
  fuse_reply_statfs(request, &out);
}

}  // namespace

void answer_fsyncs(Mounted& mounted) {
  const Result<void> committed = mounted.files.commit();
  const std::vector<fuse_req_t> waiting = std::exchange(mounted.fsyncs, {}).waiting;
  for (const fuse_req_t request : waiting)
    fuse_reply_err(request, committed.ok() ? 0 : errno_of(committed.error()));
}

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops t{};
    t.init = op_init;
    t.lookup = op_lookup;
    t.forget = op_forget;
    t.forget_multi = op_forget_multi;
    t.getattr = op_getattr;
    t.setattr = op_setattr;
    t.readlink = op_readlink;
    t.mknod = op_mknod;
    t.mkdir = op_mkdir;
    t.symlink = op_symlink;
    t.link = op_link;
    t.unlink = op_unlink;
    t.rmdir = op_rmdir;
    t.rename = op_rename;
    t.open = op_open;
    t.opendir = op_open;
    t.read = op_read;
    t.write = op_write;
    t.fsync = op_fsync;
    t.fsyncdir = op_fsync;
    t.readdir = op_readdir;
    t.readdirplus = op_readdirplus;
    t.getxattr = op_getxattr;
    t.setxattr = op_setxattr;
    t.listxattr = op_listxattr;
    t.removexattr = op_removexattr;
    t.statfs = op_statfs;
    return t;
  }();
  return table;
}

}  // namespace cloister::fuse
