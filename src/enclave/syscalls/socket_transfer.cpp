// Sending and receiving go through a kernel buffer in pieces: the program's memory can change at any time,
// and a call of gigabytes must not take gigabytes of the kernel's.
#include "enclave/syscalls/socket_transfer.h"

#include <algorithm>

#include "enclave/syscalls/user_run.h"

namespace cloister::enclave {
namespace {

// More than any message that is sent whole: one that is larger is refused by its socket when it sees so much.
constexpr size_t kPiece = 256 << 10;

// A socket keeps by itself an error behind bytes of the same piece, not one at the start of a later piece.
SysResult<uint64_t> so_far(Socket& socket, uint64_t done, Errno error) {
  if (done == 0) return error;
  socket.defer(error);
  return done;
}

size_t piece_size(uint64_t total) { return static_cast<size_t>(std::min<uint64_t>(total, kPiece)); }

}  // namespace

SysResult<uint64_t> send_vectors(Socket& socket, std::span<const UserVector> vectors, Outgoing& outgoing) {
  UserRun from(vectors);
  Bytes buffer(piece_size(from.left()));
  outgoing.deadline = socket.send_deadline();
  uint64_t done = 0;
  do {
    const auto piece = MutableByteView(buffer).first(piece_size(from.left()));
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
  Bytes buffer(piece_size(wanted));
  const uint64_t deadline = socket.receive_deadline();
  uint64_t done = 0;
  do {
    const auto piece = MutableByteView(buffer).first(piece_size(wanted - done));
    const auto count = socket.receive(piece, flags, deadline, incoming);
    if (!count.ok()) return so_far(socket, done, count.error());
    if (!discards && to.give(piece.first(count.value())) < count.value())
      return done > 0 ? SysResult<uint64_t>(done) : Errno::Fault;
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
