// sendmsg, recvmsg and their plural forms. Ancillary data over AF_UNIX, open files (SCM_RIGHTS) and
// credentials, stay inside the enclave; those of internet sockets are the host's (inet_options.h).
#include <algorithm>
#include <cstring>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/socket_calls.h"
#include "enclave/syscalls/socket_transfer.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/socket.h"

namespace cloister::enclave {
namespace {

constexpr uint32_t kMaxAddress = 128;
constexpr size_t kMaxControl = 8192;
constexpr int32_t kRights = 1, kCredentials = 2;  // SCM_…
constexpr size_t kMaxFiles = 253;                 // SCM_MAX_FD, of all headers of a message

struct Message {  // struct msghdr
  uint64_t name;
  uint32_t name_size, padding;
  uint64_t vectors, count, control, control_size;
  uint32_t flags, padding2;
};
static_assert(sizeof(Message) == 56);

SysResult<void> load_rights(SyscallArgs& args, ByteView body, SentFiles& files) {
  if (files.list().size() + body.size() / sizeof(int32_t) > kMaxFiles) return Errno::Invalid;
  for (size_t i = 0; i + sizeof(int32_t) <= body.size(); i += sizeof(int32_t)) {
    int32_t fd = -1;
    std::memcpy(&fd, body.data() + i, sizeof(fd));
    files.add(TRY(args.thread.process->files.find(fd)));
  }
  return {};
}

SysResult<void> load_unix_control(SyscallArgs& args, const ControlHead& head, ByteView body,
                                  SentFiles& files) {
  if (head.level != kSolSocket) return {};  // as Linux: it is for another family
  if (head.type == kRights) return load_rights(args, body, files);
  if (head.type != kCredentials) return Errno::Invalid;
  Credentials wanted;
  if (body.size() < sizeof(wanted)) return Errno::Invalid;
  std::memcpy(&wanted, body.data(), sizeof(wanted));
  return wanted.pid == args.thread.process->pid ? SysResult<void>() : Errno::Perm;
}

SysResult<void> load_control(SyscallArgs& args, const Socket& socket, const Message& message,
                             Outgoing& outgoing) {
  if (message.control == 0 || message.control_size == 0) return {};
  if (message.control_size > kMaxControl) return Errno::NoBuffers;
  Bytes control(message.control_size);
  TRY(copy_from_user(control.data(), message.control, control.size()));
  std::vector<ControlPart> parts;
  for (size_t at = 0; at + sizeof(ControlHead) <= control.size();) {
    ControlHead head{};
    std::memcpy(&head, control.data() + at, sizeof(head));
    if (head.size < sizeof(head) || head.size > control.size() - at) return Errno::Invalid;
    const ByteView body = ByteView(control).subspan(at + sizeof(head), head.size - sizeof(head));
    if (socket.family() == kFamilyUnix) {
      TRY(load_unix_control(args, head, body, outgoing.files));
    } else {
      if (!inet_control_sendable(head.level, head.type, body.size())) return Errno::Invalid;
      parts.push_back({head.level, head.type, Bytes(body.begin(), body.end())});
    }
    at += control_align(head.size);
  }
  outgoing.control = pack_control(parts);
  return {};
}

SysResult<uint64_t> send_message(SyscallArgs& args, Socket& socket, const Message& message, uint32_t flags) {
  const auto vectors = TRY(load_vectors(message.vectors, message.count));
  Outgoing outgoing;
  outgoing.flags = flags;
  TRY(load_control(args, socket, message, outgoing));
  if (message.name != 0 && message.name_size != 0) {
    if (message.name_size > kMaxAddress) return Errno::Invalid;
    outgoing.address.resize(message.name_size);
    TRY(copy_from_user(outgoing.address.data(), message.name, message.name_size));
  }
  return send_vectors(socket, vectors, outgoing);
}

// Appends one control message as far as there is room, as Linux a part of it, too; false: there was not.
bool put_control(Bytes& out, size_t room, int32_t level, int32_t type, ByteView body) {
  const size_t left = room - out.size(), whole = sizeof(ControlHead) + body.size();
  if (left < sizeof(ControlHead)) return false;
  const size_t size = std::min(left, whole);
  const ControlHead head{size, level, type};
  const size_t at = out.size();
  out.resize(std::min(room, at + control_align(size)));
  std::memcpy(out.data() + at, &head, sizeof(head));
  std::memcpy(out.data() + at + sizeof(head), body.data(), size - sizeof(head));
  return size == whole;
}

// The files get descriptors, as many as have room.
bool put_files(SyscallArgs& args, const Incoming& incoming, uint32_t flags, size_t room, Bytes& control) {
  std::vector<int32_t> fds;
  const size_t start = control.size() + sizeof(ControlHead);
  const size_t fit = room > start ? (room - start) / sizeof(int32_t) : 0;
  for (const Ref<File>& file : incoming.files.list()) {
    if (fds.size() == fit) break;
    const auto fd = args.thread.process->files.add(file, (flags & kMessageCloseOnExec) != 0);
    if (!fd.ok()) break;
    fds.push_back(fd.value());
  }
  if (!fds.empty())
    put_control(control, room, kSolSocket, kRights,
                {reinterpret_cast<const uint8_t*>(fds.data()), fds.size() * sizeof(int32_t)});
  return fds.size() == incoming.files.list().size();
}

SysResult<void> store_control(SyscallArgs& args, const Incoming& incoming, uint32_t flags, Message& message) {
  const size_t room = std::min<uint64_t>(message.control_size, kMaxControl);
  Bytes control;
  bool complete = true;
  message.control_size = 0;
  if (incoming.has_credentials)
    complete = put_control(control, room, kSolSocket, kCredentials,
                           {reinterpret_cast<const uint8_t*>(&incoming.credentials), sizeof(Credentials)});
  for (const ControlPart& part : incoming.control)
    complete = put_control(control, room, part.level, part.type, part.body) && complete;
  if (!incoming.files.empty()) complete = put_files(args, incoming, flags, room, control) && complete;
  if (!complete) message.flags |= kMessageControlTruncated;
  TRY(copy_to_user(message.control, control.data(), control.size()));
  message.control_size = control.size();
  return {};
}

SysResult<uint64_t> receive_message(SyscallArgs& args, Socket& socket, uint64_t message_address,
                                    uint32_t flags) {
  auto message = TRY(load_user<Message>(message_address));
  const auto vectors = TRY(load_vectors(message.vectors, message.count));
  Incoming incoming;
  incoming.wants_control = message.control_size != 0;
  incoming.wants_flags = true;
  const uint64_t count = TRY(receive_vectors(socket, vectors, flags, incoming));
  const bool stream = socket.type() == kSocketStream;
  const ByteView peer = stream ? ByteView() : ByteView(incoming.address);
  if (message.name != 0)
    TRY(copy_to_user(message.name, peer.data(), std::min<size_t>(message.name_size, peer.size())));
  message.name_size = static_cast<uint32_t>(peer.size());
  message.flags = incoming.flags | (flags & kMessageCloseOnExec);
  TRY(store_control(args, incoming, flags, message));
  TRY(store_user(message_address, message));
  return (flags & kMessageTruncated) != 0 && !stream ? incoming.whole : count;
}

struct ManyEntry {  // struct mmsghdr
  Message message;
  uint32_t size, padding;
};
static_assert(sizeof(ManyEntry) == 64);
constexpr uint32_t kMostMessages = 1024;  // UIO_MAXIOV

}  // namespace

SysResult<int64_t> sys_sendmsg(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  const auto message = TRY(load_user<Message>(args.a[1]));
  return static_cast<int64_t>(TRY(send_message(args, *file->socket(), message, args.u32(2))));
}
SysResult<int64_t> sys_recvmsg(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  return static_cast<int64_t>(TRY(receive_message(args, *file->socket(), args.a[1], args.u32(2))));
}

SysResult<int64_t> sys_sendmmsg(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  const uint32_t count = std::min(args.u32(2), kMostMessages);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t at = args.a[1] + i * sizeof(ManyEntry);
    const auto entry = load_user<ManyEntry>(at);
    SysResult<uint64_t> sent = entry.ok() ? send_message(args, *file->socket(), entry->message, args.u32(3))
                                          : SysResult<uint64_t>(entry.error());
    if (!sent.ok()) return i > 0 ? SysResult<int64_t>(i) : sent.error();
    TRY(store_user(at + offsetof(ManyEntry, size), static_cast<uint32_t>(sent.value())));
  }
  return count;
}

SysResult<int64_t> sys_recvmmsg(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  const uint32_t count = std::min(args.u32(2), kMostMessages);
  uint64_t deadline = kNoDeadline;
  if (args.a[4] != 0) {
    const auto time = TRY(load_user<TimeSpec>(args.a[4]));
    if (!timespec_valid(time)) return Errno::Invalid;
    deadline = deadline_after(from_timespec(time));
  }
  uint32_t flags = args.u32(3) & ~kMessageWaitForOne;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t at = args.a[1] + i * sizeof(ManyEntry);
    const auto got = receive_message(args, *file->socket(), at, flags);
    if (!got.ok()) return i > 0 ? SysResult<int64_t>(i) : got.error();
    TRY(store_user(at + offsetof(ManyEntry, size), static_cast<uint32_t>(got.value())));
    if ((args.u32(3) & kMessageWaitForOne) != 0) flags |= kMessageDontWait;
    // recvmmsg(2): the timeout is looked at only after a message.
    if (deadline != kNoDeadline && monotonic_ns() >= deadline) return i + 1;
  }
  return count;
}

}  // namespace cloister::enclave
