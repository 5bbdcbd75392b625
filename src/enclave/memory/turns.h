// fork without copy-on-write: processes that want the same addresses take turns (docs/adr/0009).
//
// A Memory is what one program sees at its addresses. fork makes a second Memory with the same content; the
// two are relatives, and of relatives one is present: its pages are at their addresses, and only its threads
// run. What the absent ones have of the same addresses is kept in stores. A turn ends when every thread of
// the present Memory waits, or after a while when a relative wants it. A Memory without relatives is always
// present.
//
// Every function needs the kernel lock.
#pragma once

#include <cstdint>
#include <memory>

#include "enclave/sys_result.h"
#include "enclave/vfs/file.h"

namespace cloister::enclave {

struct Relative;  // what a Memory with relatives has besides

struct Memory : Counted {
  explicit Memory(int32_t owner);
  ~Memory() override;
  const int32_t id;      // AreaInfo::owner of what it maps
  uint32_t running = 0;  // threads that are not waiting
  std::unique_ptr<Relative> relative;
};

// The calling thread uses its program's memory from here on (take), or waits and does not (give). Taking may
// wait for relatives, without the kernel lock and uninterrupted.
void turn_take();
void turn_give();
// Lets relatives go first that have waited for a while. The calling thread is at the border to its program.
void turn_offer();

bool memory_has_relatives(const Memory& memory);
// The same content once more. `present` is present. Errors: NoMemory.
SysResult<Ref<Memory>> memory_fork(Memory& present);
// An empty memory that may want addresses of `present`, and is absent. Its owner number is new.
Ref<Memory> memory_join(Memory& present);
// The calling thread leaves `from`, which the rest of its process leaves, too, for `to`, where nothing is
// mapped yet or everything is its own.
void memory_exchange(Ref<Memory>& from, Ref<Memory> to);
// Its last process is gone, or never was: what it had mapped is released.
void memory_leave(Memory& memory);

}  // namespace cloister::enclave
