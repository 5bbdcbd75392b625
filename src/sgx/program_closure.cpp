#include "sgx/program_closure.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <set>
#include <vector>

#include "base/files.h"
#include "sgx/elf.h"

namespace cloister::sgx {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxProgram = size_t{2} << 30;  // bytes of one ELF file
constexpr size_t kMaxScriptLine = 255;           // Linux: BINPRM_BUF_SIZE
constexpr int kMaxScripts = 4;
constexpr int kMaxConfigDepth = 8;
constexpr size_t kMaxFolders = 1024;

// A folder to search, on this machine and what it is called inside; empty `inside`: the same.
struct SearchFolder {
  fs::path host;
  std::string inside;
};

// /etc/ld.so.conf and what it includes: one folder a line.
void read_loader_config(const fs::path& file, int depth, std::vector<std::string>& folders) {
  if (depth > kMaxConfigDepth) return;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line) && folders.size() < kMaxFolders;) {
    line = line.substr(0, line.find('#'));
    const size_t first = line.find_first_not_of(" \t");
    if (first == std::string::npos) continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
    if (!line.starts_with("include ")) {
      if (line[0] == '/') folders.push_back(line);
      continue;
    }
    // The pattern is always a folder and "*.conf".
    const fs::path folder = fs::path(line.substr(8)).parent_path();
    std::vector<fs::path> files;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      if (at->path().extension() == ".conf") files.push_back(at->path());
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& included : files) read_loader_config(included, depth + 1, folders);
  }
}

// What Debian's loader searches when it has no cache: these names need no help inside.
const std::vector<std::string> kBuiltInFolders = {
    "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"};
const std::vector<std::string> kMuslFolders = {"/lib", "/usr/local/lib", "/usr/lib"};

std::vector<std::string> musl_folders() {
  std::ifstream in("/etc/ld-musl-x86_64.path");
  std::vector<std::string> folders;
  for (std::string line; std::getline(in, line) && folders.size() < kMaxFolders;) {
    for (size_t at = 0; at <= line.size();) {
      const size_t end = std::min(line.find(':', at), line.size());
      if (line[at] == '/') folders.push_back(line.substr(at, end - at));
      at = end + 1;
    }
  }
  return folders.empty() ? kMuslFolders : folders;
}

class Closure {
 public:
  explicit Closure(RootPlan& plan) : plan_(plan) {}

  Result<std::string> program(const fs::path& host, const std::string& inside, int scripts) {
    const std::string path = TRY(place(host, inside));
    const Bytes bytes = TRY(read_file(host, kMaxProgram));
    if (!is_elf(bytes)) {
      TRY(script(bytes, host, scripts));
      return path;
    }
    const ElfFile elf = TRY(parse_elf(bytes, host.string()));
    if (elf.type != 2 && elf.type != 3) return Error(Code::Malformed, host.string() + ": not a program");
    if (!elf.interpreter.empty()) TRY(interpreter(elf, host));
    const fs::path folder = TRY(real_folder(host));
    TRY(libraries(elf, {folder, fs::path(path).parent_path().string()}, host, {}));
    return path;
  }

 private:
  Result<std::string> place(const fs::path& host, const std::string& inside) {
    if (!inside.empty()) {
      TRY(plan_.add_file(inside, host));
      return inside;
    }
    if (host.is_relative()) {
      const std::string path = "/" + host.filename().string();
      TRY(plan_.add_file(path, host));
      return path;
    }
    (void)TRY(plan_.add_host_path(host.string()));
    return image_path(host.string());
  }

  Result<void> script(ByteView bytes, const fs::path& host, int scripts) {
    const std::string_view text = as_text(bytes.first(std::min(bytes.size(), kMaxScriptLine)));
    if (!text.starts_with("#!") || text.find('\n') == std::string_view::npos) {
      return Error(Code::Malformed, host.string() + ": not an ELF program and no script with a #! line",
                   "give the compiled program, not its source or an archive");
    }
    if (scripts == 0) return Error(Code::Malformed, host.string() + ": too many interpreters");
    std::string_view line = text.substr(2, text.find('\n') - 2);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const std::string name(line.substr(0, line.find_first_of(" \t")));
    if (name.empty() || name[0] != '/')
      return Error(Code::Malformed, host.string() + ": its #! line names no absolute path");
    if (plan_.find(name) != nullptr) return {};
    const auto added = program(name, "", scripts - 1);
    if (!added.ok()) return Error(added.error()).within(host.string() + ": its interpreter");
    return {};
  }

  Result<void> interpreter(const ElfFile& elf, const fs::path& host) {
    musl_ = elf.interpreter.find("ld-musl") != std::string::npos;
    if (plan_.find(elf.interpreter) == nullptr) {
      std::error_code error;
      if (!fs::exists(elf.interpreter, error)) {
        return Error(Code::NotFound,
                     host.string() + ": its interpreter " + elf.interpreter + " is not on this machine",
                     "install the C library it was built for, or link it statically");
      }
      (void)TRY(plan_.add_host_path(elf.interpreter));
    }
    seen_.insert(fs::path(elf.interpreter).filename().string());
    if (musl_) {
      seen_.insert("libc.so");  // musl's loader is its C library
      folders_ = musl_folders();
      return {};
    }
    read_loader_config("/etc/ld.so.conf", 0, folders_);
    folders_.insert(folders_.end(), kBuiltInFolders.begin(), kBuiltInFolders.end());
    // glibc opens it by itself when a thread is cancelled or ends.
    std::error_code error;
    const fs::path unwinder = "/lib/x86_64-linux-gnu/libgcc_s.so.1";
    if (fs::exists(unwinder, error)) TRY(library(unwinder.filename().string(), {}, unwinder));
    return {};
  }

  static void add_run_path(const std::string& list, const SearchFolder& origin,
                           std::vector<SearchFolder>& out) {
    for (size_t at = 0; at <= list.size() && out.size() < kMaxFolders;) {
      const size_t end = std::min(list.find(':', at), list.size());
      const std::string entry = list.substr(at, end - at);
      at = end + 1;
      if (entry.empty()) continue;
      std::string rest;
      if (entry.starts_with("$ORIGIN")) rest = entry.substr(7);
      if (entry.starts_with("${ORIGIN}")) rest = entry.substr(9);
      if (entry[0] == '/') {
        out.push_back({entry, entry});
      } else if (entry.starts_with("$")) {
        out.push_back({origin.host.string() + rest, origin.inside + rest});
      }
    }
  }

  // `inherited`: DT_RPATH of those that asked for this file.
  Result<void> libraries(const ElfFile& elf, const SearchFolder& origin, const fs::path& host,
                         std::vector<SearchFolder> inherited) {
    std::vector<SearchFolder> search;
    if (elf.runpath.empty()) {
      add_run_path(elf.rpath, origin, inherited);
      search = inherited;
    } else {
      add_run_path(elf.runpath, origin, search);
    }
    for (const std::string& name : elf.needed) {
      if (seen_.contains(name)) continue;
      if (auto added = library(name, search, host); !added.ok()) return added;
    }
    return {};
  }

  Result<void> library(const std::string& name, const std::vector<SearchFolder>& run_path,
                       const fs::path& wanted_by) {
    if (!seen_.insert(name).second) return {};
    if (name.find('/') != std::string::npos) {
      const Bytes bytes = TRY(read_file(name, kMaxProgram));
      return follow(bytes, name, name, {fs::path(name).parent_path(), ""}, run_path);
    }
    for (const SearchFolder& folder : run_path) {
      const std::optional<Bytes> bytes = read_library(folder.host / name);
      if (!bytes) continue;
      const std::string inside = TRY(image_path(folder.inside + "/" + name));
      return follow(*bytes, folder.host / name, inside, folder, run_path);
    }
    for (const std::string& folder : folders_) {
      const std::string path = std::string(folder).append("/").append(name);
      if (const RootNode* given = plan_.find(path); given != nullptr) {
        if (given->source.empty()) return {};
        const fs::path source = given->source;
        const Bytes given_bytes = TRY(read_file(source, kMaxProgram));
        return follow(given_bytes, source, path, {}, run_path);
      }
      const std::optional<Bytes> bytes = read_library(path);
      if (!bytes) continue;
      TRY(follow(*bytes, path, path, {folder, folder}, run_path));
      return reachable(folder, name);
    }
    return Error(Code::NotFound, wanted_by.string() + ": needs " + name + ", which is not on this machine",
                 "install its package, or bring it along with --copy FILE:/usr/lib/x86_64-linux-gnu/" + name);
  }

  // The loader inside has no cache: a library from a folder of /etc/ld.so.conf gets a name where it looks.
  Result<void> reachable(const std::string& folder, const std::string& name) {
    const auto& known = musl_ ? folders_ : kBuiltInFolders;
    if (std::find(known.begin(), known.end(), folder) != known.end()) return {};
    return plan_.add_link("/usr/lib/x86_64-linux-gnu/" + name, folder + "/" + name);
  }

  // Nothing when it is none that a loader would take: it goes on searching then.
  static std::optional<Bytes> read_library(const fs::path& path) {
    Result<Bytes> bytes = read_file(path, kMaxProgram);
    if (!bytes.ok() || !is_elf(*bytes) || !parse_elf(*bytes, path.string()).ok()) return std::nullopt;
    return std::move(bytes).value();
  }

  // The folder of a file behind its symbolic links: what $ORIGIN means.
  static Result<fs::path> real_folder(const fs::path& host) {
    std::error_code error;
    const fs::path real = fs::weakly_canonical(host, error);
    if (error) return Error(Code::Unavailable, "cannot find " + host.string() + ": " + error.message());
    return real.parent_path();
  }

  Result<void> follow(ByteView bytes, const fs::path& host, const std::string& inside,
                      const SearchFolder& folder, const std::vector<SearchFolder>& run_path) {
    if (plan_.find(inside) == nullptr) {
      if (host.string() == inside) {
        (void)TRY(plan_.add_host_path(inside));
      } else {
        TRY(plan_.add_file(inside, host));
      }
    }
    const ElfFile elf = TRY(parse_elf(bytes, host.string()));
    const fs::path real = TRY(real_folder(host));
    const SearchFolder origin{
        real, folder.inside.empty() ? fs::path(inside).parent_path().string() : folder.inside};
    return libraries(elf, origin, host, run_path);
  }

  RootPlan& plan_;
  bool musl_ = false;
  std::vector<std::string> folders_;
  std::set<std::string> seen_;  // libraries by the name they are asked for
};

}  // namespace

Result<std::string> add_program(RootPlan& plan, const fs::path& host, const std::string& inside) {
  std::error_code error;
  if (!fs::exists(host, error)) return Error(Code::NotFound, "no program at " + host.string());
  if (!fs::is_regular_file(host, error))
    return Error(Code::InvalidArgument, host.string() + " is not a program");
  return Closure(plan).program(host, inside, kMaxScripts);
}

}  // namespace cloister::sgx
