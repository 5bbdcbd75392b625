// What the volume commands share: where a volume's key and tag come from, and opening it.
// Keys come from a file, a session or the environment, never from the command line.
#pragma once

#include <memory>
#include <string>

#include "base/descriptor.h"
#include "base/files.h"
#include "base/text.h"
#include "cli/commands.h"
#include "volume/posix_storage.h"
#include "volume/tree_copy.h"
#include "volume/volume.h"

namespace cloister::cli {

struct VolumeArguments {
  std::string volume, key_file, session, session_volume, tag, tag_file, path, folder;
  bool without_freshness = false;
};

struct OpenedVolume {
  std::unique_ptr<volume::Storage> storage;
  std::unique_ptr<volume::Volume> volume;
};

volume::Timestamp now();

// Once in a process: a key in the environment is removed from there.
Result<volume::Key> load_key(const VolumeArguments& a);
// A new volume's: the file's if it exists, else a fresh one written there.
Result<volume::Key> load_or_make_key(const VolumeArguments& a);
// The same, but a fresh one is in no file yet: `file` puts it there when there is a volume that has it.
struct KeyToBe {
  volume::Key key;
  std::optional<StagedFile> file;
};
Result<KeyToBe> load_or_stage_key(const VolumeArguments& a);
// --tag, else what --tag-file holds, else the session's.
Result<volume::Tag> wanted_tag(const VolumeArguments& a);
Result<OpenedVolume> open_volume(const VolumeArguments& a, bool read_only);
// `options.owner` is this command.
Result<OpenedVolume> open_volume(const VolumeArguments& a, const volume::Key& key,
                                 volume::OpenOptions options);

// From here on the caller holds the tag: in --tag-file, durably, or as a line of standard output.
Result<void> hand_over(const VolumeArguments& a, const volume::Tag& tag);
// The same for who hands over often: after the first time the file is overwritten in place, which is one
// barrier instead of two and a rename. Its line fits a sector, which disks write as a whole.
class TagKeeper {
 public:
  explicit TagKeeper(const VolumeArguments& a) : arguments_(a) {}
  Result<void> hand_over(const volume::Tag& tag);

 private:
  bool still_ours(size_t size) const;

  const VolumeArguments& arguments_;
  Descriptor file_;
};
// Commits, hands the tag over, and gives up the state before.
Result<void> commit_and_hand_over(const VolumeArguments& a, volume::Volume& volume);

// What a copy of a folder could not keep, on standard error; nothing where it kept everything.
void tell_left_out(const volume::CopyTotals& totals);

// The inode of a path in the volume; "" and "/" are its root.
Result<volume::InodeId> walk(volume::Volume& volume, std::string_view path);

using VolumeCommand = std::function<Result<void>(const VolumeArguments&)>;
// A subcommand with VOLUME and the options that name its key.
CLI::App* volume_subcommand(CLI::App& group, const char* name, const char* what, const char* example,
                            const std::shared_ptr<VolumeArguments>& a, Action& action,
                            VolumeCommand function);
// More to say in its help.
void add_remark(CLI::App* sub, const std::string& text);
// The options that name the state to open.
void add_opening_options(CLI::App* sub, VolumeArguments& a);

// volume_mount_command.cpp, volume_care_command.cpp
void add_volume_mount_commands(CLI::App& group, const std::shared_ptr<VolumeArguments>& a, Action& action);
void add_volume_care_commands(CLI::App& group, const std::shared_ptr<VolumeArguments>& a, Action& action);

}  // namespace cloister::cli
