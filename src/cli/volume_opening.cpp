#include "cli/volume_opening.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "cli/volume_key.h"
#include "policy/session.h"
#include "volume/care.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using volume::Volume;

constexpr const char* kKeyVariable = "CLOISTER_VOLUME_KEY";
constexpr size_t kSessionLimit = 4u << 20;

// Programs that are started later, and /proc, must not show it, whether it is used or not.
std::optional<SecretBytes> take_key_variable() {
  char* const text = std::getenv(kKeyVariable);
  if (text == nullptr) return std::nullopt;
  SecretBytes key(Bytes(text, text + std::strlen(text)));
  wipe(text, std::strlen(text));
  ::unsetenv(kKeyVariable);
  return key;
}

// The volume that --session and --session-volume name; the only one when there is one.
Result<policy::Volume> session_volume(const VolumeArguments& a) {
  const SecretBytes text = TRY(read_secret_file(a.session, kSessionLimit));
  const policy::Session session = TRY(policy::parse_session(as_text(text.expose())));
  if (a.session_volume.empty() && session.volumes.size() == 1) return session.volumes[0];
  const policy::Volume* found = session.find_volume(a.session_volume);
  if (found == nullptr) {
    return Error(Code::InvalidArgument, "the session " + session.name + " does not say which volume",
                 "give its name there as --session-volume NAME");
  }
  return *found;
}

Result<volume::Tag> parse_tag(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const auto tag = array_from_hex<16>(text);
  if (!tag.ok()) {
    return Error(Code::InvalidArgument, "the tag is not 32 hex digits",
                 "give --tag as `cloister volume create` or `add` printed it");
  }
  return *tag;
}

// A folder that was mistyped, before it is taken for a volume that somebody damaged.
Result<void> expect_volume(const fs::path& folder) {
  std::error_code error;
  const bool nothing = !fs::exists(folder, error) || fs::is_empty(folder, error);
  if (error || !nothing) return {};
  return Error(Code::NotFound, "there is no volume in " + folder.string());
}

// What cannot be looked at may: reading it says why.
bool may_exist(const fs::path& path) {
  std::error_code error;
  return fs::status(path, error).type() != fs::file_type::not_found;
}

// A link that leads nowhere is no place for one.
bool makes_key(const VolumeArguments& a) {
  std::error_code error;
  return !a.key_file.empty() && fs::symlink_status(a.key_file, error).type() == fs::file_type::not_found;
}

Result<std::unique_ptr<Volume>> in_folder(Result<std::unique_ptr<Volume>> opened, const VolumeArguments& a) {
  if (!opened.ok()) return std::move(opened).error().within(a.volume);
  return opened;
}

Result<volume::Tag> read_tag(const std::string& file) {
  const Bytes text = TRY(read_file(file, 256));
  return parse_tag(as_text(text));
}

}  // namespace

volume::Timestamp now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
}

Result<volume::Key> load_key(const VolumeArguments& a) {
  const std::optional<SecretBytes> from_environment = take_key_variable();
  if (!a.key_file.empty()) return load_volume_key(a.key_file);
  if (!a.session.empty()) {
    const policy::Volume named = TRY(session_volume(a));
    if (named.key) return *named.key;
    return Error(Code::InvalidArgument, "the session holds no key of volume " + named.name,
                 "the service that runs the session made it; only attested programs get it");
  }
  if (from_environment) return parse_volume_key(as_text(from_environment->expose()));
  return Error(Code::InvalidArgument, "no volume key",
               "give --key-file FILE or --session FILE, or set CLOISTER_VOLUME_KEY");
}

Result<volume::Key> load_or_make_key(const VolumeArguments& a) {
  if (!makes_key(a)) return load_key(a);
  (void)take_key_variable();
  std::optional<volume::Key> made = TRY(make_volume_key(a.key_file));
  if (!made) return load_key(a);  // somebody was faster
  return *std::move(made);
}

Result<KeyToBe> load_or_stage_key(const VolumeArguments& a) {
  if (!makes_key(a)) {
    const volume::Key key = TRY(load_key(a));
    return KeyToBe{key, std::nullopt};
  }
  (void)take_key_variable();
  KeyToBe out{new_volume_key(), std::nullopt};
  out.file.emplace(TRY(stage_volume_key(a.key_file, out.key)));
  return out;
}

Result<volume::Tag> wanted_tag(const VolumeArguments& a) {
  if (!a.tag.empty()) return parse_tag(a.tag);
  if (!a.tag_file.empty() && may_exist(a.tag_file)) return read_tag(a.tag_file);
  if (!a.session.empty()) {
    const policy::Volume named = TRY(session_volume(a));
    if (named.tag) return *named.tag;
  }
  if (!a.tag_file.empty()) return read_tag(a.tag_file);  // says what is wrong with it
  return Error(Code::InvalidArgument, "no tag: give --tag, --tag-file or --without-freshness");
}

Result<OpenedVolume> open_volume(const VolumeArguments& a, bool read_only) {
  const volume::Key key = TRY(load_key(a));
  return open_volume(a, key, {.read_only = read_only});
}

Result<OpenedVolume> open_volume(const VolumeArguments& a, const volume::Key& key,
                                 volume::OpenOptions options) {
  TRY(expect_volume(a.volume));
  OpenedVolume out;
  out.storage = TRY(volume::open_posix_storage(a.volume));
  options.owner = "cloister volume";
  if (a.without_freshness) {
    std::fputs("cloister: opening without a tag: an older state would not be noticed\n", stderr);
    const auto open_newest =
        options.for_repair ? volume::open_newest_for_repair : Volume::open_newest_without_freshness;
    out.volume = TRY(in_folder(open_newest(*out.storage, key, options), a));
    if (out.volume->found_unfinished_commit()) {
      std::fputs("cloister: the newest state is not whole (power loss or damage), this is the one before\n",
                 stderr);
    }
    return out;
  }
  const volume::Tag tag = TRY(wanted_tag(a));
  out.volume = TRY(in_folder(Volume::open(*out.storage, key, tag, options), a));
  return out;
}

Result<void> hand_over(const VolumeArguments& a, const volume::Tag& tag) {
  const std::string line = to_hex(tag) + "\n";
  if (!a.tag_file.empty()) return write_private_file(a.tag_file, as_bytes(line));
  if (std::fputs(line.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    return Error(Code::Unavailable, "cannot write to standard output");
  }
  return {};
}

// Somebody may have put another file there, or something else into it.
bool TagKeeper::still_ours(size_t size) const {
  struct stat open = {};
  struct stat named = {};
  return file_.valid() && ::fstat(file_.get(), &open) == 0 &&
         ::lstat(arguments_.tag_file.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino && static_cast<size_t>(open.st_size) == size;
}

Result<void> TagKeeper::hand_over(const volume::Tag& tag) {
  const std::string line = to_hex(tag) + "\n";
  const bool in_place =
      still_ours(line.size()) &&
      ::pwrite(file_.get(), line.data(), line.size(), 0) == static_cast<ssize_t>(line.size()) &&
      ::fdatasync(file_.get()) == 0;
  if (in_place) return {};
  // Also after a failure: what was written in part is replaced as a whole.
  file_ = Descriptor();
  TRY(cli::hand_over(arguments_, tag));
  if (!arguments_.tag_file.empty())
    file_ = Descriptor(::open(arguments_.tag_file.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  return {};
}

Result<void> commit_and_hand_over(const VolumeArguments& a, Volume& volume) {
  const volume::Tag tag = TRY(volume.commit());
  TRY(hand_over(a, tag));
  return volume.acknowledge(tag);
}

void tell_left_out(const volume::CopyTotals& totals) {
  const std::string text = totals.left_out();
  if (!text.empty()) std::fprintf(stderr, "cloister: %s\n", text.c_str());
}

Result<volume::InodeId> walk(Volume& volume, std::string_view path) {
  const std::string_view whole = path;
  volume::InodeId at = volume::kRootInode;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
    if (name.empty()) continue;
    const volume::VolumeResult<volume::InodeId> found = volume.lookup(at, name);
    if (!found.ok()) return static_cast<Error>(found.error()).within(whole);
    at = *found;
  }
  return at;
}

CLI::App* volume_subcommand(CLI::App& group, const char* name, const char* what, const char* example,
                            const std::shared_ptr<VolumeArguments>& a, Action& action,
                            VolumeCommand function) {
  auto* sub = group.add_subcommand(name, what);
  sub->footer(std::string("Example: ") + example);
  sub->add_option("VOLUME", a->volume, "Folder of the volume")->required();
  auto* file = sub->add_option("--key-file", a->key_file,
                               "File with the key, 64 hex digits (else $CLOISTER_VOLUME_KEY)");
  auto* session =
      sub->add_option("--session", a->session, "Session file that holds the key (and a first tag)");
  session->excludes(file);
  sub->add_option("--session-volume", a->session_volume, "The volume's name in the session")->needs(session);
  sub->callback([a, &action, function = std::move(function)] {
    action = [a, function] { return finished(function(*a)); };
  });
  return sub;
}

void add_remark(CLI::App* sub, const std::string& text) { sub->footer(text + "\n" + sub->get_footer()); }

void add_opening_options(CLI::App* sub, VolumeArguments& a) {
  auto* tag = sub->add_option("--tag", a.tag, "Tag of the state to open, 32 hex digits");
  sub->add_option("--tag-file", a.tag_file,
                  "File with the tag; commands that change the volume write the new tag there");
  auto* flag =
      sub->add_flag("--without-freshness", a.without_freshness, "Open the newest state found, however old");
  tag->excludes(flag);
}

}  // namespace cloister::cli
