// What a process that holds secrets does first. Not for the kernel.
#pragma once

namespace cloister {

// Secrets must not end in a core file, nor be read by other processes of the same user (ptrace,
// /proc/PID/mem). Limits are inherited; what a child starts by exec decides for itself about the rest.
void forbid_core_dumps();

}  // namespace cloister
