// `cloister volume du`, `fsck`, `compact` and `rekey`.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>

#include <fcntl.h>
#include <unistd.h>

#include "base/files.h"
#include "cli/volume_key.h"
#include "cli/volume_opening.h"
#include "volume/care.h"
#include "volume/directories_met.h"
#include "volume/format.h"
#include "volume/posix_storage.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using volume::Volume;
using Number = unsigned long long;

// --- du

// A file with several names counts where it is met first.
struct Met {
  std::set<volume::InodeId> files;
  volume::DirectoriesMet directories;
};
Result<uint64_t> bytes_below(Volume& volume, volume::InodeId top, Met& met) {
  uint64_t sum = 0;
  std::vector<volume::InodeId> pending{top};
  std::vector<volume::DirectoryEntry> entries;
  while (!pending.empty()) {
    const volume::InodeId inode = pending.back();
    pending.pop_back();
    const volume::Attributes a = TRY(volume.attributes(inode));
    const bool directory = a.type == volume::FileType::Directory;
    if (a.links > 1 && !directory && !met.files.insert(inode).second) continue;
    sum += a.allocated;
    if (!directory) continue;
    TRY(met.directories.enter(inode));
    uint64_t cookie = 0;
    do {
      entries.clear();
      cookie = TRY(volume.read_directory(inode, cookie, 256, entries));
      for (const auto& entry : entries) pending.push_back(entry.inode);
    } while (cookie != 0);
  }
  return sum;
}

Result<void> disk_usage(const VolumeArguments& a) {
  const OpenedVolume opened = TRY(open_volume(a, true));
  Volume& volume = *opened.volume;
  const volume::InodeId at = TRY(walk(volume, a.path));
  Met met;
  std::vector<volume::DirectoryEntry> entries;
  const volume::Attributes here = TRY(volume.attributes(at));
  if (here.type == volume::FileType::Directory) {
    for (uint64_t cookie = 0;;) {
      cookie = TRY(volume.read_directory(at, cookie, 256, entries));
      if (cookie == 0) break;
    }
  }
  std::sort(entries.begin(), entries.end(), [](const auto& x, const auto& y) { return x.name < y.name; });
  uint64_t total = here.type == volume::FileType::Directory ? 0 : here.allocated;
  for (const auto& entry : entries) {
    const uint64_t size = TRY(bytes_below(volume, entry.inode, met));
    total += size;
    std::printf("%12llu %s\n", static_cast<Number>(size), printable(entry.name).c_str());
  }
  std::printf("%12llu total\n", static_cast<Number>(total));
  return {};
}

// --- objects that no file uses: left by a writer that died between making and committing them

struct Unused {
  std::vector<std::string> names;
  uint64_t size = 0;
};

bool is_hex(std::string_view text, size_t size) {
  return text.size() == size && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// Only names that objects have: anything else in the folder is not ours.
Unused unused_objects(const fs::path& folder, const std::vector<std::string>& used) {
  Unused out;
  std::error_code problem;
  for (const auto& below : fs::directory_iterator(folder / "objects", problem)) {
    const std::string part = below.path().filename().native();
    if (!is_hex(part, 2) || !below.is_directory(problem)) continue;
    for (const auto& file : fs::directory_iterator(below.path(), problem)) {
      const std::string rest = file.path().filename().native();
      const std::string name = std::string("objects/").append(part).append("/").append(rest);
      if (!is_hex(rest, 30) || std::binary_search(used.begin(), used.end(), name)) continue;
      out.names.push_back(name);
      out.size += file.file_size(problem);
    }
  }
  return out;
}

// --- fsck

// The writer's lock keeps others from changing the volume meanwhile; without write permission nobody else of
// ours can.
Result<OpenedVolume> open_quiet(const VolumeArguments& a, const volume::Key& key, bool for_repair) {
  Result<OpenedVolume> opened = open_volume(a, key, {.for_repair = for_repair});
  if (!opened.ok() && opened.error().code() == Code::Denied)
    return open_volume(a, key, {.read_only = true, .for_repair = for_repair});
  return opened;
}

void tell_space(const VolumeArguments& a, const volume::Survey& seen) {
  const Number unused =
      seen.blocks - std::min(seen.blocks, seen.used_blocks + 8) + seen.slots - seen.used_slots;
  std::printf("space: %llu bytes in gaps of volume.fspf and objects\n", unused * 4096);
  const Unused left = unused_objects(a.volume, seen.objects);
  if (!left.names.empty()) {
    std::printf("objects: %zu that no file uses, %llu bytes; `cloister volume compact` removes them\n",
                left.names.size(), static_cast<Number>(left.size));
  }
  if (seen.unlinked != 0) {
    std::printf("unlinked: %llu files that were open when the last writer ended; the next one removes them\n",
                static_cast<Number>(seen.unlinked));
  }
}

// The structure first: where it has faults, what is read by it says little.
Result<void> look_at(const VolumeArguments& a, Volume& volume) {
  const volume::Survey seen = TRY(volume::survey(volume));
  std::printf("structure: %llu files, %llu directories, %llu symbolic links\n",
              static_cast<Number>(seen.files), static_cast<Number>(seen.directories),
              static_cast<Number>(seen.symlinks));
  for (const std::string& text : seen.problems) std::printf("problem: %s\n", text.c_str());
  if (!seen.problems.empty()) {
    return Error(Code::Malformed, std::to_string(seen.problems.size()) + " faults in the volume's structure",
                 "mend it with --repair; keep a copy of the folder until then");
  }
  tell_space(a, seen);
  std::fflush(stdout);
  TRY(volume.verify_all());
  std::printf("content: every byte verified, %llu bytes\n", static_cast<Number>(volume.usage().data_size));
  std::puts("no faults");
  return {};
}

Result<void> check_volume(const VolumeArguments& a) {
  const volume::Key key = TRY(load_key(a));
  const OpenedVolume opened = TRY(open_quiet(a, key, true));
  std::printf("state: opens, tag %s\n", to_hex(opened.volume->tag()).c_str());
  std::fflush(stdout);
  return look_at(a, *opened.volume);
}

// --- fsck --repair

bool is_fault(const Error& error) {
  return error.code() == Code::Malformed || error.code() == Code::Integrity;
}

// The state before is openable until this has succeeded: so the new one is looked at first.
Result<void> look_and_hand_over(const VolumeArguments& a, const OpenedVolume& opened, const volume::Key& key,
                                const volume::Tag& tag) {
  const auto mended = TRY(Volume::open(*opened.storage, key, tag, {.read_only = true}));
  TRY(look_at(a, *mended));
  if (!a.tag_file.empty()) return hand_over(a, tag);
  if (std::printf("state: mended, tag %s\n", to_hex(tag).c_str()) < 0 || std::fflush(stdout) != 0)
    return Error(Code::Unavailable, "cannot write to standard output");
  return {};
}

Result<void> repair_volume(const VolumeArguments& a) {
  const volume::Key key = TRY(load_key(a));
  {
    const OpenedVolume opened = TRY(open_volume(a, key, {.for_repair = true}));
    std::printf("state: opens, tag %s\n", to_hex(opened.volume->tag()).c_str());
    Result<void> seen = look_at(a, *opened.volume);
    if (seen.ok() || !is_fault(seen.error())) return seen;
    std::printf("fault: %s\n", printable(seen.error().message()).c_str());
  }
  const OpenedVolume opened = TRY(open_volume(a, key, {.for_repair = true}));
  const volume::Repaired done = TRY(volume::repair(
      *opened.volume, [&](const volume::Tag& tag) { return look_and_hand_over(a, opened, key, tag); }));
  for (const std::string& text : done.mended) std::printf("mended: %s\n", text.c_str());
  for (const std::string& text : done.lost) std::printf("lost: %s\n", text.c_str());
  if (done.lost.empty()) return {};
  return Error(Code::Integrity, "the volume is mended, but not everything was there or could be read",
               "the lines that begin with `lost:` say what is missing");
}

// --- compact

Result<void> compact_volume(const VolumeArguments& a) {
  const OpenedVolume opened = TRY(open_volume(a, false));
  const auto publish = [&](const volume::Tag& tag) { return hand_over(a, tag); };
  const volume::Compacted done = TRY(volume::compact(*opened.volume, publish));
  const volume::Survey seen = TRY(volume::survey(*opened.volume));
  const Unused left = unused_objects(a.volume, seen.objects);
  for (const std::string& name : left.names) TRY(opened.storage->remove(name));
  const Number freed = done.freed + left.size;
  std::fprintf(stderr, "%llu bytes freed, %llu blocks moved, %zu unused objects removed\n", freed,
               static_cast<Number>(done.moved), left.names.size());
  return {};
}

// --- rekey

// What an earlier rekey left behind when it died; nothing else may stand there.
Result<void> remove_partial(const fs::path& folder) {
  std::error_code problem;
  if (!fs::exists(fs::symlink_status(folder, problem))) return {};
  if (fs::is_symlink(folder, problem)) {
    return Error(Code::InvalidArgument, folder.native() + " is in the way");
  }
  for (const auto& item : fs::directory_iterator(folder, problem)) {
    const std::string name = item.path().filename().native();
    if (name != volume::kMainName && name != volume::kLockName && name != "objects") {
      return Error(Code::InvalidArgument, folder.native() + " is in the way");
    }
  }
  const auto storage = TRY(volume::open_posix_storage(folder));
  Result<void> locked = storage->lock_for_writing("cloister volume rekey");
  if (!locked.ok()) return std::move(locked).error().within(folder.native());  // another rekey is at work
  if (!problem) fs::remove_all(folder, problem);
  if (problem) return Error(Code::Denied, "cannot remove " + folder.native() + ": " + problem.message());
  return {};
}

Result<void> take_name(const fs::path& partial, const fs::path& target) {
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0) {
    return Error(Code::Denied, "cannot rename " + partial.native() + ": " + std::strerror(errno));
  }
  return sync_folder(target.has_parent_path() ? target.parent_path() : fs::path("."));
}

// The old volume is only read. The new one takes its name when it is complete, verified and its tag stored,
// so a crash leaves the old volume and at most a folder NEW.partial that the next attempt removes.
Result<void> rekey(const VolumeArguments& a, const std::string& new_key_file,
                   const std::string& new_tag_file) {
  std::string target = a.folder;
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  std::error_code problem;
  if (fs::exists(fs::symlink_status(target, problem))) {
    return Error(Code::InvalidArgument, target + " exists", "name a folder that does not exist yet");
  }
  const volume::Key old_key = TRY(load_key(a));
  const OpenedVolume from = TRY(open_quiet(a, old_key, false));
  VolumeArguments to;
  to.key_file = new_key_file;
  to.tag_file = new_tag_file;
  to.volume = target + ".partial";
  TRY(remove_partial(to.volume));
  const volume::Key key = TRY(load_or_make_key(to));
  if (equal_constant_time(key.expose(), old_key.expose())) {
    return Error(Code::InvalidArgument, new_key_file + " holds the key that the volume has now",
                 "name a file that does not exist yet: a new key is made there");
  }
  {
    const auto storage = TRY(volume::open_posix_storage(to.volume, true));
    volume::CreateOptions options;
    options.now = now();
    const auto made = TRY(Volume::create(*storage, key, options));
    TRY(volume::copy_volume(*from.volume, *made));
    const volume::Tag tag = TRY(made->commit());
    TRY(made->acknowledge(tag));
    TRY(made->verify_all());
    TRY(hand_over(to, tag));
  }
  return take_name(to.volume, target);
}

}  // namespace

void add_volume_care_commands(CLI::App& group, const std::shared_ptr<VolumeArguments>& a, Action& action) {
  auto* sub =
      volume_subcommand(group, "du", "Bytes of data below a path, by entry",
                        "cloister volume du vol dir --key-file vol.key --tag TAG", a, action, disk_usage);
  sub->add_option("PATH", a->path, "Path in the volume");
  add_opening_options(sub, *a);
  const auto mend = std::make_shared<bool>(false);
  sub = volume_subcommand(group, "fsck", "Verify every byte and the structure, and report",
                          "cloister volume fsck vol --key-file vol.key --tag TAG", a, action,
                          [mend](const VolumeArguments& arguments) {
                            return *mend ? repair_volume(arguments) : check_volume(arguments);
                          });
  add_remark(
      sub,
      "Builds before 29 November 2026 could damage the metadata of volumes with more than 40 MB or a "
      "hundred\n"
      "files when files were removed or became shorter: run this once on volumes that they wrote, and with\n"
      "--repair where it finds faults. What they did not cut off then may be in a file again. Keep a copy of "
      "the\n"
      "folder: --repair drops what cannot be read.");
  sub->add_flag("--repair", *mend, "Mend what can be, say what is lost, and print the new tag");
  add_opening_options(sub, *a);
  sub = volume_subcommand(group, "compact", "Give unused space back; prints new tags, the last one counts",
                          "cloister volume compact vol --key-file vol.key --tag-file vol.tag", a, action,
                          compact_volume);
  add_opening_options(sub, *a);
  const auto new_key = std::make_shared<std::string>();
  const auto new_tag = std::make_shared<std::string>();
  sub = volume_subcommand(
      group, "rekey", "Encrypt anew, under a new key, into another folder; prints its tag",
      "cloister volume rekey vol new --key-file vol.key --tag TAG --new-key-file new.key", a, action,
      [new_key, new_tag](const VolumeArguments& arguments) { return rekey(arguments, *new_key, *new_tag); });
  sub->add_option("NEW", a->folder, "Folder of the new volume; must not exist")->required();
  sub->add_option("--new-key-file", *new_key, "File with the new key; made when it does not exist")
      ->required();
  sub->add_option("--new-tag-file", *new_tag, "Write the new volume's tag there");
  add_opening_options(sub, *a);
}

}  // namespace cloister::cli
