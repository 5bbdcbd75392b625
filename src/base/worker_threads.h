// Threads of a server, one per connection, all joined: a detached thread can outlive what it uses, and leak
// checkers see its stack as lost. Finished threads are joined when the next one starts. Host only.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace cloister {

// Thread-safe, except that nothing may be started once `join` was called.
class WorkerThreads {
 public:
  WorkerThreads() = default;
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;
  ~WorkerThreads() { join(); }

  // False when the system gives no more threads; `work` is then destroyed without being called.
  bool start(std::move_only_function<void()> work);
  // Waits for every thread. Ending their work is the owner's business. Not from one of these threads.
  void join();

 private:
  struct Worker {
    std::atomic<bool> finished{false};
    std::thread thread;
  };
  void join_finished();  // with mutex_ held

  std::mutex mutex_;
  std::list<Worker> workers_;
};

}  // namespace cloister
