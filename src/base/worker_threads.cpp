#include "base/worker_threads.h"

#include <system_error>
#include <utility>

namespace cloister {

bool WorkerThreads::start(std::move_only_function<void()> work) {
  const std::lock_guard lock(mutex_);
  join_finished();
  Worker& worker = workers_.emplace_back();
  try {
    worker.thread = std::thread([&worker, taken = std::move(work)]() mutable {
      taken();
      taken = nullptr;  // what the work owns goes before the thread counts as finished
      worker.finished = true;
    });
  } catch (const std::system_error&) {
    workers_.pop_back();
    return false;
  }
  return true;
}

void WorkerThreads::join_finished() {
  for (auto it = workers_.begin(); it != workers_.end();) {
    if (!it->finished) {
      ++it;
      continue;
    }
    it->thread.join();
    it = workers_.erase(it);
  }
}

void WorkerThreads::join() {
  std::list<Worker> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(workers_);  // nodes stay where they are: threads refer to them
  }
  for (Worker& worker : all) worker.thread.join();
}

}  // namespace cloister
