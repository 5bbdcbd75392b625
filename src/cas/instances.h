// The enclaves that are connected now. A lease on a volume lives as long as its writer is here: a crashed
// run's connection drops, and the next one may start at once; one that merely lost its connection resumes if
// nobody took the volume meanwhile (then its epoch is old, and its tags are refused).
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>

#include "cas/records.h"

namespace cloister::cas {

// Thread-safe.
class Instances {
 public:
  // `resume_time`: how long one that holds no lease may stay away.
  explicit Instances(std::chrono::milliseconds resume_time) : resume_time_(resume_time) {}

  // One more connection. The first one's record is kept for the others.
  void connect(const InstanceId& id, std::shared_ptr<const InstanceRecord> record);
  // One connection less; returns the record when it was the last one of an instance that has not exited.
  std::shared_ptr<const InstanceRecord> disconnect(const InstanceId& id);
  // It is ending properly: no longer a writer, though its connection may stay for a moment.
  void exit(const InstanceId& id);

  std::shared_ptr<const InstanceRecord> find(const InstanceId& id) const;  // null: not here or exited
  bool live(const InstanceId& id) const { return find(id) != nullptr; }
  // It is here, or lost its connection so lately (or the service so lately started) that it may come back.
  bool may_return(const InstanceId& id) const;
  size_t count() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    std::shared_ptr<const InstanceRecord> record;
    size_t connections = 0;
    bool exited = false;
  };
  void note_departure(const InstanceId& id);

  static constexpr size_t kMaxDepartures = 65536;
  const std::chrono::milliseconds resume_time_;
  const Clock::time_point started_ = Clock::now();
  mutable std::mutex mutex_;
  std::map<InstanceId, Entry> entries_;
  std::map<InstanceId, Clock::time_point> departures_;
  Clock::time_point swept_ = started_;
};

}  // namespace cloister::cas
