#include <cpuid.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "facts.h"
// /proc and /sys: what a process reads about itself, its threads, its children and the machine.
enum { kRoom = 1 << 20 };
static char* text;  // allocated: what is static is copied by the forks of every case

static ssize_t get(const char* path) {
  const int fd = open(path, O_RDONLY);
  ssize_t size = 0, n;
  if (fd < 0) return -1;
  while (size < kRoom - 1 && (n = read(fd, text + size, kRoom - 1 - size)) > 0) size += n;
  close(fd);
  text[size] = 0;
  return size;
}
static const char* of(pid_t pid, const char* name) {
  static char path[100];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  return path;
}
// The value in a row "NAME: VALUE…" as a number.
static long row(const char* name) {
  const char* found = strstr(text, name);
  return found == NULL ? -99 : strtol(found + strlen(name), NULL, 0);
}
static int listed(const char* folder, long number) {
  DIR* d = opendir(folder);
  struct dirent* e;
  int found = 0;
  while (d != NULL && (e = readdir(d)) != NULL) found |= atol(e->d_name) == number;
  if (d != NULL) closedir(d);
  return found;
}

static void names(void) {
  static const char* const paths[] = {"/proc/self/auxv",
                                      "/proc/self/cgroup",
                                      "/proc/self/cmdline",
                                      "/proc/self/comm",
                                      "/proc/self/environ",
                                      "/proc/self/exe",
                                      "/proc/self/fd/0",
                                      "/proc/self/fdinfo/0",
                                      "/proc/self/limits",
                                      "/proc/self/maps",
                                      "/proc/self/mountinfo",
                                      "/proc/self/mounts",
                                      "/proc/self/smaps",
                                      "/proc/self/stat",
                                      "/proc/self/statm",
                                      "/proc/self/status",
                                      "/proc/self/task",
                                      "/proc/thread-self/comm",
                                      "/proc/cpuinfo",
                                      "/proc/meminfo",
                                      "/proc/mounts",
                                      "/proc/uptime",
                                      "/proc/version",
                                      "/proc/99999999",
                                      "/proc/none",
                                      "/proc/self/fdinfo/999",
                                      "/proc/self/fd/999",
                                      "/proc/self/task/1",
                                      "/proc/sys/kernel/random/boot_id",
                                      "/proc/sys/kernel/random/uuid",
                                      "/proc/sys/kernel/random/entropy_avail",
                                      "/proc/sys/kernel/ngroups_max",
                                      "/sys/devices/system/cpu/online",
                                      "/sys/devices/system/cpu/possible",
                                      "/sys/devices/system/cpu/present",
                                      "/sys/devices/system/none"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; ++i) {
    errno = 0;
    printf("%s: %d %s\n", paths[i], access(paths[i], R_OK), strerrorname_np(errno));
  }
  char target[100] = {0};
  CALL(readlink("/proc/mounts", target, sizeof target));
  TEXT(target);
}

static void own(void) {
  get("/proc/self/status");
  FACT(row("\nPid:\t") == getpid());
  FACT(row("\nPPid:\t") == getppid());
  FACT(row("\nUid:\t") == getuid());
  FACT(row("\nThreads:\t"));
  umask(027);
  get("/proc/self/status");
  FACT(row("\nUmask:\t"));
  signal(SIGUSR1, SIG_IGN);
  get("/proc/self/status");
  FACT((strtoull(strstr(text, "\nSigIgn:\t") + 9, NULL, 16) >> (SIGUSR1 - 1)) & 1);
  signal(SIGUSR1, SIG_DFL);
  int pid = 0, parent = 0, group = 0, session = 0;
  char state = 0, name[32] = {0};
  get("/proc/self/stat");
  FACT(sscanf(text, "%d (%31[^)]) %c %d %d %d", &pid, name, &state, &parent, &group, &session));
  FACT(pid == getpid() && parent == getppid() && group == getpgrp() && session == getsid(0));
  FACT(state);
  const int64_t until = now_ms() + 300;
  while (now_ms() < until) {
  }
  get("/proc/self/stat");
  long field[60] = {0}, fields = 0;  // from 1
  for (char* word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) field[++fields] = atol(word);
  FACT(fields);
  FACT(field[14] + field[15] >= 5);
  FACT(field[18] - getpriority(PRIO_PROCESS, 0));  // whoever started it may be nice
  FACT(field[19] - getpriority(PRIO_PROCESS, 0));
  FACT(field[20]);
  FACT(field[22] > 0 && field[23] > field[24] && field[24] > 100);
  get("/proc/stat");
  const long started = row("\nbtime ") + field[22] / 100 - time(NULL);
  FACT(started > -100 && started < 100);
  prctl(PR_SET_NAME, "a name");
  get("/proc/self/comm");
  TEXT(text);
  get("/proc/self/stat");
  FACT(strstr(text, " (a name) R ") != NULL);
}

static void stopped(void) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  int status = 0;
  kill(pid, SIGSTOP);
  waitpid(pid, &status, WUNTRACED);
  FACT(get(of(pid, "status")) > 0);
  FACT(strstr(text, "State:\tT (stopped)") != NULL);
  kill(pid, SIGKILL);
  FACT(waitpid(pid, &status, 0) == pid);
}

static void start_values(void) {
  struct {
    unsigned long type, value;
  } entry;
  int fd = open("/proc/self/auxv", O_RDONLY), seen = 0;
  while (read(fd, &entry, sizeof entry) == sizeof entry && entry.type != AT_NULL) {
    if (entry.type == AT_PAGESZ) FACT(entry.value);
    if (entry.type == AT_PHDR || entry.type == AT_ENTRY || entry.type == AT_RANDOM)
      seen += entry.value == getauxval(entry.type);
  }
  FACT(seen);
  close(fd);
  static char* const words[] = {"cases", "proc_files", "again", NULL};
  static char* const environment[] = {"ONE=1", "TWO=", NULL};
  fflush(stdout);
  if (vfork() == 0) {
    execve("/proc/self/exe", words, environment);
    _exit(9);
  }
  wait(NULL);
}
static void again(void) {
  const ssize_t n = get("/proc/self/environ");
  FACT(n);
  for (ssize_t i = 0; i < n; ++i) putchar(text[i] == 0 ? '|' : text[i]);
  printf("\n");
  FACT(get("/proc/self/cmdline"));
  get("/proc/self/comm");
  TEXT(text);
}

static void mounts(void) {
  int proc = 0, odd = 0;
  get("/proc/self/mountinfo");
  for (char* line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    int id, parent, major, minor;
    char root[200], place[200];
    if (sscanf(line, "%d %d %d:%d %199s %199s", &id, &parent, &major, &minor, root, place) != 6 ||
        strstr(line, " - ") == NULL)
      ++odd;
    proc |= strcmp(place, "/proc") == 0 && strstr(line, " - proc ") != NULL;
  }
  FACT(odd);
  FACT(proc);
}

static void memory(void) {
  char* page = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(page, 1, 8 << 20);
  char begin[32];
  snprintf(begin, sizeof begin, "%lx-", (unsigned long)page);
  get("/proc/self/smaps");
  long rss = 0, size = 0, rows = 0;
  for (const char* at = text; (at = strstr(at, "\nRss:")) != NULL; ++at, ++rows) rss += atol(at + 5);
  for (const char* at = text; (at = strstr(at, "\nSize:")) != NULL; ++at) size += atol(at + 6);
  FACT(rss >= 8192 && size >= rss && rows > 5);
  long pages = 0, resident = 0;
  get("/proc/self/statm");
  FACT(sscanf(text, "%ld %ld", &pages, &resident));
  FACT(resident >= 2048 && pages >= resident);
  get("/proc/self/status");
  FACT(row("\nVmRSS:\t") >= 8192 && row("\nVmSize:\t") >= row("\nVmRSS:\t"));
  munmap(page, 8 << 20);
}

static void descriptors(void) {
  put_file("file", "0123456789");
  const int fd = open("file", O_RDWR | O_APPEND | O_CLOEXEC);
  lseek(fd, 7, SEEK_SET);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  get(path);
  FACT(row("pos:\t"));
  FACT(row("flags:\t") & ~O_LARGEFILE & ~0100000);
  FACT(listed("/proc/self/fdinfo", fd));
  close(fd);
  CALL(get(path));
}

static void link_of(int fd) {  // without numbers, which differ
  char path[64], target[200] = {0};
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  readlink(path, target, sizeof target - 1);
  struct stat s;
  fstat(fd, &s);
  char* number = strchr(target, '[');
  if (number != NULL) {
    FACT(strtoul(number + 1, NULL, 10) == s.st_ino);
    number[1] = 0;
  }
  TEXT(strrchr(target, '/') == NULL ? target : strrchr(target, '/'));
}
static void links(void) {
  int p[2];
  pipe(p);
  link_of(p[0]);
  link_of(p[1]);
  link_of(socket(AF_UNIX, SOCK_STREAM, 0));
  link_of(socket(AF_INET, SOCK_DGRAM, 0));
  const int fd = open("removed", O_RDWR | O_CREAT, 0600);
  link_of(fd);
  unlink("removed");
  link_of(fd);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  WORKS(open(path, O_RDONLY));
}

// What has no name in a file system is opened again by its link.
static void opened_again(void) {
  int p[2], again;
  char path[64], b[8] = {0};
  struct stat s, t;
  pipe(p);
  snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
  CALL(again = open(path, O_PATH));
  CALL(read(again, b, 1));
  CALL(fcntl(again, F_GETFL));
  CALL(fstat(again, &s));
  CALL(fstat(p[0], &t));
  FACT(s.st_ino == t.st_ino && s.st_mode == t.st_mode);
  link_of(again);
  close(again);
  CALL(again = open(path, O_WRONLY));
  close(p[1]);
  CALL(write(again, "abc", 3));
  CALL(read(again, b, 1));
  CALL(read(p[0], b, 1));
  TEXT(b);
  CALL(p[1] = open(path, O_RDONLY | O_NONBLOCK));
  CALL(read(p[1], b, 1));
  TEXT(b);
  CALL(fcntl(p[1], F_GETFL) & O_NONBLOCK);
  CALL(fcntl(p[0], F_GETFL) & O_NONBLOCK);
  close(again);
  CALL(read(p[1], b, 8));
  CALL(read(p[1], b, 8));
  CALL(again = open(path, O_RDWR | O_NONBLOCK));
  CALL(read(p[1], b, 8));
  CALL(write(again, "d", 1));
  CALL(read(again, b, 8));
  CALL(open(path, O_RDONLY | O_DIRECTORY));
  CALL(open(path, O_RDONLY | O_NOFOLLOW));
  CALL(open(path, O_RDONLY | O_CREAT | O_EXCL, 0600));
  for (int i = 0; i < 3; ++i) {
    const int fd = i == 0 ? socket(AF_UNIX, SOCK_STREAM, 0) : i == 1 ? eventfd(0, 0) : epoll_create1(0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CALL(open(path, O_RDWR));
    WORKS(open(path, O_PATH));
    close(fd);
  }
  mkfifo("named", 0600);
  p[0] = open("named", O_RDONLY | O_NONBLOCK);
  snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
  CALL(p[1] = open(path, O_WRONLY));
  CALL(write(p[1], "x", 1));
  CALL(read(p[0], b, 8));
  close(p[0]);
  close(p[1]);
}

static void processors(void) {
  cpu_set_t all, one;
  int last = -1;
  sched_getaffinity(0, sizeof all, &all);
  for (int i = 0; i < 64; ++i) last = CPU_ISSET(i, &all) ? i : last;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  CALL(sched_setaffinity(0, sizeof one, &one));
  get("/proc/self/status");
  char* found = strstr(text, "\nCpus_allowed:\t") + 15;
  FACT(row("\nCpus_allowed_list:\t") == last);
  *strchr(found, '\n') = 0;
  unsigned long mask = 0;
  for (; *found != 0; ++found)
    if (*found != ',') mask = mask << 4 | (*found <= '9' ? *found - '0' : *found - 'a' + 10);
  FACT(mask == 1ul << last);
  sched_setaffinity(0, sizeof all, &all);
}

static pthread_barrier_t barrier;
static pid_t tid;
static void* named(void* unused) {
  prctl(PR_SET_NAME, "second");
  tid = gettid();
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  return unused;
}
static void threads(void) {
  pthread_t t;
  char path[64];
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_create(&t, NULL, named, NULL);
  pthread_barrier_wait(&barrier);
  snprintf(path, sizeof path, "/proc/self/task/%d/comm", tid);
  get(path);
  TEXT(text);
  get("/proc/self/comm");
  TEXT(text);
  char name[16] = "";
  FACT(pthread_setname_np(t, "another"));
  FACT(pthread_getname_np(t, name, sizeof name));
  TEXT(name);
  FACT(pthread_setname_np(pthread_self(), "myself"));
  prctl(PR_GET_NAME, name);
  TEXT(name);
  put_file("/proc/thread-self/comm", "much more than fifteen");
  get("/proc/self/comm");
  TEXT(text);
  struct stat s;
  CALL(stat("/proc/self/comm", &s));
  FACT(s.st_mode);
  snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
  get(path);
  FACT(row("\nPid:\t") == tid && row("\nTgid:\t") == getpid());
  FACT(listed("/proc/self/task", tid));
  pthread_barrier_wait(&barrier);
  pthread_join(t, NULL);
  for (int i = 0; i < 100 && access(path, F_OK) == 0; ++i) usleep(10000);
  CALL(get(path));
}

static void child(void) {
  int go[2];
  char c;
  pipe(go);
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    get("/proc/self/status");
    _exit(row("\nPPid:\t") == getppid() && row("\nPid:\t") == getpid() ? read(go[0], &c, 1) : 9);
  }
  FACT(listed("/proc", pid));
  FACT(get(of(pid, "status")) > 0);
  FACT(row("\nPPid:\t") == getpid() && row("\nPid:\t") == pid);
  get(of(pid, "cmdline"));
  FACT(strlen(text) > 0);
  FACT(access(of(pid, "fd/0"), F_OK));
  FACT(get(of(pid, "maps")) > 100);
  const int kept = open(of(pid, "stat"), O_RDONLY);
  write(go[1], "x", 1);
  siginfo_t info;
  CALL(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
  FACT(get(of(pid, "status")) > 0);
  FACT(strstr(text, "State:\tZ (zombie)") != NULL);
  CALL(get(of(pid, "cmdline")));
  CALL(get(of(pid, "maps")));
  CALL(readlink(of(pid, "exe"), text, 100));
  FACT(listed("/proc", pid));
  int status = 0;
  FACT(waitpid(pid, &status, 0) == pid);
  FACT(WEXITSTATUS(status));
  FACT(listed("/proc", pid));
  CALL(access(of(pid, "status"), F_OK));
  CALL(read(kept, text, 100));
  close(kept);
}

static void machine(void) {
  char first[40];
  FACT(get("/proc/sys/kernel/random/uuid"));
  strcpy(first, text);
  get("/proc/sys/kernel/random/uuid");
  FACT(strcmp(first, text) != 0);
  FACT(text[14]);
  get("/proc/sys/kernel/random/boot_id");
  strcpy(first, text);
  get("/proc/sys/kernel/random/boot_id");
  FACT(strcmp(first, text));
  get("/sys/devices/system/cpu/online");
  FACT(text[0]);
  FACT(sysconf(_SC_NPROCESSORS_ONLN) > 0 && sysconf(_SC_NPROCESSORS_CONF) > 0);
  unsigned a, vendor[4] = {0};
  __cpuid(0, a, vendor[0], vendor[2], vendor[1]);
  get("/proc/cpuinfo");
  FACT(strstr(text, (char*)vendor) != NULL);
  FACT(strstr(text, " sse2 ") != NULL);
  FACT((strstr(text, " avx2") != NULL) == (__builtin_cpu_supports("avx2") != 0));
  FACT((strstr(text, " avx512f") != NULL) == (__builtin_cpu_supports("avx512f") != 0));
  FACT((strstr(text, " aes") != NULL) == (__builtin_cpu_supports("aes") != 0));
}

int main(void) {
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  text = malloc(kRoom);
  if (getenv("ONE") != NULL) {
    again();
    return 0;
  }
  scratch();
  names();
  own();
  start_values();
  mounts();
  memory();
  descriptors();
  links();
  opened_again();
  processors();
  threads();
  child();
  stopped();
  machine();
  return 0;
}
