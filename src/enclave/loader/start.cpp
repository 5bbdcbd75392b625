#include "enclave/loader/start.h"

#include <algorithm>
#include <cstring>

#include "crypto/sha256.h"
#include "enclave/arch/boot.h"
#include "enclave/arch/host.h"
#include "enclave/arch/log.h"
#include "enclave/arch/thread.h"
#include "enclave/loader/patcher.h"
#include "enclave/memory/manager.h"
#include "enclave/memory/texts.h"
#include "enclave/process.h"
#include "enclave/processes.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr uint64_t kMaxAgent = 64 << 20;  // bytes
constexpr size_t kMaxScriptLine = 255;
constexpr int kMaxScripts = 4;  // interpreters of interpreters, as Linux

class FileSource : public ProgramSource {
 public:
  explicit FileSource(Ref<File> file) : file_(std::move(file)) {}
  SysResult<size_t> read(uint64_t offset, MutableByteView out) override {
    return file_->pread_kernel(offset, out.first(std::min<size_t>(out.size(), kKeptRead)));
  }
  Inode* inode() override { return file_->inode(); }

 private:
  Ref<File> file_;
};

class MemorySource : public ProgramSource {
 public:
  explicit MemorySource(ByteView bytes) : bytes_(bytes) {}
  SysResult<size_t> read(uint64_t offset, MutableByteView out) override {
    if (offset >= bytes_.size()) return size_t{0};
    const size_t size = std::min<uint64_t>(out.size(), bytes_.size() - offset);
    std::memcpy(out.data(), bytes_.data() + offset, size);
    return size;
  }

 private:
  ByteView bytes_;
};

// "#!/bin/sh -e" of a script; empty for anything else.
SysResult<std::string> script_line(ProgramSource& source) {
  char head[kMaxScriptLine + 1] = {};
  const size_t size = TRY(source.read(0, {reinterpret_cast<uint8_t*>(head), kMaxScriptLine}));
  if (size < 3 || head[0] != '#' || head[1] != '!') return std::string();
  const std::string_view text(head + 2, size - 2);
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) return Errno::NoExec;
  return std::string(text.substr(0, end));
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string join_path(const std::string& cwd, const std::string& path) {
  if (!path.empty() && path[0] == '/') return path;
  return cwd == "/" ? "/" + path : cwd + "/" + path;
}

// A command without a slash is looked up as execvp does.
std::string find_command(Process& process, const std::string& name,
                         std::span<const std::string> environment) {
  if (name.find('/') != std::string::npos) return join_path(working_path(process), name);
  std::string search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& entry : environment) {
    if (entry.starts_with("PATH=")) search = entry.substr(5);
  }
  for (size_t at = 0; at <= search.size();) {
    const size_t end = std::min(search.find(':', at), search.size());
    const std::string candidate = join_path(search.substr(at, end - at), name);
    if (candidate[0] == '/' && open_path(process, candidate, 0, 0).ok()) return candidate;
    at = end + 1;
  }
  return join_path(working_path(process), name);
}

// execve(2): only a file with an execute bit, only a regular one, and only one that nobody writes.
SysResult<void> check_executable(File& file) {
  constexpr uint32_t kAnyExecute = 0111;
  const Stat stat = TRY(file.stat());
  if ((stat.mode & kTypeMask) != kTypeFile || (stat.mode & kAnyExecute) == 0) return Errno::Access;
  if (InodeFile::any_writer(stat)) return Errno::TextBusy;
  return {};
}

// Looked at before it is opened: that would wait for the writers of a named pipe.
SysResult<Ref<File>> open_executable(Process& process, const std::string& path) {
  TRY(check_executable(*TRY(open_path(process, path, kOpenPath, 0))));
  return open_path(process, path, 0, 0);
}

// What a path comes to after its `#!` lines: the ELF file and its arguments.
struct Command {
  Ref<File> file;
  std::string path;
  std::vector<std::string> arguments;
};

SysResult<Command> resolve_scripts(Process& process, const std::string& path,
                                   std::span<const std::string> arguments, bool need_execute,
                                   std::string& why) {
  Command command{nullptr, path, {arguments.begin(), arguments.end()}};
  for (int depth = 0; depth < kMaxScripts; ++depth) {
    // As open_executable, but the first program needs no execute bit.
    auto file = open_path(process, command.path, kOpenPath, 0);
    if (file.ok() && need_execute) TRY(check_executable(*file.value()));
    if (file.ok()) file = open_path(process, command.path, 0, 0);
    if (!file.ok()) {
      why = command.path + " is not in the image";
      return file.error();
    }
    command.file = std::move(file).value();
    FileSource source(command.file);
    const std::string line = TRY(script_line(source));
    if (line.empty()) return command;
    const std::string_view text = trim(line);
    const size_t space = std::min(text.find_first_of(" \t"), text.size());
    std::vector<std::string> next{std::string(text.substr(0, space))};
    const std::string_view option = trim(text.substr(space));
    if (!option.empty()) next.emplace_back(option);
    next.push_back(command.path);
    next.insert(next.end(), command.arguments.begin() + (command.arguments.empty() ? 0 : 1),
                command.arguments.end());
    command.path = next[0];
    command.arguments = std::move(next);
  }
  why = path + ": too many interpreters";
  return Errno::Loop;
}

ProgramImage image_of(Process& process, FileSource& source, const Command& command,
                      std::span<const std::string> environment) {
  ProgramImage image;
  image.program = &source;
  image.path = command.path;
  image.arguments = command.arguments;
  image.environment = environment;
  image.stack_size = stack_limit(process);
  image.owner = process.memory->id;
  image.open_interpreter = [&process](const std::string& name) -> SysResult<std::unique_ptr<ProgramSource>> {
    return std::unique_ptr<ProgramSource>(std::make_unique<FileSource>(TRY(open_executable(process, name))));
  };
  return image;
}

// Loads `command` into the address space as it is.
SysResult<UserEntry> load_command(Process& process, const Command& command,
                                  std::span<const std::string> environment, std::string& why) {
  FileSource source(command.file);
  auto entry = load_program(image_of(process, source, command, environment), why);
  if (!entry.ok()) {
    why = command.path + ": " + why;
    return entry;
  }
  process.executable = command.file->path();  // without the links of `command.path`
  process.arguments = command.arguments;
  process.environment.assign(environment.begin(), environment.end());
  process.auxiliary = entry->auxiliary;
  if (process.started_ns == 0) process.started_ns = monotonic_ns();
  return entry;
}

SysResult<UserEntry> load_path(Process& process, const std::string& path,
                               std::span<const std::string> arguments,
                               std::span<const std::string> environment, std::string& why) {
  const Command command = TRY(resolve_scripts(process, path, arguments, false, why));
  return load_command(process, command, environment, why);
}

}  // namespace

namespace {

// One with fixed addresses that are in use: it takes turns with the program that has them.
SysResult<UserEntry> load_in_turns(Process& process, const Command& command,
                                   std::span<const std::string> environment) {
  std::string why;
  const Ref<Memory> old = process.memory;
  const Ref<Memory> fresh = memory_join(*old);
  const auto change_to = [&](const Ref<Memory>& memory) {
    turn_give();
    process.memory = memory;
    turn_take();
  };
  change_to(fresh);
  auto entry = load_command(process, command, environment, why);
  if (!entry.ok()) change_to(old);
  if (entry.ok())
    give_up_memory(process, *old);
  else
    memory_leave(*fresh);
  if (entry.ok() || entry.error() != Errno::Exists) return entry;
  log(LogLevel::Warning,
      "{}: its fixed addresses are in use by another program of this enclave: link it with -pie",
      command.path);
  return Errno::NoMemory;
}

// After vfork or fork: the other program stays where it is.
SysResult<UserEntry> load_beside(Process& process, const Command& command,
                                 std::span<const std::string> environment) {
  std::string why;
  const Ref<Memory> old = process.memory;
  const auto fresh = make_ref<Memory>(next_thread_id());
  process.memory = fresh;
  auto entry = load_command(process, command, environment, why);
  process.memory = old;
  if (!entry.ok()) {
    memory_leave(*fresh);
    return entry.error() == Errno::Exists ? load_in_turns(process, command, environment) : std::move(entry);
  }
  memory_exchange(process.memory, fresh);
  give_up_memory(process, *old);
  return entry;
}

}  // namespace

SysResult<UserEntry> replace_program(Process& process, const std::string& path,
                                     std::span<const std::string> arguments,
                                     std::span<const std::string> environment) {
  std::string why;
  const Command command = TRY(resolve_scripts(process, path, arguments, true, why));
  {
    FileSource source(command.file);
    TRY(check_program(image_of(process, source, command, environment), why));
  }
  TRY(end_other_threads());
  if (process.borrowing || others_in_memory(process) || memory_has_relatives(*process.memory))
    return load_beside(process, command, environment);
  // From here on there is no program to return to.
  if (!process.memory->relative) texts_park(process.memory->id);
  patches_cleared(process.memory->id);
  memory_clear(process.memory->id);
  auto entry = load_command(process, command, environment, why);
  if (entry.ok()) return entry;
  log(LogLevel::Error, "{}", why);
  end_process(kSigKill);
}

namespace {

// "--listen=@@1" with the host's first argument in place of @@1.
SysResult<std::string> with_host_arguments(const std::string& text, std::string& why) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t mark = std::min(text.find("@@", at), text.size());
    out.append(text, at, mark - at);
    at = mark;
    if (mark == text.size()) break;
    size_t number = 0, end = mark + 2;
    for (; end < text.size() && end < mark + 5 && text[end] >= '0' && text[end] <= '9'; ++end)
      number = number * 10 + static_cast<size_t>(text[end] - '0');
    if (number == 0 || number > launch_record().args.size()) {
      why = "the image's command wants an argument " + text.substr(mark, end - mark);
      return Errno::Invalid;
    }
    out += launch_record().args[number - 1];
    at = end;
  }
  return out;
}

SysResult<UserEntry> start_standalone(Process& process, const sgx::Standalone& standalone, std::string& why) {
  if (!standalone.sealed_path.empty()) TRY(mount_sealed(standalone, why));
  std::vector<std::string> arguments{manifest().entry};
  for (const std::string& argument : standalone.arguments)
    arguments.push_back(TRY(with_host_arguments(argument, why)));
  return load_path(process, manifest().entry, arguments, {}, why);
}

}  // namespace

SysResult<UserEntry> start_unattested(Process& process, std::string& why) {
  TRY(open_console(process));
  if (manifest().standalone) return start_standalone(process, *manifest().standalone, why);
  const std::string& entry = manifest().entry;
  std::vector<std::string> arguments{entry};
  arguments.insert(arguments.end(), launch_record().args.begin(), launch_record().args.end());
  return load_path(process, entry, arguments, launch_record().environment, why);
}

SysResult<UserEntry> start_agent(Process& process, std::string& why) {
  TRY(open_console(process));
  why = "agent.elf is not the measured one";
  const uint32_t folder = TRY(host::storage_bind("image"));
  const uint32_t file = TRY(host::storage_open(folder, "agent.elf", 0));
  const uint64_t size = TRY(host::storage_size(file));
  if (size > kMaxAgent) return Errno::Io;
  Bytes bytes(size);
  for (uint64_t done = 0; done < size;) {
    const size_t count =
        TRY(host::storage_read(file, done, {bytes.data() + done, std::min<uint64_t>(size - done, 1 << 20)}));
    if (count == 0) return Errno::Io;
    done += count;
  }
  host::storage_close(file);
  // Copied first, then checked, then used: the host can change its file at any time.
  if (crypto::sha256(bytes) != manifest().agent_sha256) return Errno::Io;
  why.clear();
  MemorySource source(bytes);
  const std::vector<std::string> arguments{"agent"};
  ProgramImage image;
  image.program = &source;
  image.path = "agent";
  image.agent = true;
  image.owner = process.memory->id;
  image.arguments = arguments;
  image.stack_size = 1 << 20;
  process.executable = "/agent";  // absolute: a C library takes its folder from there
  return load_program(image, why);
}

SysResult<UserEntry> start_from_config(Process& process, const boundary::EnclaveConfig& config,
                                       std::string& why) {
  for (const boundary::MountConfig& mount : config.mounts) {
    if (auto mounted = mount_volume(mount, why); !mounted.ok()) {
      why = "volume " + mount.name + " at " + mount.path + ": " + (why.empty() ? "cannot be opened" : why);
      return mounted.error();
    }
  }
  for (const boundary::InjectedFile& file : config.files) {
    const auto written = write_injected_file(file.path, file.mode, file.content.expose());
    if (!written.ok()) {
      why = "cannot write the injected file " + file.path;
      return written.error();
    }
  }
  TRY(open_console(process));
  if (auto changed = change_folder(process, config.working_directory); !changed.ok()) {
    why = "the working folder " + config.working_directory + " is none";
    return changed.error();
  }
  const std::string path = find_command(process, config.argv[0], config.environment);
  return load_path(process, path, config.argv, config.environment, why);
}

}  // namespace cloister::enclave
