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
std::map<Key, std::vector<FileLock>> g_locks;
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
  while (conflict(key, wanted) != nullptr) {
    if (!wait) return Errno::Again;
    if (g_changed.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
  }
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
