// TCP and UDP sockets: the host's, non-blocking there; blocking is made here. What they carry is the
// program's matter (TLS): the host sees and can change every byte. Kernel lock held.
#pragma once

#include "enclave/vfs/socket.h"

namespace cloister::enclave {

class InetSocket final : public Socket {
 public:
  InetSocket(uint32_t handle, int32_t family, uint32_t type, uint32_t flags)
      : Socket(family, type, flags), handle_(handle) {}
  // Not at the last close: a thread that still waits on it must not find its number given to another socket.
  ~InetSocket() override { host::socket_close(handle_); }

  SysResult<int64_t> ioctl(uint64_t request, uint64_t argument) override;
  uint16_t ready() override;
  bool host_handle(uint32_t& handle) override {
    handle = handle_;
    return true;
  }
  uint16_t ready_besides() override;

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

 protected:
  SysResult<void> set_family_option(int32_t level, int32_t name, ByteView value) override;
  SysResult<size_t> get_family_option(int32_t level, int32_t name, MutableByteView out) override;

 private:
  size_t take_again(MutableByteView out, bool peek);
  void wait_for_bytes(size_t wanted, uint64_t deadline);
  SysResult<size_t> so_far(size_t done, Errno error);

  uint32_t handle_;
  int32_t deferred_ = 0;    // an errno for the next call
  uint32_t low_water_ = 1;  // SO_RCVLOWAT of a stream
  Bytes again_;             // of a stream: received, but the program's memory could not take it
};

}  // namespace cloister::enclave
