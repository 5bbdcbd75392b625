#include "cli/interruption.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <set>
#include <thread>

namespace cloister::cli {
namespace {

struct State {
  std::mutex mutex;
  std::multiset<std::filesystem::path> paths;
  std::multiset<std::string> lines;
  pid_t child = 0;
};

// Never destroyed: the thread outlives everything.
State& state() {
  static auto* const instance = new State;
  return *instance;
}

sigset_t signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

void wait_for_signals() {
  const sigset_t set = signals();
  for (;;) {
    int received = 0;
    if (::sigwait(&set, &received) != 0) continue;
    State& shared = state();
    const std::scoped_lock guard(shared.mutex);
    if (shared.child > 0) {
      ::kill(shared.child, received);
      continue;
    }
    std::error_code error;
    for (const std::filesystem::path& path : shared.paths) std::filesystem::remove_all(path, error);
    std::fputs("cloister: interrupted\n", stderr);
    for (const std::string& line : shared.lines) std::fprintf(stderr, "  %s\n", line.c_str());
    ::_exit(128 + received);
  }
}

}  // namespace

void watch_for_interruption() {
  const sigset_t set = signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread(wait_for_signals).detach();  // ends with the process
}

RemovedWhenInterrupted::RemovedWhenInterrupted(std::filesystem::path path) : path_(std::move(path)) {
  const std::scoped_lock guard(state().mutex);
  state().paths.insert(path_);
}

RemovedWhenInterrupted::~RemovedWhenInterrupted() {
  const std::scoped_lock guard(state().mutex);
  const auto at = state().paths.find(path_);
  if (at != state().paths.end()) state().paths.erase(at);
}

SaidWhenInterrupted::SaidWhenInterrupted(std::string line) : line_(std::move(line)) {
  const std::scoped_lock guard(state().mutex);
  state().lines.insert(line_);
}

SaidWhenInterrupted::~SaidWhenInterrupted() {
  const std::scoped_lock guard(state().mutex);
  state().lines.erase(state().lines.find(line_));
}

void pass_interruptions_to(pid_t child) {
  const std::scoped_lock guard(state().mutex);
  state().child = child;
}

}  // namespace cloister::cli
