#include "sgx/builder.h"

#include <sys/stat.h>
#include <unistd.h>

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

Result<RootPlan> plan_root(const BuildOptions& options, std::string& entry) {
  RootPlan plan;
  if (!options.root.empty()) {
    if (!fs::is_directory(options.root))
      return Error(Code::NotFound, "--root " + options.root.string() + " is not a folder");
    TRY(plan.add_tree("/", options.root));
  }
  for (const BuildOptions::Item& copy : options.copies) {
    const std::string inside =
        copy.inside.empty() ? fs::absolute(copy.host).lexically_normal().string() : copy.inside;
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
  return plan;
}

// A new folder beside `out`, so that renaming it is atomic; removed unless keep() was called.
class Workshop {
 public:
  static Result<Workshop> make(const fs::path& out) {
    std::string name = fs::absolute(out).lexically_normal().string() + ".new-XXXXXX";
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

Result<void> publish(Workshop& workshop, const fs::path& out) {
  std::error_code error;
  open_to_readers(workshop.path());
  if (::chmod(workshop.path().c_str(), 0755) != 0)
    return Error(Code::Unavailable, "cannot open " + workshop.path().string() + " to readers");
  const fs::path old = workshop.path().string() + ".old";
  const bool replaces = fs::exists(out, error);
  if (replaces) fs::rename(out, old, error);
  if (!error) fs::rename(workshop.path(), out, error);
  if (error) return Error(Code::Unavailable, "cannot write " + out.string() + ": " + error.message());
  workshop.keep();
  if (replaces) fs::remove_all(old, error);
  return {};
}

}  // namespace

Result<BuildReport> build_image(const BuildOptions& options, const fs::path& out) {
  std::error_code error;
  if (fs::exists(out, error) && !fs::exists(ImageFiles{out}.manifest(), error)) {
    return Error(Code::InvalidArgument, out.string() + " exists and is no enclave image",
                 "choose another name with -o, or remove it");
  }
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
  report.files = root.nodes().size();
  return report;
}

}  // namespace cloister::sgx
