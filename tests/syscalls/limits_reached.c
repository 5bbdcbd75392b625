#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "facts.h"
// What happens at the limits of file size, processes, data and CPU time.
static void set(int resource, long soft) {
  struct rlimit r;
  getrlimit(resource, &r);
  r.rlim_cur = soft;
  CALL(setrlimit(resource, &r));
}

static volatile int g_signals, g_sender;
static void noted(int signal, siginfo_t* info, void* context) {
  ++g_signals;
  g_sender = info->si_code == SI_USER && info->si_pid == getpid();
}
static void note(int signal) {
  struct sigaction action = {.sa_sigaction = noted, .sa_flags = SA_SIGINFO};
  sigaction(signal, &action, NULL);
  g_signals = g_sender = 0;
}
static long size_of(int fd) {
  struct stat s;
  fstat(fd, &s);
  return s.st_size;
}

// What is printed is a file, too: it is kept until there is no limit any more.
static void file_size(void) {
  char* text = NULL;
  size_t size = 0;
  FILE* const printed = stdout;
  stdout = open_memstream(&text, &size);
  enum { kMuch = 600 << 10 };
  char* const bytes = calloc(1, kMuch);  // not static: every case that forks would carry it
  note(SIGXFSZ);
  put_file("source", "0123456789");
  int fd = open("file", O_RDWR | O_CREAT, 0644);
  set(RLIMIT_FSIZE, 1000);
  CALL(write(fd, bytes, 900));
  CALL(write(fd, bytes, 900));  // as far as it goes, without a signal
  FACT(g_signals);
  CALL(write(fd, bytes, 0));
  CALL(write(fd, bytes, 1));
  FACT(g_signals);
  FACT(g_sender);
  CALL(pwrite(fd, bytes, 10, 995));
  CALL(pwrite(fd, bytes, 10, 1000));
  const struct iovec parts[2] = {{bytes, 6}, {bytes, 6}};
  CALL(pwritev(fd, parts, 2, 990));
  CALL(pwritev(fd, parts, 2, 2000));
  FACT(g_signals);
  CALL(ftruncate(fd, 1000));
  CALL(ftruncate(fd, 1001));
  CALL(truncate("file", 1001));
  CALL(posix_fallocate(fd, 0, 2000) == EFBIG);
  FACT(g_signals);
  int source = open("source", O_RDONLY);
  lseek(fd, 995, SEEK_SET);
  CALL(sendfile(fd, source, NULL, 10));
  CALL(sendfile(fd, source, NULL, 10));
  CALL(copy_file_range(source, NULL, fd, NULL, 10, 0));
  FACT(lseek(source, 0, SEEK_CUR));
  FACT(g_signals);
  FACT(size_of(fd));
  int appending = open("file", O_WRONLY | O_APPEND);
  CALL(write(appending, bytes, 5));
  set(RLIMIT_FSIZE, 500);  // it may shrink and stay
  CALL(ftruncate(fd, 900));
  CALL(pwrite(fd, bytes, 10, 400));
  CALL(pwrite(fd, bytes, 10, 600));
  set(RLIMIT_FSIZE, 512 << 10);
  CALL(pwrite(fd, bytes, kMuch, 0));
  FACT(g_signals);
  int ends[2];
  pipe(ends);
  set(RLIMIT_FSIZE, 0);
  CALL(write(ends[1], "abc", 3));  // of files only
  CALL(open("empty", O_WRONLY | O_CREAT, 0644) >= 0);
  CALL(write(open("/dev/null", O_WRONLY), "abc", 3));
  int status = 0;
  const pid_t pid = fork();
  if (pid == 0) {
    signal(SIGXFSZ, SIG_DFL);
    write(fd, "x", 1);
    _exit(1);
  }
  waitpid(pid, &status, 0);
  FACT(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
  set(RLIMIT_FSIZE, RLIM_INFINITY);
  fclose(stdout);
  stdout = printed;
  fwrite(text, 1, size, stdout);
}

static void* started(void* nothing) { return nothing; }
static int try_fork(void) {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  if (pid < 0) return errno;
  waitpid(pid, NULL, 0);
  return 0;
}
static void processes(void) {
  fflush(stdout);
  int status = 0;
  struct rlimit r = {3, 3};
  setrlimit(RLIMIT_NPROC, &r);
  FACT(try_fork());  // root may
  fflush(stdout);
  if (fork() == 0) {
    CALL(become_alone());
    FACT(try_fork());
    const pid_t first = fork();
    if (first == 0) pause();
    const pid_t second = fork();
    if (second == 0) _exit(0);
    siginfo_t info;
    waitid(P_PID, second, &info, WEXITED | WNOWAIT);
    FACT(try_fork() == EAGAIN);  // the one that has ended counts until it is waited for
    waitpid(second, NULL, 0);
    FACT(try_fork());
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    FACT(try_fork());
    fflush(stdout);
    _exit(3);
  }
  wait(&status);
  FACT(WEXITSTATUS(status));
}

static void data(void) {
  const size_t large = 64 << 20;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  char* closed = mmap(NULL, large, PROT_READ, flags, -1, 0);
  char* open = mmap(NULL, large, PROT_READ | PROT_WRITE, flags, -1, 0);
  set(RLIMIT_DATA, large + (32 << 20));
  FACT(mmap(NULL, large, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED && errno == ENOMEM);
  FACT(mmap(NULL, large, PROT_READ, flags, -1, 0) != MAP_FAILED);
  FACT(mmap(NULL, large, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  CALL(mprotect(closed, large, PROT_READ | PROT_WRITE));
  CALL(mprotect(open, large, PROT_READ | PROT_WRITE));  // it is that already
  FACT(mremap(open, large, 2 * large, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
  FACT(mmap(open, large, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0) == open);  // in its place
  FACT(sbrk(large) == (void*)-1 && errno == ENOMEM);
  munmap(open, large);
  CALL(mprotect(closed, large, PROT_READ | PROT_WRITE));
  set(RLIMIT_DATA, RLIM_INFINITY);
}

static volatile int g_seen_soft;
static void second_passed(int signal) {
  struct rlimit r;
  getrlimit(RLIMIT_CPU, &r);
  g_seen_soft = r.rlim_cur;
  ++g_signals;
}
static void cpu_time(void) {
  int status = 0;
  volatile int* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    struct rlimit r = {1, 2};
    signal(SIGXCPU, second_passed);
    g_signals = 0;
    setrlimit(RLIMIT_CPU, &r);
    for (;;) {
      shared[0] = g_signals;
      shared[1] = g_seen_soft;
    }
  }
  waitpid(pid, &status, 0);
  FACT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  FACT(shared[0]);
  FACT(shared[1]);
}
static void inherited_cpu_time(void) {
  int status = 0;
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    struct rlimit r = {1, 10};
    setrlimit(RLIMIT_CPU, &r);
    if (fork() == 0)
      for (;;) continue;
    wait(&status);
    _exit(WTERMSIG(status) == SIGXCPU);
  }
  waitpid(pid, &status, 0);
  FACT(WEXITSTATUS(status));
}

int main(void) {
  scratch();
  file_size();
  data();
  cpu_time();
  inherited_cpu_time();
  processes();
  return 0;
}
