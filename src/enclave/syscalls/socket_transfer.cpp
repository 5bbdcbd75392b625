// Sending and receiving go through a kernel buffer in pieces: the program's memory can change at any time,
// and a call of gigabytes must not take gigabytes of the kernel's.
#include "enclave/syscalls/socket_transfer.h"

#include <algorithm>

#include "enclave/arch/user_copy.h"

namespace cloister::enclave {
namespace {

// More than any message that is sent whole: one that is larger is refused by its socket when it sees so much.
constexpr size_t kPiece = 256 << 10;

// The program's vectors as one run of bytes.
class UserBytes {
 public:
  explicit UserBytes(std::span<const UserVector> vectors) : vectors_(vectors) {
    for (const UserVector& vector : vectors) total_ += vector.size;
  }
  uint64_t total() const { return total_; }
  SysResult<void> load(MutableByteView piece) {
    return each(piece.size(), [&](uint64_t address, size_t at, size_t size) {
      return copy_from_user(piece.data() + at, address, size);
    });
  }
  SysResult<void> store(ByteView piece) {
    return each(piece.size(), [&](uint64_t address, size_t at, size_t size) {
      return copy_to_user(address, piece.data() + at, size);
    });
  }
  // Before anything is taken from a socket for them.
  SysResult<void> check() const {
    for (const UserVector& vector : vectors_)
      if (vector.size != 0 && !user_range_ok(vector.base, vector.size)) return Errno::Fault;
    return {};
  }

 private:
  template <class Copy>
  SysResult<void> each(size_t size, const Copy& copy) {
    for (size_t at = 0; at < size;) {
      const UserVector& vector = vectors_[index_];
      const auto part = static_cast<size_t>(std::min<uint64_t>(size - at, vector.size - used_));
      TRY(copy(vector.base + used_, at, part));
      at += part;
      used_ += part;
      if (used_ < vector.size) continue;
      ++index_;
      used_ = 0;
    }
    return {};
  }

  std::span<const UserVector> vectors_;
  size_t index_ = 0;
  uint64_t used_ = 0;  // of the vector at index_
  uint64_t total_ = 0;
};

// A socket keeps by itself an error behind bytes of the same piece, not one at the start of a later piece.
SysResult<uint64_t> so_far(Socket& socket, uint64_t done, Errno error) {
  if (done == 0) return error;
  socket.defer(error);
  return done;
}

size_t piece_size(uint64_t total) { return static_cast<size_t>(std::min<uint64_t>(total, kPiece)); }

}  // namespace

SysResult<uint64_t> send_vectors(Socket& socket, std::span<const UserVector> vectors, Outgoing& outgoing) {
  UserBytes from(vectors);
  Bytes buffer(piece_size(from.total()));
  outgoing.deadline = socket.send_deadline();
  uint64_t done = 0;
  do {
    const auto piece = MutableByteView(buffer).first(piece_size(from.total() - done));
    if (const auto loaded = from.load(piece); !loaded.ok())
      return done > 0 ? SysResult<uint64_t>(done) : loaded.error();
    const auto count = socket.send(piece, outgoing);
    if (!count.ok()) return so_far(socket, done, count.error());
    done += count.value();
    if (count.value() < piece.size() || socket.type() != kSocketStream) break;
    // SIGPIPE is for a call that could send nothing.
    outgoing.flags |= kMessageNoSignal;
  } while (done < from.total());
  return done;
}

SysResult<uint64_t> receive_vectors(Socket& socket, std::span<const UserVector> vectors, uint32_t flags,
                                    Incoming& incoming) {
  constexpr uint32_t kOnce = kMessagePeek | kMessageOutOfBand | kMessageErrorQueue;
  UserBytes to(vectors);
  const bool discards = socket.discards(flags);
  if (!discards) TRY(to.check());
  Bytes buffer(piece_size(to.total()));
  const uint64_t deadline = socket.receive_deadline();
  uint64_t done = 0;
  do {
    const auto piece = MutableByteView(buffer).first(piece_size(to.total() - done));
    const auto count = socket.receive(piece, flags, deadline, incoming);
    if (!count.ok()) return so_far(socket, done, count.error());
    const auto stored = discards ? SysResult<void>() : to.store(ByteView(piece).first(count.value()));
    if (!stored.ok()) return done > 0 ? SysResult<uint64_t>(done) : stored.error();
    done += count.value();
    if (count.value() < piece.size() || socket.type() != kSocketStream || (flags & kOnce) != 0 ||
        !incoming.files.empty())
      break;
    // Without MSG_WAITALL a call waits for the first bytes only, and takes what else is there.
    if ((flags & kMessageWaitAll) == 0) flags |= kMessageDontWait;
  } while (done < to.total());
  return done;
}

}  // namespace cloister::enclave
