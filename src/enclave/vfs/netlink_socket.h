// AF_NETLINK sockets of NETLINK_ROUTE, as far as C libraries use them: lists of interfaces and addresses.
// Answers are there at once; there are no notices of changes. Kernel lock held.
#pragma once

#include <deque>

#include "enclave/vfs/interfaces.h"
#include "enclave/vfs/socket.h"

namespace cloister::enclave {

class NetlinkSocket final : public Socket {
 public:
  NetlinkSocket(uint32_t type, uint32_t flags) : Socket(kFamilyNetlink, type, flags) {}
  ~NetlinkSocket() override;

  SysResult<int64_t> ioctl(uint64_t request, uint64_t argument) override {
    return interface_ioctl(request, argument);
  }
  uint16_t ready() override {
    return static_cast<uint16_t>(kPollOut | (queue_.empty() ? 0 : kPollIn) | (overrun_ ? kPollError : 0));
  }
  void poll_queues(std::vector<WaitQueue*>& queues) override { queues.push_back(&changed_); }

  SysResult<void> bind(Process& process, ByteView address) override;
  SysResult<void> connect(Process& process, ByteView address) override;
  SysResult<void> listen(int32_t) override { return Errno::NotSupported; }
  SysResult<Ref<File>> accept(uint32_t, Bytes&) override { return Errno::NotSupported; }
  SysResult<size_t> send(ByteView data, Outgoing& outgoing) override;
  SysResult<size_t> receive(MutableByteView out, uint32_t flags, uint64_t deadline,
                            Incoming& incoming) override;
  SysResult<Bytes> name(bool peer) override;
  SysResult<void> shut_down(bool, bool) override { return Errno::NotSupported; }

 protected:
  SysResult<void> set_family_option(int32_t level, int32_t name, ByteView value) override;
  SysResult<size_t> get_family_option(int32_t level, int32_t name, MutableByteView out) override;

 private:
  void take_port(uint32_t wanted);
  void enqueue(std::vector<Bytes> answer);

  uint32_t port_ = 0;  // 0: not bound
  std::deque<Bytes> queue_;
  size_t queued_ = 0;       // bytes
  bool congested_ = false;  // an answer found no room, so none is kept until all are read
  bool overrun_ = false;    // which receive has to say, once (ENOBUFS)
  WaitQueue changed_;
};

}  // namespace cloister::enclave
