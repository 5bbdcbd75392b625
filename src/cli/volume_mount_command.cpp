// `cloister volume mount` and `unmount`. In the background a child serves the volume and the command returns
// once it is mounted; what goes wrong before that is the command's own error and exit code.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <thread>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "cli/mount_end.h"
#include "cli/volume_opening.h"
#include "fuse/mount.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;

struct MountArguments {
  VolumeArguments volume;
  std::string mountpoint;
  bool read_only = false, foreground = false, allow_other = false;
  unsigned commit_every = 5;
};

// The mount changes its working folder, so what it uses later is made absolute first.
Result<void> make_absolute(MountArguments& a) {
  for (std::string* path : {&a.volume.volume, &a.mountpoint, &a.volume.tag_file}) {
    std::error_code problem;
    if (!path->empty()) *path = fs::absolute(*path, problem).lexically_normal().native();
    if (problem) return Error(Code::NotFound, "the working folder is gone");
    if (path->size() > 1 && path->back() == '/') path->pop_back();
  }
  std::error_code unreadable;
  if (!fs::is_directory(a.mountpoint, unreadable)) {
    return Error(Code::NotFound, "no folder to mount on: " + a.mountpoint, "make it with mkdir");
  }
  for (const std::string& path : {a.volume.tag_file, a.volume.volume}) {
    if (!path.starts_with(a.mountpoint + "/")) continue;
    return Error(Code::InvalidArgument, path + " would lie below the mount itself", "keep it elsewhere");
  }
  if (!a.foreground && !a.read_only && a.volume.tag_file.empty()) {
    return Error(Code::InvalidArgument, "nobody would learn the volume's new tag",
                 "give --tag-file FILE, or --foreground to have every tag printed, or --read-only");
  }
  return {};
}

Result<void> serve_volume(const MountArguments& a, std::function<void()> ready,
                          std::function<void()> released) {
  const volume::Key key = TRY(load_key(a.volume));
  const OpenedVolume opened =
      TRY(open_volume(a.volume, key, {.read_only = a.read_only, .cache_reads = false}));
  fuse::MountOptions options;
  options.mountpoint = a.mountpoint;
  options.volume_folder = a.volume.volume;
  options.read_only = a.read_only;
  options.allow_other = a.allow_other;
  options.commit_every = a.commit_every;
  TagKeeper keeper(a.volume);
  options.publish = [&keeper](const volume::Tag& tag) { return keeper.hand_over(tag); };
  options.ready = std::move(ready);
  options.released = std::move(released);
  options.log = [&a](std::string_view text) {
    if (a.foreground) {
      std::fprintf(stderr, "cloister: %.*s\n", static_cast<int>(text.size()), text.data());
    } else {
      ::syslog(LOG_DAEMON | LOG_ERR, "%.*s", static_cast<int>(text.size()), text.data());
    }
  };
  return fuse::serve(*opened.volume, options);
}

Result<void> mount_here(const MountArguments& a, const std::function<void()>& mounted) {
  // While it is a folder like others: looking at it later would ask the mount, which does not answer yet.
  std::error_code unreadable;
  const std::string mountpoint = fs::canonical(a.mountpoint, unreadable).native();
  MountEnd end;
  Result<void> served = serve_volume(
      a,
      [&] {
        end.listen(mountpoint);
        mounted();
      },
      [&] { end.close(); });
  end.tell(served);  // nothing holds the volume any more
  return served;
}

// Tells the waiting parent that the volume is mounted, and lets go of its terminal and working folder.
void become_daemon(int parent) {
  ::openlog("cloister", LOG_PID, LOG_DAEMON);
  (void)!::setsid();
  (void)!::chdir("/");
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) ::dup2(null, fd);
  if (null > 2) ::close(null);
  const char done = 1;
  (void)!::write(parent, &done, 1);
  ::close(parent);
}

int mount_in_background(const MountArguments& a) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return report(Error(Code::Unavailable, "cannot make a pipe"));
  const pid_t child = ::fork();
  if (child < 0) return report(Error(Code::Unavailable, "cannot start another process"));
  if (child == 0) {
    ::close(ends[0]);
    return finished(mount_here(a, [&] { become_daemon(ends[1]); }));
  }
  ::close(ends[1]);
  char done = 0;
  const bool mounted = ::read(ends[0], &done, 1) == 1;
  ::close(ends[0]);
  if (mounted) return kOk;
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(kFailed);
}

int run_mount(MountArguments& a) {
  const Result<void> prepared = make_absolute(a);
  if (!prepared.ok()) return report(prepared.error());
  if (!a.foreground) return mount_in_background(a);
  return finished(mount_here(a, [] {}));
}

// --- unmount

// While the mount is still there, so that on a full disk nothing is lost: the user makes room and repeats it.
// Other failures stay for ever; the server says them when it ends.
Result<void> commit_mounted(const std::string& mountpoint) {
  const Descriptor root(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid() || (::syncfs(root.get()) == 0 && ::fsync(root.get()) == 0)) return {};
  if (errno != ENOSPC && errno != EDQUOT) return {};
  return Error(
      Code::Unavailable,
      "the disk is full: what was written to " + mountpoint + " cannot be committed, and it stays mounted",
      "free some space and repeat this; umount " + mountpoint + " gives up what is not committed");
}

// Whoever only looks, as a list of all mounts does, keeps a mount busy for a moment.
int umount_patiently(const std::string& mountpoint) {
  constexpr auto kPause = std::chrono::milliseconds(20);
  for (int tries = 50;; --tries) {
    const int result = ::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW);
    if (result == 0 || errno != EBUSY || tries == 0) return result;
    std::this_thread::sleep_for(kPause);
  }
}

Result<void> take_off(const std::string& mountpoint) {
  if (umount_patiently(mountpoint) != 0) {
    if (errno == EBUSY) {
      return Error(Code::Unavailable, "files on " + mountpoint + " are in use",
                   "end the programs that use them");
    }
    const pid_t child = ::fork();
    if (child == 0) {
      ::execlp("fusermount3", "fusermount3", "-u", "--", mountpoint.c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      return Error(Code::Unavailable, "cannot unmount " + mountpoint);
    }
  }
  return {};
}

// Returns when the last state is committed, or says why it is not: umount(8) alone does not wait for that.
Result<void> unmount(const std::string& named) {
  std::error_code problem;
  const std::string mountpoint = fs::canonical(named, problem).native();
  if (problem) return Error(Code::NotFound, "no such folder: " + named);
  const MountedVolume mounted = TRY(volume_mounted_on(mountpoint));
  if (mounted.read_only) return take_off(mountpoint);
  const MountEndQuestion question(mounted);
  TRY(commit_mounted(mountpoint));
  TRY(take_off(mountpoint));
  return question.answer(deadline_in(std::chrono::minutes(1)));
}

}  // namespace

void add_volume_mount_commands(CLI::App& group, const std::shared_ptr<VolumeArguments>& shared,
                               Action& action) {
  const auto a = std::make_shared<MountArguments>();
  auto* sub = volume_subcommand(group, "mount", "Mount on a folder; every commit writes the new tag",
                                "cloister volume mount vol /mnt --key-file vol.key --tag-file vol.tag",
                                shared, action, {});
  add_remark(
      sub,
      "A mount with --read-only shows the state that it was opened at. Beside a writer that state ends when\n"
      "the writer has committed more: reading then fails as on damage. Mount it again at the new tag.");
  sub->add_option("MOUNTPOINT", a->mountpoint, "An existing folder")->required();
  add_opening_options(sub, *shared);
  sub->add_flag("--read-only", a->read_only, "Change nothing");
  sub->add_flag("--foreground", a->foreground,
                "Do not return before it is unmounted; print tags and failures");
  sub->add_flag("--allow-other", a->allow_other, "Let other users in, too (their permissions are checked)");
  sub->add_option("--commit-every", a->commit_every, "Seconds between commits without fsync; 0: none")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  sub->callback([a, shared, &action] {
    action = [a, shared] {
      a->volume = *shared;
      return run_mount(*a);
    };
  });
  auto* end = group.add_subcommand("unmount", "Unmount, and wait until everything is committed");
  end->footer("Example: cloister volume unmount /mnt");
  end->add_option("MOUNTPOINT", a->mountpoint, "Where it is mounted")->required();
  end->callback([a, &action] { action = [a] { return finished(unmount(a->mountpoint)); }; });
}

}  // namespace cloister::cli
