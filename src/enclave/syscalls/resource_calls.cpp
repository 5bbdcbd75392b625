// Resource limits, and what processes have used. Limits are kept as on Linux; enforced are those of open
// files, address space, data, file size, processes, queued signals, CPU time and of the stack of the next
// program. CPU time is the host's word.
#include <algorithm>
#include <bit>

#include "enclave/arch/boot.h"
#include "enclave/arch/clock.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/timers.h"
#include "enclave/arch/user_copy.h"
#include "enclave/memory/manager.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {
namespace {

enum Resource : uint32_t {
  kCpuTime = 0,
  kFileSize = 1,
  kDataSize = 2,
  kStackSize = 3,
  kCoreSize = 4,
  kProcesses = 6,
  kFiles = 7,
  kAddressSpace = 9,
  kQueuedSignals = 11,
  kNicest = 13,
  kRealtime = 14
};

// What the image and the kernel start with.
ResourceLimit first_limit(size_t resource) {
  switch (resource) {
    case kStackSize:
      return {manifest().stack_size, kNoLimit};
    case kCoreSize:  // an enclave is never dumped
    case kNicest:
    case kRealtime:
      return {0, 0};
    case kProcesses:
      return {thread_limit(), thread_limit()};
    case kFiles:
      return {1024, FdTable::kLimit};
    case kQueuedSignals:
      return {PendingSignals::kMost, PendingSignals::kMost};
    default:
      return {kNoLimit, kNoLimit};
  }
}

// setrlimit(2). Not even root gets more than there is.
SysResult<void> set_limit(SyscallArgs& args, Process& process, uint32_t resource, ResourceLimit wanted) {
  ResourceLimit& limit = resource_limit(process, resource);
  if (wanted.soft > wanted.hard) return Errno::Invalid;
  const bool bounded = resource == kFiles || resource == kProcesses || resource == kCoreSize ||
                       resource == kQueuedSignals || resource == kRealtime || resource == kNicest;
  const uint64_t most = bounded ? first_limit(resource).hard : kNoLimit;
  const bool privileged = args.thread.process->user.effective == 0;
  if (wanted.hard > limit.hard && (!privileged || wanted.hard > most)) return Errno::Perm;
  limit = wanted;
  if (resource == kFiles) process.files.set_limit(static_cast<int32_t>(wanted.soft));
  if (resource == kCpuTime) watch_cpu_limit(process);
  return {};
}

// RLIMIT_CPU. CPU time is looked at when it can have reached the limit: no process gets more of it than all
// processors give.
class CpuWatch final : public Counted, public Timer {
 public:
  explicit CpuWatch(Process& process) : process_(process) {}
  void expired(uint64_t) override {
    ResourceLimit& limit = resource_limit(process_, kCpuTime);
    const uint64_t used = process_cpu_ns(process_) / kSecond;
    if (used >= limit.hard) return tell(kSigKill);
    if (used >= limit.soft) {
      tell(kSigCpuLimit);
      ++limit.soft;  // as Linux: a second later once more
    }
    look_later();
  }
  void look_later() {
    constexpr uint64_t kLeast = kSecond / 50;
    const uint64_t soft = resource_limit(process_, kCpuTime).soft;
    const uint64_t end = soft > UINT64_MAX / kSecond ? UINT64_MAX : soft * kSecond;
    const uint64_t used = process_cpu_ns(process_);
    const uint64_t left = end > used ? end - used : 0;
    start(deadline_after(std::max(left / processor_count(), kLeast)), 0);
  }

 private:
  void tell(int signal) {
    SignalInfo info;
    info.signal = signal;
    info.code = 0x80;  // SI_KERNEL
    send_signal(process_, info);
  }
  Process& process_;
};

// Threads of the user's processes from this one down, and of those that ended and nobody has waited for.
uint64_t tasks_of(const Process& process, uint32_t user) {
  uint64_t count = 0;
  if (process.user.real == user) {
    if (process.finished && !process.unwanted) ++count;
    for_each_thread(process, [&](Thread&) { return ++count != 0; });
  }
  for (const Process* child : process.children) count += tasks_of(*child, user);
  return count;
}

struct Usage {
  uint64_t cpu_ns, memory;
};
SysResult<void> store_usage(uint64_t address, const Usage& usage) {
  uint64_t out[18] = {};  // struct rusage
  out[0] = usage.cpu_ns / kSecond;
  out[1] = usage.cpu_ns % kSecond / 1000;
  out[4] = usage.memory >> 10;
  return store_user(address, out);
}

}  // namespace

ResourceLimit& resource_limit(Process& process, uint32_t resource) {
  if (process.limits.empty()) {
    process.limits.resize(kResources);
    for (size_t i = 0; i < kResources; ++i) process.limits[i] = first_limit(i);
  }
  return process.limits[resource];
}

uint64_t stack_limit(Process& process) {
  constexpr uint64_t kLeast = 64 << 10, kMost = uint64_t{1} << 30;
  return std::clamp(resource_limit(process, kStackSize).soft & ~(kPage - 1), kLeast, kMost);
}

bool address_space_left(Process& process, uint64_t size, uint64_t from, uint64_t to) {
  const uint64_t limit = resource_limit(process, kAddressSpace).soft;
  if (limit == kNoLimit) return true;
  const int32_t id = process.memory->id;
  const uint64_t used = memory_size_of(id, 0, UINT64_MAX) - memory_size_of(id, from, to);
  return used <= limit && size <= limit - used;
}

bool may_queue_signal(Process& process, const PendingSignals& pending) {
  const auto count = static_cast<uint64_t>(std::popcount(pending.set)) + pending.queued.size();
  return count < resource_limit(process, kQueuedSignals).soft;
}

bool data_left(Process& process, uint64_t size, uint64_t from, uint64_t to) {
  const ResourceLimit limit = resource_limit(process, kDataSize);
  if (limit.soft == kNoLimit || size == 0) return true;
  const int32_t id = process.memory->id;
  const uint64_t used = memory_data_of(id, 0, UINT64_MAX) - memory_data_of(id, from, to);
  const uint64_t most = limit.soft == 0 ? limit.hard : limit.soft;  // as Linux, for old programs
  return used <= most && size <= most - used;
}

bool may_start_task(Process& process) {
  const Identity& user = process.user;
  if (user.real == 0 || user.effective == 0 || user_process() == nullptr) return true;
  return tasks_of(*user_process(), user.real) < resource_limit(process, kProcesses).soft;
}

void watch_cpu_limit(Process& process) {
  process.cpu_watch = nullptr;
  if (process.limits.empty() || resource_limit(process, kCpuTime).soft == kNoLimit) return;
  const Ref<CpuWatch> watch = make_ref<CpuWatch>(process);
  process.cpu_watch = watch;
  watch->look_later();
}

SysResult<size_t> file_size_left(File& file, uint64_t offset, size_t size) {
  const uint64_t limit = resource_limit(*current().process, kFileSize).soft;
  if (limit == kNoLimit || size == 0 || file.inode() == nullptr) return size;
  if ((TRY(file.stat()).mode & kTypeMask) != kTypeFile) return size;
  if (offset == kCurrentPosition) offset = TRY(file.seek(0, 1));
  if (offset >= limit) return Errno::FileTooBig;
  return std::min<uint64_t>(size, limit - offset);
}

SysResult<void> check_file_size(const Stat& stat, uint64_t size) {
  const uint64_t limit = resource_limit(*current().process, kFileSize).soft;
  if ((stat.mode & kTypeMask) != kTypeFile || size <= stat.size || size <= limit) return {};
  raise_signal(kSigFileLimit);
  return Errno::FileTooBig;
}

void tell_file_limit(Errno error) {
  const bool limited = resource_limit(*current().process, kFileSize).soft != kNoLimit;
  if (error == Errno::FileTooBig && limited) raise_signal(kSigFileLimit);
}

uint64_t cpu_with_children(Process& process) {
  return cpu_sum(process.finished ? process.cpu_ended_ns : process_cpu_ns(process), process.children_cpu_ns);
}

SysResult<void> store_child_usage(uint64_t address, uint64_t cpu_ns) {
  return store_usage(address, {cpu_ns, 0});
}

SysResult<int64_t> sys_prlimit64(SyscallArgs& args) {
  Process& self = *args.thread.process;
  const int32_t pid = args.i32(0);
  Process* process = pid == 0 || pid == self.pid ? &self : self.is_agent ? nullptr : find_process(pid);
  if (process == nullptr || process->finished) return Errno::NoProcess;
  if (args.u32(1) >= kResources) return Errno::Invalid;
  const ResourceLimit old = resource_limit(*process, args.u32(1));
  if (args.a[2] != 0) TRY(set_limit(args, *process, args.u32(1), TRY(load_user<ResourceLimit>(args.a[2]))));
  if (args.a[3] != 0) TRY(store_user(args.a[3], old));
  return 0;
}

SysResult<int64_t> sys_getrlimit(SyscallArgs& args) {
  if (args.u32(0) >= kResources) return Errno::Invalid;
  TRY(store_user(args.a[1], resource_limit(*args.thread.process, args.u32(0))));
  return 0;
}

SysResult<int64_t> sys_setrlimit(SyscallArgs& args) {
  const auto wanted = TRY(load_user<ResourceLimit>(args.a[1]));
  if (args.u32(0) >= kResources) return Errno::Invalid;
  TRY(set_limit(args, *args.thread.process, args.u32(0), wanted));
  return 0;
}

SysResult<int64_t> sys_getrusage(SyscallArgs& args) {
  constexpr int32_t kSelf = 0, kChildren = -1, kThread = 1;
  Process& self = *args.thread.process;
  Usage usage{0, 0};
  switch (args.i32(0)) {
    case kSelf:
      usage = {process_cpu_ns(self), memory_heap_used()};
      break;
    case kThread:
      usage = {thread_cpu_ns(args.thread), memory_heap_used()};
      break;
    case kChildren:
      usage.cpu_ns = self.children_cpu_ns;
      break;
    default:
      return Errno::Invalid;
  }
  TRY(store_usage(args.a[1], usage));
  return 0;
}

SysResult<int64_t> sys_times(SyscallArgs& args) {
  constexpr uint64_t kTick = kSecond / 100;
  Process& self = *args.thread.process;
  const auto ticks = static_cast<int64_t>(monotonic_ns() / kTick);
  // struct tms: user, system, and the same of children
  const int64_t out[4] = {static_cast<int64_t>(process_cpu_ns(self) / kTick), 0,
                          static_cast<int64_t>(self.children_cpu_ns / kTick), 0};
  if (args.a[0] != 0) TRY(store_user(args.a[0], out));
  return ticks;
}

}  // namespace cloister::enclave
