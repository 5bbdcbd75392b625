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
  if (exited) return nullptr;
  note_departure(id);
  return record;
}

// Forgets old ones now and then; to forget all when there are too many costs those their return only.
void Instances::note_departure(const InstanceId& id) {
  const Clock::time_point now = Clock::now();
  if (departures_.size() >= kMaxDepartures) departures_.clear();
  if (now - swept_ > resume_time_) {
    std::erase_if(departures_, [&](const auto& one) { return now - one.second > resume_time_; });
    swept_ = now;
  }
  departures_[id] = now;
}

bool Instances::may_return(const InstanceId& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found != entries_.end()) return !found->second.exited;
  const Clock::time_point now = Clock::now();
  if (now - started_ < resume_time_) return true;
  const auto left = departures_.find(id);
  return left != departures_.end() && now - left->second < resume_time_;
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
