#include "agent/system_kernel.h"

#include <unistd.h>

#include <cerrno>

#include "boundary/config.h"
#include "boundary/launch.h"

namespace cloister::agent {
namespace {

enum PrivateCall : long {
  kReport = 0x10000,
  kLaunchInfo = 0x10001,
  kConfigure = 0x10002,
  kNextEvent = 0x10003,
  kAcknowledge = 0x10004,
  kFail = 0x10005,
};

Error call_error(std::string_view what) {
  const int number = errno;
  return Error(Code::Internal, std::string("the enclave's kernel refuses ").append(what) + ": error " +
                                   std::to_string(number));
}

// Calls that fill a buffer and return how much of it.
Result<Bytes> filled(long number, size_t limit, std::string_view what) {
  Bytes buffer(limit);
  for (;;) {
    const long size = ::syscall(number, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 || static_cast<size_t>(size) > buffer.size()) return call_error(what);
    buffer.resize(static_cast<size_t>(size));
    return buffer;
  }
}

}  // namespace

Result<Report> SystemKernel::report(const TargetInfo& target, const ByteArray<64>& data) {
  // EREPORT wants aligned operands (SDM: 512, 128 and 512 bytes); the kernel copies, the alignment costs
  // nothing.
  alignas(512) TargetInfo aligned_target = target;
  alignas(128) ByteArray<64> aligned_data = data;
  alignas(512) Report report{};
  if (::syscall(kReport, aligned_target.data(), aligned_data.data(), report.data()) < 0) {
    return call_error("a report");
  }
  return report;
}

Result<Bytes> SystemKernel::launch_info() {
  return filled(kLaunchInfo, boundary::kMaxLaunchSize, "the launch record");
}

Result<void> SystemKernel::configure(ByteView config) {
  char text[1024] = {};
  if (::syscall(kConfigure, config.data(), config.size(), text, sizeof(text) - 1) >= 0) return {};
  const Code code = errno == EIO || errno == EBADMSG ? Code::Integrity : Code::Internal;
  if (text[0] == '\0') return call_error("the configuration");
  return Error(code, text);
}

Result<Bytes> SystemKernel::next_event() { return filled(kNextEvent, boundary::kMaxEventSize, "an event"); }

void SystemKernel::acknowledge(uint64_t sequence, std::string_view error) {
  const std::string_view text = error.substr(0, boundary::kMaxAcknowledgeText);
  ::syscall(kAcknowledge, sequence, text.empty() ? 1 : 0, text.data(), text.size());
}

void SystemKernel::fail(Failure kind, std::string_view text) {
  ::syscall(kFail, static_cast<long>(kind), text.data(), text.size());
  ::_exit(static_cast<int>(kind));
}

}  // namespace cloister::agent
