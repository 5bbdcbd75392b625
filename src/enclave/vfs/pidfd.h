// Descriptors of processes (pidfd_open(2)): they name one process, whatever becomes of its number, and are
// ready when it has ended. Kernel lock held.
#pragma once

#include "enclave/process.h"
#include "enclave/vfs/file.h"

namespace cloister::enclave {

class PidFile final : public WaitFile {
 public:
  explicit PidFile(uint32_t flags);  // of a process that is still to come
  ~PidFile() override;
  void attach(Process& process);
  Process* process() const { return process_; }  // nullptr: it has been waited for
  PidFile* pidfd() override { return this; }
  uint16_t ready() override { return process_ == nullptr || process_->finished ? kPollIn : 0; }
  void poll_queues(std::vector<WaitQueue*>& queues) override { queues.push_back(&ended_); }

 private:
  friend void pid_files_ended(const Process& process);
  friend void pid_files_gone(const Process& process);
  Process* process_ = nullptr;
  WaitQueue ended_;
};

// The process has ended; and: nobody will find it any more.
void pid_files_ended(const Process& process);
void pid_files_gone(const Process& process);

}  // namespace cloister::enclave
