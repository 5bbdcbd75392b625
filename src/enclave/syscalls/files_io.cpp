// Reading and writing. Bytes go through a kernel buffer in pieces: the program's memory can change under us
// at any time, and what is verified or encrypted must not.
#include <algorithm>
#include <span>
#include <vector>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/socket_transfer.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/syscalls/user_run.h"
#include "enclave/vfs/inotify.h"

namespace cloister::enclave {
namespace {

constexpr int32_t kMaxVectors = 1024;

enum class Direction : bool { Read, Write };

// For inotify, as far as anything was moved.
void used(File& file, Direction direction, uint64_t count) {
  if (count > 0) file.notify_used(direction == Direction::Read ? kNotifyAccess : kNotifyModify);
}

// What counts of a piece of which the program's memory had only so much. As Linux: files move single bytes,
// pipes the buffers, of a page each, that are whole.
size_t part_of(File& file, size_t moved, size_t piece) {
  constexpr size_t kBuffer = 4096;
  const bool bytes = file.inode() != nullptr && !file.inode()->is_order();
  return moved == piece || bytes ? moved : moved - moved % kBuffer;
}

// As much as RLIMIT_FSIZE allows; `offset` kCurrentPosition: at the file's own.
SysResult<size_t> write_limited(File& file, uint64_t offset, ByteView data) {
  const ByteView allowed = data.first(TRY(file_size_left(file, offset, data.size())));
  return offset == kCurrentPosition ? file.write(allowed) : file.pwrite_kernel(offset, allowed);
}

// One piece.
SysResult<size_t> write_piece(File& file, uint64_t offset, UserRun& run, MutableByteView piece) {
  const size_t taken = part_of(file, run.take(piece), piece.size());
  if (taken == 0 && !piece.empty()) return Errno::Fault;
  return write_limited(file, offset, piece.first(taken));
}
SysResult<size_t> read_piece(File& file, uint64_t offset, UserRun& run, MutableByteView piece) {
  const size_t count = TRY(offset == kCurrentPosition ? file.read(piece) : file.pread_kernel(offset, piece));
  const size_t given = part_of(file, run.give(piece.first(count)), count);
  if (given < count && offset == kCurrentPosition) file.unread(piece.subspan(given, count - given));
  if (given == 0 && count > 0) return Errno::Fault;
  return given;
}

SysResult<uint64_t> transfer(File& file, Direction direction, uint64_t offset, UserRun run) {
  if (direction == Direction::Read && !run.ranges_ok()) return Errno::Fault;
  PieceBuffer buffer(run.left());
  uint64_t done = 0;
  do {
    const MutableByteView piece = buffer.piece(run.left());
    const uint64_t at = offset == kCurrentPosition ? offset : offset + done;
    const auto count =
        direction == Direction::Write ? write_piece(file, at, run, piece) : read_piece(file, at, run, piece);
    if (!count.ok()) {
      if (done > 0) break;
      tell_file_limit(count.error());
      return count.error();
    }
    done += count.value();
    if (count.value() < piece.size()) break;
    // A pipe, socket or console gives what it has; only files are read on to the end of the buffer.
    if (direction == Direction::Read && file.inode() == nullptr) break;
  } while (run.left() > 0);
  return done;
}

SysResult<uint64_t> transfer(Socket& socket, Direction direction, std::span<const UserVector> vectors) {
  Outgoing outgoing;
  if (direction == Direction::Write) return send_vectors(socket, vectors, outgoing);
  const bool nothing =
      std::all_of(vectors.begin(), vectors.end(), [](const UserVector& vector) { return vector.size == 0; });
  Incoming incoming;
  return nothing ? SysResult<uint64_t>(0) : receive_vectors(socket, vectors, 0, incoming);
}

// Several buffers are one message or one uninterrupted write; what the kernel makes up by itself (WaitFile)
// fills one after the other.
SysResult<uint64_t> transfer(File& file, Direction direction, uint64_t offset,
                             std::span<const UserVector> vectors) {
  if (file.socket() != nullptr && offset == kCurrentPosition)
    return transfer(*file.socket(), direction, vectors);
  if (file.takes_vectors_whole()) return transfer(file, direction, offset, UserRun(vectors));
  uint64_t done = 0;
  for (size_t i = 0; i < vectors.size(); ++i) {
    if (vectors[i].size == 0) continue;
    const auto count = transfer(file, direction, offset, UserRun(vectors.subspan(i, 1)));
    if (!count.ok()) return done > 0 ? SysResult<uint64_t>(done) : count.error();
    done += count.value();
    if (count.value() < vectors[i].size || direction == Direction::Read) break;
  }
  return done;
}

SysResult<FileUse> file_for(const Thread& thread, int32_t fd, Direction direction) {
  FileUse file = TRY(thread.process->files.get(fd));
  if (direction == Direction::Read ? !file->readable() : !file->writable()) return Errno::BadFile;
  if (file->inode() != nullptr && direction == Direction::Read &&
      (TRY(file->stat()).mode & kTypeMask) == kTypeFolder)
    return Errno::IsDirectory;
  return file;
}

enum : uint32_t { kHighPriority = 1, kDataSync = 2, kSync = 4, kAppend = 16 };  // RWF_…

// Where a call begins. pwrite(2), as Linux does it: with O_APPEND data go to the end, whatever the offset.
SysResult<uint64_t> start_of(File& file, Direction direction, bool positioned, uint64_t offset,
                             uint32_t flags = 0) {
  if (positioned && static_cast<int64_t>(offset) < 0) return Errno::Invalid;
  const bool appends = (flags & kAppend) != 0 || (file.flags() & kOpenAppend) != 0;
  if (direction == Direction::Write && appends && file.inode() != nullptr) {
    if (positioned) return TRY(file.stat()).size;
    TRY(file.seek(0, 2));
  }
  return positioned ? offset : kCurrentPosition;
}

// O_SYNC, O_DSYNC and their like of one call: it returns when the data are durable.
SysResult<void> written(File& file, uint64_t count, uint32_t flags = 0) {
  if (count == 0 || file.inode() == nullptr) return {};
  if ((flags & (kDataSync | kSync)) == 0 && (file.flags() & kOpenDataSync) == 0) return {};
  return file.inode()->sync();
}

SysResult<int64_t> simple(SyscallArgs& args, Direction direction, bool positioned) {
  const FileUse file = TRY(file_for(args.thread, args.i32(0), direction));
  const uint64_t offset = TRY(start_of(*file, direction, positioned, args.a[3]));
  const UserVector range{args.a[1], std::min(args.a[2], kMaxTransfer)};
  const uint64_t done = TRY(transfer(*file, direction, offset, {&range, 1}));
  used(*file, direction, done);
  if (direction == Direction::Write) TRY(written(*file, done));
  return static_cast<int64_t>(done);
}

SysResult<int64_t> vectored(SyscallArgs& args, Direction direction, bool positioned, uint32_t flags = 0) {
  const FileUse file = TRY(file_for(args.thread, args.i32(0), direction));
  const auto vectors = TRY(load_vectors(args.a[1], args.a[2]));
  if ((flags & ~(kHighPriority | kDataSync | kSync | kAppend)) != 0) return Errno::NotSupported;
  const uint64_t offset = TRY(start_of(*file, direction, positioned, args.a[3], flags));
  if (UserRun(vectors).left() == 0) return 0;
  const uint64_t done = TRY(transfer(*file, direction, offset, vectors));
  if (direction == Direction::Read) {
    file->notify_used(kNotifyAccess);  // even of nothing, as Linux
  } else {
    used(*file, direction, done);
    TRY(written(*file, done, flags));
  }
  return static_cast<int64_t>(done);
}

// preadv2(2): offset -1 is the file's own position.
SysResult<int64_t> vectored_with_flags(SyscallArgs& args, Direction direction) {
  return vectored(args, direction, args.i64(3) != -1, args.u32(5));
}

// Bytes from one file to another inside the kernel. Null offsets: the files' own positions.
SysResult<uint64_t> copy_between(File& from, uint64_t* from_offset, File& to, uint64_t* to_offset,
                                 uint64_t size) {
  Bytes buffer(std::min<uint64_t>(std::max<uint64_t>(size, 1), PieceBuffer::kMost));
  uint64_t done = 0;
  while (done < size) {
    const MutableByteView piece =
        MutableByteView(buffer).first(std::min<uint64_t>(buffer.size(), size - done));
    const auto got = from_offset == nullptr ? from.read(piece) : from.pread_kernel(*from_offset, piece);
    if (!got.ok()) return done > 0 ? SysResult<uint64_t>(done) : got.error();
    if (got.value() == 0) break;
    size_t written = 0;
    while (written < got.value()) {
      const ByteView rest = ByteView(piece).subspan(written, got.value() - written);
      const auto put = write_limited(to, to_offset == nullptr ? kCurrentPosition : *to_offset, rest);
      if (!put.ok()) {
        // What was read and not written is read again by the next call.
        if (from_offset == nullptr) static_cast<void>(from.seek(-static_cast<int64_t>(rest.size()), 1));
        tell_file_limit(put.error());  // as Linux, which has tried once more: even if something was moved
        return done > 0 ? SysResult<uint64_t>(done) : put.error();
      }
      written += put.value();
      done += put.value();
      if (from_offset != nullptr) *from_offset += put.value();
      if (to_offset != nullptr) *to_offset += put.value();
    }
    if (got.value() < piece.size()) break;
  }
  used(from, Direction::Read, done);
  used(to, Direction::Write, done);
  TRY(written(to, done));
  return done;
}

// An optional user offset: loaded before, stored after.
class UserOffset {
 public:
  SysResult<void> load(uint64_t address) {
    address_ = address;
    if (address_ == 0) return {};
    value_ = TRY(load_user<uint64_t>(address_));
    if (static_cast<int64_t>(value_) < 0) return Errno::Invalid;
    return {};
  }
  uint64_t* get() { return address_ == 0 ? nullptr : &value_; }
  SysResult<void> store() const { return address_ == 0 ? SysResult<void>() : store_user(address_, value_); }

 private:
  uint64_t address_ = 0, value_ = 0;
};

// copy_file_range(2) within one file: not onto what is still to be read.
SysResult<void> check_ranges(File& from, const uint64_t* from_offset, File& to, const uint64_t* to_offset,
                             uint64_t size) {
  const uint64_t source = from_offset != nullptr ? *from_offset : TRY(from.seek(0, 1));
  const uint64_t target = to_offset != nullptr ? *to_offset : TRY(to.seek(0, 1));
  if (size > UINT64_MAX - source || size > UINT64_MAX - target) return Errno::Overflow;
  const Stat read = TRY(from.stat()), written = TRY(to.stat());
  if ((read.mode & kTypeMask) != kTypeFile || (written.mode & kTypeMask) != kTypeFile) return Errno::Invalid;
  if (read.device != written.device || read.inode != written.inode) return {};
  size = std::min(size, read.size - std::min(read.size, source));
  return source < target + size && target < source + size ? Errno::Invalid : SysResult<void>();
}

}  // namespace

SysResult<std::vector<UserVector>> load_vectors(uint64_t address, uint64_t count) {
  if (count > kMaxVectors) return Errno::Invalid;
  std::vector<UserVector> vectors(count);
  if (count != 0) TRY(copy_from_user(vectors.data(), address, count * sizeof(UserVector)));
  uint64_t total = 0;
  for (UserVector& vector : vectors) {
    if (static_cast<int64_t>(vector.size) < 0) return Errno::Invalid;
    vector.size = std::min(vector.size, kMaxTransfer - total);
    total += vector.size;
  }
  return vectors;
}

SysResult<int64_t> sys_read(SyscallArgs& args) { return simple(args, Direction::Read, false); }
SysResult<int64_t> sys_write(SyscallArgs& args) { return simple(args, Direction::Write, false); }
SysResult<int64_t> sys_pread64(SyscallArgs& args) { return simple(args, Direction::Read, true); }
SysResult<int64_t> sys_pwrite64(SyscallArgs& args) { return simple(args, Direction::Write, true); }
SysResult<int64_t> sys_readv(SyscallArgs& args) { return vectored(args, Direction::Read, false); }
SysResult<int64_t> sys_writev(SyscallArgs& args) { return vectored(args, Direction::Write, false); }
SysResult<int64_t> sys_preadv(SyscallArgs& args) { return vectored(args, Direction::Read, true); }
SysResult<int64_t> sys_pwritev(SyscallArgs& args) { return vectored(args, Direction::Write, true); }

SysResult<int64_t> sys_preadv2(SyscallArgs& args) { return vectored_with_flags(args, Direction::Read); }
SysResult<int64_t> sys_pwritev2(SyscallArgs& args) { return vectored_with_flags(args, Direction::Write); }

SysResult<int64_t> sys_lseek(SyscallArgs& args) {
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  return static_cast<int64_t>(TRY(file->seek(args.i64(1), args.i32(2))));
}

SysResult<int64_t> sys_sendfile(SyscallArgs& args) {
  const FileUse to = TRY(file_for(args.thread, args.i32(0), Direction::Write));
  const FileUse from = TRY(file_for(args.thread, args.i32(1), Direction::Read));
  if (from->inode() == nullptr || (to->flags() & kOpenAppend) != 0) return Errno::Invalid;
  UserOffset offset;
  TRY(offset.load(args.a[2]));
  const uint64_t done =
      TRY(copy_between(*from, offset.get(), *to, nullptr, std::min(args.a[3], kMaxTransfer)));
  TRY(offset.store());
  return static_cast<int64_t>(done);
}

SysResult<int64_t> sys_copy_file_range(SyscallArgs& args) {
  const FileUse from = TRY(file_for(args.thread, args.i32(0), Direction::Read));
  const FileUse to = TRY(file_for(args.thread, args.i32(2), Direction::Write));
  if (args.a[5] != 0 || from->inode() == nullptr || to->inode() == nullptr) return Errno::Invalid;
  if ((to->flags() & kOpenAppend) != 0) return Errno::BadFile;
  UserOffset from_offset, to_offset;
  TRY(from_offset.load(args.a[1]));
  TRY(to_offset.load(args.a[3]));
  TRY(check_ranges(*from, from_offset.get(), *to, to_offset.get(), args.a[4]));
  const uint64_t done =
      TRY(copy_between(*from, from_offset.get(), *to, to_offset.get(), std::min(args.a[4], kMaxTransfer)));
  TRY(from_offset.store());
  TRY(to_offset.store());
  return static_cast<int64_t>(done);
}

}  // namespace cloister::enclave
