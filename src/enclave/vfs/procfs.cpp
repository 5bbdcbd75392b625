// /proc: what programs and runtimes read about themselves and the machine. What the kernel does not know is
// not there, as in a Linux that was built without it: a file of zeros would be believed.
#include "enclave/vfs/procfs.h"

#include <charconv>

#include "enclave/arch/thread.h"
#include "enclave/process.h"
#include "enclave/vfs/pseudo.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

using pseudo::number_of;

SysResult<Ref<Inode>> lookup_top(uint64_t id, std::string_view name) {
  const std::string own = std::to_string(current().process->pid);
  if (name == "self") return Ref<Inode>(make_ref<pseudo::LinkInode>(id, number_of("", name), own));
  if (name == "thread-self")
    return Ref<Inode>(
        make_ref<pseudo::LinkInode>(id, number_of("", name), own + "/task/" + std::to_string(current().tid)));
  int32_t pid = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error != std::errc() || end != name.data() + name.size()) return find_system_entry(id, name);
  if (visible_process(pid) == nullptr) return Errno::NoEntry;
  return process_folder(id, pid);
}

std::vector<FolderEntry> list_top() {
  std::vector<FolderEntry> list = list_system_entries();
  for (const char* name : {"self", "thread-self"}) list.push_back({name, number_of("", name), kTypeLink});
  for (const int32_t pid : visible_processes()) {
    const std::string name = std::to_string(pid);
    list.push_back({name, number_of("", name), kTypeFolder});
  }
  return list;
}

}  // namespace

Ref<Inode> make_procfs(uint64_t id) {
  return make_ref<pseudo::Folder>(id, number_of("", ""), lookup_top, list_top);
}

}  // namespace cloister::enclave
