// The block of untrusted memory through which one enclave thread talks to the host: one page with the call's
// number, arguments and reply, then the arena window for bulk data. The host gives its address at EENTER
// (rdi); the enclave checks once that it lies outside ELRANGE and never lets it change. Everything in it can
// change at any time.
//
// Entering: rdi = block. Leaving (EEXIT): rdi = LeaveReason, rsp and rbp as they were at EENTER, rbx = the
// address that EENTER gave in rcx; every other register is zero.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cloister::boundary {

enum class HostCall : uint64_t {
#define HOST_CALL(number, name, note) name = (number),
#include "boundary/host_calls.inc"
#undef HOST_CALL
};

enum class LeaveReason : uint64_t {
  HostCall = 1,   // serve HostCallFrame, then EENTER again
  Resume = 2,     // the exception was looked at: ERESUME
  ThreadEnd = 3,  // this TCS is free again
  Refused = 4,    // the host entered a TCS that has nothing to do: its own mistake
};

inline constexpr size_t kArenaSize = (size_t{1} << 20) + (size_t{64} << 10);
inline constexpr size_t kTextSize = 2048;         // names, addresses and other short inputs
inline constexpr uint32_t kMaxPollItems = 65536;  // as many as there are descriptors
inline constexpr uint32_t kConsoleInput =
    UINT32_MAX;  // pseudo socket for SocketPoll: readable standard input

// In place of a socket, in SocketPoll and PollSetControl: a set of sockets.
inline constexpr uint32_t kPollSetFlag = uint32_t{1} << 31;
inline constexpr uint32_t kMaxSetRecords = 4096;  // of one PollSetWait

struct HostCallFrame {
  uint64_t number;
  uint64_t arguments[6];
  int64_t result;      // >= 0, or -errno
  uint64_t values[4];  // further results
  uint64_t
      events;  // bit n - 1: signal n reached the host process. The enclave takes it by exchanging with 0.
  uint64_t reserved[19];
  uint8_t text[kTextSize];
};
static_assert(sizeof(HostCallFrame) == 256 + kTextSize);

inline constexpr size_t kArenaOffset = 4096;
inline constexpr size_t kBlockSize = kArenaOffset + kArenaSize;

// Ancillary data of SocketSend and SocketReceive lie in the arena, at the first multiple of 8 behind the
// data.
inline constexpr size_t kMaxControl = 512;
constexpr size_t control_offset(size_t data_size) { return (data_size + 7) & ~size_t{7}; }

struct PollRecord {  // SocketPoll, in the arena
  uint32_t socket;
  uint16_t events;
  uint16_t revents;
};

struct SetRecord {  // PollSetWait, in the arena
  uint64_t key;     // as given to PollSetControl
  uint64_t events;  // of epoll
};

struct InterfaceRecord {  // InterfaceList, in the arena: an interface (family 0), or one of its addresses
  char name[16];
  uint32_t index, flags, mtu;  // flags: IFF_…; the MTU is the interface's
  uint16_t family;             // 0, AF_INET, AF_INET6
  uint8_t prefix, hardware_size;
  uint16_t hardware_type;  // ARPHRD_…
  uint8_t hardware[8], address[16], broadcast[4];
  uint8_t padding[2];
};
static_assert(sizeof(InterfaceRecord) == 64);
inline constexpr uint32_t kMaxInterfaceRecords = 256;

// MemorySettle's `kind`: pages whose end the enclave has accepted go, or pages without permissions are
// closed.
inline constexpr uint64_t kSettleRemove = 0, kSettleClose = 1;

// values[0] of ConsoleInfo: bit 0 is a terminal, bits 16-31 rows, bits 32-47 columns.

// The only signals that the host forwards.
inline constexpr uint64_t kForwardedSignals =
    (uint64_t{1} << 0) | (uint64_t{1} << 1) | (uint64_t{1} << 2) | (uint64_t{1} << 9) | (uint64_t{1} << 11) |
    (uint64_t{1} << 14) | (uint64_t{1} << 17) | (uint64_t{1} << 27);  // HUP INT QUIT USR1 USR2
                                                                      // TERM CONT WINCH

}  // namespace cloister::boundary
