// poll and select in their forms, pipes and event counters.
#include <algorithm>
#include <vector>

#include "enclave/arch/clock.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/syscalls/poll_calls.h"
#include "enclave/syscalls/socket_calls.h"
#include "enclave/syscalls/syscalls.h"
#include "enclave/vfs/pipe.h"
#include "enclave/vfs/poll.h"

namespace cloister::enclave {
namespace {

struct PollFd {  // struct pollfd
  int32_t fd;
  uint16_t events, revents;
};
// poll(2) knows more bits; these have the same meaning as others for what the kernel has.
constexpr uint16_t kReadNormal = 0x40, kWriteNormal = 0x100;

uint16_t wanted_events(uint16_t events) {
  auto wanted = static_cast<uint16_t>(events & (kPollIn | kPollUrgent | kPollOut | kPollReadHangup));
  if ((events & kReadNormal) != 0) wanted |= kPollIn;
  if ((events & kWriteNormal) != 0) wanted |= kPollOut;
  return wanted;
}

uint16_t given_events(uint16_t ready, uint16_t events) {
  auto given = static_cast<uint16_t>(ready & (events | kPollError | kPollHangup | kPollInvalid));
  if ((ready & kPollIn) != 0) given |= events & kReadNormal;
  if ((ready & kPollOut) != 0) given |= events & kWriteNormal;
  return given;
}

SysResult<int64_t> poll_until(SyscallArgs& args, uint64_t deadline) {
  constexpr uint64_t kMost = FdTable::kLimit;
  if (args.a[1] > kMost) return Errno::Invalid;
  std::vector<PollFd> list(args.a[1]);
  TRY(copy_from_user(list.data(), args.a[0], list.size() * sizeof(PollFd)));
  std::vector<Watch> watches(list.size());
  bool invalid = false;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].fd < 0) continue;
    auto file = args.thread.process->files.get(list[i].fd);
    if (file.ok()) {
      watches[i].file = std::move(file).value();
      watches[i].events = wanted_events(list[i].events);
      watches[i].fd = list[i].fd;
    } else {
      watches[i].ready = kPollInvalid;
      invalid = true;
    }
  }
  TRY(wait_ready(watches, invalid ? 0 : deadline));
  int64_t count = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    list[i].revents = given_events(watches[i].ready, list[i].events);
    if (list[i].revents != 0) ++count;
  }
  TRY(copy_to_user(args.a[0], list.data(), list.size() * sizeof(PollFd)));
  return count;
}

SysResult<uint64_t> deadline_from(uint64_t timespec_address) {
  if (timespec_address == 0) return kNoDeadline;
  const auto time = TRY(load_user<TimeSpec>(timespec_address));
  if (!timespec_valid(time)) return Errno::Invalid;
  return deadline_after(from_timespec(time));
}

// As Linux, and unlike POSIX, the time that is left goes back to the program, in units of `unit` ns.
void give_rest(uint64_t address, uint64_t deadline, int64_t unit) {
  if (address == 0) return;
  const uint64_t now = monotonic_ns();
  const TimeSpec rest = to_timespec(deadline > now ? deadline - now : 0);
  static_cast<void>(store_user(address, TimeSpec{rest.seconds, rest.nanoseconds / unit}));
}

// select's three sets.
struct Sets {
  static constexpr int32_t kMost = 65536;
  std::vector<uint64_t> bits[3];
  uint64_t addresses[3];

  SysResult<void> load(int32_t count, const uint64_t* from) {
    if (count < 0 || count > kMost) return Errno::Invalid;
    for (int set = 0; set < 3; ++set) {
      addresses[set] = from[set];
      bits[set].resize((static_cast<size_t>(count) + 63) / 64);
      if (from[set] != 0) TRY(copy_from_user(bits[set].data(), from[set], bits[set].size() * 8));
    }
    return {};
  }
  bool test(int set, int32_t fd) const {
    return (bits[set][static_cast<size_t>(fd) / 64] >> (fd % 64) & 1) != 0;
  }
};

// What each set asks for, and what makes a descriptor of it ready.
constexpr uint16_t kAsked[3] = {kPollIn, kPollOut, kPollUrgent};
constexpr uint16_t kMeant[3] = {kPollIn | kPollHangup | kPollError | kPollInvalid,
                                kPollOut | kPollError | kPollInvalid, kPollUrgent | kPollInvalid};

SysResult<int64_t> select_until(SyscallArgs& args, uint64_t deadline) {
  const int32_t count = args.i32(0);
  Sets sets;
  TRY(sets.load(count, &args.a[1]));
  std::vector<Watch> watches;
  std::vector<int32_t> fds;
  for (int32_t fd = 0; fd < count; ++fd) {
    const auto events =
        static_cast<uint16_t>((sets.test(0, fd) ? kPollIn : 0) | (sets.test(1, fd) ? kPollOut : 0) |
                              (sets.test(2, fd) ? kPollUrgent : 0));
    if (events == 0) continue;
    Ref<File> file = TRY(args.thread.process->files.get(fd));
    watches.push_back({std::move(file), events, 0, fd});
    fds.push_back(fd);
  }
  TRY(wait_ready(watches, deadline));
  for (auto& set : sets.bits) std::fill(set.begin(), set.end(), 0);
  int64_t total = 0;
  for (size_t i = 0; i < watches.size(); ++i) {
    for (int set = 0; set < 3; ++set) {
      if ((watches[i].events & kAsked[set]) == 0 || (watches[i].ready & kMeant[set]) == 0) continue;
      sets.bits[set][static_cast<size_t>(fds[i]) / 64] |= uint64_t{1} << (fds[i] % 64);
      ++total;
    }
  }
  for (int set = 0; set < 3; ++set) {
    if (sets.addresses[set] != 0)
      TRY(copy_to_user(sets.addresses[set], sets.bits[set].data(), sets.bits[set].size() * 8));
  }
  return total;
}

constexpr uint32_t kPairFlags = kOpenCloseOnExec | kOpenNonBlock;

SysResult<int64_t> make_pipe_at(SyscallArgs& args, uint32_t flags) {
  if ((flags & ~kPairFlags) != 0) return Errno::Invalid;
  return install_pair(args, make_pipe(flags & kOpenNonBlock), args.a[0], (flags & kOpenCloseOnExec) != 0);
}

SysResult<int64_t> make_counter(SyscallArgs& args, uint32_t flags) {
  constexpr uint32_t kSemaphore = 1;
  if ((flags & ~(kPairFlags | kSemaphore)) != 0) return Errno::Invalid;
  const Ref<File> file = make_event_counter(args.u32(0), (flags & kSemaphore) != 0, flags & kOpenNonBlock);
  return TRY(args.thread.process->files.add(file, (flags & kOpenCloseOnExec) != 0));
}

}  // namespace

SysResult<int64_t> install_pair(SyscallArgs& args, std::pair<Ref<File>, Ref<File>> pair, uint64_t out,
                                bool close_on_exec) {
  FdTable& files = args.thread.process->files;
  const int32_t first = TRY(files.add(pair.first, close_on_exec));
  const auto second = files.add(pair.second, close_on_exec);
  SysResult<void> stored = Errno::TooManyFiles;
  if (second.ok()) {
    const int32_t both[2] = {first, second.value()};
    stored = store_user(out, both);
  }
  if (stored.ok()) return 0;
  static_cast<void>(files.close(first));
  if (second.ok()) static_cast<void>(files.close(second.value()));
  return stored.error();
}

SysResult<int64_t> sys_poll(SyscallArgs& args) {
  const int32_t milliseconds = args.i32(2);
  return poll_until(
      args, milliseconds < 0 ? kNoDeadline : deadline_after(static_cast<uint64_t>(milliseconds) * 1'000'000));
}
SysResult<int64_t> sys_ppoll(SyscallArgs& args) {
  const uint64_t deadline = TRY(deadline_from(args.a[2]));
  auto result = with_mask(args.a[3], args.a[4], [&] { return poll_until(args, deadline); });
  give_rest(args.a[2], deadline, 1);
  return result;
}
SysResult<int64_t> sys_select(SyscallArgs& args) {
  uint64_t deadline = kNoDeadline;
  if (args.a[4] != 0) {
    struct MicroTime {
      int64_t seconds, microseconds;
    };
    const auto time = TRY(load_user<MicroTime>(args.a[4]));
    if (time.seconds < 0 || time.microseconds < 0) return Errno::Invalid;
    deadline =
        deadline_after(from_timespec({time.seconds, 0}) + static_cast<uint64_t>(time.microseconds) * 1000);
  }
  auto result = select_until(args, deadline);
  give_rest(args.a[4], deadline, 1000);
  return result;
}
SysResult<int64_t> sys_pselect6(SyscallArgs& args) {
  const uint64_t deadline = TRY(deadline_from(args.a[4]));
  struct Mask {
    uint64_t address, size;
  } mask{};
  if (args.a[5] != 0) mask = TRY(load_user<Mask>(args.a[5]));
  auto result = with_mask(mask.address, mask.size, [&] { return select_until(args, deadline); });
  give_rest(args.a[4], deadline, 1);
  return result;
}

SysResult<int64_t> sys_pipe(SyscallArgs& args) { return make_pipe_at(args, 0); }
SysResult<int64_t> sys_pipe2(SyscallArgs& args) { return make_pipe_at(args, args.u32(1)); }
SysResult<int64_t> sys_eventfd(SyscallArgs& args) { return make_counter(args, 0); }
SysResult<int64_t> sys_eventfd2(SyscallArgs& args) { return make_counter(args, args.u32(1)); }

}  // namespace cloister::enclave
