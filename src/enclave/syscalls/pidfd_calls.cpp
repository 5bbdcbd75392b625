// Processes by descriptor: pidfd_open, and the descriptor that clone makes of its child.
#include "enclave/syscalls/pidfd_calls.h"

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/processes.h"
#include "enclave/syscalls/file_calls.h"
#include "enclave/syscalls/syscalls.h"

namespace cloister::enclave {

SysResult<int64_t> sys_pidfd_open(SyscallArgs& args) {
  const int32_t pid = args.i32(0);
  if ((args.u32(1) & ~kOpenNonBlock) != 0 || pid <= 0)
    return Errno::Invalid;  // threads: PIDFD_THREAD is younger
  Process& self = *args.thread.process;
  Process* process = pid == self.pid ? &self : self.is_agent ? nullptr : find_process(pid);
  if (process == nullptr) {
    const Thread* thread = self.is_agent ? nullptr : find_thread(pid);
    return thread != nullptr && !thread->process->is_agent ? Errno::Invalid : Errno::NoProcess;
  }
  const Ref<PidFile> file = make_ref<PidFile>(args.u32(1));
  file->attach(*process);
  return add_file(args, file, kOpenCloseOnExec);
}

SysResult<void> ChildHandle::make(Process& parent, uint64_t address) {
  const Ref<PidFile> file = make_ref<PidFile>(0);
  descriptor_ = TRY(parent.files.add(file, true));
  file_ = file;
  auto stored = store_user(address, descriptor_);
  if (!stored.ok()) drop(parent);
  return stored;
}

void ChildHandle::attach(Process& child) {
  if (!file_) return;
  file_->attach(child);
  drop(child);
}

void ChildHandle::drop(Process& process) {
  const auto found = process.files.find(descriptor_);
  if (file_ && found.ok() && found->get() == file_.get()) static_cast<void>(process.files.close(descriptor_));
}

}  // namespace cloister::enclave
