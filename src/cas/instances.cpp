#include "cas/instances.h"

namespace cloister::cas {

void Instances::connect(const InstanceId& id, std::shared_ptr<const InstanceRecord> record) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[id];
  if (entry.connections++ == 0) entry.record = std::move(record);
}

std::shared_ptr<const InstanceRecord> Instances::disconnect(const InstanceId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end() || --found->second.connections > 0) return nullptr;
  std::shared_ptr<const InstanceRecord> record = std::move(found->second.record);
  const bool exited = found->second.exited;
  entries_.erase(found);
  return exited ? nullptr : record;
}

void Instances::exit(const InstanceId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found != entries_.end()) found->second.exited = true;
}

std::shared_ptr<const InstanceRecord> Instances::find(const InstanceId& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  return found == entries_.end() || found->second.exited ? nullptr : found->second.record;
}

size_t Instances::count() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace cloister::cas
