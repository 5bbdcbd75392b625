// Descriptors made for waiting: epoll, timerfd, signalfd; and memfd.
#include <algorithm>
#include <cstring>

#include "enclave/arch/clock.h"
#include "enclave/process.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/poll_calls.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/epoll.h"
#include "enclave/vfs/timer_file.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr uint32_t kFileFlags = kOpenCloseOnExec | kOpenNonBlock;
constexpr int32_t kRealtime = 0, kMonotonic = 1, kBootTime = 7;

SysResult<int64_t> wait_for_events(SyscallArgs& args, uint64_t deadline) {
  constexpr int32_t kMost = INT32_MAX / static_cast<int32_t>(sizeof(EpollEvent));
  constexpr size_t kAtOnce = 1024;
  constexpr uint64_t kUserEnd = uint64_t{1} << 47;  // beyond is refused at once
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  if ((file->flags() & kOpenPath) != 0) return Errno::BadFile;
  if (args.i32(2) <= 0 || args.i32(2) > kMost) return Errno::Invalid;
  const auto room = static_cast<size_t>(args.i32(2));
  if (args.a[1] > kUserEnd - room * sizeof(EpollEvent)) return Errno::Fault;
  if (file->epoll() == nullptr) return Errno::Invalid;
  EpollReports reports(std::min(room, kAtOnce));
  TRY(file->epoll()->wait(reports, deadline));
  const std::vector<EpollEvent>& events = reports.events;
  if (copy_to_user(args.a[1], events.data(), events.size() * sizeof(EpollEvent)).ok())
    return static_cast<int64_t>(events.size());
  size_t done = 0;
  while (done < events.size() && store_user(args.a[1] + done * sizeof(EpollEvent), events[done]).ok()) ++done;
  file->epoll()->take_back(reports, done);
  return done > 0 ? SysResult<int64_t>(static_cast<int64_t>(done)) : Errno::Fault;
}

uint64_t deadline_of_ms(int32_t ms) {
  return ms < 0 ? kNoDeadline : ms == 0 ? 0 : deadline_after(static_cast<uint64_t>(ms) * 1'000'000);
}

}  // namespace

// What signalfd gives: the signals of whoever reads.
class SignalFile final : public WaitFile {
 public:
  SignalFile(uint64_t mask, uint32_t flags) : WaitFile(flags | kOpenReadWrite), mask_(mask) {
    signal_files().push_back(this);
  }
  ~SignalFile() override { std::erase(signal_files(), this); }
  void set_mask(uint64_t mask) {
    mask_ = mask;
    signal_waiters().wake_all();
    edge(0);
  }
  SysResult<size_t> read(MutableByteView out) override {
    constexpr size_t kRecord = 128;  // struct signalfd_siginfo
    if (out.size() < kRecord) return Errno::Invalid;
    size_t done = 0;
    for (;;) {
      SignalInfo info;
      while (done + kRecord <= out.size() && take_signal(current(), mask_, info)) {
        store(out.subspan(done, kRecord), info);
        done += kRecord;
      }
      if (done > 0) return done;
      if (non_blocking()) return Errno::Again;
      if (signal_waiters().wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
    }
  }
  uint16_t ready() override {
    const Thread& self = current();
    return ((self.pending.set | self.process->signals.pending.set) & mask_) != 0 ? kPollIn : uint16_t{0};
  }
  void poll_queues(std::vector<WaitQueue*>& queues) override { queues.push_back(&signal_waiters()); }
  SignalFile* signals() override { return this; }

 private:
  static void store(MutableByteView out, const SignalInfo& info) {
    struct Record {
      uint32_t signal;
      int32_t error, code;
      uint32_t pid, uid;
      int32_t fd;
      uint32_t timer, band, overrun, trap;
      int32_t status, integer;
      uint64_t pointer, user_time, system_time, address;
    } record{};
    static_assert(sizeof(Record) <= 128);
    constexpr int32_t kTimer = -2;
    record.signal = static_cast<uint32_t>(info.signal);
    record.code = info.code;
    if (info.code == kTimer) {
      record.timer = static_cast<uint32_t>(info.pid);
      record.overrun = info.uid;
    } else {
      record.pid = static_cast<uint32_t>(info.pid);
      record.uid = info.uid;
    }
    if (info.signal == kSigChild) record.status = static_cast<int32_t>(info.value);
    record.integer = static_cast<int32_t>(info.value);
    record.pointer = info.value;
    record.address = info.address;
    std::memset(out.data(), 0, out.size());
    std::memcpy(out.data(), &record, sizeof(record));
  }
  uint64_t mask_;
};

namespace {

SysResult<int64_t> make_signal_file(SyscallArgs& args, uint32_t flags) {
  if (args.a[2] != sizeof(uint64_t) || (flags & ~kFileFlags) != 0) return Errno::Invalid;
  const uint64_t mask = TRY(load_user<uint64_t>(args.a[1])) & ~(signal_bit(kSigKill) | signal_bit(kSigStop));
  if (args.i32(0) == -1) return add_file(args, make_ref<SignalFile>(mask, flags & kOpenNonBlock), flags);
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  if (file->signals() == nullptr) return Errno::Invalid;
  file->signals()->set_mask(mask);
  return args.i32(0);
}

SysResult<Ref<File>> timer_of(SyscallArgs& args) {
  Ref<File> file = TRY(args.thread.process->files.get(args.i32(0)));
  if (file->timer() == nullptr) return Errno::Invalid;
  return file;
}

}  // namespace

SysResult<int64_t> sys_epoll_create(SyscallArgs& args) {
  if (args.i32(0) <= 0) return Errno::Invalid;
  return add_file(args, make_ref<Epoll>(), 0);
}
SysResult<int64_t> sys_epoll_create1(SyscallArgs& args) {
  if ((args.u32(0) & ~kOpenCloseOnExec) != 0) return Errno::Invalid;
  return add_file(args, make_ref<Epoll>(), args.u32(0));
}
SysResult<int64_t> sys_epoll_ctl(SyscallArgs& args) {
  EpollEvent event{};
  if (args.i32(1) != Epoll::kDelete) event = TRY(load_user<EpollEvent>(args.a[3]));
  const Ref<File> epoll = TRY(args.thread.process->files.get(args.i32(0)));
  const Ref<File> file = TRY(args.thread.process->files.get(args.i32(2)));
  if (((epoll->flags() | file->flags()) & kOpenPath) != 0) return Errno::BadFile;
  if (!file->can_poll()) return Errno::Perm;
  if (epoll->epoll() == nullptr) return Errno::Invalid;
  TRY(epoll->epoll()->control(args.i32(1), args.i32(2), file, event));
  return 0;
}
SysResult<int64_t> sys_epoll_wait(SyscallArgs& args) {
  return wait_for_events(args, deadline_of_ms(args.i32(3)));
}
SysResult<int64_t> sys_epoll_pwait(SyscallArgs& args) {
  return with_mask(args.a[4], args.a[5], [&] { return wait_for_events(args, deadline_of_ms(args.i32(3))); });
}
SysResult<int64_t> sys_epoll_pwait2(SyscallArgs& args) {
  uint64_t deadline = kNoDeadline;
  if (args.a[3] != 0) {
    const auto time = TRY(load_user<TimeSpec>(args.a[3]));
    if (!timespec_valid(time)) return Errno::Invalid;
    deadline = deadline_after(from_timespec(time));
  }
  return with_mask(args.a[4], args.a[5], [&] { return wait_for_events(args, deadline); });
}

SysResult<int64_t> sys_signalfd(SyscallArgs& args) { return make_signal_file(args, 0); }
SysResult<int64_t> sys_signalfd4(SyscallArgs& args) { return make_signal_file(args, args.u32(3)); }

SysResult<int64_t> sys_timerfd_create(SyscallArgs& args) {
  const int32_t clock = args.i32(0);
  if (clock != kRealtime && clock != kMonotonic && clock != kBootTime) return Errno::Invalid;
  if ((args.u32(1) & ~kFileFlags) != 0) return Errno::Invalid;
  return add_file(args, make_ref<TimerFile>(clock == kRealtime, args.u32(1) & kOpenNonBlock), args.u32(1));
}
SysResult<int64_t> sys_timerfd_settime(SyscallArgs& args) {
  constexpr uint32_t kAbsolute = 1, kCancelOnSet = 2;
  const auto wanted = TRY(load_user<TimerSetting>(args.a[2]));
  if (!timespec_valid(wanted.interval) || !timespec_valid(wanted.value)) return Errno::Invalid;
  if ((args.u32(1) & ~(kAbsolute | kCancelOnSet)) != 0) return Errno::Invalid;
  const Ref<File> file = TRY(timer_of(args));
  const TimerSetting old = file->timer()->set(wanted, (args.u32(1) & kAbsolute) != 0);
  if (args.a[3] != 0) TRY(store_user(args.a[3], old));
  return 0;
}
SysResult<int64_t> sys_timerfd_gettime(SyscallArgs& args) {
  const Ref<File> file = TRY(timer_of(args));
  TRY(store_user(args.a[1], file->timer()->get()));
  return 0;
}

SysResult<int64_t> sys_memfd_create(SyscallArgs& args) {
  constexpr uint32_t kCloseOnExec = 1, kAllowSealing = 2;
  constexpr size_t kMaxName = 249;
  const auto name = string_from_user(args.a[0], kMaxName);
  if (!name.ok()) return name.error() == Errno::NameTooLong ? Errno::Invalid : name.error();
  if ((args.u32(1) & ~(kCloseOnExec | kAllowSealing)) != 0) return Errno::Invalid;  // no huge pages
  static const Ref<Inode> folder = make_tmpfs(2, 0700);
  const Ref<Inode> inode = TRY(folder->create("file", kTypeFile | 0777));
  TRY(folder->unlink("file"));
  if ((args.u32(1) & kAllowSealing) != 0) *inode->seals() = 0;
  const Ref<File> file = make_ref<InodeFile>(inode, "/memfd:" + name.value() + " (deleted)", kOpenReadWrite);
  return TRY(args.thread.process->files.add(file, (args.u32(1) & kCloseOnExec) != 0));
}

}  // namespace cloister::enclave
