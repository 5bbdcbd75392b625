#include "enclave/arch/host_call.h"

#include <cstring>

#include "enclave/arch/thread_block.h"
#include "enclave/arch/user_copy.h"
#include "enclave/arch/vector_state.h"

namespace cloister::enclave {
namespace {

// Linux has numbers up to EHWPOISON, without two that were given up.
bool known_errno(int64_t number) { return number >= 1 && number <= 133 && number != 41 && number != 58; }

boundary::HostCallFrame* frame() {
  return reinterpret_cast<boundary::HostCallFrame*>(this_block()->host_block);
}

void store(uint64_t& to, uint64_t value) { __atomic_store_n(&to, value, __ATOMIC_RELAXED); }
uint64_t load(const uint64_t& from) { return __atomic_load_n(&from, __ATOMIC_RELAXED); }

// The last, partial unit: its missing bytes become zero.
void copy_tail(uint8_t* to, const uint8_t* from, size_t size) {
  uint64_t word = 0;
  std::memcpy(&word, from, size);
  __atomic_store_n(reinterpret_cast<uint64_t*>(to), word, __ATOMIC_RELAXED);
}

}  // namespace

HostReply host_call(HostCall call, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                    uint64_t a5) {
  boundary::HostCallFrame* out = frame();
  store(out->number, static_cast<uint64_t>(call));
  const uint64_t arguments[] = {a0, a1, a2, a3, a4, a5};
  for (int i = 0; i < 6; ++i) store(out->arguments[i], arguments[i]);
  // The host must neither see nor lose the program's vector state. Crypto in flight never calls the host.
  vector_hide_user();
  leave_for_host(static_cast<uint64_t>(boundary::LeaveReason::HostCall));
  HostReply reply;
  reply.result = static_cast<int64_t>(load(reinterpret_cast<uint64_t&>(out->result)));
  for (int i = 0; i < 4; ++i) reply.values[i] = load(out->values[i]);
  if (load(out->events) != 0) __atomic_store_n(&this_block()->work, 1, __ATOMIC_RELAXED);
  return reply;
}

SysResult<uint64_t> bounded(const HostReply& reply, uint64_t limit) {
  if (reply.result < 0) {
    const bool known = reply.result != INT64_MIN && known_errno(-reply.result);
    return known ? static_cast<Errno>(-reply.result) : Errno::Io;
  }
  if (static_cast<uint64_t>(reply.result) > limit) return Errno::Io;
  return static_cast<uint64_t>(reply.result);
}

uint8_t* arena() { return reinterpret_cast<uint8_t*>(this_block()->host_block + boundary::kArenaOffset); }

void put_text(std::string_view text) {
  CLOISTER_CHECK(text.size() <= boundary::kTextSize);
  copy_to_untrusted(frame()->text, text.data(), text.size());
}

bool copy_to_untrusted(uint8_t* to, const void* from, size_t size) {
  CLOISTER_CHECK(reinterpret_cast<uint64_t>(to) % 8 == 0);
  // rep movsb may write single bytes at an unaligned end, so that end is written as a whole unit. Whole units
  // in the middle are written by the CPU in larger aligned pieces.
  const size_t whole = size & ~size_t{7};
  if (copy_bytes_catching(to, from, whole) != 0) return false;
  if (whole == size) return true;
  uint8_t tail[8];
  if (copy_bytes_catching(tail, static_cast<const uint8_t*>(from) + whole, size - whole) != 0) return false;
  copy_tail(to + whole, tail, size - whole);
  return true;
}

void adopt_host_block(uint64_t address) {
  CLOISTER_CHECK(address >= ELRANGE_END);
  CLOISTER_CHECK(address < (uint64_t{1} << 47) - boundary::kBlockSize);
  CLOISTER_CHECK(address % 4096 == 0);
  this_block()->host_block = address;
}

uint64_t exchange_host_events() { return __atomic_exchange_n(&frame()->events, 0, __ATOMIC_SEQ_CST); }

}  // namespace cloister::enclave
