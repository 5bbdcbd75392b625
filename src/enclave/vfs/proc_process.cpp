// /proc/PID and /proc/PID/task/TID. Processes may end while their files are open, so every look finds them
// anew.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "enclave/arch/boot.h"
#include "enclave/arch/thread.h"
#include "enclave/memory/manager.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/vfs/pidfd.h"
#include "enclave/vfs/procfs.h"
#include "enclave/vfs/pseudo.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

using pseudo::number_of;

std::string number(uint64_t value) { return std::to_string(value); }
std::string kilobytes(uint64_t bytes) { return number(bytes / 1024) + " kB\n"; }
std::string hex_word(uint64_t value) {
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[value >> shift & 15];
  return text;
}
std::optional<int32_t> number_in(std::string_view name) {
  int32_t value = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return value;
}

// A process, or one thread of it.
struct Subject {
  int32_t pid = 0, tid = 0;
  bool is_task() const { return tid != 0; }
  std::string folder() const {
    return std::to_string(pid) + (is_task() ? "/task/" + std::to_string(tid) : std::string());
  }
};

// What a text is about. `thread` is the named one, or the process's first; null: it has ended.
struct Seen {
  Process& process;
  Thread* thread;
  int32_t number;  // of what the folder is named after
  bool is_task;    // only the thread is meant
  bool alive() const { return !process.finished && process.memory; }
};

SysResult<Process*> process_of(const Subject& subject) {
  Process* process = visible_process(subject.pid);
  if (process == nullptr) return Errno::NoProcess;
  return process;
}
SysResult<Seen> look(const Subject& subject) {
  Process* process = TRY(process_of(subject));
  const int32_t tid = subject.is_task() ? subject.tid : subject.pid;
  Thread* thread = find_thread(tid);
  if (thread != nullptr && thread->process != process) thread = nullptr;
  if (subject.is_task() && thread == nullptr) return Errno::NoProcess;
  return Seen{*process, thread, tid, subject.is_task()};
}

std::string zero_separated(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& item : list) text.append(item).push_back('\0');
  return text;
}

std::string name_of(const Seen& seen) {
  if (seen.thread != nullptr && seen.thread->name[0] != 0) return seen.thread->name.data();
  const std::string& path = seen.process.executable;
  return path.substr(path.rfind('/') + 1).substr(0, 15);
}

uint64_t count_threads(const Process& process) {
  uint64_t count = 0;
  for_each_thread(process, [&](Thread&) { return ++count, true; });
  return count;
}

MemoryUse use_of(const Seen& seen) { return seen.alive() ? memory_use(*seen.process.memory) : MemoryUse{}; }

char state_of(const Seen& seen) {
  if (seen.process.finished) return 'Z';
  if (seen.process.stopped) return 'T';
  return &seen.process == current().process ? 'R' : 'S';
}

std::string four(const Identity& identity) {
  const std::string effective = number(identity.effective);
  return number(identity.real) + "\t" + effective + "\t" + number(identity.saved) + "\t" + effective + "\n";
}

std::string signal_rows(const Seen& seen) {
  uint64_t ignored = 0, caught = 0;
  for (int signal = 1; signal <= kSignalCount; ++signal) {
    const uint64_t handler = seen.process.signals.actions[static_cast<size_t>(signal - 1)].handler;
    if (handler == 1) ignored |= signal_bit(signal);
    if (handler > 1) caught |= signal_bit(signal);
  }
  const Thread* thread = seen.thread;
  return "SigPnd:\t" + hex_word(thread == nullptr ? 0 : thread->pending.set) + "\nShdPnd:\t" +
         hex_word(seen.process.signals.pending.set) + "\nSigBlk:\t" +
         hex_word(thread == nullptr ? 0 : thread->signal_mask) + "\nSigIgn:\t" + hex_word(ignored) +
         "\nSigCgt:\t" + hex_word(caught) + "\n";
}

std::string capability_rows(const Process& process) {  // as capget(2) says
  constexpr uint64_t kAll = 0x1ffffffffff;
  const std::string held = hex_word(process.user.effective == 0 ? kAll : 0);
  return "CapInh:\t" + hex_word(0) + "\nCapPrm:\t" + held + "\nCapEff:\t" + held + "\nCapBnd:\t" +
         hex_word(kAll) + "\nCapAmb:\t" + hex_word(0) + "\n";
}

std::string memory_rows(const Seen& seen) {
  if (!seen.alive()) return {};
  const MemoryUse use = use_of(seen);
  return "VmSize:\t" + kilobytes(use.mapped) + "VmRSS:\t" + kilobytes(use.there) + "RssAnon:\t" +
         kilobytes(use.there - use.of_files) + "RssFile:\t" + kilobytes(use.of_files) + "VmData:\t" +
         kilobytes(use.data) + "VmStk:\t" + kilobytes(use.stack) + "VmExe:\t" + kilobytes(use.code) +
         "VmSwap:\t0 kB\n";
}

// A bitmap as Linux prints it: as many digits as there are processors, in words of 32 bits; and as ranges.
std::string processor_rows(const Seen& seen) {
  const uint32_t count = std::min<uint32_t>(processor_count(), 64);
  const uint64_t all = count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
  const uint64_t mask = seen.thread == nullptr || seen.thread->affinity == 0 ? all : seen.thread->affinity;
  std::string words = hex_word(mask).substr(16 - (count + 3) / 4), list;
  if (words.size() > 8) words.insert(words.size() - 8, ",");
  const auto has = [mask](uint32_t at) { return at < 64 && (mask >> at & 1) != 0; };
  for (uint32_t at = 0, last = 0; at < count; at = last + 1) {
    last = at;
    if (!has(at)) continue;
    while (has(last + 1)) ++last;
    list += (list.empty() ? "" : ",") + number(at) + (last > at ? "-" + number(last) : std::string());
  }
  return "Cpus_allowed:\t" + words + "\nCpus_allowed_list:\t" + list + "\n";
}

SysResult<std::string> status_text(const Seen& seen) {
  const Process& process = seen.process;
  const char state = state_of(seen);
  std::string groups, umask = "0000";
  for (const uint32_t group : process.groups) groups += number(group) + " ";
  for (int i = 0; i < 4; ++i)
    umask[static_cast<size_t>(3 - i)] = static_cast<char>('0' + (process.umask >> 3 * i & 7));
  return "Name:\t" + name_of(seen) + "\nUmask:\t" + umask + "\nState:\t" + state +
         (state == 'R'   ? " (running)"
          : state == 'Z' ? " (zombie)"
          : state == 'T' ? " (stopped)"
                         : " (sleeping)") +
         "\nTgid:\t" + number(static_cast<uint64_t>(process.pid)) + "\nNgid:\t0\nPid:\t" +
         number(static_cast<uint64_t>(seen.number)) + "\nPPid:\t" +
         number(static_cast<uint64_t>(parent_pid(process))) + "\nTracerPid:\t0\nUid:\t" + four(process.user) +
         "Gid:\t" + four(process.group) + "FDSize:\t" + number(process.files.open_list().size()) +
         "\nGroups:\t" + groups + "\n" + memory_rows(seen) + "Threads:\t" + number(count_threads(process)) +
         "\n" + signal_rows(seen) + capability_rows(process) + "NoNewPrivs:\t" +
         (seen.thread != nullptr && seen.thread->no_new_privileges ? "1" : "0") + "\nSeccomp:\t0\n" +
         processor_rows(seen);
}

uint64_t cpu_ns_of(const Seen& seen, bool task) {
  if (task) return seen.thread == nullptr ? 0 : thread_cpu_ns(*seen.thread);
  return process_cpu_ns(seen.process);
}

// proc(5): 52 fields, counted from 1, of which those that are not known are 0.
SysResult<std::string> stat_text(const Seen& seen) {
  const Process& process = seen.process;
  const MemoryUse use = use_of(seen);
  constexpr uint64_t kTick = kSecond / 100;
  std::string text = number(static_cast<uint64_t>(seen.number)) + " (" + name_of(seen) + ") " +
                     state_of(seen) + " " + std::to_string(parent_pid(process)) + " " +
                     std::to_string(process.group_id) + " " + std::to_string(process.session) + " 0 -1";
  const std::map<int, std::string> known = {
      {14, number(cpu_ns_of(seen, seen.is_task) / kTick)},  // which of it was the system's is not known
      {16, number(process.children_cpu_ns / kTick)},
      {18, std::to_string(20 + process.priority)},
      {19, std::to_string(process.priority)},
      {20, number(count_threads(process))},
      {22, number(process.started_ns / kTick)},
      {23, number(use.mapped)},
      {24, number(use.there / kPage)},
      {25, "18446744073709551615"}};
  for (int field = 9; field <= 52; ++field) {
    const auto found = known.find(field);
    text += " " + (found == known.end() ? std::string("0") : found->second);
  }
  return text + "\n";
}

SysResult<std::string> statm_text(const Seen& seen) {
  const MemoryUse use = use_of(seen);
  return number(use.mapped / kPage) + " " + number(use.there / kPage) + " " + number(use.of_files / kPage) +
         " " + number(use.code / kPage) + " 0 " + number(use.data / kPage) + " 0\n";
}

std::string limits_text(Process& process) {
  constexpr const char* kRows[kResources][2] = {
      {"cpu time", "seconds"},    {"file size", "bytes"},      {"data size", "bytes"},
      {"stack size", "bytes"},    {"core file size", "bytes"}, {"resident set", "bytes"},
      {"processes", "processes"}, {"open files", "files"},     {"locked memory", "bytes"},
      {"address space", "bytes"}, {"file locks", "locks"},     {"pending signals", "signals"},
      {"msgqueue size", "bytes"}, {"nice priority", ""},       {"realtime priority", ""},
      {"realtime timeout", "us"}};
  std::string text;
  const auto column = [&](std::string field, size_t width) {
    field.resize(std::max(field.size(), width), ' ');
    text += field;
  };
  const auto value = [](uint64_t limit) {
    return limit == kNoLimit ? std::string("unlimited") : number(limit);
  };
  const auto row = [&](const std::string& name, const std::string& soft, const std::string& hard,
                       const char* unit) {
    column(name, 26);
    column(soft, 21);
    column(hard, 21);
    if (*unit != 0) column(unit, 10);
    text += '\n';
  };
  row("Limit", "Soft Limit", "Hard Limit", "Units");
  for (uint32_t i = 0; i < kResources; ++i) {
    const ResourceLimit limit = resource_limit(process, i);
    row(std::string("Max ") + kRows[i][0], value(limit.soft), value(limit.hard), kRows[i][1]);
  }
  return text;
}

SysResult<std::string> auxv_text(const Seen& seen) {
  const auto& words = seen.process.auxiliary;
  if (!seen.alive()) return std::string();
  return std::string(reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint64_t));
}

SysResult<std::string> mounts_text(const Seen&) {
  std::string text;
  for (const MountInfo& mount : mount_list())
    text += mount.type + " " + mount.path + " " + mount.type + (mount.read_only ? " ro" : " rw") + " 0 0\n";
  return text;
}

constexpr uint64_t kFirstMount = 20;  // the number of the root's

SysResult<std::string> mountinfo_text(const Seen&) {
  std::string text;
  uint64_t at = kFirstMount;
  for (const MountInfo& mount : mount_list()) {
    const std::string access = mount.read_only ? "ro" : "rw";
    text += number(at) + " " + number(at == kFirstMount ? 1 : kFirstMount) + " " + number(mount.device >> 8) +
            ":" + number(mount.device & 0xff) + " / " + mount.path + " " + access + " - " + mount.type + " " +
            mount.type + " " + access + "\n";
    ++at;
  }
  return text;
}

// Of a thread of one's own process: what pthread_setname_np writes to.
SysResult<void> take_name(const Seen& seen, std::string_view name) {
  if (&seen.process != current().process || seen.thread == nullptr) return Errno::Invalid;
  auto& kept = seen.thread->name;
  kept.fill(0);
  std::copy_n(name.begin(), std::min(name.size(), kept.size() - 1), kept.begin());
  return {};
}

struct Text {
  const char* name;
  SysResult<std::string> (*make)(const Seen&);
  uint32_t mode = 0444;
  SysResult<void> (*take)(const Seen&, std::string_view) = nullptr;
};
constexpr Text kTexts[] = {
    {"auxv", auxv_text, 0400},
    {"cgroup", [](const Seen&) -> SysResult<std::string> { return std::string("0::/\n"); }},
    {"cmdline",
     [](const Seen& seen) -> SysResult<std::string> {
       return seen.alive() ? zero_separated(seen.process.arguments) : std::string();
     }},
    {"comm", [](const Seen& seen) -> SysResult<std::string> { return name_of(seen) + "\n"; }, 0644,
     take_name},
    {"environ",
     [](const Seen& seen) -> SysResult<std::string> {
       return seen.alive() ? zero_separated(seen.process.environment) : std::string();
     },
     0400},
    {"limits", [](const Seen& seen) -> SysResult<std::string> { return limits_text(seen.process); }},
    {"maps",
     [](const Seen& seen) -> SysResult<std::string> {
       return seen.alive() ? memory_describe(*seen.process.memory) : std::string();
     }},
    {"mountinfo", mountinfo_text},
    {"mounts", mounts_text},
    {"oom_score_adj", [](const Seen&) -> SysResult<std::string> { return std::string("0\n"); }},
    {"smaps",
     [](const Seen& seen) -> SysResult<std::string> {
       return seen.alive() ? memory_describe_amounts(*seen.process.memory) : std::string();
     }},
    {"stat", stat_text},
    {"statm", statm_text},
    {"status", status_text},
};

Ref<Inode> text_inode(uint64_t id, const Subject& subject, const Text& row) {
  const auto make = [subject, &row]() -> SysResult<std::string> {
    const Seen seen = TRY(look(subject));
    return row.make(seen);
  };
  pseudo::TextInode::Take take;
  if (row.take != nullptr) {
    take = [subject, &row](std::string_view text) -> SysResult<void> {
      const Seen seen = TRY(look(subject));
      return row.take(seen, text);
    };
  }
  return make_ref<pseudo::TextInode>(id, number_of(subject.folder(), row.name), make, row.mode, take);
}

// What /proc/PID/fd/N says it leads to.
std::string target_of(File& file, int32_t fd) {
  constexpr std::string_view kDeleted = " (deleted)";
  std::string path = file.path();
  const auto stat = file.stat();
  if (!path.empty())
    return stat.ok() && stat->links == 0 && !path.ends_with(kDeleted) ? path.append(kDeleted) : path;
  const uint32_t type = stat.ok() ? stat->mode & kTypeMask : 0;
  const char* kind = type == kTypeFifo ? "pipe" : type == kTypeSocket ? "socket" : nullptr;
  if (file.pidfd() != nullptr) return "anon_inode:[pidfd]";
  if (kind == nullptr) return "anon_inode:[" + std::to_string(fd) + "]";
  return std::string(kind) + ":[" + number(stat->inode) + "]";
}

// /proc/PID/fd and fdinfo.
SysResult<Ref<Inode>> find_fd(uint64_t id, const Subject& subject, std::string_view name) {
  const auto fd = number_in(name);
  if (!fd) return Errno::NoEntry;
  Process* process = TRY(process_of(subject));
  const auto file = process->files.find(*fd);
  if (!file.ok()) return Errno::NoEntry;
  return Ref<Inode>(make_ref<pseudo::LinkInode>(id, number_of(subject.folder() + "/fd", name),
                                                target_of(*file.value(), *fd), file.value()));
}

std::string pid_text(File& file) {
  const PidFile* named = file.pidfd();
  if (named == nullptr) return {};
  const std::string pid = named->process() == nullptr ? "-1" : std::to_string(named->process()->pid);
  return "Pid:\t" + pid + "\nNSpid:\t" + pid + "\n";
}

SysResult<std::string> fdinfo_text(const Subject& subject, int32_t fd) {
  Process* process = TRY(process_of(subject));
  const auto file = process->files.find(fd);
  if (!file.ok()) return Errno::NoEntry;
  const auto position = file.value()->seek(0, 1);
  const auto close = process->files.close_on_exec(fd);
  const auto stat = file.value()->stat();
  uint64_t flags = file.value()->flags() | (close.ok() && close.value() ? kOpenCloseOnExec : 0);
  std::string octal;
  do octal.insert(octal.begin(), static_cast<char>('0' + (flags & 7)));
  while ((flags >>= 3) != 0);
  return "pos:\t" + number(position.ok() ? position.value() : 0) + "\nflags:\t0" + octal + "\nino:\t" +
         number(stat.ok() ? stat->inode : 0) + "\n" + pid_text(*file.value());
}
SysResult<Ref<Inode>> find_fdinfo(uint64_t id, const Subject& subject, std::string_view name) {
  const auto fd = number_in(name);
  if (!fd) return Errno::NoEntry;
  TRY(fdinfo_text(subject, *fd));
  return Ref<Inode>(make_ref<pseudo::TextInode>(id, number_of(subject.folder() + "/fdinfo", name),
                                                [subject, fd] { return fdinfo_text(subject, *fd); }));
}

std::vector<FolderEntry> list_fds(const Subject& subject, const std::string& folder, uint32_t type) {
  std::vector<FolderEntry> list;
  Process* process = visible_process(subject.pid);
  if (process == nullptr) return list;
  for (const int32_t fd : process->files.open_list()) {
    const std::string name = std::to_string(fd);
    list.push_back({name, number_of(subject.folder() + "/" + folder, name), type});
  }
  return list;
}

Ref<Inode> subject_folder(uint64_t id, uint64_t inode, const Subject& subject);

SysResult<Ref<Inode>> find_task(uint64_t id, const Subject& subject, std::string_view name) {
  const auto tid = number_in(name);
  const Thread* thread = tid ? find_thread(*tid) : nullptr;
  if (thread == nullptr || thread->process != TRY(process_of(subject))) return Errno::NoEntry;
  return subject_folder(id, number_of(subject.folder() + "/task", name), {subject.pid, *tid});
}
std::vector<FolderEntry> list_tasks(const Subject& subject) {
  std::vector<FolderEntry> list;
  const Process* process = visible_process(subject.pid);
  if (process == nullptr) return list;
  for_each_thread(*process, [&](Thread& thread) {
    const std::string name = std::to_string(thread.tid);
    list.push_back({name, number_of(subject.folder() + "/task", name), kTypeFolder});
    return true;
  });
  return list;
}

SysResult<Ref<Inode>> find_inner_folder(uint64_t id, const Subject& subject, std::string_view name) {
  using Lookup = pseudo::Folder::Lookup;
  using List = pseudo::Folder::List;
  const uint64_t inode = number_of(subject.folder(), name);
  const auto with = [&subject](auto find) -> Lookup {
    return [subject, find](uint64_t system, std::string_view entry) { return find(system, subject, entry); };
  };
  if (name == "fd")
    return Ref<Inode>(make_ref<pseudo::Folder>(
        id, inode, with(find_fd), List([subject] { return list_fds(subject, "fd", kTypeLink); })));
  if (name == "fdinfo")
    return Ref<Inode>(make_ref<pseudo::Folder>(
        id, inode, with(find_fdinfo), List([subject] { return list_fds(subject, "fdinfo", kTypeFile); })));
  if (name == "task" && !subject.is_task())
    return Ref<Inode>(make_ref<pseudo::Folder>(id, inode, with(find_task),
                                               List([subject] { return list_tasks(subject); })));
  return Errno::NoEntry;
}

std::string working_text(const Process& process) {
  const bool gone = process.folder && process.folder->name_state() != NameState::Kept;
  return working_path(process) + (gone ? " (deleted)" : "");
}

SysResult<Ref<Inode>> find_in_process(uint64_t id, const Subject& subject, std::string_view name) {
  for (const Text& row : kTexts) {
    if (name == row.name) return text_inode(id, subject, row);
  }
  const Seen seen = TRY(look(subject));
  const uint64_t inode = number_of(subject.folder(), name);
  const auto link = [&](const std::string& target) {
    return Ref<Inode>(make_ref<pseudo::LinkInode>(id, inode, target));
  };
  // What has ended has no program and no place any more.
  if (name == "exe" && seen.alive()) return link(seen.process.executable);
  if (name == "cwd" && seen.alive())
    return Ref<Inode>(
        make_ref<pseudo::LinkInode>(id, inode, working_text(seen.process), seen.process.folder));
  if (name == "root" && seen.alive()) return link("/");
  return find_inner_folder(id, subject, name);
}

std::vector<FolderEntry> list_process(const Subject& subject) {
  std::vector<FolderEntry> list;
  const std::string folder = subject.folder();
  for (const Text& row : kTexts) list.push_back({row.name, number_of(folder, row.name), kTypeFile});
  for (const char* name : {"fd", "fdinfo", "task"}) {
    if (name != std::string_view("task") || !subject.is_task())
      list.push_back({name, number_of(folder, name), kTypeFolder});
  }
  for (const char* name : {"exe", "cwd", "root"}) list.push_back({name, number_of(folder, name), kTypeLink});
  return list;
}

Ref<Inode> subject_folder(uint64_t id, uint64_t inode, const Subject& subject) {
  return make_ref<pseudo::Folder>(
      id, inode,
      [subject](uint64_t system, std::string_view name) { return find_in_process(system, subject, name); },
      [subject] { return list_process(subject); });
}

void add_processes(const Process& process, std::vector<int32_t>& list) {
  if (visible_process(process.pid) != nullptr) list.push_back(process.pid);
  for (const Process* child : process.children) add_processes(*child, list);
}

}  // namespace

Process* visible_process(int32_t pid) {
  Process& self = *current().process;
  if (pid == self.pid) return &self;
  if (self.is_agent) return nullptr;  // which is not the program's, nor the program its
  Process* found = find_process(pid);
  return found == nullptr || (found->finished && found->unwanted) ? nullptr : found;
}

std::vector<int32_t> visible_processes() {
  const Process& self = *current().process;
  std::vector<int32_t> list;
  if (self.is_agent || user_process() == nullptr)
    list.push_back(self.pid);
  else
    add_processes(*user_process(), list);
  return list;
}

Ref<Inode> process_folder(uint64_t id, int32_t pid) {
  return subject_folder(id, number_of("", std::to_string(pid)), {pid, 0});
}

}  // namespace cloister::enclave
