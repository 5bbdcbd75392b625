#include "enclave/vfs/pidfd.h"

namespace cloister::enclave {
namespace {

// All there are: a process need not know of its descriptors, of which there are few.
std::vector<PidFile*>& all() {
  static std::vector<PidFile*> files;
  return files;
}

}  // namespace

PidFile::PidFile(uint32_t flags) : WaitFile(flags | kOpenReadWrite) { all().push_back(this); }
PidFile::~PidFile() { std::erase(all(), this); }
void PidFile::attach(Process& process) { process_ = &process; }

void pid_files_ended(const Process& process) {
  for (PidFile* file : all()) {
    if (file->process_ != &process) continue;
    file->ended_.wake_all();
    file->edge(kPollIn);
  }
}

void pid_files_gone(const Process& process) {
  for (PidFile* file : all()) {
    if (file->process_ == &process) file->process_ = nullptr;
  }
}

}  // namespace cloister::enclave
