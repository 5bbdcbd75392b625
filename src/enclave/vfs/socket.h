// What the socket calls ask of a socket, whatever its family. Kernel lock held; calls that block release it.
#pragma once

#include <vector>

#include "enclave/arch/host.h"
#include "enclave/vfs/file.h"
#include "enclave/vfs/inet_options.h"

namespace cloister::enclave {

struct Process;

inline constexpr uint32_t kSocketStream = 1, kSocketDatagram = 2, kSocketSequenced = 5;
inline constexpr int32_t kFamilyUnix = 1, kFamilyInet = 2, kFamilyInet6 = 10, kFamilyNetlink = 16;
// MSG_…
inline constexpr uint32_t kMessagePeek = 2, kMessageTruncated = 0x20, kMessageDontWait = 0x40,
                          kMessageWaitAll = 0x100, kMessageNoSignal = 0x4000, kMessageMore = 0x8000,
                          kMessageControlTruncated = 8, kMessageCloseOnExec = 0x40000000,
                          kMessageWaitForOne = 0x10000, kMessageOutOfBand = 1, kMessageErrorQueue = 0x2000,
                          kMessageFastOpen = 0x20000000;
// SOL_SOCKET and the names of its options that the kernel itself must know.
inline constexpr int32_t kSolSocket = 1, kSoType = 3, kSoError = 4, kSoSendBuffer = 7, kSoReceiveBuffer = 8,
                         kSoPassCredentials = 16, kSoReceiveLowWater = 18, kSoPeerCredentials = 17,
                         kSoReceiveTimeout = 20, kSoSendTimeout = 21, kSoReceiveTimeoutNew = 66,
                         kSoSendTimeoutNew = 67, kSoAcceptConnections = 30, kSoProtocol = 38, kSoDomain = 39;

struct Credentials {  // struct ucred
  int32_t pid = 0;
  uint32_t uid = 0, gid = 0;
  bool operator==(const Credentials&) const = default;
};

// Open files on their way from one descriptor table to another.
class SentFiles {
 public:
  SentFiles() = default;
  SentFiles(SentFiles&&) = default;
  SentFiles& operator=(SentFiles&& other) noexcept {
    std::swap(list_, other.list_);
    return *this;
  }
  ~SentFiles() {
    for (const Ref<File>& file : list_) static_cast<void>(file->unnamed());
  }
  void add(const Ref<File>& file) {
    file->named();
    list_.push_back(file);
  }
  const std::vector<Ref<File>>& list() const { return list_; }
  bool empty() const { return list_.empty(); }

 private:
  std::vector<Ref<File>> list_;
};

// How the bytes of one call go. A call that needs several sends has one deadline for all of them.
struct Outgoing {
  uint32_t flags = 0;
  Bytes address;  // none: the connected one's
  SentFiles files;
  Bytes control;  // for the host's socket
  uint64_t deadline = kNoDeadline;
};

struct Incoming {
  Bytes address;       // of the sender
  uint32_t flags = 0;  // kMessageTruncated
  size_t whole = 0;    // size of the message, of which only a part may have been taken
  SentFiles files;
  bool has_credentials = false;
  Credentials credentials;
  bool wants_control = false;
  bool wants_flags = false;
  std::vector<ControlPart> control;
};

class Socket : public File {
 public:
  Socket(int32_t family, uint32_t type, uint32_t flags)
      : File((flags & kOpenNonBlock) | kOpenReadWrite), family_(family), type_(type) {}
  Socket* socket() final { return this; }
  int32_t family() const { return family_; }
  uint32_t type() const { return type_; }

  virtual SysResult<void> bind(Process& process, ByteView address) = 0;
  virtual SysResult<void> connect(Process& process, ByteView address) = 0;
  virtual SysResult<void> listen(int32_t backlog) = 0;
  virtual SysResult<Ref<File>> accept(uint32_t flags, Bytes& peer) = 0;
  // Fewer than all: the deadline, a signal or the connection's end came in between, or it must not wait.
  virtual SysResult<size_t> send(ByteView data, Outgoing& outgoing) = 0;
  virtual SysResult<size_t> receive(MutableByteView out, uint32_t flags, uint64_t deadline,
                                    Incoming& incoming) = 0;
  // Streams: what was received just now and the program's memory could not take, with its files.
  virtual void unreceive(ByteView, Incoming&) {}
  // An error that a transfer met when it had moved some bytes already: the next call tells it.
  virtual void defer(Errno) {}
  virtual SysResult<Bytes> name(bool peer) = 0;
  virtual SysResult<void> shut_down(bool reading, bool writing) = 0;

  SysResult<size_t> read(MutableByteView out) override {
    Incoming incoming;
    return receive(out, 0, receive_deadline(), incoming);
  }
  SysResult<size_t> write(ByteView data) override {
    Outgoing outgoing;
    outgoing.deadline = send_deadline();
    return send(data, outgoing);
  }
  SysResult<Stat> stat() override {
    Stat stat;
    stat.device = 6;
    stat.inode = number_;
    stat.mode = kTypeSocket | 0777;
    return stat;
  }

  // MSG_TRUNC of TCP: what is received is for nobody.
  bool discards(uint32_t flags) const {
    return family_ != kFamilyUnix && type_ == kSocketStream && (flags & kMessageTruncated) != 0;
  }

  // SOL_SOCKET's timeouts are kept here, because waiting is done here; everything else is the family's.
  SysResult<void> set_option(int32_t level, int32_t name, ByteView value);
  SysResult<size_t> get_option(int32_t level, int32_t name, MutableByteView out);
  uint64_t receive_deadline() const { return deadline_of(receive_timeout_); }
  uint64_t send_deadline() const { return deadline_of(send_timeout_); }

 protected:
  virtual SysResult<void> set_family_option(int32_t level, int32_t name, ByteView value) = 0;
  virtual SysResult<size_t> get_family_option(int32_t level, int32_t name, MutableByteView out) = 0;
  bool must_not_wait(uint32_t flags) const { return non_blocking() || (flags & kMessageDontWait) != 0; }

 private:
  static uint64_t next_number();
  static uint64_t deadline_of(uint64_t timeout) {
    return timeout == kNoDeadline ? kNoDeadline : deadline_after(timeout);
  }
  int32_t family_;
  uint32_t type_;
  uint64_t number_ = next_number();
  uint64_t receive_timeout_ = kNoDeadline, send_timeout_ = kNoDeadline;  // ns
};

SysResult<size_t> give_int(int32_t value, MutableByteView out);

}  // namespace cloister::enclave
