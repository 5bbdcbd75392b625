// `cloister volume …`: encrypted volumes on the owner's machine. The caller keeps the tag: it is what makes a
// volume's state the newest one.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/volume_opening.h"
#include "volume/directories_met.h"
#include "volume/format.h"
#include "volume/posix_storage.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using volume::Volume;

Result<void> put_key(const VolumeArguments& a, StagedFile& file) {
  if (TRY(file.put())) return {};
  return Error(Code::Unavailable, a.key_file + " was made by somebody else meanwhile",
               "try again: it is used then");
}

// The volume, its tag, and last its key, which nobody can have used before. Of a failed attempt nothing stays
// that would be in the way of the next one; what somebody else makes there does.
Result<void> create_in(const VolumeArguments& a, volume::Storage& storage) {
  KeyToBe key = TRY(load_or_stage_key(a));
  volume::CreateOptions options;
  options.now = now();
  Result<std::unique_ptr<Volume>> made = Volume::create(storage, key.key, options);
  if (!made.ok()) return std::move(made).error().within(a.volume);
  Result<void> done = hand_over(a, (*made)->tag());
  if (done.ok() && key.file) done = put_key(a, *key.file);
  if (done.ok()) return {};
  made->reset();
  (void)storage.remove(volume::kMainName);
  return done;
}

Result<void> create(const VolumeArguments& a) {
  std::error_code ignored;
  const bool new_folder = !fs::exists(fs::symlink_status(a.volume, ignored));
  const auto storage = TRY(volume::open_posix_storage(a.volume, true));
  Result<void> done = storage->lock_for_writing("cloister volume create");
  const bool alone = done.ok();
  done = alone ? create_in(a, *storage) : std::move(done).error().within(a.volume);
  if (done.ok() || !new_folder) return done;
  if (alone) fs::remove(fs::path(a.volume) / volume::kLockName, ignored);
  fs::remove(a.volume, ignored);  // if it is empty
  return done;
}

void tell(const volume::CopyTotals& totals) {
  std::fprintf(stderr, "%llu files, %llu bytes\n", static_cast<unsigned long long>(totals.files),
               static_cast<unsigned long long>(totals.bytes));
  tell_left_out(totals);
}

Result<void> add(const VolumeArguments& a) {
  const OpenedVolume opened = TRY(open_volume(a, false));
  const auto totals = TRY(volume::copy_folder_in(*opened.volume, a.folder));
  TRY(commit_and_hand_over(a, *opened.volume));
  tell(totals);
  return {};
}

Result<void> get(const VolumeArguments& a) {
  const OpenedVolume opened = TRY(open_volume(a, true));
  const auto totals = TRY(volume::copy_folder_out(*opened.volume, a.folder));
  tell(totals);
  return {};
}

void tell_entry(const volume::Attributes& attributes, const std::string& path) {
  const char kind = attributes.type == volume::FileType::Directory ? 'd'
                    : attributes.type == volume::FileType::Symlink ? 'l'
                                                                   : '-';
  std::printf("%c%04o %12llu %s\n", kind, attributes.permissions,
              static_cast<unsigned long long>(attributes.size), path.c_str());
}

// Without recursion: folders may be nested to any depth.
Result<void> list_below(Volume& volume, volume::InodeId directory) {
  struct Level {
    volume::InodeId directory;
    size_t prefix;  // of the path: what its entries begin with
    std::vector<volume::DirectoryEntry> entries = {};
    size_t next = 0;
    uint64_t cookie = 0;
    bool more = true;
  };
  std::string path;
  std::vector<Level> levels{{directory, 0}};
  volume::DirectoriesMet met;
  TRY(met.enter(directory));
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.next == level.entries.size() && !level.more) {
      levels.pop_back();
      continue;
    }
    if (level.next == level.entries.size()) {
      level.entries.clear();
      level.next = 0;
      level.cookie = TRY(volume.read_directory(level.directory, level.cookie, 256, level.entries));
      level.more = level.cookie != 0;
      continue;
    }
    const volume::DirectoryEntry& entry = level.entries[level.next++];
    path.resize(level.prefix);
    path += printable(entry.name);
    const volume::Attributes attributes = TRY(volume.attributes(entry.inode));
    tell_entry(attributes, path);
    if (attributes.type != volume::FileType::Directory) continue;
    path += '/';
    TRY(met.enter(entry.inode));
    levels.push_back({entry.inode, path.size()});
  }
  return {};
}

Result<void> list(const VolumeArguments& a) {
  const OpenedVolume opened = TRY(open_volume(a, true));
  const volume::InodeId at = TRY(walk(*opened.volume, a.path));
  const volume::Attributes attributes = TRY(opened.volume->attributes(at));
  if (attributes.type == volume::FileType::Directory) return list_below(*opened.volume, at);
  tell_entry(attributes, printable(a.path));
  return {};
}

Result<void> cat(const VolumeArguments& a) {
  const OpenedVolume opened = TRY(open_volume(a, true));
  const volume::InodeId at = TRY(walk(*opened.volume, a.path));
  Bytes buffer(1 << 20);
  for (uint64_t offset = 0;;) {
    const volume::VolumeResult<size_t> count = opened.volume->read(at, offset, buffer);
    if (!count.ok()) return static_cast<Error>(count.error()).within(a.path);
    if (*count == 0) return {};
    if (std::fwrite(buffer.data(), 1, *count, stdout) != *count) {
      return Error(Code::Unavailable, "cannot write to standard output");
    }
    offset += *count;
  }
}

Result<void> verify(const VolumeArguments& a) {
  const OpenedVolume opened = TRY(open_volume(a, true));
  TRY(opened.volume->verify_all());
  const auto usage = opened.volume->usage();
  std::printf("verified: %llu files, %llu bytes\n", static_cast<unsigned long long>(usage.files),
              static_cast<unsigned long long>(usage.data_size));
  return {};
}

Result<void> newest_tag(const VolumeArguments& a) {
  const OpenedVolume opened = TRY(open_volume(a, true));
  std::printf("%s\n", to_hex(opened.volume->tag()).c_str());
  return {};
}

}  // namespace

void add_volume_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("volume", "Encrypted volumes on this machine");
  group->require_subcommand(1);
  const auto a = std::make_shared<VolumeArguments>();
  auto* sub = volume_subcommand(*group, "create", "Make an empty volume; prints its tag",
                                "cloister volume create vol --key-file vol.key", a, action, create);
  sub->add_option("--tag-file", a->tag_file, "Write the tag there");
  sub = volume_subcommand(*group, "add", "Copy a folder's content in; prints the new tag",
                          "cloister volume add vol INPUTS --key-file vol.key --tag TAG", a, action, add);
  add_remark(
      sub,
      "Names, content, holes, permissions, times, symbolic links, hard links inside the folder and extended\n"
      "attributes of users (user.*) are kept. Owners, access control lists and other attributes are not;\n"
      "devices, pipes and sockets are skipped.");
  sub->add_option("FOLDER", a->folder, "What to copy")->required();
  add_opening_options(sub, *a);
  sub = volume_subcommand(*group, "get", "Verify and copy everything out",
                          "cloister volume get vol OUTPUTS --key-file vol.key --tag TAG", a, action, get);
  add_remark(sub,
             "Names, content, holes, permissions, times, symbolic links, hard links and extended attributes "
             "of users\n"
             "(user.*) are kept; owners and set-id bits are not restored. Where FOLDER cannot hold hard "
             "links or such\n"
             "attributes, the links become copies, the attributes are left out, and a line says so.");
  sub->add_option("FOLDER", a->folder, "Where to")->required();
  add_opening_options(sub, *a);
  sub = volume_subcommand(*group, "ls", "List everything below a path",
                          "cloister volume ls vol --key-file vol.key --tag TAG", a, action, list);
  sub->add_option("PATH", a->path, "Path in the volume");
  add_opening_options(sub, *a);
  sub = volume_subcommand(*group, "cat", "Print a file",
                          "cloister volume cat vol dir/file --key-file vol.key --tag TAG", a, action, cat);
  sub->add_option("PATH", a->path, "Path in the volume")->required();
  add_opening_options(sub, *a);
  sub = volume_subcommand(*group, "verify", "Read and verify every byte",
                          "cloister volume verify vol --key-file vol.key --tag TAG", a, action, verify);
  add_opening_options(sub, *a);
  sub = volume_subcommand(*group, "tag", "Print the tag of the state that opens",
                          "cloister volume tag vol --key-file vol.key --without-freshness", a, action,
                          newest_tag);
  add_opening_options(sub, *a);
  add_volume_mount_commands(*group, a, action);
  add_volume_care_commands(*group, a, action);
}

}  // namespace cloister::cli
