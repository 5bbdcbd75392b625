#include "sgx/builder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/files.h"
#include "crypto/sha256.h"
#include "sgx/program_closure.h"
#include "sgx/root_plan.h"
#include "volume/posix_storage.h"

namespace cloister::sgx {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPart = 256u << 20;  // bytes of kernel.elf and agent.elf

// What programs look up everywhere. Each only where the image brings none of its own.
constexpr struct {
  const char* path;
  const char* content;
} kDefaultFiles[] = {
    {"/etc/passwd",
     "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
    {"/etc/group", "root:x:0:\nnogroup:x:65534:\n"},
    {"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
    {"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
};
constexpr struct {
  const char* path;
  uint16_t permissions;
} kDefaultFolders[] = {{"/root", 0700}, {"/tmp", 01777}, {"/dev", 0755},
                       {"/proc", 0755}, {"/run", 01777}, {"/var/tmp", 01777}};

Result<void> add_defaults(RootPlan& plan) {
  TRY(plan.add_folder("/"));
  for (const auto& folder : kDefaultFolders) {
    if (plan.find(folder.path) == nullptr) TRY(plan.add_folder(folder.path, folder.permissions));
  }
  for (const auto& file : kDefaultFiles) {
    if (plan.find(file.path) == nullptr) TRY(plan.add_content(file.path, file.content));
  }
  return {};
}

Result<fs::path> absolute_path(const fs::path& path) {
  std::error_code error;
  const fs::path out = fs::absolute(path, error);
  if (error) return Error(Code::Unavailable, "cannot find " + path.string() + ": " + error.message());
  return out.lexically_normal();
}

Result<RootPlan> plan_root(const BuildOptions& options, std::string& entry) {
  RootPlan plan;
  if (!options.root.empty()) {
    std::error_code error;
    if (!fs::is_directory(options.root, error))
      return Error(Code::NotFound, "--root " + options.root.string() + " is not a folder");
    TRY(plan.add_tree("/", options.root));
  } else {
    plan.merge_usr_as("/");
  }
  for (const BuildOptions::Item& copy : options.copies) {
    std::string inside = copy.inside;
    if (inside.empty()) inside = TRY(absolute_path(copy.host));
    const std::string path = TRY(image_path(inside));
    TRY(plan.add_tree(path, copy.host));
  }
  entry = options.entry;
  for (const BuildOptions::Item& program : options.programs) {
    const std::string inside = program.inside.empty() ? "" : TRY(image_path(program.inside));
    const std::string path = TRY(add_program(plan, program.host, inside));
    if (entry.empty()) entry = path;
  }
  if (entry.empty()) {
    return Error(Code::InvalidArgument, "the image has no program to start",
                 "name one with --program HOST[:PATH], or --entry PATH for one that --root brings");
  }
  const RootNode* node = plan.find(entry);
  if (node == nullptr || node->type != volume::FileType::Regular)
    return Error(Code::NotFound, "the image has no program " + entry, "give --entry a path inside the image");
  if ((node->permissions & 0111) == 0)
    return Error(Code::InvalidArgument, entry + " is not executable", "chmod +x it and build again");
  TRY(add_defaults(plan));
  TRY(plan.add_merged_links());
  return plan;
}

// A new folder beside `out`, so that renaming it is atomic; removed unless keep() was called.
class Workshop {
 public:
  static Result<Workshop> make(const fs::path& out) {
    const fs::path target = TRY(absolute_path(out));
    std::string name = (target.has_filename() ? target : target.parent_path()).string() + ".new-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr)
      return Error(Code::Unavailable,
                   "cannot make a folder beside " + out.string() + ": " + std::strerror(errno));
    return Workshop(name);
  }
  Workshop(Workshop&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Workshop& operator=(Workshop&&) = delete;
  ~Workshop() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  explicit Workshop(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

Result<void> write_signature(const BuildOptions& options, const ImagePlan& plan, const ImageFiles& files,
                             BuildReport& report) {
  const SigningKey key = TRY(SigningKey::load_or_create(options.signing_key));
  SigningParameters parameters;
  parameters.mrenclave = plan.mrenclave;
  parameters.attributes = plan.attributes;
  parameters.misc_select = plan.misc_select;
  parameters.isv_prod_id = options.isv_prod_id;
  parameters.isv_svn = options.isv_svn;
  const SigStruct signature = TRY(key.sign(parameters));
  report.mrenclave = plan.mrenclave;
  report.mrsigner = mrsigner_of(signature);
  return write_public_file(files.sigstruct(), object_bytes(signature));
}

// The volume library makes what only its owner may read; an image is for everybody.
void open_to_readers(const fs::path& folder) {
  std::error_code ignored;
  for (fs::recursive_directory_iterator at(folder, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    ::chmod(at->path().c_str(), at->is_directory(ignored) ? 0755 : 0644);
  }
}

Error cannot_write(const fs::path& out, int number) {
  return Error(Code::Unavailable, "cannot write " + out.string() + ": " + std::strerror(number));
}

// For file systems that cannot exchange: for a moment there is no image. What was there comes back on
// failure.
Result<void> replace_in_steps(const fs::path& fresh, const fs::path& out) {
  const fs::path old = fresh.string() + ".old";
  if (::rename(out.c_str(), old.c_str()) != 0) return cannot_write(out, errno);
  if (::rename(fresh.c_str(), out.c_str()) != 0) {
    const int number = errno;
    (void)::rename(old.c_str(), out.c_str());
    return cannot_write(out, number);
  }
  std::error_code ignored;
  fs::remove_all(old, ignored);
  return {};
}

// Whoever opens `out` finds the image before or the new one, whole.
Result<void> publish(Workshop& workshop, const fs::path& out) {
  open_to_readers(workshop.path());
  if (::chmod(workshop.path().c_str(), 0755) != 0)
    return Error(Code::Unavailable, "cannot open " + workshop.path().string() + " to readers");
  const char* fresh = workshop.path().c_str();
  // What was there is then the workshop, which removes itself.
  if (::renameat2(AT_FDCWD, fresh, AT_FDCWD, out.c_str(), RENAME_EXCHANGE) == 0) return {};
  if (errno == ENOENT) {
    if (::rename(fresh, out.c_str()) != 0) return cannot_write(out, errno);
  } else if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) {
    TRY(replace_in_steps(workshop.path(), out));
  } else {
    return cannot_write(out, errno);
  }
  workshop.keep();
  return {};
}

// That nothing is there, or an image: what is in its place is removed.
Result<void> check_replaceable(const fs::path& out) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(out, error);
  if (status.type() == fs::file_type::not_found) return {};
  if (error) return cannot_write(out, error.value());
  const auto manifest = read_file(ImageFiles{out}.manifest(), kMaxPart);
  if (manifest.ok() && decode_manifest(*manifest).ok()) return {};
  return Error(Code::InvalidArgument, out.string() + " exists and is no enclave image",
               "choose another name with -o, or remove it");
}

}  // namespace

Result<BuildReport> build_image(const BuildOptions& options, const fs::path& out) {
  TRY(check_replaceable(out));
  BuildReport report;
  std::string entry;
  const RootPlan root = TRY(plan_root(options, entry));
  const Bytes kernel = TRY(read_file(options.kernel, kMaxPart));
  const Bytes agent = TRY(read_file(options.agent, kMaxPart));
  Workshop workshop = TRY(Workshop::make(out));
  const ImageFiles files{workshop.path()};

  const auto storage = TRY(volume::open_posix_storage(files.root(), true));
  Manifest manifest = options.manifest;
  manifest.entry = entry;
  manifest.root = TRY(root.write(*storage));
  manifest.agent_sha256 = crypto::sha256(agent);
  const Bytes manifest_bytes = encode_manifest(manifest);
  TRY(decode_manifest(manifest_bytes));  // its limits are the builder's limits
  const ImagePlan plan = TRY(plan_image(kernel, manifest));
  TRY(write_public_file(files.kernel(), kernel));
  TRY(write_public_file(files.agent(), agent));
  TRY(write_public_file(files.manifest(), manifest_bytes));
  TRY(write_signature(options, plan, files, report));
  TRY(publish(workshop, out));
  report.manifest = manifest;
  return report;
}

}  // namespace cloister::sgx
