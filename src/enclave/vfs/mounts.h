// The mount table, for path resolution. Kernel lock held.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "enclave/vfs/file.h"

namespace cloister::enclave {

Ref<Inode> root_inode();
// The root of what is mounted exactly at `path`; nullptr: nothing.
Ref<Inode> mount_at(std::string_view path);
// Whether something is mounted below it.
bool mount_below(const std::string& path);
// Whether the file system that `path` lies in takes no writes.
bool mount_read_only(std::string_view path);
// The same of an inode. The kernel's own files (memfd) are in none, and take writes.
bool mount_read_only(const Inode& inode);
// What is mounted directly in `folder` (an absolute path), for listings.
std::vector<FolderEntry> mounts_in(std::string_view folder);

}  // namespace cloister::enclave
