// Sending and receiving go through a kernel buffer in pieces: the program's memory can change at any time,
// and a call of gigabytes must not take gigabytes of the kernel's.
#include "enclave/syscalls/socket_transfer.h"

#include "enclave/syscalls/user_run.h"

namespace cloister::enclave {
namespace {

// A socket keeps by itself an error behind bytes of the same piece, not one at the start of a later piece.
SysResult<uint64_t> so_far(Socket& socket, uint64_t done, Errno error) {
  if (done == 0) return error;
  socket.defer(error);
  return done;
}

}  // namespace

SysResult<uint64_t> send_vectors(Socket& socket, std::span<const UserVector> vectors, Outgoing& outgoing) {
  UserRun from(vectors);
  // Pieces are larger than any message that is sent whole: the socket refuses one when it sees so much.
  PieceBuffer buffer(from.left());
  outgoing.deadline = socket.send_deadline();
  uint64_t done = 0;
  do {
    const MutableByteView piece = buffer.piece(from.left());
    // As Linux, which sends no part of a message, nor of a segment of a stream.
    if (from.take(piece) < piece.size()) return done > 0 ? SysResult<uint64_t>(done) : Errno::Fault;
    const auto count = socket.send(piece, outgoing);
    if (!count.ok()) return so_far(socket, done, count.error());
    done += count.value();
    if (count.value() < piece.size() || socket.type() != kSocketStream) break;
    // SIGPIPE is for a call that could send nothing.
    outgoing.flags |= kMessageNoSignal;
  } while (from.left() > 0);
  return done;
}

SysResult<uint64_t> receive_vectors(Socket& socket, std::span<const UserVector> vectors, uint32_t flags,
                                    Incoming& incoming) {
  constexpr uint32_t kOnce = kMessagePeek | kMessageOutOfBand | kMessageErrorQueue;
  UserRun to(vectors);
  const uint64_t wanted = to.left();
  const bool discards = socket.discards(flags);
  if (!discards && !to.ranges_ok()) return Errno::Fault;
  PieceBuffer buffer(wanted);
  const uint64_t deadline = socket.receive_deadline();
  uint64_t done = 0;
  do {
    const MutableByteView piece = buffer.piece(wanted - done);
    const auto count = socket.receive(piece, flags, deadline, incoming);
    if (!count.ok()) return so_far(socket, done, count.error());
    if (!discards && to.give(piece.first(count.value())) < count.value()) {
      // A message that cannot be stored is lost, as in Linux; a stream goes on where it was.
      if (socket.type() == kSocketStream && (flags & kOnce) == 0)
        socket.unreceive(piece.first(count.value()), incoming);
      return done > 0 ? SysResult<uint64_t>(done) : Errno::Fault;
    }
    done += count.value();
    if (count.value() < piece.size() || socket.type() != kSocketStream || (flags & kOnce) != 0 ||
        !incoming.files.empty())
      break;
    // Without MSG_WAITALL a call waits for the first bytes only, and takes what else is there.
    if ((flags & kMessageWaitAll) == 0) flags |= kMessageDontWait;
  } while (done < wanted);
  return done;
}

}  // namespace cloister::enclave
