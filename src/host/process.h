// The host process of one enclave: its threads, what it has opened for the enclave, and how it ends. The
// handlers of host calls (calls_*.cpp) get it with the frame of the calling thread. Everything that the
// enclave asks for is checked here too: a broken enclave must not harm its host's other files.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "base/writer_lock.h"
#include "boundary/host_calls.h"
#include "host/enclave.h"
#include "host/runner.h"

namespace cloister::host {

// A folder that the enclave may use as a volume.
struct StorageFolder {
  Descriptor folder;
  bool read_only = false;
  std::set<std::string> unsynced;  // folders with new names: "" or ending in '/'
  Descriptor lock;                 // volume.lock
  WriterLock main;                 // volume.fspf, locked as well: the former may be removed meanwhile
};

// Sockets that the enclave asks about as one, by epoll. Keys are the enclave's.
struct PollSet {
  struct Member {
    int fd = -1;
    std::shared_ptr<void> alive;  // what `fd` belongs to
    Descriptor copy;              // of a descriptor that is in the set more than once
  };
  Descriptor epoll;
  std::mutex mutex;
  std::map<uint64_t, Member> members;
};

// Small numbers for things, so that the enclave never names a descriptor of the host. Thread-safe; what get()
// returns stays alive while it is used.
template <class T>
class Handles {
 public:
  uint64_t add(std::shared_ptr<T> object) {
    const std::scoped_lock guard(mutex_);
    for (size_t i = 0; i < objects_.size(); ++i) {
      if (objects_[i] == nullptr) {
        objects_[i] = std::move(object);
        return i;
      }
    }
    objects_.push_back(std::move(object));
    return objects_.size() - 1;
  }
  std::shared_ptr<T> get(uint64_t handle) {
    const std::scoped_lock guard(mutex_);
    return handle < objects_.size() ? objects_[handle] : nullptr;
  }
  void remove(uint64_t handle) {
    const std::scoped_lock guard(mutex_);
    if (handle < objects_.size()) objects_[handle] = nullptr;
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<T>> objects_;
};

struct HostProcess {
  const RunOptions* options = nullptr;
  std::unique_ptr<Enclave> enclave;
  Bytes launch_record;

  Handles<StorageFolder> storages;
  Handles<Descriptor> files;
  Handles<Descriptor> sockets;
  Handles<PollSet> poll_sets;

  std::mutex threads_mutex;
  std::array<HostThread*, sgx::kMaxThreads> threads{};

  std::mutex alarm_mutex;
  std::condition_variable alarm_changed;
  bool has_alarm_thread = false;
  uint32_t alarm_index = 0;
  std::chrono::steady_clock::time_point alarm_time = std::chrono::steady_clock::time_point::max();

  std::mutex end_mutex;
  std::condition_variable ended;
  bool has_ended = false;
  int status = 0;
  uint64_t kind = 0;

  bool start_thread(uint32_t index);
  void wake(uint32_t index, bool interrupt);
  void set_alarm(uint32_t index, uint64_t after_ns);
  void ring(uint32_t index);
  [[noreturn]] void end(int exit_status, uint64_t exit_kind);  // the calling thread sleeps for ever
};

// One host call: the numbers of the frame, copied once, and where the reply goes. Handlers return the result,
// or -errno.
struct Call {
  HostProcess& process;
  HostThread& thread;
  uint64_t a[6];
  uint64_t values[4] = {};

  boundary::HostCallFrame& frame() const { return *thread.block; }
  uint8_t* arena() const { return reinterpret_cast<uint8_t*>(thread.block) + boundary::kArenaOffset; }
  // The first `size` bytes of the frame's text; false when there is no room for so many.
  bool text(uint64_t size, std::string& out) const;
};

// What happens between EEXIT and EENTER: the call in the thread's block is answered. The tests have another
// `serve`, which does not tell the truth (tests/hostile/lying_host.cpp).
void serve(HostProcess& process, HostThread& thread);
void answer(HostProcess& process, HostThread& thread);

#define HOST_CALL(number, name, note) int64_t call_##name(Call& call);
#include "boundary/host_calls.inc"
#undef HOST_CALL

}  // namespace cloister::host
