// AF_UNIX sockets: wholly inside the enclave. A receiver owns its queue of messages; a sender puts bytes,
// open files and its credentials there. Names are inodes of type socket in a file system that can hold them
// (tmpfs), or abstract. Kernel lock held.
#pragma once

#include <deque>

#include "enclave/vfs/socket.h"

namespace cloister::enclave {

class UnixSocket final : public Socket {
 public:
  UnixSocket(uint32_t type, uint32_t flags);
  ~UnixSocket() override { static_cast<void>(closed()); }
  static void connect_pair(UnixSocket& a, UnixSocket& b);

  SysResult<void> bind(Process& process, ByteView address) override;
  SysResult<void> connect(Process& process, ByteView address) override;
  SysResult<void> listen(int32_t backlog) override;
  SysResult<Ref<File>> accept(uint32_t flags, Bytes& peer) override;
  SysResult<size_t> send(ByteView data, Outgoing& outgoing) override;
  SysResult<size_t> receive(MutableByteView out, uint32_t flags, uint64_t deadline,
                            Incoming& incoming) override;
  void unreceive(ByteView data, Incoming& incoming) override;
  void defer(Errno error) override;
  SysResult<Bytes> name(bool peer) override;
  SysResult<void> shut_down(bool reading, bool writing) override;
  SysResult<int64_t> ioctl(uint64_t request, uint64_t argument) override;
  uint16_t ready() override;
  bool can_tell_owner() override { return true; }
  void poll_queues(std::vector<WaitQueue*>& queues) override;
  SysResult<void> closed() override;

 protected:
  SysResult<void> set_family_option(int32_t level, int32_t name, ByteView value) override;
  SysResult<size_t> get_family_option(int32_t level, int32_t name, MutableByteView out) override;

 private:
  struct Message {
    Bytes data;
    size_t taken = 0;  // streams: read already
    Bytes address;
    Credentials credentials;
    SentFiles files;
  };

  bool is_stream() const { return type() == kSocketStream; }
  bool connection_oriented() const { return type() != kSocketDatagram; }
  bool ended() const { return read_shut_ || (was_connected_ && peer_ == nullptr); }
  bool has_room(size_t size) const {
    return queue_.size() < kMostMessages && (queued_ == 0 || queued_ + size <= kCapacity);
  }
  // What makes a sender writable.
  bool roomy() const { return queue_.size() < kMostMessages && queued_ <= kCapacity / 2; }
  // Datagrams: who has chosen a peer hears that one alone.
  bool hears(const UnixSocket& sender) const { return peer_ == nullptr || peer_ == &sender; }
  void send_to(UnixSocket* target);
  void changed(uint16_t bits);
  void tell_senders();
  bool joins(size_t size, const SentFiles& files) const;
  void enqueue(ByteView data, ByteView from, SentFiles files);
  size_t take(MutableByteView out, bool peek, Incoming& incoming);
  SysResult<size_t> send_connected(ByteView data, Outgoing& outgoing);

  static constexpr size_t kCapacity = 212992;   // net.core.wmem_default
  static constexpr size_t kMostMessages = 512;  // empty ones count, too (net.unix.max_dgram_qlen)
  std::deque<Message> queue_;
  size_t queued_ = 0;
  WaitQueue changed_;           // of this socket: messages, connections, its end
  UnixSocket* peer_ = nullptr;  // whom send reaches; it may not know us (datagrams)
  bool was_connected_ = false;
  bool refused_ = false;  // datagrams: the peer has gone and send has not said so yet
  bool read_shut_ = false, write_shut_ = false;
  bool listening_ = false;
  size_t backlog_ = 0;
  std::deque<Ref<UnixSocket>> pending_;  // to be accepted
  Bytes name_;                           // sockaddr_un as bound
  std::string key_;                      // in the registry of names
  Credentials peer_credentials_;
  bool pass_credentials_ = false;
  int32_t send_buffer_ = kCapacity, receive_buffer_ = kCapacity;  // as options say
  int32_t error_ = 0;                                             // an errno that is told once (SO_ERROR)
  std::vector<UnixSocket*> senders_;                              // datagrams: whose peer_ we are
};

}  // namespace cloister::enclave
