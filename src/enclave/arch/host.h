// Calls to the host, typed. Every reply is bounded before it is returned: a count is never larger than what
// was asked for, a handle is never negative, an errno is a known one. Contents remain hostile.
//
// Data buffers may be kernel or (range-checked by the caller) user memory; a fault in them gives
// Errno::Fault. Each call moves at most kArenaData bytes and may move fewer. None of them releases the kernel
// lock: use BlockingSection around those marked "blocks".
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "boundary/host_calls.h"
#include "enclave/arch/cpuid.h"
#include "enclave/sys_result.h"

namespace cloister::enclave::host {

inline constexpr size_t kArenaData = (size_t{1} << 20) + (size_t{64} << 10);

// The calling thread's untrusted window, for ciphertext that is built in place before storage_write. Write
// only.
MutableByteView staging(size_t size);  // size <= kArenaData; valid until the next host call but storage_write

SysResult<size_t> console_read(MutableByteView out);  // blocks; fd 0; Interrupted when unparked
SysResult<size_t> console_write(int fd, ByteView data);
struct ConsoleInfo {
  bool is_terminal;
  uint16_t rows, columns;
};
SysResult<ConsoleInfo> console_info(int fd);
// Poll console input readiness through socket_poll with this pseudo handle.
inline constexpr uint32_t kConsoleInputHandle = UINT32_MAX;

enum class Protection : uint8_t { None = 0, Read = 1, Write = 2, Execute = 4 };
SysResult<void> memory_commit(uint64_t address, uint64_t size, uint32_t protection);  // zeroed; page-aligned
SysResult<void> memory_protect(uint64_t address, uint64_t size, uint32_t protection);
SysResult<void> memory_release(uint64_t address, uint64_t size);

SysResult<uint32_t> storage_bind(std::string_view mount_path);  // "image", "root" or an absolute mount path
SysResult<uint32_t> storage_open(uint32_t storage, std::string_view name,
                                 uint32_t mode);  // 0 r, 1 rw, 2 create new
SysResult<size_t> storage_read(uint32_t file, uint64_t offset, MutableByteView out);  // one arena at most
SysResult<void> storage_write(uint32_t file, uint64_t offset,
                              ByteView data);  // all of it (else Io), in several calls if large;
                                               // no copy when it lies in staging()
SysResult<void> storage_truncate(uint32_t file, uint64_t size);
SysResult<void> storage_sync(uint32_t file);
SysResult<uint64_t> storage_size(uint32_t file);
void storage_close(uint32_t file);
SysResult<void> storage_remove(uint32_t storage, std::string_view name);
SysResult<void> storage_sync_names(uint32_t storage);
SysResult<void> storage_lock(uint32_t storage, std::string_view owner);  // Busy: somebody else holds it

// Addresses are Linux sockaddr bytes, at most 128. Sockets are non-blocking on the host: Again means "poll
// first".
struct Address {
  uint32_t size = 0;
  uint8_t bytes[128] = {};
};
SysResult<uint32_t> socket_open(int family, int type, int protocol);
SysResult<void> socket_connect(uint32_t socket,
                               ByteView address);  // InProgress: poll for output, then SO_ERROR
SysResult<void> socket_bind(uint32_t socket, ByteView address);
SysResult<void> socket_listen(uint32_t socket, int backlog);
SysResult<uint32_t> socket_accept(uint32_t socket, Address& peer);
// `control`: struct cmsghdr and what belongs to them, at most boundary::kMaxControl.
SysResult<size_t> socket_send(uint32_t socket, uint32_t flags, ByteView data, ByteView address,
                              ByteView control = {});
struct Received {
  Address peer;
  uint32_t flags = 0;  // MSG_OOB, MSG_CTRUNC, MSG_TRUNC, MSG_ERRQUEUE
  size_t whole = 0;    // of the datagram, of which `out` may hold a part
  Bytes control;       // at most what there was room for
};
// Without `wants_flags`, and without room for ancillary data, `received.flags` may lack MSG_CTRUNC.
SysResult<size_t> socket_receive(uint32_t socket, uint32_t flags, MutableByteView out, Received& received,
                                 bool wants_flags, size_t control_room = 0);
// `request`: FIONREAD, TIOCOUTQ or SIOCATMARK.
SysResult<int32_t> socket_queue(uint32_t socket, uint32_t request);
SysResult<void> socket_shutdown(uint32_t socket, int how);
void socket_close(uint32_t socket);
SysResult<void> socket_set_option(uint32_t socket, int level, int name, ByteView value);
SysResult<size_t> socket_get_option(uint32_t socket, int level, int name, MutableByteView out);
SysResult<Address> socket_name(uint32_t socket, bool peer);

// Interfaces and addresses of the host; names are such that Linux would have, sizes fit.
SysResult<std::vector<boundary::InterfaceRecord>> interfaces();

struct PollItem {
  uint32_t socket;
  uint16_t events;   // POLLIN…
  uint16_t revents;  // filled in; only bits of events, POLLERR, POLLHUP, POLLNVAL
};
// Blocks until something is ready (returns how many), until `timeout_ns` (0) or until this thread is unparked
// (Interrupted). At most boundary::kMaxPollItems.
SysResult<uint32_t> socket_poll(PollItem* items, uint32_t count, uint64_t timeout_ns);

// A set of sockets that the host keeps and asks as one. A member is a socket, kConsoleInputHandle or another
// set; its key is ours and comes back with its events, in which everything is hostile.
SysResult<uint32_t> poll_set_open();
inline uint32_t poll_set_handle(uint32_t set) { return set | boundary::kPollSetFlag; }  // for PollItem, too
enum class SetOperation : uint8_t { Add = 1, Remove = 2, Modify = 3 };
SysResult<void> poll_set_control(uint32_t set, SetOperation operation, uint32_t member, uint64_t key,
                                 uint32_t events);
struct SetEvent {
  uint64_t key;
  uint32_t events;  // of epoll
};
// Blocks as socket_poll does. At most `room`, and boundary::kMaxSetRecords, events.
SysResult<uint32_t> poll_set_wait(uint32_t set, SetEvent* out, uint32_t room, uint64_t timeout_ns);
void poll_set_close(uint32_t set);

// No later than this, so that sums with it neither overflow nor mean "never".
inline constexpr uint64_t kLatestTime = uint64_t{1} << 62;
struct HostTime {
  uint64_t monotonic_ns, realtime_ns, tsc;
};
HostTime clock();
CpuidAnswer cpuid(uint32_t leaf, uint32_t subleaf);  // unchecked: see checked_cpuid
// Threads by the index of their TCS.
class ThreadSet {
 public:
  ThreadSet() = default;
  explicit ThreadSet(uint32_t index) { add(index); }
  void add(uint32_t index) { words_[index / 64] |= uint64_t{1} << (index % 64); }
  uint64_t word(size_t i) const { return words_[i]; }

 private:
  uint64_t words_[2] = {};
};
uint64_t cpu_time(const ThreadSet& threads);  // of all of them, since each was started: nanoseconds
uint32_t processors();  // at least 1; as many as the host says, which decides nothing but speed
void alarm(uint32_t index, uint64_t after_ns);  // replaces an alarm that is to ring later

SysResult<void> thread_start(uint32_t index);
void park(uint64_t timeout_ns);  // blocks
void unpark(uint32_t index, bool interrupt);
void log_text(uint32_t level, std::string_view text);
[[noreturn]] void exit(int32_t status, uint32_t kind);
Bytes launch_info();  // the untrusted launch record, at most one arena

}  // namespace cloister::enclave::host
