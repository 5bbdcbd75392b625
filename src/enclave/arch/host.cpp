// The typed host calls: see host.h. Every function here is "arguments in, host_call, bound the reply".
#include "enclave/arch/host.h"

#include <algorithm>
#include <cstring>

#include "enclave/arch/host_call.h"
#include "enclave/arch/log.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/wait.h"
#include "sgx/layout.h"
#include "sgx/structures.h"

namespace cloister::enclave::host {
namespace {

static_assert(kArenaData == boundary::kArenaSize);
constexpr uint64_t kMaxHandle = INT32_MAX;
constexpr size_t kMaxAddress = sizeof(Address::bytes);

SysResult<void> done(const HostReply& reply) {
  const auto value = bounded(reply, UINT64_MAX >> 1);
  if (!value.ok()) return value.error();
  return {};
}

SysResult<uint32_t> handle(const HostReply& reply) {
  return static_cast<uint32_t>(TRY(bounded(reply, kMaxHandle)));
}

SysResult<size_t> filled(const HostReply& reply, MutableByteView out, size_t wanted) {
  const size_t count = TRY(bounded(reply, wanted));
  if (copy_bytes_catching(out.data(), arena(), count) != 0) return Errno::Fault;
  return count;
}

SysResult<void> name_fits(std::string_view name) {
  if (name.size() > boundary::kTextSize) return Errno::NameTooLong;
  put_text(name);
  return {};
}

// An address comes back in the frame's text with its size in values[0].
Address address_reply(const HostReply& reply) {
  Address address;
  address.size = static_cast<uint32_t>(std::min<uint64_t>(reply.values[0], kMaxAddress));
  const auto* text = reinterpret_cast<const boundary::HostCallFrame*>(arena() - boundary::kArenaOffset)->text;
  std::memcpy(address.bytes, text, address.size);
  return address;
}

SysResult<void> address_fits(ByteView address) { return name_fits(as_text(address)); }

// What the program is told must stay a time when a little is added to it.
uint64_t time_reply(uint64_t ns) { return std::min(ns, kLatestTime); }

// A file is written whole or the write has failed.
SysResult<void> whole(const HostReply& reply, size_t size) {
  if (TRY(bounded(reply, size)) != size) return Errno::Io;
  return {};
}

// A call that waits for the world must not make every other thread wait. Checked in kernels that are not for
// release.
void may_block() {
#ifdef CLOISTER_LOCK_CHECKS
  CLOISTER_CHECK(!kernel_lock_held());
#endif
}

// Of data that ancillary data may follow.
constexpr size_t kMostBeforeControl = kArenaData - boundary::kMaxControl;
static_assert(kMostBeforeControl % 8 == 0);

size_t at_most_arena(size_t size) { return std::min(size, kArenaData); }

}  // namespace

MutableByteView staging(size_t size) {
  CLOISTER_CHECK(size <= kArenaData);
  return {arena(), size};
}

SysResult<size_t> console_read(MutableByteView out) {
  may_block();
  const size_t wanted = at_most_arena(out.size());
  return filled(host_call(HostCall::ConsoleRead, 0, wanted), out, wanted);
}

SysResult<size_t> console_write(int fd, ByteView data) {
  may_block();
  const size_t wanted = at_most_arena(data.size());
  if (!copy_to_untrusted(arena(), data.data(), wanted)) return Errno::Fault;
  return TRY(bounded(host_call(HostCall::ConsoleWrite, static_cast<uint64_t>(fd), wanted), wanted));
}

SysResult<ConsoleInfo> console_info(int fd) {
  const HostReply reply = host_call(HostCall::ConsoleInfo, static_cast<uint64_t>(fd));
  TRY(done(reply));
  const uint64_t value = reply.values[0];
  return ConsoleInfo{(value & 1) != 0, static_cast<uint16_t>(value >> 16),
                     static_cast<uint16_t>(value >> 32)};
}

namespace {

// What the host has done to pages counts only once the enclave has looked at it (SDM vol. 3D, EACCEPT): a
// page that is not exactly as it must be ends the enclave, because there is no way on that is safe.
void accept(uint64_t address, uint64_t size, uint64_t flags) {
  if (page_leaf(address, address + size, flags, sgx::kEaccept) != 0)
    end_enclave(3, "the host changed pages of the enclave otherwise than it was asked to");
}

// Writable and executable pages are readable (SDM vol. 3D, SECINFO), and so is one that is closed: then only
// the host's page tables close it, but writing and executing is what no host can open.
uint64_t page_permissions(uint32_t protection) {
  return (protection & (sgx::kPageRead | sgx::kPageWrite | sgx::kPageExecute)) | sgx::kPageRead;
}

}  // namespace

SysResult<void> memory_commit(uint64_t address, uint64_t size, uint32_t protection) {
  constexpr uint64_t kFresh = sgx::kPageRead | sgx::kPageWrite;  // an added page's permissions (SDM, EAUG)
  TRY(done(host_call(HostCall::MemoryCommit, address, size)));
  accept(address, size, sgx::kPageTypeRegular | sgx::kPagePending | kFresh);
  if (protection == kFresh) return {};
  return memory_protect(address, size, protection);
}

SysResult<void> memory_protect(uint64_t address, uint64_t size, uint32_t protection) {
  const uint64_t flags = sgx::kPageTypeRegular | page_permissions(protection);
  TRY(done(host_call(HostCall::MemoryProtect, address, size, protection)));
  // The host can only take permissions away; what is new comes from here.
  if (flags != (sgx::kPageTypeRegular | sgx::kPageRead))
    page_leaf(address, address + size, flags, sgx::kEmodpe);
  accept(address, size, flags | sgx::kPageRestricted);
  if (protection != 0) return {};
  return done(host_call(HostCall::MemorySettle, address, size, boundary::kSettleClose));
}

SysResult<void> memory_release(uint64_t address, uint64_t size) {
  TRY(done(host_call(HostCall::MemoryRelease, address, size)));
  accept(address, size, sgx::kPageTypeTrim | sgx::kPageModified);
  return done(host_call(HostCall::MemorySettle, address, size, boundary::kSettleRemove));
}

SysResult<uint32_t> storage_bind(std::string_view mount_path) {
  TRY(name_fits(mount_path));
  return handle(host_call(HostCall::StorageBind, mount_path.size()));
}

SysResult<uint32_t> storage_open(uint32_t storage, std::string_view name, uint32_t mode) {
  TRY(name_fits(name));
  return handle(host_call(HostCall::StorageOpen, storage, name.size(), mode));
}

SysResult<size_t> storage_read(uint32_t file, uint64_t offset, MutableByteView out) {
  const size_t wanted = at_most_arena(out.size());
  return filled(host_call(HostCall::StorageRead, file, offset, wanted), out, wanted);
}

SysResult<void> storage_write(uint32_t file, uint64_t offset, ByteView data) {
  const auto begin = reinterpret_cast<uint64_t>(arena());
  const auto from = reinterpret_cast<uint64_t>(data.data());
  if (from >= begin && from < begin + kArenaData) {
    if (data.size() > begin + kArenaData - from) return Errno::Invalid;
    return whole(host_call(HostCall::StorageWrite, file, offset, data.size(), from - begin), data.size());
  }
  while (!data.empty()) {
    const size_t part = at_most_arena(data.size());
    if (!copy_to_untrusted(arena(), data.data(), part)) return Errno::Fault;
    TRY(whole(host_call(HostCall::StorageWrite, file, offset, part, 0), part));
    data = data.subspan(part);
    offset += part;
  }
  return {};
}

SysResult<void> storage_truncate(uint32_t file, uint64_t size) {
  return done(host_call(HostCall::StorageTruncate, file, size));
}
SysResult<void> storage_sync(uint32_t file) { return done(host_call(HostCall::StorageSync, file)); }
SysResult<uint64_t> storage_size(uint32_t file) {
  return bounded(host_call(HostCall::StorageSize, file), INT64_MAX);
}
void storage_close(uint32_t file) { host_call(HostCall::StorageClose, file); }

SysResult<void> storage_remove(uint32_t storage, std::string_view name) {
  TRY(name_fits(name));
  return done(host_call(HostCall::StorageRemove, storage, name.size()));
}
SysResult<void> storage_sync_names(uint32_t storage) {
  return done(host_call(HostCall::StorageSyncNames, storage));
}
SysResult<void> storage_lock(uint32_t storage, std::string_view owner) {
  TRY(name_fits(owner));
  return done(host_call(HostCall::StorageLock, storage, owner.size()));
}

SysResult<uint32_t> socket_open(int family, int type, int protocol) {
  return handle(host_call(HostCall::SocketOpen, static_cast<uint64_t>(family), static_cast<uint64_t>(type),
                          static_cast<uint64_t>(protocol)));
}
SysResult<void> socket_connect(uint32_t socket, ByteView address) {
  TRY(address_fits(address));
  return done(host_call(HostCall::SocketConnect, socket, address.size()));
}
SysResult<void> socket_bind(uint32_t socket, ByteView address) {
  TRY(address_fits(address));
  return done(host_call(HostCall::SocketBind, socket, address.size()));
}
SysResult<void> socket_listen(uint32_t socket, int backlog) {
  return done(host_call(HostCall::SocketListen, socket, static_cast<uint64_t>(backlog)));
}
SysResult<uint32_t> socket_accept(uint32_t socket, Address& peer) {
  const HostReply reply = host_call(HostCall::SocketAccept, socket);
  const uint32_t accepted = TRY(handle(reply));
  peer = address_reply(reply);
  return accepted;
}
SysResult<size_t> socket_send(uint32_t socket, uint32_t flags, ByteView data, ByteView address,
                              ByteView control) {
  TRY(address_fits(address));
  if (control.size() > boundary::kMaxControl) return Errno::NoBuffers;
  const size_t wanted = std::min(data.size(), kMostBeforeControl);
  if (!copy_to_untrusted(arena(), data.data(), wanted)) return Errno::Fault;
  uint8_t* behind = arena() + boundary::control_offset(wanted);
  if (!copy_to_untrusted(behind, control.data(), control.size())) return Errno::Fault;
  return TRY(bounded(host_call(HostCall::SocketSend, socket, flags, wanted, address.size(), control.size()),
                     wanted));
}
SysResult<size_t> socket_receive(uint32_t socket, uint32_t flags, MutableByteView out, Received& received,
                                 bool wants_flags, size_t control_room) {
  constexpr uint32_t kKnown = 1 | 8 | 0x20 | 0x2000;  // MSG_OOB, MSG_CTRUNC, MSG_TRUNC, MSG_ERRQUEUE
  const size_t wanted = std::min(out.size(), kMostBeforeControl);
  const size_t room = std::min(control_room, boundary::kMaxControl);
  const HostReply reply =
      host_call(HostCall::SocketReceive, socket, flags, wanted, room, wants_flags ? 1 : 0);
  const size_t count = TRY(filled(reply, out, wanted));
  received.peer = address_reply(reply);
  received.flags = static_cast<uint32_t>(reply.values[1]) & kKnown;
  received.whole = std::max<uint64_t>(count, std::min<uint64_t>(reply.values[2], 65536));
  const uint8_t* behind = arena() + boundary::control_offset(wanted);
  received.control.resize(std::min<uint64_t>(reply.values[3], room));
  if (copy_bytes_catching(received.control.data(), behind, received.control.size()) != 0) return Errno::Fault;
  return count;
}
SysResult<int32_t> socket_queue(uint32_t socket, uint32_t request) {
  return static_cast<int32_t>(TRY(bounded(host_call(HostCall::SocketQueue, socket, request), INT32_MAX)));
}
SysResult<void> socket_shutdown(uint32_t socket, int how) {
  return done(host_call(HostCall::SocketShutdown, socket, static_cast<uint64_t>(how)));
}
void socket_close(uint32_t socket) { host_call(HostCall::SocketClose, socket); }

SysResult<void> socket_set_option(uint32_t socket, int level, int name, ByteView value) {
  TRY(address_fits(value));
  return done(host_call(HostCall::SocketOption, socket, 1, static_cast<uint64_t>(level),
                        static_cast<uint64_t>(name), value.size()));
}
SysResult<size_t> socket_get_option(uint32_t socket, int level, int name, MutableByteView out) {
  const size_t wanted = std::min(out.size(), boundary::kTextSize);
  const HostReply reply = host_call(HostCall::SocketOption, socket, 0, static_cast<uint64_t>(level),
                                    static_cast<uint64_t>(name), wanted);
  const size_t count = TRY(bounded(reply, wanted));
  const auto* text = reinterpret_cast<const boundary::HostCallFrame*>(arena() - boundary::kArenaOffset)->text;
  if (copy_bytes_catching(out.data(), text, count) != 0) return Errno::Fault;
  return count;
}
SysResult<Address> socket_name(uint32_t socket, bool peer) {
  const HostReply reply = host_call(HostCall::SocketName, socket, peer ? 1 : 0);
  TRY(done(reply));
  return address_reply(reply);
}

namespace {

// What programs take for granted, who copy names and addresses into arrays of their own.
bool sane(boundary::InterfaceRecord& record) {
  const auto length = static_cast<size_t>(std::find(record.name, std::end(record.name), '\0') - record.name);
  const bool printable = std::all_of(record.name, record.name + length,
                                     [](char c) { return c > ' ' && c <= '~' && c != '/' && c != ':'; });
  if (length == 0 || length == sizeof(record.name) || !printable) return false;
  std::fill(record.name + length, std::end(record.name), '\0');
  if (record.index == 0 || record.index > INT32_MAX || record.hardware_size > sizeof(record.hardware))
    return false;
  const uint8_t most = record.family == 2 ? 32 : record.family == 10 ? 128 : 0;  // AF_INET, AF_INET6
  return (record.family == 0 || most != 0) && record.prefix <= most;
}

}  // namespace

SysResult<std::vector<boundary::InterfaceRecord>> interfaces() {
  const auto count = TRY(bounded(host_call(HostCall::InterfaceList), boundary::kMaxInterfaceRecords));
  std::vector<boundary::InterfaceRecord> list;
  for (uint64_t i = 0; i < count; ++i) {
    boundary::InterfaceRecord record;
    std::memcpy(&record, arena() + i * sizeof(record), sizeof(record));
    if (sane(record)) list.push_back(record);
  }
  return list;
}

SysResult<uint32_t> socket_poll(PollItem* items, uint32_t count, uint64_t timeout_ns) {
  static_assert(sizeof(PollItem) == sizeof(boundary::PollRecord));
  if (count > boundary::kMaxPollItems) return Errno::Invalid;
  if (timeout_ns != 0) may_block();
  copy_to_untrusted(arena(), items, count * sizeof(PollItem));
  const HostReply reply = host_call(HostCall::SocketPoll, count, timeout_ns);
  TRY(bounded(reply, count));
  constexpr uint16_t kAlways = 0x8 | 0x10 | 0x20;  // POLLERR, POLLHUP, POLLNVAL
  uint32_t ready = 0;
  for (uint32_t i = 0; i < count; ++i) {
    boundary::PollRecord record;
    std::memcpy(&record, arena() + i * sizeof(record), sizeof(record));
    items[i].revents = static_cast<uint16_t>(record.revents & (items[i].events | kAlways));
    if (items[i].revents != 0) ++ready;
  }
  return ready;
}

SysResult<uint32_t> poll_set_open() { return handle(host_call(HostCall::PollSetOpen)); }
SysResult<void> poll_set_control(uint32_t set, SetOperation operation, uint32_t member, uint64_t key,
                                 uint32_t events) {
  return done(
      host_call(HostCall::PollSetControl, set, static_cast<uint64_t>(operation), member, key, events));
}
SysResult<uint32_t> poll_set_wait(uint32_t set, SetEvent* out, uint32_t room, uint64_t timeout_ns) {
  if (timeout_ns != 0) may_block();
  room = std::min(room, boundary::kMaxSetRecords);
  const auto count =
      static_cast<uint32_t>(TRY(bounded(host_call(HostCall::PollSetWait, set, room, timeout_ns), room)));
  for (uint32_t i = 0; i < count; ++i) {
    boundary::SetRecord record;
    std::memcpy(&record, arena() + i * sizeof(record), sizeof(record));
    out[i] = {record.key, static_cast<uint32_t>(record.events)};
  }
  return count;
}
void poll_set_close(uint32_t set) { host_call(HostCall::PollSetClose, set); }

HostTime clock() {
  const HostReply reply = host_call(HostCall::Clock);
  return {time_reply(reply.values[0]), time_reply(reply.values[1]), reply.values[2]};
}

CpuidAnswer cpuid(uint32_t leaf, uint32_t subleaf) {
  const HostReply reply = host_call(HostCall::Cpuid, leaf, subleaf);
  const auto low = [](uint64_t value) { return static_cast<uint32_t>(value); };
  return {low(reply.values[0]), low(reply.values[1]), low(reply.values[2]), low(reply.values[3])};
}

static_assert(sgx::kMaxThreads == 128);
uint64_t cpu_time(const ThreadSet& threads) {
  return time_reply(host_call(HostCall::Clock, 2, threads.word(0), threads.word(1)).values[0]);
}

uint32_t processors() {
  constexpr size_t kMost = 65536;
  const auto count = bounded(host_call(HostCall::Processors), kMost);
  return count.ok() ? std::max<uint32_t>(1, static_cast<uint32_t>(count.value())) : 1;
}

void alarm(uint32_t index, uint64_t after_ns) { host_call(HostCall::Alarm, index, after_ns); }

SysResult<void> thread_start(uint32_t index) { return done(host_call(HostCall::ThreadStart, index)); }
void park(uint64_t timeout_ns) {
  may_block();
  host_call(HostCall::Park, timeout_ns);
}
void unpark(uint32_t index, bool interrupt) { host_call(HostCall::Unpark, index, interrupt ? 1 : 0); }

void log_text(uint32_t level, std::string_view text) {
  text = text.substr(0, boundary::kTextSize);
  put_text(text);
  host_call(HostCall::Log, level, text.size());
}

void exit(int32_t status, uint32_t kind) {
  for (;;) host_call(HostCall::Exit, static_cast<uint64_t>(static_cast<uint32_t>(status)), kind);
}

Bytes launch_info() {
  const auto size = bounded(host_call(HostCall::LaunchInfo), kArenaData);
  if (!size.ok() || size.value() == 0) return {};
  Bytes record(size.value());
  std::memcpy(record.data(), arena(), record.size());
  return record;
}

}  // namespace cloister::enclave::host
