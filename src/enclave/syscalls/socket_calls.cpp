// The socket calls but for messages (message_calls.cpp).
#include <algorithm>
#include <cstring>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/socket_calls.h"
#include "enclave/syscalls/socket_transfer.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/inet_socket.h"
#include "enclave/vfs/netlink_socket.h"
#include "enclave/vfs/unix_socket.h"

namespace cloister::enclave {
namespace {

constexpr uint32_t kTypeFlags = kOpenCloseOnExec | kOpenNonBlock;
constexpr uint32_t kMaxAddress = sizeof(host::Address::bytes);
constexpr uint32_t kMaxOption = 1024;

SysResult<Bytes> load_address(const Socket& socket, uint64_t address, uint32_t size) {
  if (size > kMaxAddress) return Errno::Invalid;
  Bytes bytes(size);
  TRY(copy_from_user(bytes.data(), address, size));
  uint16_t family = 0;
  if (size < sizeof(family)) return Errno::Invalid;
  std::memcpy(&family, bytes.data(), sizeof(family));
  const bool inet = socket.family() == kFamilyInet || socket.family() == kFamilyInet6;
  if (inet && family != kFamilyInet && family != kFamilyInet6 && family != 0) return Errno::FamilyUnsupported;
  return bytes;
}

SysResult<void> store_address(uint64_t out, uint64_t size_out, ByteView address) {
  if (out == 0) return {};
  const auto room = TRY(load_user<uint32_t>(size_out));
  if (static_cast<int32_t>(room) < 0) return Errno::Invalid;
  TRY(copy_to_user(out, address.data(), std::min<size_t>(room, address.size())));
  return store_user(size_out, static_cast<uint32_t>(address.size()));
}

SysResult<int64_t> accept_with(SyscallArgs& args, uint32_t flags) {
  if ((flags & ~kTypeFlags) != 0) return Errno::Invalid;
  const FileUse file = TRY(socket_of(args, 0));
  Bytes peer;
  const Ref<File> accepted = TRY(file->socket()->accept(flags & kOpenNonBlock, peer));
  TRY(store_address(args.a[1], args.a[2], peer));
  return TRY(args.thread.process->files.add(accepted, (flags & kOpenCloseOnExec) != 0));
}

UserVector one_vector(const SyscallArgs& args) { return {args.a[1], std::min(args.a[2], kMaxTransfer)}; }

}  // namespace

SysResult<FileUse> socket_of(SyscallArgs& args, int index) {
  FileUse file = TRY(args.thread.process->files.get(args.i32(index)));
  if (file->socket() == nullptr) return Errno::NotSocket;
  return file;
}

SysResult<int64_t> sys_socket(SyscallArgs& args) {
  const uint32_t type = args.u32(1) & ~kTypeFlags, flags = args.u32(1) & kOpenNonBlock;
  const int32_t family = args.i32(0), protocol = args.i32(2);
  constexpr uint32_t kTypes = 11;  // SOCK_MAX
  if (type >= kTypes) return Errno::Invalid;
  Ref<File> file;
  if (family == kFamilyUnix) {
    if (type != kSocketStream && type != kSocketDatagram && type != kSocketSequenced)
      return Errno::SocketTypeUnsupported;
    if (protocol != 0 && protocol != kFamilyUnix) return Errno::ProtocolUnsupported;
    file = make_ref<UnixSocket>(type, flags);
  } else if (family == kFamilyNetlink) {
    constexpr uint32_t kRaw = 3;
    if (type != kRaw && type != kSocketDatagram) return Errno::SocketTypeUnsupported;
    if (protocol != 0) return Errno::ProtocolUnsupported;  // NETLINK_ROUTE
    file = make_ref<NetlinkSocket>(type, flags);
  } else {
    if (family != kFamilyInet && family != kFamilyInet6) return Errno::FamilyUnsupported;
    if (type != kSocketStream && type != kSocketDatagram) return Errno::SocketTypeUnsupported;
    const uint32_t handle = TRY(host::socket_open(family, static_cast<int>(type), protocol));
    file = make_ref<InetSocket>(handle, family, type, flags);
  }
  return TRY(args.thread.process->files.add(file, (args.u32(1) & kOpenCloseOnExec) != 0));
}

SysResult<int64_t> sys_socketpair(SyscallArgs& args) {
  const uint32_t flags = args.u32(1) & kTypeFlags, type = args.u32(1) & ~kTypeFlags;
  if (args.i32(0) != kFamilyUnix)
    return args.i32(0) == kFamilyInet || args.i32(0) == kFamilyInet6 ? Errno::NotSupported
                                                                     : Errno::FamilyUnsupported;
  constexpr uint32_t kTypes = 11;  // SOCK_MAX
  if (type >= kTypes) return Errno::Invalid;
  if (type != kSocketStream && type != kSocketDatagram && type != kSocketSequenced)
    return Errno::SocketTypeUnsupported;
  const Ref<UnixSocket> a = make_ref<UnixSocket>(type, flags), b = make_ref<UnixSocket>(type, flags);
  UnixSocket::connect_pair(*a, *b);
  return install_pair(args, {Ref<File>(a), Ref<File>(b)}, args.a[3], (flags & kOpenCloseOnExec) != 0);
}

SysResult<int64_t> sys_connect(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  const Bytes address = TRY(load_address(*file->socket(), args.a[1], args.u32(2)));
  TRY(file->socket()->connect(*args.thread.process, address));
  return 0;
}
SysResult<int64_t> sys_bind(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  const Bytes address = TRY(load_address(*file->socket(), args.a[1], args.u32(2)));
  TRY(file->socket()->bind(*args.thread.process, address));
  return 0;
}
SysResult<int64_t> sys_listen(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  TRY(file->socket()->listen(args.i32(1)));
  return 0;
}
SysResult<int64_t> sys_accept(SyscallArgs& args) { return accept_with(args, 0); }
SysResult<int64_t> sys_accept4(SyscallArgs& args) { return accept_with(args, args.u32(3)); }

SysResult<int64_t> sys_sendto(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  Outgoing outgoing;
  outgoing.flags = args.u32(3);
  if (args.a[4] != 0) outgoing.address = TRY(load_address(*file->socket(), args.a[4], args.u32(5)));
  const UserVector vector = one_vector(args);
  return static_cast<int64_t>(TRY(send_vectors(*file->socket(), {&vector, 1}, outgoing)));
}
SysResult<int64_t> sys_recvfrom(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  Incoming incoming;
  const UserVector vector = one_vector(args);
  const uint64_t count = TRY(receive_vectors(*file->socket(), {&vector, 1}, args.u32(3), incoming));
  const bool connected_stream = file->socket()->type() == kSocketStream;
  TRY(store_address(args.a[4], args.a[5], connected_stream ? ByteView() : ByteView(incoming.address)));
  const bool whole = (args.u32(3) & kMessageTruncated) != 0 && !connected_stream;
  return static_cast<int64_t>(whole ? incoming.whole : count);
}

SysResult<int64_t> sys_shutdown(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  if (args.u32(1) > 2) return Errno::Invalid;
  TRY(file->socket()->shut_down(args.u32(1) != 1, args.u32(1) != 0));
  return 0;
}

SysResult<int64_t> sys_getsockname(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  const Bytes name = TRY(file->socket()->name(false));
  TRY(store_address(args.a[1], args.a[2], name));
  return 0;
}
SysResult<int64_t> sys_getpeername(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  const Bytes name = TRY(file->socket()->name(true));
  TRY(store_address(args.a[1], args.a[2], name));
  return 0;
}

SysResult<int64_t> sys_setsockopt(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  if (args.u32(4) > kMaxOption) return Errno::Invalid;
  Bytes value(args.u32(4));
  TRY(copy_from_user(value.data(), args.a[3], value.size()));
  TRY(file->socket()->set_option(args.i32(1), args.i32(2), value));
  return 0;
}
SysResult<int64_t> sys_getsockopt(SyscallArgs& args) {
  const FileUse file = TRY(socket_of(args, 0));
  const auto room = TRY(load_user<uint32_t>(args.a[4]));
  if (static_cast<int32_t>(room) < 0) return Errno::Invalid;
  Bytes value(std::min(room, kMaxOption));
  const size_t count = TRY(file->socket()->get_option(args.i32(1), args.i32(2), value));
  TRY(copy_to_user(args.a[3], value.data(), count));
  TRY(store_user(args.a[4], static_cast<uint32_t>(count)));
  return 0;
}

}  // namespace cloister::enclave
