// Standard input, output and error: the host's own. What goes here leaves the enclave in the clear, as the
// program asked.
#include <cstring>

#include "enclave/arch/host.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kGetAttributes = 0x5401 /* TCGETS */, kWindowSize = 0x5413 /* TIOCGWINSZ */,
                   kGetGroup = 0x540f /* TIOCGPGRP */;

class Console final : public File {
 public:
  Console(uint32_t flags, int host_fd) : File(flags), host_fd_(host_fd) {}

  SysResult<size_t> read(MutableByteView out) override {
    if (host_fd_ != 0) return Errno::BadFile;
    if (non_blocking() && (ready() & kPollIn) == 0) return Errno::Again;
    for (;;) {
      SysResult<size_t> count = size_t{0};
      {
        const BlockingSection blocking;
        count = host::console_read(out);
      }
      if (count.ok() || count.error() != Errno::Interrupted) return count;
      if (pending_interrupt()) return kInterruptedRestartable;
    }
  }
  SysResult<size_t> write(ByteView data) override {
    if (data.empty()) return size_t{0};
    const BlockingSection blocking;
    return host::console_write(host_fd_ == 0 ? 1 : host_fd_, data);
  }
  SysResult<Stat> stat() override {
    Stat stat;
    const auto info = host::console_info(host_fd_);
    stat.device = 3;
    stat.inode = 1 + static_cast<uint64_t>(host_fd_);
    stat.mode = info.ok() && info->is_terminal ? kTypeCharacter | 0620 : kTypeFifo | 0600;
    stat.special = 0x8800;
    return stat;
  }
  SysResult<int64_t> ioctl(uint64_t request, uint64_t argument) override {
    const host::ConsoleInfo info = TRY(host::console_info(host_fd_));
    if (!info.is_terminal) return Errno::NotTty;
    if (request == kWindowSize) {
      const uint16_t size[4] = {info.rows, info.columns, 0, 0};
      TRY(store_user(argument, size));
      return 0;
    }
    if (request == kGetAttributes) {
      TRY(zero_user(argument,
                    36));  // struct termios of the kernel: everything off, the host's line discipline works
      return 0;
    }
    if (request == kGetGroup) {
      TRY(store_user(argument, kProgramPid));
      return 0;
    }
    return Errno::NotTty;
  }
  uint16_t ready() override {
    if (host_fd_ != 0) return kPollOut;
    host::PollItem item{host::kConsoleInputHandle, kPollIn, 0};
    const auto count = host::socket_poll(&item, 1, 0);
    return count.ok() && count.value() != 0 ? item.revents : uint16_t{0};
  }
  bool host_handle(uint32_t& handle) override {
    handle = host::kConsoleInputHandle;
    return host_fd_ == 0;
  }
  std::string path() override { return "/dev/tty"; }
  SysResult<Ref<File>> open_again(uint32_t flags) override {
    return make_console(flags & kOpenKept, host_fd_);
  }

 private:
  int host_fd_;
};

}  // namespace

Ref<File> make_console(uint32_t flags, int host_fd) { return make_ref<Console>(flags, host_fd); }

SysResult<void> open_console(Process& process) {
  for (int32_t fd = 0; fd <= 2; ++fd) {
    TRY(process.files.set(fd, make_console(fd == 0 ? 0 : kOpenReadWrite, fd), false));
  }
  return {};
}

void process_close_files(Process& process) {
  process.files.close_all();
  process.folder = nullptr;
}

}  // namespace cloister::enclave
