// Linux errno values for x86-64 (uapi/asm-generic/errno*.h). The kernel has no libc; these are the numbers programs see.
#pragma once

#include <cstdint>

namespace cloister::enclave {

enum class Errno : int32_t {
  Perm = 1, NoEntry = 2, NoProcess = 3, Interrupted = 4, Io = 5, NoDeviceAddress = 6, TooBig = 7, NoExec = 8,
  BadFile = 9, NoChild = 10, Again = 11, NoMemory = 12, Access = 13, Fault = 14, Busy = 16, Exists = 17,
  CrossDevice = 18, NoDevice = 19, NotDirectory = 20, IsDirectory = 21, Invalid = 22, TooManyFilesSystem = 23,
  TooManyFiles = 24, NotTty = 25, TextBusy = 26, FileTooBig = 27, NoSpace = 28, IllegalSeek = 29, ReadOnly = 30,
  TooManyLinks = 31, Pipe = 32, Domain = 33, Range = 34, Deadlock = 35, NameTooLong = 36, NoLock = 37, NoSys = 38,
  NotEmpty = 39, Loop = 40, NoData = 61, Overflow = 75, NotSocket = 88, DestinationRequired = 89,
  MessageTooBig = 90, Prototype = 91, NoProtocolOption = 92, ProtocolUnsupported = 93, SocketTypeUnsupported = 94,
  NotSupported = 95, FamilyUnsupported = 97, AddressInUse = 98, AddressUnavailable = 99, NetworkUnreachable = 101,
  ConnectionAborted = 103, ConnectionReset = 104, NoBuffers = 105, IsConnected = 106, NotConnected = 107,
  TimedOut = 110, ConnectionRefused = 111, HostUnreachable = 113, Already = 114, InProgress = 115, Cancelled = 125,
  // Kernel-internal: the call restarts or returns Interrupted, as the signal's SA_RESTART says. Never seen outside.
  RestartSystemCall = 512,
};

}  // namespace cloister::enclave
