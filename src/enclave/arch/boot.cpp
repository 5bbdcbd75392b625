// From the first entry to the first program: the measured boot page and manifest, the kernel's own state,
// then either the program itself (unattested) or the agent, which asks the service what to run.
#include "enclave/arch/boot.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "boundary/config.h"
#include "crypto/cpu.h"
#include "crypto/sha256.h"
#include "enclave/arch/entry.h"
#include "enclave/arch/heap.h"
#include "enclave/arch/host.h"
#include "enclave/arch/host_call.h"
#include "enclave/arch/log.h"
#include "enclave/arch/log_level.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/vector_state.h"
#include "enclave/loader/start.h"
#include "enclave/memory/manager.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/syscalls/private_calls.h"
#include "enclave/vfs/vfs.h"

extern "C" {
uint32_t boot_claimed = 0;  // entry.S: the first thread to come takes it
using Constructor = void (*)();
extern Constructor __init_array_start[], __init_array_end[];
}

namespace cloister::enclave {
namespace {

struct State {
  sgx::Manifest manifest;
  boundary::LaunchRecord launch;
  Process* user = nullptr;
  Process* agent = nullptr;
};
State* g_state;
const sgx::BootInfo* g_boot;

[[noreturn]] void refuse(std::string_view text) { end_enclave(70, text); }

void read_manifest() {
  const auto* bytes = reinterpret_cast<const uint8_t*>(g_boot->manifest_address);
  auto decoded = sgx::decode_manifest({bytes, g_boot->manifest_size});
  if (!decoded.ok()) refuse("the image's manifest is malformed");
  g_state->manifest = std::move(decoded).value();
}

void read_launch() {
  const Bytes record = host::launch_info();
  auto decoded = boundary::decode_launch(record);
  if (!decoded.ok()) refuse("the launch record is malformed");
  g_state->launch = std::move(decoded).value();
  set_log_level(g_state->launch.log_level);
}

void enter_program(Process& process, const UserEntry& entry, UserFrame& frame) {
  (void)process;
  frame = UserFrame{};
  frame.rip = entry.rip;
  frame.rsp = entry.rsp;
  frame.rflags = 0x202;
  frame.original_rax = ~uint64_t{0};
  frame.full_restore = 1;
  set_fs_base(0);
  vector_reset_user();
}

void boot_program(ThreadBlock& block, uint32_t index, UserFrame& frame) {
  auto* process = new Process;
  process->pid = attested() ? kAgentPid : kProgramPid;
  process->is_agent = attested();
  process->memory = make_ref<Memory>(process->pid);
  (attested() ? g_state->agent : g_state->user) = process;
  Thread& thread = bind_boot_thread(block, index, *process);
  thread.frame = &frame;
  kernel_lock();
  turn_take();
  // A session would name another command than the measured one, which the seal key stands for.
  if (attested() && manifest().standalone)
    end_enclave(4, "this image runs its own command only, without a session");
  if (auto ready = vfs_init(g_state->manifest); !ready.ok()) {
    end_enclave(3, "the image's root volume is not the measured one");
  }
  std::string why;
  const auto entry = attested() ? start_agent(*process, why) : start_unattested(*process, why);
  if (!entry.ok()) end_enclave(entry.error() == Errno::Io ? 3 : 1, "cannot start the program: " + why);
  enter_program(*process, entry.value(), frame);
  kernel_unlock();
}

}  // namespace

const sgx::BootInfo& boot_info() { return *g_boot; }
const sgx::Manifest& manifest() { return g_state->manifest; }
const boundary::LaunchRecord& launch_record() { return g_state->launch; }
bool attested() { return !g_state->launch.config_id.empty(); }
Process* user_process() { return g_state != nullptr ? g_state->user : nullptr; }
Process* agent_process() { return g_state != nullptr ? g_state->agent : nullptr; }

// Called by the agent's `configure`.
SysResult<void> start_configured(ByteView blob, std::string& why) {
  if (g_state->user != nullptr) return Errno::Busy;
  auto config = boundary::decode_config(blob);
  if (!config.ok()) {
    why = config.error().message();
    return Errno::Invalid;
  }
  auto process = std::make_unique<Process>();
  process->memory = make_ref<Memory>(process->pid);
  const UserEntry entry = TRY(start_from_config(*process, config.value(), why));
  UserFrame frame{};
  frame.rip = entry.rip;
  frame.rsp = entry.rsp;
  frame.rflags = 0x202;
  frame.original_rax = ~uint64_t{0};
  frame.full_restore = 1;
  g_state->user = process.get();
  auto thread = start_thread(*process, frame, 0);
  if (!thread.ok()) {
    g_state->user = nullptr;
    why = "every thread of the image is in use: build it with a larger --threads";
    return thread.error();
  }
  thread.value()->signal_mask = 0;
  (void)process.release();
  return {};
}

void finish_process(Process& process) {
  if (process.parent != nullptr) return finish_child(process);
  memory_write_back_all();
  memory_forget_files();
  process_close_files(process);
  if (process.is_agent) {
    // The agent's end is the end of everything; after the program it is the normal one.
    const Process* user = g_state->user;
    const bool normal = user != nullptr && user->exiting && user->finished;
    if (!normal) end_enclave(70, "the agent ended before the program");
    host::exit(wait_status_to_exit(user->exit_status), 0);
  }
  int32_t status = wait_status_to_exit(process.exit_status);
  uint32_t lost = 0;  // not zero: the enclave's failure, not the program's
  if (!vfs_shutdown().ok()) {
    log(LogLevel::Error, "the last state of a volume could not be made durable");
    status = 1;
    process.exit_status = 1 << 8;
    lost = 1;
  }
  process.finished = true;
  if (g_state->agent != nullptr) report_exit(status);
  host::exit(status, lost);
}

}  // namespace cloister::enclave

using namespace cloister;           // NOLINT: called by entry.S
using namespace cloister::enclave;  // NOLINT

namespace {

void boot_first(ThreadBlock* block, uint64_t host_block, UserFrame* frame) {
  const auto* boot = reinterpret_cast<const sgx::BootInfo*>(sgx::kBootInfoAddress);
  g_boot = boot;
  const auto address = reinterpret_cast<uint64_t>(block);
  const auto index = static_cast<uint32_t>((address - boot->block(0)) / boot->thread_stride);
  vector_init();
  adopt_boot_thread(*block, index, boot->threads);
  adopt_host_block(host_block);
  crypto::init_cpu();
  vector_allow_moves();
  heap_init(boot->heap_begin, boot->heap_end);
  for (Constructor* f = __init_array_start; f != __init_array_end; ++f) (*f)();
  g_state = new State;
  read_manifest();
  read_launch();
  memory_init(*boot, g_state->manifest.heap_size);
  boot_program(*block, index, *frame);
}

}  // namespace

void kernel_first_entry(ThreadBlock* block, uint64_t host_block, UserFrame* frame) {
  if (block->thread == nullptr) return boot_first(block, host_block, frame);
  adopt_host_block(host_block);
  set_fs_base(block->initial_fs);
  // start_thread's caller finishes its description of this thread before it releases the lock.
  kernel_lock();
  turn_take();
  Thread& thread = current();
  if (thread.set_child_tid != 0) (void)store_user(thread.set_child_tid, thread.tid);
  kernel_unlock();
}
