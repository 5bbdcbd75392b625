// `cloister volume mount` and `unmount`. In the background a child serves the volume and the command returns
// once it is mounted; what goes wrong before that is the command's own error and exit code.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <thread>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/vfs.h>
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

// --- taking a mount off

// Whoever only looks, as a list of all mounts does, keeps a mount busy for a moment.
int umount_patiently(const std::string& mountpoint) {
  constexpr auto kPause = std::chrono::milliseconds(20);
  for (int tries = 50;; --tries) {
    const int result = ::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW);
    if (result == 0 || errno != EBUSY || tries == 0) return result;
    std::this_thread::sleep_for(kPause);
  }
}

bool fusermount(const char* how, const std::string& mountpoint) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execlp("fusermount3", "fusermount3", how, "--", mountpoint.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The process that served it was killed. Asked is what the kernel does not answer by itself.
bool is_dead(const std::string& mountpoint) {
  struct statfs status {};
  return ::statfs(mountpoint.c_str(), &status) != 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

// Also while it is in use: what is open there fails for ever.
bool detach_dead(const std::string& mountpoint) {
  return ::umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || fusermount("-uz", mountpoint);
}

Result<void> take_off(const std::string& mountpoint) {
  if (umount_patiently(mountpoint) == 0) return {};
  const bool in_use = errno == EBUSY;
  if (!in_use && fusermount("-u", mountpoint)) return {};
  if (is_dead(mountpoint) && detach_dead(mountpoint)) return {};
  if (!in_use) return Error(Code::Unavailable, "cannot unmount " + mountpoint);
  return Error(Code::Unavailable, "files on " + mountpoint + " are in use", "end the programs that use them");
}

// A mount on top of a dead one would hide it, and it come back when that one is taken off.
Result<void> take_off_dead(const std::string& mountpoint) {
  for (int most = 16; most > 0 && volume_mounted_on(mountpoint).ok() && is_dead(mountpoint); --most) {
    if (!detach_dead(mountpoint)) {
      return Error(Code::Unavailable, "the mount on " + mountpoint +
                                          " is dead, and cannot be unmounted: its process was killed");
    }
    std::fprintf(stderr, "cloister: unmounted what was on %s: the process that served it was killed\n",
                 mountpoint.c_str());
  }
  return {};
}

// --- mount

// Without links and `..`, and absolute: the mount changes its working folder. Of a tag file that is for its
// folder, because the file itself is replaced.
Result<std::string> real_path(const std::string& path, bool of_folder) {
  std::error_code problem;
  const fs::path whole = fs::absolute(path, problem);
  if (problem) return Error(Code::NotFound, "the working folder is gone");
  fs::path real = fs::weakly_canonical(of_folder ? whole.parent_path() : whole, problem);
  if (problem) return Error(Code::NotFound, "cannot find " + path + ": " + problem.message());
  if (of_folder) real /= whole.filename();
  return real.native();
}

bool lies_in(const std::string& path, const std::string& folder) {
  return path == folder || folder == "/" || path.starts_with(folder + "/");
}

// What the mount itself needs and would have to ask itself for.
Result<void> check_paths(const MountArguments& a) {
  for (const std::string& path : {a.volume.tag_file, a.volume.volume}) {
    if (path.empty() || !lies_in(path, a.mountpoint)) continue;
    return Error(Code::InvalidArgument, path + " would lie below the mount itself", "keep it elsewhere");
  }
  const std::string objects = a.volume.volume + "/objects";
  if (!lies_in(a.mountpoint, objects)) return {};
  return Error(Code::InvalidArgument, "the mount would hide " + objects, "mount it elsewhere");
}

Result<void> prepare(MountArguments& a) {
  a.volume.volume = TRY(real_path(a.volume.volume, false));
  if (!a.volume.tag_file.empty()) a.volume.tag_file = TRY(real_path(a.volume.tag_file, true));
  std::error_code missing, unreadable;
  const std::string mountpoint = fs::canonical(a.mountpoint, missing).native();
  if (!missing) TRY(take_off_dead(mountpoint));
  if (missing || !fs::is_directory(mountpoint, unreadable)) {
    return Error(Code::NotFound, "no folder to mount on: " + a.mountpoint, "make it with mkdir");
  }
  a.mountpoint = mountpoint;
  TRY(check_paths(a));
  if (!a.foreground && !a.read_only && a.volume.tag_file.empty()) {
    return Error(Code::InvalidArgument, "nobody would learn the volume's new tag",
                 "give --tag-file FILE, or --foreground to have every tag printed, or --read-only");
  }
  return {};
}

Result<void> serve_volume(const MountArguments& a, std::function<void()> ready,
                          std::function<void()> released) {
  const volume::Key key = TRY(load_key(a.volume));
  Result<OpenedVolume> opened = open_volume(a.volume, key, {.read_only = a.read_only, .cache_reads = false});
  if (!opened.ok() && opened.error().code() == Code::Denied && !a.read_only) {
    return Error(Code::Denied, opened.error().message(),
                 "give --read-only where the volume's folder cannot be written to");
  }
  if (!opened.ok()) return std::move(opened).error();
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
  options.log = [&a](std::string_view message) {
    const std::string text = printable(message);
    if (a.foreground) {
      std::fprintf(stderr, "cloister: %s\n", text.c_str());
    } else {
      ::syslog(LOG_DAEMON | LOG_ERR, "%s", text.c_str());
    }
  };
  return fuse::serve(*opened->volume, options);
}

Result<void> mount_here(const MountArguments& a, const std::function<void()>& mounted) {
  MountEnd end;
  Result<void> served = serve_volume(
      a,
      [&] {
        end.listen(a.mountpoint);
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
  const Result<void> prepared = prepare(a);
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
      "the writer has committed more: reading then fails as on damage. Mount it again at the new tag.\n"
      "What belongs to user 0 in the volume, as all that `add` puts there, belongs to whoever mounts it.");
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
