// Every typed host call against a host that lies in every reply: 10^6 replies, drawn from seeds. For each one
// the value that comes back must be what the rules of host.h make of the reply, and no byte may change that
// the reply has no right to: outputs end at a guard page, begin after canaries, and are unchanged behind the
// count.
//
// A failure names its seed. CLOISTER_HOSTILE_SEED=N runs that one alone, CLOISTER_LONG_TESTS=1 twenty times
// as many.
#include "enclave/arch/host.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "enclave/arch/clock.h"
#include "enclave/arch/host_test_support.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kCallsOfASeed = 1100;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSeeds = 100;  // each is ten times as slow, and sees what the guard pages do not
#else
constexpr uint64_t kSeeds = 1000;
#endif
constexpr size_t kCanary = 64;
constexpr uint8_t kUntouched = 0xa5;
constexpr uint64_t kLatest = uint64_t{1} << 62;  // ns; what the kernel believes at most

// A buffer for a reply, at the end of its pages.
class Output {
 public:
  explicit Output(size_t limit) : limit_(limit), pages_(limit + kCanary) {
    std::memset(pages_.begin(), kUntouched, limit_ + kCanary);
  }
  MutableByteView view(size_t size) {
    size_ = size;
    dirty_ = std::min(limit_, std::max(dirty_, size));
    std::memset(pages_.end() - dirty_ - kCanary, kUntouched, dirty_ + kCanary);
    dirty_ = size;
    return {pages_.end() - size, size};
  }
  // Nothing changed but the first `count` bytes.
  bool only_changed(size_t count) const {
    const uint8_t* begin = pages_.end() - size_;
    const auto untouched = [](uint8_t byte) { return byte == kUntouched; };
    return count <= size_ && std::all_of(begin - kCanary, begin, untouched) &&
           std::all_of(begin + count, begin + size_, untouched);
  }

 private:
  size_t limit_;
  GuardedPages pages_;
  size_t size_ = 0;
  size_t dirty_ = 0;
};

struct World {
  HostileHost host;
  Random random{1};
  Output output{host::kArenaData + 8192};
  Bytes input = Bytes(host::kArenaData + 8192, 0x11);
  uint64_t monotonic = 0;
  bool exact = true;  // nobody changes the frame but the host, when it answers

  size_t some_size() { return random.size(host::kArenaData + 8192); }
  size_t wanted(size_t size) { return std::min(size, host::kArenaData); }
  ByteView some_input(size_t limit) { return {input.data(), random.size(std::min(limit, input.size()))}; }
};

bool known(int64_t number) { return number >= 1 && number <= 133 && number != 41 && number != 58; }

template <class T>
void check_error(World& w, const SysResult<T>& got, int64_t reply) {
  ASSERT_TRUE(known(static_cast<int64_t>(got.error()))) << static_cast<int64_t>(got.error());
  if (w.exact) {
    ASSERT_EQ(got.error(), reply > -200 && known(-reply) ? static_cast<Errno>(-reply) : Errno::Io);
  }
}

// The rule of every reply: a number up to `limit` as it is, a known errno as such, all else Io.
template <class T>
void check_number(World& w, const SysResult<T>& got, uint64_t limit) {
  const int64_t reply = w.host.last_result();
  if (w.exact) {
    ASSERT_EQ(got.ok(), reply >= 0 && static_cast<uint64_t>(reply) <= limit) << reply;
  }
  if (!got.ok()) return check_error(w, got, reply);
  ASSERT_LE(got.value(), limit);
  if (w.exact) {
    ASSERT_EQ(static_cast<uint64_t>(got.value()), static_cast<uint64_t>(reply));
  }
}

void check_done(World& w, const SysResult<void>& got) {
  const int64_t reply = w.host.last_result();
  if (w.exact) {
    ASSERT_EQ(got.ok(), reply >= 0) << reply;
  }
  if (!got.ok()) check_error(w, got, reply);
}

void check_output(World& w, const SysResult<size_t>& got, size_t limit) {
  check_number(w, got, limit);
  ASSERT_TRUE(w.output.only_changed(got.ok() ? got.value() : 0));
}

void check_address(const host::Address& address) {
  ASSERT_LE(address.size, sizeof(address.bytes));
  for (size_t i = address.size; i < sizeof(address.bytes); ++i) ASSERT_EQ(address.bytes[i], 0) << i;
}

// All or nothing: what was not written must not pass for written.
void check_written(World& w, const SysResult<void>& got, size_t size) {
  if (!got.ok()) return check_error(w, got, w.host.last_result());
  if (w.exact && size != 0) {
    const size_t last = size % host::kArenaData == 0 ? host::kArenaData : size % host::kArenaData;
    ASSERT_EQ(w.host.last_result(), static_cast<int64_t>(last));
  }
}

void try_console(World& w) {
  const size_t size = w.some_size();
  w.host.asked(size);
  check_output(w, host::console_read(w.output.view(size)), w.wanted(size));
  const ByteView data = w.some_input(SIZE_MAX);
  w.host.asked(data.size());
  check_number(w, host::console_write(1, data), w.wanted(data.size()));
  const auto info = host::console_info(0);
  if (!info.ok()) check_error(w, info, w.host.last_result());
}

// Whatever the host says, pages that it has changed are looked at, and as they must be.
void try_memory(World& w) {
  constexpr uint32_t kAccept = 5, kExtend = 6;
  const uint64_t address = w.random.next() & ~uint64_t{4095} & (UINT64_MAX >> 16);
  const uint64_t size = (w.random.below(100) + 1) * 4096, end = address + size;
  using Leaves = std::vector<HostileHost::PageLeaf>;
  const auto leaves = [&w] { return std::exchange(w.host.page_leaves, {}); };
  leaves();
  if (!w.exact) {
    static_cast<void>(host::memory_commit(address, size, 3));
    static_cast<void>(host::memory_protect(address, size, 0));
    static_cast<void>(host::memory_release(address, size));
    return;
  }
  const uint64_t before = w.host.calls();
  const auto committed = host::memory_commit(address, size, 3);
  check_done(w, committed);
  ASSERT_EQ(leaves(), committed.ok() ? Leaves({{address, end, 0x20b, kAccept, before + 1}}) : Leaves());
  const uint64_t calls = w.host.calls();
  w.host.force(0);
  ASSERT_TRUE(host::memory_protect(address, size, 5).ok());
  ASSERT_EQ(leaves(),
            Leaves({{address, end, 0x205, kExtend, calls + 1}, {address, end, 0x225, kAccept, calls + 1}}));
  const auto closed = host::memory_protect(address, size, 0);
  const bool asked = w.host.calls() == calls + 3;  // it was told that the permissions are gone
  check_done(w, closed);
  ASSERT_EQ(leaves(), asked ? Leaves({{address, end, 0x221, kAccept, calls + 2}}) : Leaves());
  const uint64_t start = w.host.calls();
  const auto released = host::memory_release(address, size);
  check_done(w, released);
  const bool trimmed = w.host.calls() == start + 2;
  ASSERT_TRUE(trimmed || !released.ok());
  ASSERT_EQ(leaves(), trimmed ? Leaves({{address, end, 0x410, kAccept, start + 1}}) : Leaves());
}

void try_storage(World& w) {
  const std::string name(w.random.size(boundary::kTextSize), 'n');
  check_number(w, host::storage_bind(name), INT32_MAX);
  check_number(w, host::storage_open(1, name, 0), INT32_MAX);
  const size_t size = w.some_size();
  w.host.asked(size);
  check_output(w, host::storage_read(1, w.random.next(), w.output.view(size)), w.wanted(size));
  const ByteView data = w.some_input(SIZE_MAX);
  if (w.random.one_in(2)) w.host.force(static_cast<int64_t>(w.wanted(data.size())));
  w.host.asked(data.size());
  check_written(w, host::storage_write(1, 0, data), data.size());
  check_done(w, host::storage_truncate(1, size));
  check_done(w, host::storage_sync(1));
  check_number(w, host::storage_size(1), INT64_MAX);
  host::storage_close(1);
  check_done(w, host::storage_remove(1, name));
  check_done(w, host::storage_sync_names(1));
  check_done(w, host::storage_lock(1, name));
}

void try_staged_write(World& w) {
  const MutableByteView staged = host::staging(host::kArenaData);
  const size_t from = w.random.below(host::kArenaData), size = w.random.below(host::kArenaData - from) + 1;
  if (w.random.one_in(2)) w.host.force(static_cast<int64_t>(size));
  w.host.asked(size);
  const auto got = host::storage_write(1, 0, staged.subspan(from, size));
  if (got.ok() && w.exact) {
    ASSERT_EQ(w.host.last_result(), static_cast<int64_t>(size));
  }
  if (!got.ok()) check_error(w, got, w.host.last_result());
  ASSERT_LE(w.host.last_arguments()[2] + w.host.last_arguments()[3], host::kArenaData);
}

void try_sockets(World& w) {
  const ByteView address = w.some_input(128);
  check_number(w, host::socket_open(2, 1, 0), INT32_MAX);
  check_done(w, host::socket_connect(1, address));
  check_done(w, host::socket_bind(1, address));
  check_done(w, host::socket_listen(1, 5));
  check_done(w, host::socket_shutdown(1, 2));
  host::socket_close(1);
  host::Address peer;
  const auto accepted = host::socket_accept(1, peer);
  check_number(w, accepted, INT32_MAX);
  check_address(peer);
  const auto name = host::socket_name(1, w.random.one_in(2));
  if (name.ok()) {
    check_address(name.value());
  } else {
    check_error(w, name, w.host.last_result());
  }
}

void try_socket_data(World& w) {
  const ByteView data = w.some_input(SIZE_MAX);
  w.host.asked(data.size());
  constexpr size_t kMost = host::kArenaData - boundary::kMaxControl;  // room for ancillary data is kept
  const size_t sent = std::min(w.wanted(data.size()), kMost);
  const Bytes control(w.random.below(boundary::kMaxControl + 1));
  check_number(w, host::socket_send(1, 0, data, w.some_input(128), control), sent);
  ASSERT_LE(boundary::control_offset(w.host.last_arguments()[2]) + w.host.last_arguments()[4],
            boundary::kArenaSize);
  const size_t size = w.some_size(), room = w.random.below(2 * boundary::kMaxControl);
  w.host.asked(size);
  host::Received received;
  const auto count = host::socket_receive(1, 0, w.output.view(size), received, false, room);
  check_output(w, count, std::min(w.wanted(size), kMost));
  check_address(received.peer);
  ASSERT_EQ(received.flags & ~0x2029u, 0u);
  ASSERT_LE(received.control.size(), std::min(room, boundary::kMaxControl));
  ASSERT_LE(boundary::control_offset(w.host.last_arguments()[2]) + w.host.last_arguments()[3],
            boundary::kArenaSize);
  ASSERT_LE(received.whole, std::max<size_t>(65536, w.wanted(size)));
  if (count.ok()) {
    ASSERT_GE(received.whole, count.value());
  }
  check_done(w, host::socket_set_option(1, 1, 2, w.some_input(boundary::kTextSize)));
  const size_t option = w.random.below(2 * boundary::kTextSize);
  w.host.asked(option);
  check_output(w, host::socket_get_option(1, 1, 4, w.output.view(option)),
               std::min(option, boundary::kTextSize));
}

void try_socket_queue(World& w) { check_number(w, host::socket_queue(1, 0x541b), INT32_MAX); }

void try_interfaces(World& w) {
  w.host.asked(boundary::kMaxInterfaceRecords);
  const auto list = host::interfaces();
  if (!list.ok()) return check_error(w, list, w.host.last_result());
  ASSERT_LE(list.value().size(), boundary::kMaxInterfaceRecords);
  for (const boundary::InterfaceRecord& record : list.value()) {
    ASSERT_LT(strnlen(record.name, sizeof(record.name)), sizeof(record.name));
    ASSERT_LE(record.hardware_size, sizeof(record.hardware));
    ASSERT_LE(record.prefix, record.family == 2 ? 32 : record.family == 10 ? 128 : 0);
  }
}

void try_poll(World& w) {
  const auto count = static_cast<uint32_t>(w.random.size(boundary::kMaxPollItems));
  const MutableByteView bytes = w.output.view(count * sizeof(host::PollItem));
  auto* items = reinterpret_cast<host::PollItem*>(bytes.data());
  for (uint32_t i = 0; i < count; ++i) items[i] = {i, static_cast<uint16_t>(w.random.below(64)), 0};
  const std::vector<host::PollItem> before(items, items + count);
  w.host.asked(count);
  const auto ready = host::socket_poll(items, count, 0);
  ASSERT_TRUE(w.output.only_changed(bytes.size()));
  if (!ready.ok()) check_error(w, ready, w.host.last_result());
  uint32_t found = 0;
  for (uint32_t i = 0; i < count; ++i) {
    ASSERT_EQ(items[i].socket, before[i].socket);
    ASSERT_EQ(items[i].events, before[i].events);
    ASSERT_EQ(items[i].revents & ~(items[i].events | 0x38), 0);
    found += items[i].revents != 0 ? 1 : 0;
  }
  ASSERT_EQ(ready.ok() ? ready.value() : 0, found);
}

void try_poll_set(World& w) {
  const auto set = host::poll_set_open();
  if (!set.ok()) check_error(w, set, w.host.last_result());
  check_done(w, host::poll_set_control(1, host::SetOperation::Add, 2, 3, 4));
  const auto room = static_cast<uint32_t>(w.random.size(boundary::kMaxSetRecords)) + 1;
  const MutableByteView bytes = w.output.view(room * sizeof(host::SetEvent));
  w.host.asked(room);
  const auto count = host::poll_set_wait(1, reinterpret_cast<host::SetEvent*>(bytes.data()), room, 0);
  ASSERT_TRUE(w.output.only_changed(bytes.size()));
  if (!count.ok()) return check_error(w, count, w.host.last_result());
  ASSERT_LE(count.value(), room);
  ASSERT_LE(count.value(), boundary::kMaxSetRecords);
  host::poll_set_close(1);
}

void try_time(World& w) {
  const host::HostTime time = host::clock();
  ASSERT_LE(time.monotonic_ns, kLatest);
  ASSERT_LE(time.realtime_ns, kLatest);
  static_cast<void>(host::cpuid(7, 0));  // all of it is believed, or none (cpuid_test.cpp)
  ASSERT_LE(host::cpu_time(host::ThreadSet{1}), kLatest);
  const uint32_t processors = host::processors();
  ASSERT_GE(processors, 1U);
  ASSERT_LE(processors, 65536U);
  const uint64_t now = monotonic_ns();
  ASSERT_GE(now, w.monotonic) << "time went back";
  ASSERT_LE(now, kLatest + 2 * kSecond);
  w.monotonic = now;
  ASSERT_LE(realtime_ns(), kLatest + 2 * kSecond);
  ASSERT_GE(deadline_after(kSecond), now);
}

void try_threads(World& w) {
  check_done(w, host::thread_start(1));
  host::park(5);
  host::unpark(1, true);
  host::alarm(0, 5);
  host::log_text(3, as_text(w.some_input(4096)));
  if (w.random.one_in(16)) {
    w.host.asked(w.random.below(2000));
    ASSERT_LE(host::launch_info().size(), host::kArenaData);
  }
  std::jmp_buf gone;
  if (setjmp(gone) == 0) {
    w.host.jump_after(20, &gone);
    host::exit(0, 0);  // whatever the host answers
  }
}

using Try = void (*)(World&);
constexpr Try kTries[] = {try_console, try_memory,      try_storage,      try_staged_write,
                          try_sockets, try_socket_data, try_socket_queue, try_interfaces,
                          try_poll,    try_poll_set,    try_time,         try_threads};

// A test that crashes names its seed, too.
uint64_t g_seed = 0;
struct sigaction g_before[NSIG];
void on_crash(int signal) {
  char text[64];
  const int size = std::snprintf(text, sizeof(text), "CLOISTER_HOSTILE_SEED=%llu\n",
                                 static_cast<unsigned long long>(g_seed));
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, static_cast<size_t>(size));
  sigaction(signal, &g_before[signal], nullptr);  // and once more
}
void name_seed_in_a_crash() {
  struct sigaction action {};
  action.sa_handler = on_crash;
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) sigaction(signal, &action, &g_before[signal]);
}

void run_seed(World& w, uint64_t seed, uint64_t calls) {
  g_seed = seed;
  SCOPED_TRACE("CLOISTER_HOSTILE_SEED=" + std::to_string(seed) + ", reply " + std::to_string(w.host.calls()));
  w.host.seed(seed);
  w.random = Random(~seed);
  const uint64_t end = w.host.calls() + calls;
  while (w.host.calls() < end && !testing::Test::HasFatalFailure()) {
    kTries[w.random.below(std::size(kTries))](w);
    ASSERT_EQ(w.host.complaint, "");
  }
}

uint64_t times() { return std::getenv("CLOISTER_LONG_TESTS") != nullptr ? 20 : 1; }

TEST(HostReplies, AreBoundedWhateverTheHostSays) {
  World w;
  name_seed_in_a_crash();
  if (const char* one = std::getenv("CLOISTER_HOSTILE_SEED"); one != nullptr)
    return run_seed(w, std::strtoull(one, nullptr, 0), kCallsOfASeed);
  for (uint64_t seed = 1; seed <= kSeeds * times(); ++seed) {
    run_seed(w, seed, kCallsOfASeed);
    if (HasFatalFailure()) return;
  }
  EXPECT_GE(w.host.calls(), kSeeds * 1000);
#define HOST_CALL(number, name, note) EXPECT_GT(w.host.calls_of(number) + (number == 1), 0u) << #name;
#include "boundary/host_calls.inc"
#undef HOST_CALL
  RecordProperty("replies", std::to_string(w.host.calls()));
}

#ifndef __SANITIZE_THREAD__  // the races are meant
TEST(HostReplies, AreBoundedWhileTheHostKeepsChangingThem) {
  World w;
  name_seed_in_a_crash();
  w.exact = false;
  w.host.concurrent = true;
  std::atomic<bool> stop{false};
  std::thread other([&] {
    Random random(7);
    while (!stop.load(std::memory_order_relaxed)) {
      boundary::HostCallFrame& frame = w.host.frame();
      __atomic_store_n(&frame.result, static_cast<int64_t>(random.next() >> random.below(64)),
                       __ATOMIC_RELAXED);
      for (uint64_t& value : frame.values)
        __atomic_store_n(&value, random.next() >> random.below(64), __ATOMIC_RELAXED);
      const uint64_t word = random.next();
      for (size_t i = 0; i < 256; i += 8) std::memcpy(w.host.arena_begin() + i, &word, 8);
      for (size_t i = 0; i < 128; i += 8) std::memcpy(frame.text + i, &word, 8);
    }
  });
  for (uint64_t seed = 1; seed <= kSeeds / 5 * times() && !HasFatalFailure(); ++seed)
    run_seed(w, seed, kCallsOfASeed);
  stop = true;
  other.join();
}
#endif

// The error numbers that Linux does not have are not passed on.
TEST(HostReplies, UnknownErrnosAreIo) {
  HostileHost host;
  for (const int64_t number : {41, 58, 134, 512, 4095}) {
    host.force(-number);
    EXPECT_EQ(host::storage_sync(1).error(), Errno::Io) << number;
  }
  host.force(INT64_MIN);
  EXPECT_EQ(host::storage_sync(1).error(), Errno::Io);
}

TEST(HostReplies, AShortWriteIsAnError) {
  HostileHost host;
  const Bytes data(100, 1);
  host.force(99);
  EXPECT_EQ(host::storage_write(1, 0, data).error(), Errno::Io);
  host.force(99);
  EXPECT_EQ(host::storage_write(1, 0, host::staging(100)).error(), Errno::Io);
  host.force(100);
  EXPECT_TRUE(host::storage_write(1, 0, data).ok());
}

TEST(HostReplies, PagesThatAreNotAsAskedEndTheEnclave) {
  constexpr uint64_t kMismatch = 19;  // SGX_PAGE_ATTRIBUTES_MISMATCH
  World w;
  const auto ends = [&w](auto&& call) {
    w.host.force(0);
    try {
      static_cast<void>(call());
    } catch (const Ended& ended) {
      return ended.code == 3;
    }
    return false;
  };
  const auto commit = [] { return host::memory_commit(0x10000, 8192, 3); };
  const auto protect = [] { return host::memory_protect(0x10000, 8192, 1); };
  const auto close = [] { return host::memory_protect(0x10000, 8192, 0); };
  const auto release = [] { return host::memory_release(0x10000, 8192); };
  w.host.accept_status = kMismatch;
  EXPECT_TRUE(ends(commit));
  EXPECT_TRUE(ends(protect));
  EXPECT_TRUE(ends(close));
  EXPECT_TRUE(ends(release));
  w.host.accept_status = 0;
  EXPECT_FALSE(ends(commit));
  EXPECT_FALSE(ends(protect));
  EXPECT_FALSE(ends(close));
  EXPECT_FALSE(ends(release));
}

// The last unit of a text or a buffer is filled up with zeros, not with what lies behind it.
TEST(HostRequests, CarryNothingBehindTheirEnd) {
  HostileHost host;
  Bytes secret(64, 0x77);
  std::memset(host.frame().text, 0, 64);
  (void)host::storage_open(1, as_text(ByteView(secret).first(13)), 0);
  std::memset(host.arena_begin(), 0, 64);
  EXPECT_TRUE(copy_to_untrusted(host.arena_begin() + 64, secret.data(), 13));
  EXPECT_TRUE(std::all_of(host.arena_begin() + 64 + 13, host.arena_begin() + 80,
                          [](uint8_t byte) { return byte == 0; }));
}

// A counter that the host claims to be far ahead must not stop the clock for good.
TEST(HostTime, GoesOnAfterAWrongCounter) {
  HostileHost host;
  const auto asks = [&](uint64_t monotonic, uint64_t counter) {
    host.force_values({monotonic, 0, counter});
    const uint64_t before = host.calls();
    (void)monotonic_ns();
    return host.calls() != before;
  };
  const uint64_t now = __builtin_ia32_rdtsc();
  EXPECT_TRUE(asks(1 * kSecond, now));
  EXPECT_TRUE(asks(2 * kSecond, now + (uint64_t{1} << 62)));  // a billion ticks a nanosecond
  EXPECT_TRUE(asks(3 * kSecond, now + 3 * kSecond));          // a good rate, but minutes ahead
  EXPECT_TRUE(asks(4 * kSecond, now));
}

}  // namespace
}  // namespace cloister::enclave
