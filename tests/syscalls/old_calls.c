#include <sys/resource.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "facts.h"
// Calls that a C library of today reaches by newer ones: open, stat, fstat, lstat, pipe, select, nanosleep,
// fork, gettimeofday, time, getrlimit, setrlimit, settimeofday, mknod, utimes, futimesat, faccessat,
// signalfd, eventfd.
#define OLD(name, ...) CALL(syscall(SYS_##name, __VA_ARGS__))

static void files(void) {
  struct stat s;
  OLD(open, "f", O_RDWR | O_CREAT | O_EXCL, 0640);
  OLD(open, "f", O_RDWR | O_CREAT | O_EXCL, 0640);
  OLD(open, "none", O_RDONLY, 0);
  OLD(open, 8, O_RDONLY, 0);
  CALL(write(3, "text", 4));
  OLD(stat, "f", &s);
  FACT(s.st_mode);
  FACT(s.st_size);
  OLD(stat, "none", &s);
  OLD(stat, "f", 8);
  OLD(fstat, 3, &s);
  FACT(s.st_size);
  OLD(fstat, 99, &s);
  CALL(symlink("f", "l"));
  OLD(lstat, "l", &s);
  FACT(S_ISLNK(s.st_mode));
  FACT(s.st_size);
  OLD(stat, "l", &s);
  FACT(S_ISREG(s.st_mode));
  OLD(mknod, "node", S_IFREG | 0600, 0);
  OLD(mknod, "node", S_IFREG | 0600, 0);
  OLD(mknod, "folder", S_IFDIR | 0700, 0);
  OLD(faccessat, AT_FDCWD, "f", R_OK | W_OK);
  OLD(faccessat, AT_FDCWD, "none", F_OK);
  OLD(faccessat, AT_FDCWD, "f", 8);
  OLD(faccessat, 3, "f", F_OK);
}

static void file_times(void) {
  const struct timeval times[2] = {{1000000000, 250000}, {1100000000, 500000}};
  const struct timeval wrong[2] = {{1, 1000000}, {1, 0}};
  struct stat s;
  OLD(utimes, "f", times);
  OLD(stat, "f", &s);
  FACT(s.st_atim.tv_sec);
  FACT(s.st_atim.tv_nsec);
  FACT(s.st_mtim.tv_sec);
  FACT(s.st_mtim.tv_nsec);
  OLD(utimes, "f", wrong);
  OLD(utimes, "none", times);
  OLD(utimes, "f", NULL);
  OLD(stat, "f", &s);
  FACT(s.st_mtim.tv_sec > 1500000000);
  OLD(futimesat, AT_FDCWD, "f", times);
  OLD(fstat, 3, &s);
  FACT(s.st_mtim.tv_sec);
  OLD(futimesat, 3, NULL, NULL);
  OLD(fstat, 3, &s);
  FACT(s.st_mtim.tv_sec > 1500000000);
  OLD(futimesat, 99, "f", times);
}

static void waits(void) {
  int ends[2];
  char text[8] = "";
  OLD(pipe, ends);
  OLD(pipe, 8);
  fd_set reading;
  struct timeval wait = {0, 30000};
  FD_ZERO(&reading);
  FD_SET(ends[0], &reading);
  OLD(select, ends[0] + 1, &reading, NULL, NULL, &wait);
  FACT(wait.tv_sec);
  FACT(wait.tv_usec);
  FACT(FD_ISSET(ends[0], &reading) != 0);
  const long child = syscall(SYS_fork);
  if (child == 0) {
    _exit(write(ends[1], "child", 5) == 5 ? 7 : 8);
  }
  FD_SET(ends[0], &reading);
  wait = (struct timeval){20, 0};
  OLD(select, ends[0] + 1, &reading, NULL, NULL, &wait);
  FACT(wait.tv_sec >= 15 && wait.tv_sec < 20);
  CALL(read(ends[0], text, sizeof text));
  TEXT(text);
  int status = 0;
  FACT(waitpid((pid_t)child, &status, 0) == child);
  FACT(WEXITSTATUS(status));
  wait = (struct timeval){-1, 0};
  OLD(select, 0, NULL, NULL, NULL, &wait);
  OLD(select, -1, NULL, NULL, NULL, NULL);
  const struct timespec short_time = {0, 20000000}, wrong = {0, 1000000000};
  const int64_t before = now_ms();
  OLD(nanosleep, &short_time, NULL);
  FACT(now_ms() - before >= 20);
  OLD(nanosleep, &wrong, NULL);
  OLD(nanosleep, 8, NULL);
}

static void clocks(void) {
  struct timeval now;
  struct timezone zone = {1, 1};
  time_t seconds = 0;
  OLD(gettimeofday, &now, &zone);
  FACT(zone.tz_minuteswest);
  FACT(syscall(SYS_time, &seconds) == seconds);
  FACT(seconds - now.tv_sec >= 0 && seconds - now.tv_sec < 5);
  OLD(gettimeofday, 8, NULL);
  OLD(time, 8);
  now.tv_usec = 1000000;
  OLD(settimeofday, &now, NULL);
  now = (struct timeval){-1, 0};
  OLD(settimeofday, &now, NULL);
  OLD(settimeofday, 8, NULL);
}

static void limits(void) {
  struct rlimit limit;
  OLD(getrlimit, RLIMIT_CORE, &limit);
  limit.rlim_cur = 0;
  OLD(setrlimit, RLIMIT_CORE, &limit);
  limit.rlim_cur = 5;
  OLD(getrlimit, RLIMIT_CORE, &limit);
  FACT(limit.rlim_cur);
  OLD(getrlimit, 99, &limit);
  limit = (struct rlimit){2, 1};
  OLD(setrlimit, RLIMIT_CORE, &limit);
}

static void descriptors(void) {
  uint64_t number = 0;
  CALL(close_range(3, ~0u, 0));
  OLD(eventfd, 3);
  CALL(fcntl(3, F_GETFD));
  CALL(read(3, &number, 8));
  FACT(number);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  CALL(sigprocmask(SIG_BLOCK, &set, NULL));
  OLD(signalfd, -1, &set, 8);
  OLD(signalfd, -1, &set, 4);
  OLD(signalfd, 3, &set, 8);
  CALL(kill(getpid(), SIGUSR1));
  uint32_t info[32];
  CALL(read(4, info, sizeof info));
  FACT(info[0]);
}

int main(void) {
  scratch();
  umask(022);
  files();
  file_times();
  waits();
  clocks();
  limits();
  descriptors();
  return 0;
}
