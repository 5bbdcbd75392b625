#include "host/runner.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>

#include "base/process_hardening.h"
#include "boundary/launch.h"
#include "host/fatal.h"
#include "host/hw/enclave.h"
#include "host/process.h"
#include "host/sim/cpu.h"
#include "host/sim/enclave.h"

namespace cloister::host {
namespace {

constexpr size_t kHostStack = 256 << 10;

struct Start {
  HostProcess* process;
  uint32_t index;
};

using Handler = int64_t (*)(Call&);
Handler handler_of(uint64_t number) {
  switch (number) {
#define HOST_CALL(value, name, note) \
  case value:                        \
    return call_##name;
#include "boundary/host_calls.inc"
#undef HOST_CALL
    default:
      return nullptr;
  }
}

void block_signals(bool block) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(block ? SIG_SETMASK : SIG_UNBLOCK, &all, nullptr);
}

boundary::HostCallFrame* make_block() {
  void* block =
      mmap(nullptr, boundary::kBlockSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) fatal("no memory for a thread's call window");
  return static_cast<boundary::HostCallFrame*>(block);
}

// The life of one host thread: in and out of its TCS until the kernel is done with it.
void run_thread(HostProcess& process, uint32_t index) {
  boundary::HostCallFrame* const block = make_block();
  HostThread* thread = process.enclave->begin_thread(index, block);
  {
    const std::scoped_lock guard(process.threads_mutex);
    process.threads[index] = thread;
  }
  block_signals(false);
  for (;;) {
    const auto reason = static_cast<boundary::LeaveReason>(process.enclave->enter(*thread));
    if (reason == boundary::LeaveReason::ThreadEnd) break;
    if (reason == boundary::LeaveReason::Refused)
      fatal("the enclave refuses a thread that it did not ask for");
    if (reason != boundary::LeaveReason::HostCall) fatal("the enclave left in an unknown way");
    serve(process, *thread);
  }
  block_signals(true);
  {
    const std::scoped_lock guard(process.threads_mutex);
    if (process.threads[index] == thread) process.threads[index] = nullptr;
  }
  process.enclave->end_thread(thread);
  munmap(block, boundary::kBlockSize);
}

void* thread_main(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  run_thread(*start->process, start->index);
  return nullptr;
}

Bytes launch_record(const RunOptions& options) {
  boundary::LaunchRecord record;
  record.log_level = static_cast<uint32_t>(options.log_level);
  record.patch_system_calls = options.patch_system_calls;
  record.config_id = options.config_id;
  record.cas_address = options.cas_address;
  record.las_address = options.las_address;
  record.cas_key_hash = options.cas_key_hash;
  record.args = options.args;
  record.environment = options.environment;
  for (const auto& [path, folder] : options.volumes) record.volumes.push_back(path);
  return boundary::encode_launch(record);
}

Result<std::unique_ptr<Enclave>> load_enclave(sgx::LoadedImage& image, const RunOptions& options) {
  if (options.backend == Backend::Hardware) {
    TRY(sgx::accept_measurement(image, sgx::measure(image.plan)));
    const SgxEntry entry = TRY(find_sgx_entry());
    std::unique_ptr<SgxDevice> device = TRY(open_sgx_device());
    return std::unique_ptr<Enclave>(TRY(HwEnclave::load(image, std::move(device), entry)));
  }
  sgx::SimPlatform platform = TRY(sgx::SimPlatform::open(options.sim_state));
  sim_check_machine();
  return std::unique_ptr<Enclave>(TRY(SimEnclave::load(image, std::move(platform), !options.sim_exact)));
}

}  // namespace

bool Call::text(uint64_t size, std::string& out) const {
  if (size > boundary::kTextSize) return false;
  out.assign(reinterpret_cast<const char*>(frame().text), size);
  return true;
}

void answer(HostProcess& process, HostThread& thread) {
  boundary::HostCallFrame& frame = *thread.block;
  Call call{process, thread, {}};
  std::memcpy(call.a, frame.arguments, sizeof(call.a));
  const Handler handler = handler_of(frame.number);
  const int64_t result = handler == nullptr ? -ENOSYS : handler(call);
  std::memcpy(frame.values, call.values, sizeof(call.values));
  frame.result = result;
}

bool HostProcess::start_thread(uint32_t index) {
  auto start = std::make_unique<Start>(Start{this, index});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kHostStack);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // until the new thread has its signal stack
  pthread_t thread;
  const int failed = pthread_create(&thread, &attributes, thread_main, start.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (failed == 0) static_cast<void>(start.release());
  return failed == 0;
}

void HostProcess::wake(uint32_t index, bool interrupt) {
  const std::scoped_lock guard(threads_mutex);
  HostThread* thread = threads[index];
  if (thread == nullptr) return;
  interrupt ? kick(*thread) : host::wake(*thread);
}

namespace {

// Sleeps until the alarm is due, then makes a thread of the enclave look at its clock.
void run_alarms(HostProcess& process) {
  std::unique_lock guard(process.alarm_mutex);
  for (;;) {
    const auto time = process.alarm_time;
    if (time == std::chrono::steady_clock::time_point::max()) {
      process.alarm_changed.wait(guard);
    } else if (std::chrono::steady_clock::now() < time) {
      process.alarm_changed.wait_until(guard, time);
    } else {
      process.alarm_time = std::chrono::steady_clock::time_point::max();
      const uint32_t index = process.alarm_index;
      guard.unlock();
      process.ring(index);
      guard.lock();
    }
  }
}

}  // namespace

void HostProcess::set_alarm(uint32_t index, uint64_t after_ns) {
  constexpr uint64_t kLongest = uint64_t{1} << 60;
  const std::scoped_lock guard(alarm_mutex);
  alarm_index = index;
  alarm_time = std::chrono::steady_clock::now() + std::chrono::nanoseconds(std::min(after_ns, kLongest));
  if (!has_alarm_thread) {
    has_alarm_thread = true;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([this] { run_alarms(*this); }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  alarm_changed.notify_one();
}

void HostProcess::ring(uint32_t index) {
  const std::scoped_lock guard(threads_mutex);
  HostThread* thread = threads[index];
  for (size_t i = 0; thread == nullptr && i < threads.size(); ++i) thread = threads[i];
  if (thread == nullptr) return;
  // As if a signal had come: the kernel looks at its timers when it takes its events.
  __atomic_fetch_or(&thread->block->events, uint64_t{1} << (SIGALRM - 1), __ATOMIC_SEQ_CST);
  kick(*thread);
}

void HostProcess::end(int exit_status, uint64_t exit_kind) {
  {
    const std::scoped_lock guard(end_mutex);
    if (!has_ended) {
      has_ended = true;
      status = exit_status;
      kind = exit_kind;
    }
  }
  ended.notify_all();
  for (;;) pause();
}

Result<EnclaveEnd> run_enclave(const RunOptions& options) {
  sgx::LoadedImage image = TRY(sgx::open_image(options.image));
  // Its threads outlive this function: they sleep until the process ends.
  auto* process = new HostProcess;
  process->options = new RunOptions(options);
  process->launch_record = launch_record(options);
  if (process->launch_record.size() > boundary::kMaxLaunchSize)
    return Error(Code::InvalidArgument,
                 "arguments and environment are too long for the enclave (1 MiB together)");
  process->enclave = TRY(load_enclave(image, options));
  forbid_core_dumps();
  process->enclave->install_handlers();
  block_signals(true);
  if (!process->start_thread(0)) return Error(Code::Unavailable, "cannot start a thread");
  std::unique_lock guard(process->end_mutex);
  process->ended.wait(guard, [process] { return process->has_ended; });
  if (process->kind == 0) return EnclaveEnd{process->status, true};
  return EnclaveEnd{static_cast<int>(process->kind & 0xff), false};
}

Result<ByteArray<32>> measure_image(const std::filesystem::path& image) { return sgx::measure_folder(image); }

}  // namespace cloister::host
