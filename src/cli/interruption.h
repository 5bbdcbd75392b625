// SIGINT and SIGTERM in commands that leave things in the file system: what is temporary goes away, and while
// an enclave runs in a child, the child gets the signal and this process lives on to see how that ends.
//
// One thread waits for the signals; every other thread has them blocked, so nothing happens inside a handler.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace cloister::cli {

// At the start of a command, before it has other threads. Once.
void watch_for_interruption();

// A file or folder that an interruption removes for as long as this object lives.
class RemovedWhenInterrupted {
 public:
  explicit RemovedWhenInterrupted(std::filesystem::path path);
  ~RemovedWhenInterrupted();
  RemovedWhenInterrupted(const RemovedWhenInterrupted&) = delete;
  RemovedWhenInterrupted& operator=(const RemovedWhenInterrupted&) = delete;

 private:
  const std::filesystem::path path_;
};

// What an interruption says for as long as this object lives, one line on standard error.
class SaidWhenInterrupted {
 public:
  explicit SaidWhenInterrupted(std::string line);
  ~SaidWhenInterrupted();
  SaidWhenInterrupted(const SaidWhenInterrupted&) = delete;
  SaidWhenInterrupted& operator=(const SaidWhenInterrupted&) = delete;

 private:
  const std::string line_;
};

// From now on the child gets the signals; 0: nobody does, the process ends.
void pass_interruptions_to(pid_t child);

}  // namespace cloister::cli
