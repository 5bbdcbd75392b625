// The parts of /proc (procfs.cpp, proc_process.cpp, proc_system.cpp). Kernel lock held.
#pragma once

#include <string>
#include <vector>

#include "enclave/vfs/file.h"

namespace cloister::enclave {

struct Process;

// Of the caller's own number, or of any process of the program's; nullptr: none.
Process* visible_process(int32_t pid);
std::vector<int32_t> visible_processes();
// The folder /proc/PID. NoProcess, by what is in it, when the process has gone meanwhile.
Ref<Inode> process_folder(uint64_t id, int32_t pid);

// What is said of the machine, and /proc/sys.
SysResult<Ref<Inode>> find_system_entry(uint64_t id, std::string_view name);
std::vector<FolderEntry> list_system_entries();

}  // namespace cloister::enclave
