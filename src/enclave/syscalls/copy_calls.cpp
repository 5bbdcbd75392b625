// Bytes from one descriptor to another inside the kernel: sendfile, copy_file_range, splice and its
// relatives.
#include <algorithm>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/processes.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/syscalls/user_run.h"
#include "enclave/vfs/pipe.h"
#include "enclave/vfs/socket.h"

namespace cloister::enclave {
namespace {

// Bytes from one file to another inside the kernel. Null offsets: the files' own positions.
SysResult<uint64_t> copy_between(File& from, uint64_t* from_offset, File& to, uint64_t* to_offset,
                                 uint64_t size) {
  PieceBuffer buffer(size);
  uint64_t done = 0;
  SysResult<void> failure;
  while (done < size && failure.ok()) {
    const MutableByteView piece = buffer.piece(size - done);
    const auto got = from_offset == nullptr ? from.read(piece) : from.pread_kernel(*from_offset, piece);
    if (!got.ok()) failure = got.error();
    if (!got.ok() || got.value() == 0) break;
    size_t moved = 0;
    while (moved < got.value()) {
      const ByteView rest = ByteView(piece).subspan(moved, got.value() - moved);
      const auto put = write_limited(to, to_offset == nullptr ? kCurrentPosition : *to_offset, rest);
      if (!put.ok()) {
        // What was read and not written is read again by the next call.
        if (from_offset == nullptr) static_cast<void>(from.seek(-static_cast<int64_t>(rest.size()), 1));
        tell_file_limit(put.error());  // as Linux, which has tried once more: even if something was moved
        failure = put.error();
        break;
      }
      moved += put.value();
      done += put.value();
      if (from_offset != nullptr) *from_offset += put.value();
      if (to_offset != nullptr) *to_offset += put.value();
    }
    if (got.value() < piece.size()) break;
  }
  if (done == 0 && !failure.ok()) return failure.error();
  notify_moved(from, Direction::Read, done);
  notify_moved(to, Direction::Write, done);
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

enum : uint32_t { kNonBlocking = 2, kKnownFlags = 15 };  // SPLICE_F_…

// What splice moves from or to is a pipe, a socket, the console or a file, not what the kernel makes up by
// itself (WaitFile).
SysResult<void> check_splices(File& file, bool with_offset) {
  const bool folder = (TRY(file.stat()).mode & kTypeMask) == kTypeFolder;
  if (folder || !file.takes_vectors_whole()) return Errno::Invalid;
  return with_offset && file.inode() == nullptr ? Errno::Invalid : SysResult<void>();
}

SysResult<size_t> read_for_pipe(File& from, const uint64_t* offset, MutableByteView out, bool non_blocking) {
  if (offset != nullptr) return from.pread_kernel(*offset, out);
  Socket* socket = from.socket();
  // As Linux: SPLICE_F_NONBLOCK is about pipes, but also about these sockets.
  if (socket == nullptr || socket->family() != kFamilyUnix || !non_blocking) return from.read(out);
  Incoming incoming;
  return socket->receive(out, kMessageDontWait, kNoDeadline, incoming);
}

// One piece, which has room in the pipe.
SysResult<uint64_t> file_to_pipe(File& from, uint64_t* offset, PipeEnd& to, uint64_t size,
                                 bool non_blocking) {
  const Ref<PipeContent> pipe = to.writes_to();
  const size_t room = TRY(pipe->promise(std::min<uint64_t>(size, PieceBuffer::kMost), non_blocking));
  PieceBuffer buffer(room);
  const MutableByteView piece = buffer.piece(room);
  const auto got = read_for_pipe(from, offset, piece, non_blocking);
  pipe->fulfil(piece.first(got.ok() ? got.value() : 0), room);
  if (!got.ok()) return got.error();
  const uint64_t done = got.value();
  if (offset != nullptr) *offset += done;
  notify_moved(from, Direction::Read, done);
  notify_moved(to, Direction::Write, done);
  return done;
}

// Waits for the first bytes only.
SysResult<uint64_t> pipe_to_file(PipeEnd& from, File& to, uint64_t* offset, uint64_t size,
                                 bool non_blocking) {
  const Ref<PipeContent> pipe = from.reads_from();
  PieceBuffer buffer(size);
  uint64_t done = 0;
  while (done < size) {
    const MutableByteView piece = buffer.piece(size - done);
    const auto got = pipe->lend(piece, non_blocking || done > 0);
    if (!got.ok() && done == 0) return got.error();
    if (!got.ok() || got.value() == 0) break;
    const ByteView bytes = piece.first(got.value());
    const auto put = write_limited(to, offset == nullptr ? kCurrentPosition : *offset, bytes);
    const size_t count = put.ok() ? put.value() : 0;
    pipe->give_back(bytes.subspan(count), bytes.size());
    if (!put.ok()) {
      tell_file_limit(put.error());
      if (done == 0) return put.error();
      break;
    }
    done += count;
    if (offset != nullptr) *offset += count;
  }
  notify_moved(from, Direction::Read, done);
  notify_moved(to, Direction::Write, done);
  TRY(written(to, done));
  return done;
}

SysResult<uint64_t> pipe_to_pipe(PipeEnd& from, PipeEnd& to, uint64_t size, uint32_t flags, bool stays) {
  const Ref<PipeContent> source = from.reads_from(), target = to.writes_to();
  if (source.get() == target.get()) return Errno::Invalid;
  const bool non_blocking = (flags & kNonBlocking) != 0 || from.non_blocking() || to.non_blocking();
  const uint64_t done = TRY(source->move_to(*target, size, non_blocking, stays));
  if (!stays) notify_moved(from, Direction::Read, done);
  notify_moved(to, Direction::Write, done);
  return done;
}

SysResult<uint64_t> splice(const Ref<File>& from, uint64_t* from_offset, const Ref<File>& to,
                           uint64_t* to_offset, uint64_t size, uint32_t flags) {
  if (!from->readable() || !to->writable()) return Errno::BadFile;
  const bool asked = (flags & kNonBlocking) != 0;
  if (from->pipe() != nullptr && to->pipe() != nullptr)
    return pipe_to_pipe(*from->pipe(), *to->pipe(), size, flags, false);
  if (from->pipe() != nullptr) {
    TRY(check_splices(*to, to_offset != nullptr));
    if ((to->flags() & kOpenAppend) != 0) return Errno::Invalid;
    return pipe_to_file(*from->pipe(), *to, to_offset, size, asked || from->non_blocking());
  }
  if (to->pipe() == nullptr) return Errno::Invalid;
  TRY(check_splices(*from, from_offset != nullptr));
  return file_to_pipe(*from, from_offset, *to->pipe(), size, asked || to->non_blocking());
}

// vmsplice(2): the bytes are copied.
SysResult<uint64_t> user_to_pipe(UserRun run, PipeEnd& to, bool non_blocking) {
  const Ref<PipeContent> pipe = to.writes_to();
  size_t room = TRY(pipe->promise(run.left(), non_blocking));
  PieceBuffer buffer(room);
  uint64_t done = 0;
  while (room > 0) {
    const MutableByteView piece = buffer.piece(room);
    const size_t taken = run.take(piece);
    pipe->fulfil(piece.first(taken), piece.size());
    room -= piece.size();
    done += taken;
    if (taken < piece.size()) break;
  }
  pipe->fulfil({}, room);
  notify_moved(to, Direction::Write, done);
  return done > 0 ? SysResult<uint64_t>(done) : Errno::Fault;
}

SysResult<uint64_t> pipe_to_user(PipeEnd& from, UserRun run, bool non_blocking) {
  const Ref<PipeContent> pipe = from.reads_from();
  PieceBuffer buffer(run.left());
  uint64_t done = 0;
  while (run.left() > 0) {
    const MutableByteView piece = buffer.piece(run.left());
    const auto got = pipe->lend(piece, non_blocking || done > 0);
    if (!got.ok() && done == 0) return got.error();
    if (!got.ok() || got.value() == 0) break;
    const size_t given = run.give(piece.first(got.value()));
    pipe->give_back(piece.first(got.value()).subspan(given), got.value());
    done += given;
    if (given == 0 && done == 0) return Errno::Fault;
    if (given < got.value()) break;
  }
  notify_moved(from, Direction::Read, done);
  return done;
}

}  // namespace

SysResult<int64_t> sys_sendfile(SyscallArgs& args) {
  const FileUse to = TRY(file_for(args.thread, args.i32(0), Direction::Write));
  const FileUse from = TRY(file_for(args.thread, args.i32(1), Direction::Read));
  if (from->inode() == nullptr || (to->flags() & kOpenAppend) != 0) return Errno::Invalid;
  UserOffset offset;
  TRY(offset.load(args.a[2]));
  const uint64_t size = std::min(args.a[3], kMaxTransfer);
  // As Linux: what has room. Whoever is to read the pipe may be the caller.
  const uint64_t done = to->pipe() != nullptr && size > 0
                            ? TRY(file_to_pipe(*from, offset.get(), *to->pipe(), size, to->non_blocking()))
                            : TRY(copy_between(*from, offset.get(), *to, nullptr, size));
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

SysResult<int64_t> sys_splice(SyscallArgs& args) {
  if (args.a[4] == 0) return 0;
  if ((args.u32(5) & ~kKnownFlags) != 0) return Errno::Invalid;
  const FdTable& files = args.thread.process->files;
  const FileUse from = TRY(files.get(args.i32(0))), to = TRY(files.get(args.i32(2)));
  if ((from->pipe() != nullptr && args.a[1] != 0) || (to->pipe() != nullptr && args.a[3] != 0))
    return Errno::IllegalSeek;
  UserOffset from_offset, to_offset;
  TRY(to_offset.load(args.a[3]));
  TRY(from_offset.load(args.a[1]));
  const uint64_t done = TRY(splice(from.ref(), from_offset.get(), to.ref(), to_offset.get(),
                                   std::min(args.a[4], kMaxTransfer), args.u32(5)));
  TRY(to_offset.store());
  TRY(from_offset.store());
  return static_cast<int64_t>(done);
}

SysResult<int64_t> sys_tee(SyscallArgs& args) {
  if ((args.u32(3) & ~kKnownFlags) != 0) return Errno::Invalid;
  if (args.a[2] == 0) return 0;
  const FdTable& files = args.thread.process->files;
  const FileUse from = TRY(files.get(args.i32(0))), to = TRY(files.get(args.i32(1)));
  if (!from->readable() || !to->writable()) return Errno::BadFile;
  if (from->pipe() == nullptr || to->pipe() == nullptr) return Errno::Invalid;
  return static_cast<int64_t>(
      TRY(pipe_to_pipe(*from->pipe(), *to->pipe(), std::min(args.a[2], kMaxTransfer), args.u32(3), true)));
}

SysResult<int64_t> sys_vmsplice(SyscallArgs& args) {
  if ((args.u32(3) & ~kKnownFlags) != 0) return Errno::Invalid;
  const FileUse file = TRY(args.thread.process->files.get(args.i32(0)));
  const auto vectors = TRY(load_vectors(args.a[1], args.a[2]));
  const UserRun run(vectors);
  if (run.left() == 0) return 0;
  if (file->pipe() == nullptr) return Errno::BadFile;
  const bool non_blocking = (args.u32(3) & kNonBlocking) != 0;  // and not what the descriptor says
  return static_cast<int64_t>(file->writable() ? TRY(user_to_pipe(run, *file->pipe(), non_blocking))
                                               : TRY(pipe_to_user(*file->pipe(), run, non_blocking)));
}

}  // namespace cloister::enclave
