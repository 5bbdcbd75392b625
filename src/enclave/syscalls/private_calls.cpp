// The agent's calls. Events for the service wait in a queue; the agent fetches one after the other and
// answers each.
#include "enclave/syscalls/private_calls.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "enclave/arch/boot.h"
#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/arch/sgx_keys.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/wait.h"
#include "enclave/process.h"

namespace cloister::enclave {
namespace {

enum PrivateCall : uint64_t {
  kReport = 0x10000,
  kLaunchInfo = 0x10001,
  kConfigure = 0x10002,
  kNextEvent = 0x10003,
  kAcknowledge = 0x10004,
  kFail = 0x10005,
};

struct Events {
  std::deque<boundary::AgentEvent> queue;
  WaitQueue ready, answered;
  uint64_t last_sequence = 0, acknowledged = 0;
  bool refused = false;
};
Events* g_events;
Events& events() {
  if (g_events == nullptr) g_events = new Events;
  return *g_events;
}

void post(boundary::AgentEvent event) {
  event.sequence = ++events().last_sequence;
  events().queue.push_back(std::move(event));
  events().ready.wake_all();
}

SysResult<int64_t> report_for_agent(SyscallArgs& args) {
  sgx::TargetInfo target;
  ByteArray<64> data;
  TRY(copy_from_user(&target, args.a[0], sizeof(target)));
  TRY(copy_from_user(data.data(), args.a[1], data.size()));
  const sgx::Report report = make_report(target, data);
  TRY(copy_to_user(args.a[2], &report, sizeof(report)));
  return 0;
}

SysResult<int64_t> configure_program(SyscallArgs& args) {
  if (args.a[1] > boundary::kMaxConfigSize) return Errno::TooBig;
  Bytes bytes(args.a[1]);
  TRY(copy_from_user(bytes.data(), args.a[0], bytes.size()));
  const SecretBytes blob(std::move(bytes));
  std::string why;
  const auto started = start_configured(blob.expose(), why);
  if (started.ok()) return 0;
  if (!why.empty() && args.a[3] != 0)
    TRY(copy_to_user(args.a[2], why.c_str(), std::min<size_t>(why.size() + 1, args.a[3])));
  return started.error();
}

SysResult<int64_t> next_event(SyscallArgs& args) {
  Events& e = events();
  while (e.queue.empty()) {
    if (e.ready.wait() == WaitEnd::Interrupted) return Errno::Interrupted;
  }
  const Bytes bytes = boundary::encode_event(e.queue.front());
  if (bytes.size() > args.a[1]) return Errno::TooBig;
  TRY(copy_to_user(args.a[0], bytes.data(), bytes.size()));
  e.queue.pop_front();
  return static_cast<int64_t>(bytes.size());
}

SysResult<int64_t> acknowledge(SyscallArgs& args) {
  Events& e = events();
  if (args.a[0] > e.last_sequence) return Errno::Invalid;
  e.acknowledged = std::max(e.acknowledged, args.a[0]);
  if (args.a[1] == 0) {
    e.refused = true;
    std::string text(std::min<uint64_t>(args.a[3], boundary::kMaxAcknowledgeText), '\0');
    if (copy_from_user(text.data(), args.a[2], text.size()).ok()) {
      log(LogLevel::Error, "the service refuses new tags: {}", text);
    }
  }
  e.answered.wake_all();
  return 0;
}

SysResult<int64_t> fail(SyscallArgs& args) {
  const int kind = args.i32(0);
  if (kind < 3 || kind > 5) return Errno::Invalid;
  std::string text(std::min<uint64_t>(args.a[2], 4096), '\0');
  TRY(copy_from_user(text.data(), args.a[1], text.size()));
  end_enclave(kind, text);
}

bool wait_for_answer(uint64_t sequence) {
  Events& e = events();
  while (e.acknowledged < sequence) e.answered.wait(kNoDeadline, false);
  return !e.refused;
}

}  // namespace

SysResult<int64_t> private_call(uint64_t number, SyscallArgs& args) {
  switch (number) {
    case kReport:
      return report_for_agent(args);
    case kLaunchInfo: {
      const Bytes record = host::launch_info();
      if (record.size() > args.a[1]) return Errno::TooBig;
      TRY(copy_to_user(args.a[0], record.data(), record.size()));
      return static_cast<int64_t>(record.size());
    }
    case kConfigure:
      return configure_program(args);
    case kNextEvent:
      return next_event(args);
    case kAcknowledge:
      return acknowledge(args);
    case kFail:
      return fail(args);
    default:
      return Errno::NoSys;
  }
}

SysResult<void> tags_changed(std::span<const boundary::TagChange> changes, bool wait) {
  if (agent_process() == nullptr || changes.empty()) return {};
  if (events().refused) return Errno::Io;
  boundary::AgentEvent event;
  event.kind = boundary::AgentEvent::Kind::TagsChanged;
  event.changes.assign(changes.begin(), changes.end());
  post(std::move(event));
  const uint64_t sequence = events().last_sequence;
  if (wait && !wait_for_answer(sequence)) return Errno::Io;
  return {};
}

SysResult<void> tags_answered() {
  if (agent_process() == nullptr || wait_for_answer(events().last_sequence)) return {};
  return Errno::Io;
}

void report_exit(int32_t status) {
  boundary::AgentEvent event;
  event.kind = boundary::AgentEvent::Kind::Exited;
  event.status = status;
  post(std::move(event));
  wait_for_answer(events().last_sequence);
}

}  // namespace cloister::enclave
