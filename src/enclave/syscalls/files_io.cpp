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

// What counts of a piece of which the program's memory had only so much. As Linux: files move single bytes,
// pipes the buffers, of a page each, that are whole.
size_t part_of(File& file, size_t moved, size_t piece) {
  constexpr size_t kBuffer = 4096;
  const bool bytes = file.inode() != nullptr && !file.inode()->is_order();
  return moved == piece || bytes ? moved : moved - moved % kBuffer;
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
    // A socket or console gives what it has, a pipe everything that it has; only files are read on to the end
    // of the buffer.
    const bool more = file.inode() != nullptr || (file.pipe() != nullptr && (file.ready() & kPollIn) != 0);
    if (direction == Direction::Read && !more) break;
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

constexpr uint32_t kHighPriority = 1, kAppend = 16;  // RWF_…

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

SysResult<int64_t> simple(SyscallArgs& args, Direction direction, bool positioned) {
  const FileUse file = TRY(file_for(args.thread, args.i32(0), direction));
  const uint64_t offset = TRY(start_of(*file, direction, positioned, args.a[3]));
  const UserVector range{args.a[1], std::min(args.a[2], kMaxTransfer)};
  const uint64_t done = TRY(transfer(*file, direction, offset, {&range, 1}));
  notify_moved(*file, direction, done);
  if (direction == Direction::Write) TRY(written(*file, done));
  return static_cast<int64_t>(done);
}

SysResult<int64_t> vectored(SyscallArgs& args, Direction direction, bool positioned, uint32_t flags = 0) {
  const FileUse file = TRY(file_for(args.thread, args.i32(0), direction));
  const auto vectors = TRY(load_vectors(args.a[1], args.a[2]));
  if ((flags & ~(kHighPriority | kWriteDataSync | kWriteSync | kAppend)) != 0) return Errno::NotSupported;
  const uint64_t offset = TRY(start_of(*file, direction, positioned, args.a[3], flags));
  if (UserRun(vectors).left() == 0) return 0;
  const uint64_t done = TRY(transfer(*file, direction, offset, vectors));
  if (direction == Direction::Read) {
    file->notify_used(kNotifyAccess);  // even of nothing, as Linux
  } else {
    notify_moved(*file, direction, done);
    TRY(written(*file, done, flags));
  }
  return static_cast<int64_t>(done);
}

// preadv2(2): offset -1 is the file's own position.
SysResult<int64_t> vectored_with_flags(SyscallArgs& args, Direction direction) {
  return vectored(args, direction, args.i64(3) != -1, args.u32(5));
}

}  // namespace

SysResult<FileUse> file_for(const Thread& thread, int32_t fd, Direction direction) {
  FileUse file = TRY(thread.process->files.get(fd));
  if (direction == Direction::Read ? !file->readable() : !file->writable()) return Errno::BadFile;
  if (file->inode() != nullptr && direction == Direction::Read &&
      (TRY(file->stat()).mode & kTypeMask) == kTypeFolder)
    return Errno::IsDirectory;
  return file;
}

void notify_moved(File& file, Direction direction, uint64_t count) {
  if (count > 0) file.notify_used(direction == Direction::Read ? kNotifyAccess : kNotifyModify);
}

SysResult<size_t> write_limited(File& file, uint64_t offset, ByteView data) {
  const ByteView allowed = data.first(TRY(file_size_left(file, offset, data.size())));
  return offset == kCurrentPosition ? file.write(allowed) : file.pwrite_kernel(offset, allowed);
}

SysResult<void> written(File& file, uint64_t count, uint32_t flags) {
  if (count == 0 || file.inode() == nullptr) return {};
  if ((flags & (kWriteDataSync | kWriteSync)) == 0 && (file.flags() & kOpenDataSync) == 0) return {};
  return file.inode()->sync();
}

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

}  // namespace cloister::enclave
