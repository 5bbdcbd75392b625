// The session with the kernel: mounting, serving, signals, the commit timer.
#include "fuse/mount.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "base/descriptor.h"
#include "fuse/operations.h"

namespace cloister::fuse {
namespace {

// Read-ahead of a FUSE mount starts at 128 KiB, an eighth of what one request can carry. Only root may raise
// it; a mount without it works, so failures do not matter.
void raise_read_ahead(const std::filesystem::path& mountpoint) {
  struct stat status {};
  if (::stat(mountpoint.c_str(), &status) != 0) return;
  const std::string setting = "/sys/class/bdi/" + std::to_string(major(status.st_dev)) + ":" +
                              std::to_string(minor(status.st_dev)) + "/read_ahead_kb";
  const Descriptor fd(::open(setting.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string value = std::to_string(kMaxTransfer / 1024);
  if (fd.get() >= 0) (void)!::write(fd.get(), value.data(), value.size());
}

// Writes back what the kernel holds, then takes the mount out of the tree. The session ends when the last
// open file is closed. False: it is still there.
bool detach(const std::filesystem::path& mountpoint) {
  const int fd = ::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    ::syncfs(fd);
    ::close(fd);
  }
  if (::umount2(mountpoint.c_str(), MNT_DETACH) == 0) return true;
  std::string path = mountpoint.native();
  char program[] = "fusermount3";
  char unmount[] = "-uz";
  char end[] = "--";
  char* argv[] = {program, unmount, end, path.data(), nullptr};
  pid_t child = 0;
  int status = 0;
  return ::posix_spawnp(&child, program, nullptr, nullptr, argv, environ) == 0 &&
         ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Beside the thread that serves: waits for signals, for the end, and for the next commit to be due.
void attend(FileSystem& files, const MountOptions& options, int signals, int end) {
  raise_read_ahead(options.mountpoint);
  pollfd waits[] = {{signals, POLLIN, 0}, {end, POLLIN, 0}};
  const int pause_ms = options.commit_every == 0 ? -1 : static_cast<int>(options.commit_every) * 1000;
  bool detached = false;
  while (true) {
    const int ready = ::poll(waits, 2, pause_ms);
    if (ready < 0 && errno != EINTR) return;
    if ((waits[1].revents & POLLIN) != 0) return;
    if (ready == 0) {
      (void)files.commit();  // it logs what fails; the next one may succeed
    } else if ((waits[0].revents & POLLIN) != 0) {
      signalfd_siginfo info{};
      if (::read(signals, &info, sizeof(info)) != sizeof(info)) return;
      // Once only: what is mounted there afterwards is somebody else's.
      detached = detached || detach(options.mountpoint);
      (void)files.commit();
    }
  }
}

// Blocks the signals that unmount, from before there is a mount that one of them could leave behind. Threads
// inherit it.
class EndingSignals {
 public:
  EndingSignals() {
    sigemptyset(&set_);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set_, number);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~EndingSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  EndingSignals(const EndingSignals&) = delete;
  EndingSignals& operator=(const EndingSignals&) = delete;
  const sigset_t& set() const { return set_; }

 private:
  sigset_t set_, before_;
};

struct SessionEnd {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }
};
using Session = std::unique_ptr<fuse_session, SessionEnd>;

Result<Session> open_session(const MountOptions& options, Mounted& mounted) {
  std::string settings = "default_permissions,subtype=cloister,fsname=";
  for (const char c : options.volume_folder.native()) {
    if (c == ',' || c == '\\') settings += '\\';
    settings += c;
  }
  if (options.read_only) settings += ",ro";
  if (options.allow_other) settings += ",allow_other";
  char name[] = "cloister";
  char option[] = "-o";
  char* argv[] = {name, option, settings.data(), nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(3, argv);
  Session session(fuse_session_new(&arguments, &operations(), sizeof(fuse_lowlevel_ops), &mounted));
  fuse_opt_free_args(&arguments);
  if (session == nullptr) return Error(Code::Internal, "libfuse refuses the options of the mount");
  if (fuse_session_mount(session.get(), options.mountpoint.c_str()) != 0) {
    return Error(
        Code::Unavailable, "cannot mount on " + options.mountpoint.native(),
        "mounting needs /dev/fuse and, unless you are root, the program fusermount3 (package fuse3)");
  }
  if (!take_channel(session.get())) return Error(Code::Internal, "libfuse refuses the session's channel");
  return session;
}

// One thread serves the kernel: everything needs the one lock anyway, and waking several in turn costs more
// than they gain (4 KiB random reads took 316 µs with one, 615 with two, 1500 with eight on a busy machine).
int run_session(fuse_session* session) {
  ::mallopt(M_TOP_PAD, 1 << 20);  // the cache fills with small blocks: ask the system for many at once
  return fuse_session_loop(session);
}

}  // namespace

Result<void> serve(volume::Volume& volume, const MountOptions& options) {
  FileSystem files(volume, options.publish, options.log);
  const Descriptor folder(::open(options.volume_folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return Error(Code::NotFound, "cannot open " + options.volume_folder.native());
  Mounted mounted{files, folder};
  const EndingSignals ending;
  Session session = TRY(open_session(options, mounted));
  ::signal(SIGPIPE, SIG_IGN);
  const Descriptor signals(::signalfd(-1, &ending.set(), SFD_CLOEXEC));
  const Descriptor end(::eventfd(0, EFD_CLOEXEC));
  std::thread attendant([&] { attend(files, options, signals.get(), end.get()); });
  if (options.ready) options.ready();
  const int result = run_session(session.get());
  if (options.released) options.released();
  const uint64_t one = 1;
  (void)!::write(end.get(), &one, sizeof(one));
  attendant.join();
  fuse_session_unmount(session.get());
  TRY(files.finish());
  if (result < 0) return Error(Code::Unavailable, std::string("the mount ended: ") + std::strerror(-result));
  return {};
}

}  // namespace cloister::fuse
