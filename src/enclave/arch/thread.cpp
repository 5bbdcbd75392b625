// Thread table, start and end of threads and processes. See thread.h.
#include "enclave/arch/thread.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "enclave/arch/boot.h"
#include "enclave/arch/entry.h"
#include "enclave/arch/futex.h"
#include "enclave/arch/host.h"
#include "enclave/arch/host_call.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread_block.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/vector_state.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "sgx/layout.h"

namespace cloister::enclave {
namespace {

static_assert(sgx::kStackOffset + sgx::kStackSize - sgx::kBlockOffset == BLOCK_TO_STACK_TOP);
static_assert(sgx::kUserEnd == USER_END && sgx::kElrangeSize == ELRANGE_END);
static_assert(sgx::kVectorSize == kVectorAreaSize);

constexpr int32_t kFirstThreadId = 100;

Thread* g_slots[sgx::kMaxThreads];    // in use
Thread* g_objects[sgx::kMaxThreads];  // kept for the next user of the TCS
uint32_t g_limit = 0;
int32_t g_next_tid = kFirstThreadId;
WaitQueue g_thread_gone;

ThreadBlock* block_of(uint32_t index) { return reinterpret_cast<ThreadBlock*>(boot_info().block(index)); }

Thread& fresh_thread(uint32_t index, Process& process) {
  if (g_objects[index] == nullptr) g_objects[index] = new Thread;
  Thread& thread = *g_objects[index];
  thread = Thread{};
  thread.index = index;
  thread.process = &process;
  thread.block = block_of(index);
  // The first thread of a process has the process's number.
  bool first = true;
  for_each_thread(process, [&](Thread&) { return first = false; });
  thread.tid = first ? process.pid : g_next_tid++;
  g_slots[index] = &thread;
  return thread;
}

// A thread that the host says it could not start. The host may have entered it all the same: then it runs, on
// the stack and with the block that the next one would get.
bool take_back(ThreadBlock& block) {
  uint64_t ready = STATE_READY;
  return __atomic_compare_exchange_n(&block.state, &ready, STATE_IDLE, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

}  // namespace

Thread& current() { return *this_block()->thread; }
Thread* thread_slot(uint32_t index) { return index < g_limit ? g_slots[index] : nullptr; }
uint32_t thread_limit() { return g_limit; }

uint32_t processor_count() {
  static const uint32_t count = std::min(host::processors(), g_limit);
  return count;
}

Thread* find_thread(int32_t tid) {
  for (uint32_t i = 0; i < g_limit; ++i) {
    if (g_slots[i] != nullptr && g_slots[i]->tid == tid) return g_slots[i];
  }
  return nullptr;
}

int32_t next_thread_id() { return g_next_tid++; }

void prepare_block(ThreadBlock& block, uint32_t index) {
  const sgx::BootInfo& boot = boot_info();
  block.self = &block;
  block.gate = reinterpret_cast<uint64_t>(&syscall_gate);
  block.stack_top = boot.stack_top(index);
  block.stack_low = boot.stack_low(index);
  block.work = 0;
  block.vector_area = boot.vector_area(index);
  block.vector_mask = vector_mask();
  block.vector_depth = 0;
  block.ssa_registers = boot.ssa(index) + boot.ssa_frame_size - REGISTERS_SIZE;
}

void adopt_boot_thread(ThreadBlock& block, uint32_t index, uint32_t limit) {
  g_limit = limit;
  prepare_block(block, index);
}

Thread& bind_boot_thread(ThreadBlock& block, uint32_t index, Process& process) {
  Thread& thread = fresh_thread(index, process);
  block.thread = &thread;
  return thread;
}

SysResult<Thread*> start_thread(Process& process, const UserFrame& frame, uint64_t fs_base) {
  for (uint32_t index = 0; index < g_limit; ++index) {
    ThreadBlock& block = *block_of(index);
    if (g_slots[index] != nullptr || __atomic_load_n(&block.state, __ATOMIC_ACQUIRE) != STATE_IDLE) continue;
    Thread& thread = fresh_thread(index, process);
    thread.fs_base = fs_base;
    thread.signal_mask = current().signal_mask;
    thread.policy = current().policy;
    thread.affinity = current().affinity;
    thread.timer_slack_ns = current().timer_slack_ns;
    thread.no_new_privileges = current().no_new_privileges;
    prepare_block(block, index);
    block.work = 1;  // a signal that the host has noted before the first entry shows itself by nothing else
    block.thread = &thread;
    block.initial_fs = fs_base;
    vector_save_user();
    std::memcpy(reinterpret_cast<void*>(block.vector_area), vector_user_area(), vector_size());
    block.vector_saved = VECTOR_IN_AREA;
    auto* top = reinterpret_cast<UserFrame*>(block.stack_top - FRAME_SIZE);
    *top = frame;
    thread.frame = top;
    __atomic_store_n(&block.state, STATE_READY, __ATOMIC_RELEASE);
    if (host::thread_start(index).ok() || !take_back(block)) return &thread;
    g_slots[index] = nullptr;
    return Errno::Again;
  }
  static bool said = false;
  if (!std::exchange(said, true))
    log(LogLevel::Warning, "all {} threads of the image are in use: build it with a larger --threads",
        g_limit);
  return Errno::Again;
}

void wake_thread(Thread& thread, bool interrupt) {
  if (interrupt) __atomic_store_n(&thread.block->work, 1, __ATOMIC_SEQ_CST);
  if (&thread == &current()) return;
  if (thread.parked) {
    thread.parked = false;
    unpark_after_unlock(thread.index);
  } else if (interrupt) {
    host::unpark(thread.index, true);
  }
}

void end_current_thread() {
  Thread& self = current();
  Process& process = *self.process;
  robust_list_release(self);
  if (self.clear_child_tid != 0) {
    const uint32_t zero = 0;
    if (store_user(self.clear_child_tid, zero).ok()) futex_wake(self.clear_child_tid, 1);
  }
  process.cpu_ended_ns = cpu_sum(process.cpu_ended_ns, thread_cpu_ns(self));
  g_slots[self.index] = nullptr;
  g_thread_gone.wake_all();
  bool last = true;
  for_each_thread(process, [&](Thread&) { return last = false; });
  if (last) finish_process(process);
  turn_give();
  kernel_unlock();
  leave_for_good(static_cast<uint64_t>(boundary::LeaveReason::ThreadEnd), STATE_IDLE);
}

SysResult<void> end_other_threads() {
  Thread& self = current();
  if (self.exiting) return Errno::Interrupted;
  bool alone = false;
  while (!alone) {
    alone = true;
    for_each_thread(*self.process, [&](Thread& thread) {
      if (&thread == &self) return true;
      alone = false;
      if (!thread.exiting) {
        thread.exiting = true;
        wake_thread(thread, true);
      }
      return true;
    });
    if (!alone) g_thread_gone.wait(kNoDeadline, false);
    if (self.process->exiting) return Errno::Interrupted;
  }
  self.tid = self.process->pid;
  return {};
}

void end_process(uint32_t wait_status) {
  Process& process = *current().process;
  if (!process.exiting) {
    process.exiting = true;
    process.exit_status = wait_status;
    process.child_changed.wake_all();  // who waits in vfork
  }
  for_each_thread(process, [&](Thread& thread) {
    thread.exiting = true;
    wake_thread(thread, true);
    return true;
  });
  end_current_thread();
}

void set_temporary_mask(uint64_t mask) {
  Thread& self = current();
  self.saved_mask = self.signal_mask;
  self.restore_saved_mask = true;
  self.signal_mask = mask & ~(signal_bit(kSigKill) | signal_bit(kSigStop));
}

void end_temporary_mask(bool interrupted) {
  Thread& self = current();
  // After an interruption the handler runs with the temporary mask and puts the saved one into its frame.
  if (interrupted) {
    __atomic_store_n(&self.block->work, 1, __ATOMIC_SEQ_CST);
    return;
  }
  self.signal_mask = self.saved_mask;
  self.restore_saved_mask = false;
  __atomic_store_n(&self.block->work, 1, __ATOMIC_SEQ_CST);
}

}  // namespace cloister::enclave
