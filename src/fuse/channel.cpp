// What passes between the kernel and libfuse, for three things that libfuse 3.14 does not do.
//
// Waiting awake: a program that works on a mount sends its next request a few microseconds after the answer.
// Going to sleep and being woken costs several times that, most of all in a virtual machine, so the next
// request is awaited awake for a moment; when it does not come, less often for a while.
//
// Sharing commits: an fsync is answered when no other request is there, so that one commit serves all
// programs that sync at the same time.
//
// FUSE_HANDLE_KILLPRIV_V2: without it the kernel asks for the attribute security.capability before every
// single write(2), which doubles the cost of small writes. With it we clear the set-id bits when somebody
// else than root writes, and on chown (operations.cpp). The flag goes into the answer to the first request,
// INIT, which passes through here.
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "fuse/operations.h"

namespace cloister::fuse {
namespace {

// The next request, or -1 with EAGAIN when none came while we were awake.
ssize_t receive_awake(int fd, void* buffer, size_t size, Patience& patience) {
  constexpr auto kMoment = std::chrono::microseconds(50);
  constexpr unsigned kMostPauses = 64;
  if (patience.skip != 0) {
    --patience.skip;
    return ::read(fd, buffer, size);
  }
  const auto end = std::chrono::steady_clock::now() + kMoment;
  do {
    const ssize_t got = ::read(fd, buffer, size);
    if (got >= 0 || errno != EAGAIN) {
      patience.pauses = 0;
      return got;
    }
  } while (std::chrono::steady_clock::now() < end);
  patience.pauses = std::min(patience.pauses * 2 + 1, kMostPauses);
  patience.skip = patience.pauses;
  errno = EAGAIN;
  return -1;
}

// What is there already, while fsyncs wait: their commit comes when nothing else is to be done, so that it
// holds what other programs are about to sync as well, or when they have waited for long enough. -1: none.
ssize_t receive_before_commit(int fd, void* buffer, size_t size, Mounted& mounted) {
  constexpr unsigned kMostRequests = 64;
  constexpr size_t kMostBytes = 256 << 10;  // whoever writes much must not keep the others waiting
  Fsyncs& fsyncs = mounted.fsyncs;
  if (fsyncs.waiting.empty()) return -1;
  if (fsyncs.requests++ < kMostRequests && fsyncs.bytes < kMostBytes) {
    const ssize_t got = ::read(fd, buffer, size);
    if (got >= 0) {
      fsyncs.bytes += static_cast<size_t>(got);
      return got;
    }
  }
  answer_fsyncs(mounted);
  return -1;
}

ssize_t receive(int fd, void* buffer, size_t size, void* user_data) {
  Mounted& mounted = *static_cast<Mounted*>(user_data);
  ssize_t got = receive_before_commit(fd, buffer, size, mounted);
  if (got < 0) got = receive_awake(fd, buffer, size, mounted.patience);
  while (got < 0 && errno == EAGAIN) {
    pollfd request{fd, POLLIN, 0};
    if (::poll(&request, 1, -1) < 0) return -1;  // a signal may be the end
    got = ::read(fd, buffer, size);
  }
  constexpr size_t kFlagsEnd = sizeof(fuse_in_header) + offsetof(fuse_init_in, flags) + sizeof(uint32_t);
  if (!mounted.negotiating || got < static_cast<ssize_t>(kFlagsEnd)) return got;
  fuse_in_header header;
  fuse_init_in init{};
  std::memcpy(&header, buffer, sizeof(header));
  std::memcpy(&init, static_cast<const char*>(buffer) + sizeof(header), kFlagsEnd - sizeof(header));
  const bool offered = (init.flags & FUSE_HANDLE_KILLPRIV_V2) != 0;
  if (header.opcode == FUSE_INIT && offered) mounted.init_request = header.unique;
  return got;
}

ssize_t send(int fd, iovec* parts, int count, void* user_data) {
  Mounted& mounted = *static_cast<Mounted*>(user_data);
  constexpr size_t kFlagsEnd = offsetof(fuse_init_out, flags) + sizeof(uint32_t);
  if (mounted.negotiating && count == 2 && parts[0].iov_len == sizeof(fuse_out_header) &&
      parts[1].iov_len >= kFlagsEnd) {
    fuse_out_header header;
    std::memcpy(&header, parts[0].iov_base, sizeof(header));
    if (header.unique == mounted.init_request && header.error == 0) {
      auto* flags = static_cast<char*>(parts[1].iov_base) + offsetof(fuse_init_out, flags);
      uint32_t value;
      std::memcpy(&value, flags, sizeof(value));
      value |= FUSE_HANDLE_KILLPRIV_V2;
      std::memcpy(flags, &value, sizeof(value));
    }
    mounted.negotiating = false;
  }
  return ::writev(fd, parts, count);
}

}  // namespace

bool take_channel(fuse_session* session) {
  fuse_custom_io io{};
  io.read = receive;
  io.writev = send;
  const int fd = fuse_session_fd(session), flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return false;
  return fuse_session_custom_io(session, &io, fd) == 0;
}

}  // namespace cloister::fuse
