// The host of a real enclave, with lies: runs an image as `cloister run` does, but about one reply in RATE is
// false. Which ones and how is drawn from SEED, for each thread of the enclave on its own. What leaves the
// enclave is searched for the word that the guest program keeps secret (guest.c).
//
// Lies that only withhold a service (a wake that never comes, memory that is not there) are not told: they
// end in a hang, which the host can have without them. Times jump by little, for the same reason.
//
// Usage: lying_host SEED RATE IMAGE [ARGUMENTS]. LYING_HOST_LIES=name,… tells only those,
// LYING_HOST_CALLS=word only in replies to calls whose name contains the word. Exit codes: of the enclave; 98
// it wrote where it must not, 99 the secret came out.
#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include "host/process.h"
#include "host_options.h"

namespace cloister::host {
namespace {

using boundary::HostCall;

constexpr uint64_t kSecret = 0x7d93c5e11f42a86b;  // guest.c makes the same at run time
constexpr uint8_t kPadding = 0x6b;
constexpr int kWildWrite = 98, kLeak = 99;

class Random {
 public:
  void seed(uint64_t value) { state_ = value; }
  uint64_t next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  uint64_t below(uint64_t limit) { return next() % limit; }

 private:
  uint64_t state_ = 0;
};

enum class Lie {
  Error,
  ErrorAfter,
  Storm,
  Short,
  Number,
  Values,
  Content,
  Time,
  Events,
  Kick,
  Start,
  Memory,
  Count
};
constexpr const char* kLieNames[] = {"error",   "error-after", "storm",  "short", "number", "values",
                                     "content", "time",        "events", "kick",  "start",  "memory"};
static_assert(std::size(kLieNames) == static_cast<size_t>(Lie::Count));

uint64_t g_seed = 0, g_rate = 0;
std::vector<Lie> g_told;
std::atomic<uint64_t> g_calls{0}, g_lies{0};

struct Liar {
  bool started = false;
  Random random;
  std::atomic<uint64_t> calls{0};
  uint64_t storm = 0, storm_call = 0;  // so many more of these calls fail with EINTR
};
Liar g_liars[sgx::kMaxThreads];

[[noreturn]] void end(int code, const char* what, const HostThread& thread) {
  std::fprintf(stderr, "lying_host: %s: call %lu of thread %u, seed %lu\n", what, thread.block->number,
               thread.index, g_seed);
  _exit(code);
}

// ---- What leaves the enclave.

bool holds_secret(const void* begin, size_t size) {
  return memmem(begin, size, &kSecret, sizeof(kSecret)) != nullptr;
}

// Bytes of the arena that the call gives to the host.
size_t given(const boundary::HostCallFrame& frame) {
  const auto at_most = [](uint64_t size) { return std::min<uint64_t>(size, boundary::kArenaSize); };
  switch (static_cast<HostCall>(frame.number)) {
    case HostCall::ConsoleWrite:
      return at_most(frame.arguments[1]);
    case HostCall::SocketSend:
      return at_most(frame.arguments[2]);
    case HostCall::StorageWrite:
      return at_most(frame.arguments[2] + frame.arguments[3]);
    case HostCall::SocketPoll:
      return at_most(frame.arguments[0] * sizeof(boundary::PollRecord));
    case HostCall::Exit:
      return boundary::kArenaSize;
    default:
      return 0;
  }
}

void watch(const HostThread& thread) {
  auto* begin = reinterpret_cast<uint8_t*>(thread.block);
  if (holds_secret(begin, sizeof(boundary::HostCallFrame))) end(kLeak, "the secret is in a frame", thread);
  const bool all = g_calls.fetch_add(1) % 256 == 0;
  if (holds_secret(begin + boundary::kArenaOffset, all ? boundary::kArenaSize : given(*thread.block)))
    end(kLeak, "the secret is in the arena", thread);
  const uint8_t* padding = begin + sizeof(boundary::HostCallFrame);
  const auto is_padding = [](uint8_t byte) { return byte == kPadding; };
  if (!std::all_of(padding, padding + 512, is_padding) ||
      !std::all_of(begin + boundary::kArenaOffset - 512, begin + boundary::kArenaOffset, is_padding))
    end(kWildWrite, "a write between frame and arena", thread);
}

// ---- What comes back.

int64_t some_errno(Random& random) {
  constexpr int64_t kUsual[] = {EINTR,  EAGAIN, EIO,    ENOMEM,     ENOENT, EACCES, EBADF,
                                EFAULT, EPIPE,  EINVAL, ECONNRESET, ENOSPC, EBUSY,  ETIMEDOUT};
  return random.below(4) == 0 ? static_cast<int64_t>(random.below(4095)) + 1
                              : kUsual[random.below(std::size(kUsual))];
}

uint64_t some_number(Random& random, uint64_t near) {
  constexpr uint64_t kEdges[] = {0,
                                 1,
                                 boundary::kArenaSize,
                                 boundary::kArenaSize + 1,
                                 INT32_MAX,
                                 UINT32_MAX,
                                 INT64_MAX,
                                 uint64_t{1} << 63,
                                 UINT64_MAX};
  switch (random.below(3)) {
    case 0:
      return kEdges[random.below(std::size(kEdges))];
    case 1:
      return near + random.below(9) - 4;
    default:
      return random.next() >> random.below(64);
  }
}

// Where in the arguments the size of the data stands, or -1.
int size_argument(HostCall call) {
  switch (call) {
    case HostCall::ConsoleRead:
    case HostCall::ConsoleWrite:
      return 1;
    case HostCall::StorageRead:
    case HostCall::SocketSend:
    case HostCall::SocketReceive:
      return 2;
    default:
      return -1;
  }
}

// Without them the enclave would only wait.
bool must_happen(HostCall call) {
  return call == HostCall::Unpark || call == HostCall::Alarm || call == HostCall::Clock;
}

bool has_content(HostCall call) {
  return call == HostCall::StorageRead || call == HostCall::SocketReceive || call == HostCall::SocketPoll ||
         call == HostCall::PollSetWait || call == HostCall::SocketAccept || call == HostCall::SocketName ||
         call == HostCall::SocketOption;
}

// What went wrong is to be read.
bool tells_of_errors(const boundary::HostCallFrame& frame) {
  const auto call = static_cast<HostCall>(frame.number);
  return call == HostCall::Log || (call == HostCall::ConsoleWrite && frame.arguments[0] == 2);
}

bool suits(Lie lie, const boundary::HostCallFrame& frame) {
  const auto call = static_cast<HostCall>(frame.number);
  const bool console = call == HostCall::ConsoleWrite || call == HostCall::ConsoleRead;
  const int size = size_argument(call);
  if (call == HostCall::Exit || tells_of_errors(frame)) return false;
  switch (lie) {
    case Lie::Error:
    case Lie::Storm:
      return !must_happen(call);
    case Lie::ErrorAfter:  // a program repeats what it could not print
      return !console && call != HostCall::ThreadStart;
    case Lie::Number:
      return !console && !must_happen(call) && call != HostCall::ThreadStart;
    case Lie::Short:
      return size >= 0 && frame.arguments[size] != 0;
    case Lie::Values:
      return call != HostCall::Clock;
    case Lie::Content:
      return has_content(call);
    case Lie::Time:
      return call == HostCall::Clock;
    case Lie::Start:
      return call == HostCall::ThreadStart;
    case Lie::Memory:
      return call == HostCall::MemoryCommit;
    default:
      return true;
  }
}

const char* name_of(uint64_t call) {
  switch (call) {
#define HOST_CALL(number, name, note) \
  case number:                        \
    return #name;
#include "boundary/host_calls.inc"
#undef HOST_CALL
    default:
      return "?";
  }
}

bool is_wanted_call(uint64_t call) {
  static const char* const word = std::getenv("LYING_HOST_CALLS");
  return word == nullptr || std::strstr(name_of(call), word) != nullptr;
}

// The lies that are told: all, or those that the environment names.
std::vector<Lie> wanted_lies() {
  const char* only = std::getenv("LYING_HOST_LIES");
  const std::string list = "," + std::string(only != nullptr ? only : "") + ",";
  std::vector<Lie> lies;
  for (size_t i = 0; i < std::size(kLieNames); ++i) {
    if (only == nullptr || list.find("," + std::string(kLieNames[i]) + ",") != std::string::npos)
      lies.push_back(static_cast<Lie>(i));
  }
  return lies;
}

void flip(Random& random, uint8_t* begin, size_t size) {
  for (uint64_t n = random.below(8) + 1; n > 0 && size > 0; --n)
    begin[random.below(size)] ^= static_cast<uint8_t>(random.next() | 1);
}

void change_content(Random& random, HostThread& thread) {
  boundary::HostCallFrame& frame = *thread.block;
  const auto count = static_cast<uint64_t>(std::max<int64_t>(frame.result, 0));
  flip(random, reinterpret_cast<uint8_t*>(thread.block) + boundary::kArenaOffset,
       std::min<uint64_t>(std::max<uint64_t>(count, 8), boundary::kArenaSize));
  flip(random, frame.text, 128);
}

// Ten milliseconds back or ahead; anything for the counter.
void change_time(Random& random, boundary::HostCallFrame& frame) {
  constexpr uint64_t kJump = 10'000'000;
  for (int i = 0; i < 2; ++i) frame.values[i] += random.below(2 * kJump) - kJump;
  frame.values[2] = random.below(2) == 0 ? random.next() >> random.below(64) : frame.values[2];
}

// Signals that the host may forward and the program ignores, and those it may not.
void invent_events(Random& random, boundary::HostCallFrame& frame) {
  constexpr uint64_t kIgnored = uint64_t{1} << (SIGCONT - 1) | uint64_t{1} << (SIGWINCH - 1);
  const uint64_t events = random.next() & (~boundary::kForwardedSignals | kIgnored);
  __atomic_fetch_or(&frame.events, events, __ATOMIC_SEQ_CST);
}

// The new thread is inside when the old one hears that there is none: it waits for the kernel lock, which is
// its first call.
void start_and_deny(HostProcess& process, HostThread& thread) {
  const std::atomic<uint64_t>& calls = g_liars[thread.block->arguments[0] % sgx::kMaxThreads].calls;
  const uint64_t before = calls.load();
  answer(process, thread);
  for (int ms = 0; ms < 5000 && calls.load() == before; ++ms) usleep(1000);
  thread.block->result = -EAGAIN;
}

// The lie takes the place of the reply, or changes it. It suits the call.
void tell(Lie lie, Liar& liar, HostProcess& process, HostThread& thread) {
  boundary::HostCallFrame& frame = *thread.block;
  Random& random = liar.random;
  const int at = size_argument(static_cast<HostCall>(frame.number));
  const uint64_t asked = at >= 0 ? frame.arguments[at] : 0;
  if (lie == Lie::Short) frame.arguments[at] = random.below(asked) + 1;
  if (lie == Lie::Start) return start_and_deny(process, thread);
  if (lie != Lie::Error && lie != Lie::Storm && lie != Lie::Memory) answer(process, thread);
  switch (lie) {
    case Lie::Error:
    case Lie::ErrorAfter:
      frame.result = -some_errno(random);
      break;
    case Lie::Storm:
      liar.storm = random.below(100);
      liar.storm_call = frame.number;
      frame.result = -EINTR;
      break;
    case Lie::Memory:
      frame.result = -ENOMEM;
      break;
    case Lie::Number:
      frame.result = static_cast<int64_t>(
          some_number(random, random.below(2) == 0 ? asked : static_cast<uint64_t>(frame.result)));
      break;
    case Lie::Values:
      for (uint64_t& value : frame.values) value = some_number(random, value);
      break;
    case Lie::Content:
      change_content(random, thread);
      break;
    case Lie::Time:
      change_time(random, frame);
      break;
    case Lie::Events:
      invent_events(random, frame);
      break;
    case Lie::Kick:
      process.wake(static_cast<uint32_t>(random.below(sgx::kMaxThreads)), true);
      break;
    default:
      break;
  }
}

void begin_block(Liar& liar, HostThread& thread) {
  auto* begin = reinterpret_cast<uint8_t*>(thread.block);
  std::memset(begin + sizeof(boundary::HostCallFrame), kPadding,
              boundary::kArenaOffset - sizeof(boundary::HostCallFrame));
  if (!liar.started) liar.random.seed(g_seed * 1'000'003 + thread.index);
  liar.started = true;
}

}  // namespace

// In place of the one of cloister_host.
void serve(HostProcess& process, HostThread& thread) {
  Liar& liar = g_liars[thread.index];
  const uint8_t* padding = reinterpret_cast<uint8_t*>(thread.block) + sizeof(boundary::HostCallFrame);
  if (!liar.started || *padding == 0) begin_block(liar, thread);
  liar.calls.fetch_add(1);
  watch(thread);
  if (liar.storm > 0 && liar.storm_call == thread.block->number && !tells_of_errors(*thread.block)) {
    --liar.storm;
    thread.block->result = -EINTR;
    return;
  }
  // Thread starts are rare, and the most is at stake.
  const bool is_start = thread.block->number == static_cast<uint64_t>(HostCall::ThreadStart);
  const Lie lie = g_told[liar.random.below(g_told.size())];
  const bool now = liar.random.below(is_start ? std::min<uint64_t>(g_rate, 8) : g_rate) == 0;
  const uint64_t call = thread.block->number;
  if (now && is_wanted_call(call) && suits(lie, *thread.block)) {
    tell(lie, liar, process, thread);
    g_lies.fetch_add(1);
    std::fprintf(stderr, "lying_host: thread %u, %s, %s, %ld\n", thread.index, name_of(call),
                 kLieNames[static_cast<int>(lie)], thread.block->result);
    return;
  }
  answer(process, thread);
}

}  // namespace cloister::host

int main(int count, char** words) {
  using namespace cloister::host;
  if (count < 4) return 2;
  g_seed = std::strtoull(words[1], nullptr, 0);
  g_rate = std::max<uint64_t>(std::strtoull(words[2], nullptr, 0), 1);
  g_told = wanted_lies();
  if (g_told.empty()) return 2;
  RunOptions options = options_of(words + 3);
  options.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C"};
  const auto end = run_enclave(options);
  std::fprintf(stderr, "lying_host: %lu lies in %lu calls\n", g_lies.load(), g_calls.load());
  if (!end.ok()) std::fprintf(stderr, "lying_host: %s\n", end.error().message().c_str());
  std::fflush(nullptr);
  _exit(end.ok() ? end->status : 97);
}
