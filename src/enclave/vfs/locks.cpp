#include "enclave/vfs/locks.h"

#include <algorithm>
#include <map>
#include <vector>

namespace cloister::enclave {
namespace {

struct Key {
  uint64_t device, inode;
  LockSpace space;
  auto operator<=>(const Key&) const = default;
};
// Who waits, for what it wants.
struct Waiting {
  Key key;
  FileLock wanted;
};
std::map<Key, std::vector<FileLock>> g_locks;
std::vector<const Waiting*> g_waiting;
WaitQueue g_changed;

SysResult<Key> key_of(File& file, LockSpace space) {
  const Stat stat = TRY(file.stat());
  return Key{stat.device, stat.inode, space};
}

bool overlap(const FileLock& a, const FileLock& b) { return a.begin < b.end && b.begin < a.end; }

const FileLock* conflict(const Key& key, const FileLock& wanted) {
  const auto found = g_locks.find(key);
  if (found == g_locks.end() || wanted.type == LockType::None) return nullptr;
  for (const FileLock& lock : found->second) {
    if (lock.owner != wanted.owner && overlap(lock, wanted) &&
        (lock.type == LockType::Exclusive || wanted.type == LockType::Exclusive))
      return &lock;
  }
  return nullptr;
}

bool of_a_process(const FileLock& lock) { return lock.pid != kDescriptionPid; }

// Whether `holder`, a process, waits in the end for `owner`: then neither would ever go on. `seen` bounds the
// search: every waiter is looked at once.
bool waits_for(const void* holder, const void* owner, std::vector<const Waiting*>& seen) {
  for (const Waiting* waiting : g_waiting) {
    if (waiting->wanted.owner != holder || std::find(seen.begin(), seen.end(), waiting) != seen.end())
      continue;
    seen.push_back(waiting);
    const FileLock* lock = conflict(waiting->key, waiting->wanted);
    if (lock == nullptr || !of_a_process(*lock)) continue;
    if (lock->owner == owner || waits_for(lock->owner, owner, seen)) return true;
  }
  return false;
}

// fcntl(2): among the record locks of processes, and only there.
bool would_deadlock(const Waiting& mine, const FileLock& lock) {
  if (mine.key.space != LockSpace::Record || !of_a_process(mine.wanted) || !of_a_process(lock)) return false;
  std::vector<const Waiting*> seen;
  return waits_for(lock.owner, mine.wanted.owner, seen);
}

// Cuts the owner's locks out of the range of `wanted`; true: there were some.
bool cut(std::vector<FileLock>& locks, const FileLock& wanted) {
  std::vector<FileLock> kept;
  bool changed = false;
  for (const FileLock& lock : locks) {
    if (lock.owner != wanted.owner || !overlap(lock, wanted)) {
      kept.push_back(lock);
      continue;
    }
    changed = true;
    if (lock.begin < wanted.begin) {
      kept.push_back(lock);
      kept.back().end = wanted.begin;
    }
    if (lock.end > wanted.end) {
      kept.push_back(lock);
      kept.back().begin = wanted.end;
    }
  }
  locks = std::move(kept);
  return changed;
}

void release_all(const Key& key, const void* owner) {
  const auto found = g_locks.find(key);
  if (found == g_locks.end()) return;
  FileLock all;
  all.owner = owner;
  if (cut(found->second, all)) g_changed.wake_all();
  if (found->second.empty()) g_locks.erase(found);
}

}  // namespace

SysResult<void> set_lock(File& file, LockSpace space, const FileLock& wanted, bool wait) {
  const Key key = TRY(key_of(file, space));
  while (const FileLock* held = conflict(key, wanted)) {
    if (!wait) return Errno::Again;
    const Waiting waiting{key, wanted};
    if (would_deadlock(waiting, *held)) return Errno::Deadlock;
    g_waiting.push_back(&waiting);
    const WaitEnd end = g_changed.wait();
    std::erase(g_waiting, &waiting);
    if (end == WaitEnd::Interrupted) return kInterruptedRestartable;
  }
  // The last descriptor was closed during the wait, and with it would have gone the lock.
  if (wanted.owner == &file && !file.has_descriptors()) return {};
  auto& locks = g_locks[key];
  if (cut(locks, wanted)) g_changed.wake_all();
  if (wanted.type != LockType::None) locks.push_back(wanted);
  if (locks.empty()) g_locks.erase(key);
  return {};
}

SysResult<FileLock> conflicting_lock(File& file, LockSpace space, const FileLock& wanted) {
  const FileLock* found = conflict(TRY(key_of(file, space)), wanted);
  return found == nullptr ? FileLock{} : *found;
}

void release_record_locks(File& file, const FdTable* owner) {
  if (g_locks.empty()) return;
  const auto key = key_of(file, LockSpace::Record);
  if (key.ok()) release_all(key.value(), owner);
}

void release_description_locks(File& file) {
  if (g_locks.empty()) return;
  for (const LockSpace space : {LockSpace::Record, LockSpace::Flock}) {
    const auto key = key_of(file, space);
    if (key.ok()) release_all(key.value(), &file);
  }
}

}  // namespace cloister::enclave
