// What memories that take turns consist of, shared by turns.cpp (who is present) and absent.cpp (what absent
// ones mean for the others).
//
// A switch looks at stretches, the pieces between all borders of the family's areas. In one stretch every
// member maps one thing or nothing, and that is
//  - common: the same pages for all that map it, shared or written by nobody; they stay where they are,
//  - single: mapped by one member only; it stays where it is even while that member is absent,
//  - contended: what the absent have there is kept in their stores.
// Shared memory comes only to addresses where no relative has anything, or the same (share_with_absent).
#pragma once

#include <vector>

#include "enclave/arch/wait.h"
#include "enclave/memory/space.h"
#include "enclave/memory/turns.h"

namespace cloister::enclave {

struct Kept {               // a contended stretch of an absent memory
  uint64_t begin, end, at;  // at: in the store
};

struct Family;

struct Relative {
  Ref<Family> family;
  Areas areas;                // while absent; while present they are with everybody's
  std::vector<Kept> kept;     // by address
  bool awaits_files = false;  // while absent: what is written to files may be of importance to some of them
  uint64_t store = 0, store_size = 0, store_used = 0;  // an area of nobody's
  bool secret = false;                                 // the store has, or had, what a child was not to get
};

struct Family : Counted {
  std::vector<Memory*> members;
  Memory* present = nullptr;
  Areas left;  // contended areas of a member that is gone: its pages are still at their addresses
  WaitQueue waiting;
};

struct Stretch {
  uint64_t begin, end;
};

extern std::vector<Memory*> g_absent;
// The family whose present member is `owner`; nullptr: none, or nobody of it is absent.
Family* family_with_absent(int32_t owner);

// A failure that leaves nothing to go on with.
void must(const SysResult<void>& result);

const Area* area_at(const Areas& areas, uint64_t address);
const Area* area_of(const Family& family, const Memory& member, uint64_t address);
bool others_map(const Family& family, const Memory& member, uint64_t address);
inline bool same_pages(const Area& area) { return area.shared || area.common; }
// Splits the entry of `areas` at `address`.
void split_at(Areas& areas, uint64_t address);
// Everywhere between two borders of areas, and of what is kept, the same holds.
std::vector<Stretch> stretches(const Family& family, Stretch within = {0, UINT64_MAX});

// What the absent member has of the stretch; nullptr: its pages are where they belong, or it has none.
const Kept* kept_of(const Relative& relative, Stretch stretch);
// Stores have their pages before they are used: while areas are walked, nothing may fault. Errors: NoMemory.
SysResult<void> need_store(Relative& relative, uint64_t size);
void drop_store(Relative& relative);
// While its owner is absent, nobody reaches a secret store.
void open_store(const Relative& relative);
void close_store(const Relative& relative);
inline bool kept_from_children(const Area& area) { return area.wiped_by_fork || area.skipped_by_fork; }
// What lies at the stretch now goes to the member's store, which has room. `protection` is what the pages
// have; kUnknown: whatever the last of several members gave them, and they will be readable afterwards.
inline constexpr uint32_t kUnknown = ~uint32_t{0};
void keep(Relative& relative, Stretch stretch, uint32_t protection);
// The same for common pages, which the absent member has for itself from now on. Errors: NoMemory.
SysResult<void> keep_own(Relative& relative, Stretch stretch, uint32_t protection);

}  // namespace cloister::enclave
