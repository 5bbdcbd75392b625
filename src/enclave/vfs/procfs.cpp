// /proc: what programs and runtimes read about themselves. Texts are made when a file is opened for reading
// at 0.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>

#include "enclave/arch/boot.h"
#include "enclave/arch/thread.h"
#include "enclave/memory/manager.h"
#include "enclave/process.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

std::string number(uint64_t value) { return std::to_string(value); }
Process& self() { return *current().process; }
// Inode numbers come from names, so that every look at a file finds the same one.
uint64_t number_of(std::string_view folder, std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const std::string_view part : {folder, std::string_view("/"), name}) {
    for (const char c : part) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return hash >> 16;
}
// In the folder of the calling process, whose files are not those of another one.
uint64_t own_number(std::string_view name) { return number_of(std::to_string(self().pid), name); }

Stat basic(uint64_t id, uint64_t inode, uint32_t mode) {
  Stat stat;
  stat.device = id;
  stat.inode = inode;
  stat.mode = mode;
  stat.modified = stat.accessed = stat.changed = to_timespec(realtime_ns());
  return stat;
}

class TextInode final : public Inode {
 public:
  TextInode(uint64_t id, uint64_t number, std::string (*make)()) : id_(id), number_(number), make_(make) {}
  SysResult<Stat> stat() override { return basic(id_, number_, kTypeFile | 0444); }
  SysResult<size_t> read(uint64_t offset, MutableByteView out) override {
    if (offset == 0 || text_.empty()) text_ = make_();
    if (offset >= text_.size()) return size_t{0};
    const size_t count = std::min<uint64_t>(out.size(), text_.size() - offset);
    std::memcpy(out.data(), text_.data() + offset, count);
    return count;
  }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_, number_;
  std::string (*make_)();
  std::string text_;
};

class LinkInode final : public Inode {
 public:
  LinkInode(uint64_t id, uint64_t number, std::string target, Ref<File> file = nullptr)
      : id_(id), number_(number), target_(std::move(target)), file_(std::move(file)) {}
  SysResult<Stat> stat() override {
    Stat stat = basic(id_, number_, kTypeLink | 0777);
    stat.size = target_.size();
    return stat;
  }
  SysResult<std::string> read_link() override { return target_; }
  bool is_magic_link() const override { return static_cast<bool>(file_); }
  // Linux opens the inode anew; a console or a pipe is shared.
  SysResult<Ref<File>> open_special(uint32_t flags) override {
    if (file_->inode() == nullptr) return file_;
    return Ref<File>(make_ref<InodeFile>(Ref<Inode>(file_->inode()), file_->path(), flags));
  }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_, number_;
  std::string target_;
  Ref<File> file_;
};

// A folder whose entries two functions give.
class Folder final : public Inode {
 public:
  using Lookup = SysResult<Ref<Inode>> (*)(uint64_t id, std::string_view name);
  using List = std::vector<FolderEntry> (*)();
  Folder(uint64_t id, uint64_t number, Lookup look_up, List make_list)
      : id_(id), number_(number), lookup_(look_up), list_(make_list) {}
  SysResult<Stat> stat() override {
    Stat stat = basic(id_, number_, kTypeFolder | 0555);
    stat.links = 2;
    return stat;
  }
  SysResult<Ref<Inode>> lookup(std::string_view name) override { return lookup_(id_, name); }
  SysResult<std::vector<FolderEntry>> list() override { return list_(); }
  uint64_t file_system() const override { return id_; }

 private:
  uint64_t id_, number_;
  Lookup lookup_;
  List list_;
};

std::string zero_separated(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& item : list) text.append(item).push_back('\0');
  return text;
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1).substr(0, 15); }

std::string status_text() {
  uint64_t threads = 0;
  for_each_thread(self(), [&](Thread&) { return ++threads, true; });
  const std::string used = number(memory_heap_used() / 1024), pid = number(static_cast<uint64_t>(self().pid));
  return "Name:\t" + base_name(self().executable) + "\nUmask:\t0022\nState:\tR (running)\nTgid:\t" + pid +
         "\nPid:\t" + pid + "\nPPid:\t1\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmSize:\t" +
         used + " kB\nVmRSS:\t" + used + " kB\nThreads:\t" + number(threads) + "\n";
}

std::string stat_text() {
  const std::string pid = number(static_cast<uint64_t>(self().pid));
  std::string text = pid + " (" + base_name(self().executable) + ") R 1 " + pid + " " + pid;
  for (int field = 7; field <= 52; ++field) {
    text += field == 20   ? " 1"
            : field == 23 ? " " + number(memory_heap_used())
            : field == 24 ? " " + number(memory_heap_used() / kPage)
                          : " 0";
  }
  return text + "\n";
}

std::string meminfo_text() {
  const uint64_t total = memory_heap_limit() / 1024,
                 available = total - std::min(total, memory_heap_used() / 1024);
  return "MemTotal:       " + number(total) + " kB\nMemFree:        " + number(available) +
         " kB\nMemAvailable:   " + number(available) +
         " kB\nBuffers:        0 kB\nCached:         0 kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n";
}

std::string mounts_text() {
  std::string text;
  for (const MountInfo& mount : mount_list())
    text += mount.type + " " + mount.path + " " + mount.type + (mount.read_only ? " ro" : " rw") + " 0 0\n";
  return text;
}

std::string filesystems_text() { return "nodev\tproc\nnodev\ttmpfs\nnodev\tdevtmpfs\n\tcloister\n"; }

std::string cpuinfo_text() {
  std::string text;
  for (uint64_t cpu = 0; cpu < processor_count(); ++cpu)
    text += "processor\t: " + number(cpu) + "\nvendor_id\t: GenuineIntel\ncpu MHz\t\t: 1000.000\n\n";
  return text;
}

// One line a processor: the C library counts them.
std::string cpu_stat_text() {
  std::string text = "cpu  0 0 0 0 0 0 0 0 0 0\n";
  for (uint64_t cpu = 0; cpu < processor_count(); ++cpu)
    text += "cpu" + number(cpu) + " 0 0 0 0 0 0 0 0 0 0\n";
  return text + "ctxt 0\nbtime 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n";
}

uint64_t fd_number(const std::string& fd) { return own_number("fd/" + fd); }
SysResult<Ref<Inode>> lookup_fd(uint64_t id, std::string_view name) {
  int32_t fd = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), fd);
  if (error != std::errc() || end != name.data() + name.size()) return Errno::NoEntry;
  const auto file = self().files.get(fd);
  if (!file.ok()) return Errno::NoEntry;
  std::string text = file.value()->path();
  if (text.empty()) text = "anon_inode:[" + number(static_cast<uint64_t>(fd)) + "]";
  return Ref<Inode>(make_ref<LinkInode>(id, fd_number(std::to_string(fd)), std::move(text), file.value()));
}
std::vector<FolderEntry> list_fds() {
  std::vector<FolderEntry> list;
  for (int32_t fd : self().files.open_list()) {
    const std::string name = std::to_string(fd);
    list.push_back({name, fd_number(name), kTypeLink});
  }
  return list;
}

struct Text {
  const char* name;
  std::string (*make)();
};

std::string limits_text() {
  return "Limit                     Soft Limit           Hard Limit           Units     \n"
         "Max stack size            " +
         number(manifest().stack_size) + "              " + number(manifest().stack_size) +
         "              bytes     \nMax open files            1024                 65536                "
         "files     \n";
}

constexpr Text kSelf[] = {
    {"cmdline", [] { return zero_separated(self().arguments); }},
    {"comm", [] { return base_name(self().executable) + "\n"; }},
    {"limits", limits_text},
    {"maps", [] { return memory_describe(self().memory->id); }},
    {"oom_score_adj", [] { return std::string("0\n"); }},
    {"mounts", mounts_text},
    {"stat", stat_text},
    {"statm",
     [] {
       return number(memory_heap_used() / kPage) + " " + number(memory_heap_used() / kPage) + " 0 0 0 0 0\n";
     }},
    {"status", status_text},
    {"cgroup", [] { return std::string("0::/\n"); }},
};
constexpr Text kTop[] = {
    {"cpuinfo", cpuinfo_text},
    {"filesystems", filesystems_text},
    {"loadavg", [] { return std::string("0.00 0.00 0.00 1/1 7\n"); }},
    {"meminfo", meminfo_text},
    {"mounts", mounts_text},
    {"stat", cpu_stat_text},
    {"uptime", [] { return number(monotonic_ns() / kSecond) + ".00 0.00\n"; }},
    {"version", [] { return std::string("Linux version 6.1.0-cloister\n"); }},
};

constexpr Text kSysKernel[] = {{"osrelease", [] { return std::string("6.1.0-cloister\n"); }},
                               {"ostype", [] { return std::string("Linux\n"); }},
                               {"hostname", [] { return std::string("enclave\n"); }},
                               {"pid_max", [] { return std::string("4194304\n"); }},
                               {"threads-max", [] { return number(thread_limit()) + "\n"; }}};
constexpr Text kSysVm[] = {{"max_map_count", [] { return std::string("65530\n"); }},
                           {"mmap_min_addr", [] { return std::string("65536\n"); }},
                           {"overcommit_memory", [] { return std::string("1\n"); }}};
constexpr Text kSysCore[] = {{"somaxconn", [] { return std::string("4096\n"); }}};

template <const auto& rows>
SysResult<Ref<Inode>> lookup_rows(uint64_t id, std::string_view name) {
  for (const Text& row : rows) {
    if (name == row.name) return Ref<Inode>(make_ref<TextInode>(id, number_of("sys", name), row.make));
  }
  return Errno::NoEntry;
}
template <const auto& rows>
std::vector<FolderEntry> list_rows() {
  std::vector<FolderEntry> list;
  for (const Text& row : rows) list.push_back({row.name, number_of("sys", row.name), kTypeFile});
  return list;
}

struct SubFolder {
  const char* name;
  Folder::Lookup lookup;
  Folder::List list;
};
template <const auto& rows>
SysResult<Ref<Inode>> lookup_folder(uint64_t id, std::string_view name) {
  for (const SubFolder& row : rows) {
    if (name == row.name)
      return Ref<Inode>(make_ref<Folder>(id, number_of("sys", name), row.lookup, row.list));
  }
  return Errno::NoEntry;
}
template <const auto& rows>
std::vector<FolderEntry> list_folder() {
  std::vector<FolderEntry> list;
  for (const SubFolder& row : rows) list.push_back({row.name, number_of("sys", row.name), kTypeFolder});
  return list;
}
constexpr SubFolder kSysNet[] = {{"core", lookup_rows<kSysCore>, list_rows<kSysCore>}};
constexpr SubFolder kSys[] = {{"kernel", lookup_rows<kSysKernel>, list_rows<kSysKernel>},
                              {"net", lookup_folder<kSysNet>, list_folder<kSysNet>},
                              {"vm", lookup_rows<kSysVm>, list_rows<kSysVm>}};

// /proc/self/task: every thread shows the texts of the process.
SysResult<Ref<Inode>> lookup_self(uint64_t id, std::string_view name);
std::vector<FolderEntry> list_self();
uint64_t task_number(const std::string& tid) { return own_number("task/" + tid); }
SysResult<Ref<Inode>> lookup_task(uint64_t id, std::string_view name) {
  int32_t tid = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), tid);
  const Thread* thread =
      error == std::errc() && end == name.data() + name.size() ? find_thread(tid) : nullptr;
  if (thread == nullptr || thread->process != &self()) return Errno::NoEntry;
  return Ref<Inode>(make_ref<Folder>(id, task_number(std::to_string(tid)), lookup_self, list_self));
}
std::vector<FolderEntry> list_tasks() {
  std::vector<FolderEntry> list;
  for_each_thread(self(), [&](Thread& thread) {
    const std::string name = std::to_string(thread.tid);
    list.push_back({name, task_number(name), kTypeFolder});
    return true;
  });
  return list;
}

SysResult<Ref<Inode>> lookup_self(uint64_t id, std::string_view name) {
  const uint64_t number = own_number(name);
  for (const Text& row : kSelf) {
    if (name == row.name) return Ref<Inode>(make_ref<TextInode>(id, number, row.make));
  }
  if (name == "task") return Ref<Inode>(make_ref<Folder>(id, number, lookup_task, list_tasks));
  if (name == "fd") return Ref<Inode>(make_ref<Folder>(id, number, lookup_fd, list_fds));
  if (name == "exe") return Ref<Inode>(make_ref<LinkInode>(id, number, self().executable));
  if (name == "cwd") return Ref<Inode>(make_ref<LinkInode>(id, number, self().cwd));
  if (name == "root") return Ref<Inode>(make_ref<LinkInode>(id, number, "/"));
  return Errno::NoEntry;
}
std::vector<FolderEntry> list_self() {
  std::vector<FolderEntry> list;
  for (const Text& row : kSelf) list.push_back({row.name, own_number(row.name), kTypeFile});
  for (const char* name : {"fd", "task"}) list.push_back({name, own_number(name), kTypeFolder});
  for (const char* name : {"exe", "cwd", "root"}) list.push_back({name, own_number(name), kTypeLink});
  return list;
}

SysResult<Ref<Inode>> lookup_top(uint64_t id, std::string_view name) {
  const uint64_t number = number_of("", name);
  for (const Text& row : kTop) {
    if (name == row.name) return Ref<Inode>(make_ref<TextInode>(id, number, row.make));
  }
  if (name == "sys") return Ref<Inode>(make_ref<Folder>(id, number, lookup_folder<kSys>, list_folder<kSys>));
  const std::string pid = std::to_string(self().pid);
  if (name == "self" || name == "thread-self") return Ref<Inode>(make_ref<LinkInode>(id, number, pid));
  if (name == pid) return Ref<Inode>(make_ref<Folder>(id, number, lookup_self, list_self));
  return Errno::NoEntry;
}
std::vector<FolderEntry> list_top() {
  std::vector<FolderEntry> list;
  for (const Text& row : kTop) list.push_back({row.name, number_of("", row.name), kTypeFile});
  list.push_back({"self", number_of("", "self"), kTypeLink});
  list.push_back({"sys", number_of("", "sys"), kTypeFolder});
  const std::string pid = std::to_string(self().pid);
  list.push_back({pid, number_of("", pid), kTypeFolder});
  return list;
}

}  // namespace

Ref<Inode> make_procfs(uint64_t id) { return make_ref<Folder>(id, number_of("", ""), lookup_top, list_top); }

}  // namespace cloister::enclave
