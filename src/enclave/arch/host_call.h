// One call to the host: the frame in untrusted memory is filled in 8-byte units, the enclave left, and the
// reply copied out once. host.h has the typed calls.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "boundary/host_calls.h"
#include "enclave/sys_result.h"

namespace cloister::enclave {

using boundary::HostCall;

struct HostReply {
  int64_t result;  // hostile
  uint64_t values[4];
};

// Leaves the enclave. Interrupt events that the host has noted are taken over afterwards.
HostReply host_call(HostCall call, uint64_t a0 = 0, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0,
                    uint64_t a4 = 0, uint64_t a5 = 0);

// The reply as a count or handle of at most `limit`; a negative known errno as such; anything else is Io.
SysResult<uint64_t> bounded(const HostReply& reply, uint64_t limit);

uint8_t* arena();                      // of the calling thread, boundary::kArenaSize bytes
void put_text(std::string_view text);  // names and addresses; longer than kTextSize: our bug

// Copies to untrusted memory in aligned 8-byte units (stale-data advisories INTEL-SA-00615 and SA-00657).
// `from` may be user memory. False when `from` faulted.
bool copy_to_untrusted(uint8_t* to, const void* from, size_t size);

// Checks the block that the host gave at the first entry of this thread. Panics when it overlaps ELRANGE.
void adopt_host_block(uint64_t address);

// Takes what the host noted in `events`: bit n - 1 for signal n. Hostile.
uint64_t exchange_host_events();

}  // namespace cloister::enclave

extern "C" {
void leave_for_host(uint64_t reason);
[[noreturn]] void leave_for_good(uint64_t reason, uint64_t new_state);
uint64_t page_leaf(uint64_t address, uint64_t end, uint64_t secinfo_flags, uint32_t leaf);
uint32_t enclu_leaf(uint32_t leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx);
}
