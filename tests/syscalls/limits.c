#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "facts.h"
// Resource limits are kept, inherited and, as far as the case goes, enforced; so is the affinity.
static void set(int resource, long soft) {
  struct rlimit r;
  getrlimit(resource, &r);
  r.rlim_cur = soft;
  CALL(setrlimit(resource, &r));
}
static long get(int resource) {
  struct rlimit r = {1, 1};
  getrlimit(resource, &r);
  return (long)r.rlim_cur;
}

static void files(void) {
  int fd = open("/dev/null", O_RDONLY);
  fcntl(fd, F_DUPFD, 60);
  set(RLIMIT_NOFILE, 50);
  FACT(get(RLIMIT_NOFILE));
  CALL(dup2(fd, 49));
  CALL(dup2(fd, 50));
  CALL(dup3(fd, 200, 0));
  CALL(fcntl(fd, F_DUPFD, 50));
  CALL(fcntl(fd, F_DUPFD, 49));
  CALL(fcntl(60, F_GETFD));  // what is above stays
  int opened = 0;
  while (open("/dev/null", O_RDONLY) >= 0) ++opened;
  FACT(errno == EMFILE && opened > 0 && opened < 50);
  int ends[2];
  CALL(pipe(ends));
  close(49);
  CALL(pipe(ends));
  CALL(open("/dev/null", O_RDONLY));  // neither end was kept
  set(RLIMIT_NOFILE, 2000);
  CALL(dup2(fd, 1999));
  fflush(stdout);
  int status = 0;
  const pid_t pid = fork();
  if (pid == 0)
    _exit((dup2(fd, 1998) == 1998) + 2 * (fcntl(1999, F_GETFD) == 0) + 4 * (dup2(fd, 2000) == -1));
  waitpid(pid, &status, 0);
  FACT(WEXITSTATUS(status));
  set(RLIMIT_NOFILE, 50);
  close_range(3, ~0u, 0);
}

static void shown(void) {
  struct rlimit r = {40, 45}, none = {RLIM_INFINITY, RLIM_INFINITY};
  char line[256];
  setrlimit(RLIMIT_NOFILE, &r);
  setrlimit(RLIMIT_CPU, &none);
  FILE* file = fopen("/proc/self/limits", "r");
  while (fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "\n")] = 0;
    if (strstr(line, "Limit") || strstr(line, "open files") || strstr(line, "cpu")) printf("<%s>\n", line);
    line[22] = 0;
    printf("%s\n", line);
  }
  fclose(file);
}

static void memory(void) {
  set(RLIMIT_AS, 1L << 20);
  FACT(mmap(NULL, 64 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
  FACT(sbrk(64 << 20) == (void*)-1);
  set(RLIMIT_AS, RLIM_INFINITY);
  void* m = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  set(RLIMIT_AS, 1L << 20);
  FACT(mremap(m, 1 << 20, 2 << 20, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
  set(RLIMIT_AS, RLIM_INFINITY);
  // What a fixed mapping replaces goes: two and a half GiB hold one and a half twice at one place only.
  const size_t large = 3UL << 29;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* place = mmap(NULL, large, PROT_NONE, flags, -1, 0);
  set(RLIMIT_AS, 5L << 29);
  FACT(mmap(place, large, PROT_NONE, flags | MAP_FIXED, -1, 0) == place);
  FACT(mmap(NULL, large, PROT_NONE, flags, -1, 0) == MAP_FAILED);
  set(RLIMIT_AS, RLIM_INFINITY);
  munmap(place, large);
}

static void others(void) {
  int status = 0, ends[2];
  struct rlimit r = {10, 5}, old;
  CALL(setrlimit(RLIMIT_FSIZE, &r));
  CALL(setrlimit(99, &r));
  CALL(setrlimit(RLIMIT_FSIZE, NULL));
  CALL(prlimit(99999999, RLIMIT_FSIZE, NULL, &old));
  set(RLIMIT_CPU, 5000);
  set(RLIMIT_STACK, 3 << 20);
  pipe(ends);
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    char c;
    read(ends[0], &c, 1);
    setenv("LIMITS", "1", 1);
    execl("/proc/self/exe", "cases", "limits", NULL);
  }
  r = (struct rlimit){4000, 4000};
  CALL(prlimit(pid, RLIMIT_CPU, &r, &old));
  FACT(old.rlim_cur);
  write(ends[1], "g", 1);
  waitpid(pid, &status, 0);
  FACT(WEXITSTATUS(status));
  FACT(get(RLIMIT_CPU));
}

static void processors(void) {
  cpu_set_t all, one, now;
  int status = 0, first = 0;
  sched_getaffinity(0, sizeof all, &all);
  while (!CPU_ISSET(first, &all)) ++first;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  CALL(sched_setaffinity(0, sizeof one, &one));
  CALL(sched_getaffinity(0, sizeof now, &now));
  FACT(CPU_EQUAL(&one, &now));
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    sched_getaffinity(0, sizeof now, &now);
    _exit(CPU_COUNT(&now));
  }
  waitpid(pid, &status, 0);
  FACT(WEXITSTATUS(status));
  CALL(sched_setaffinity(0, sizeof all, &all));
  CALL(sched_getaffinity(0, sizeof now, &now));
  FACT(CPU_EQUAL(&all, &now));
}

// The program after an execve: with the limits of the one before.
static int next_program(void) {
  char line[512];
  unsigned long begin = 0, end = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps) != NULL)
    if (strstr(line, "[stack]") != NULL) sscanf(line, "%lx-%lx", &begin, &end);
  return get(RLIMIT_CPU) == 4000 && get(RLIMIT_STACK) == 3 << 20 && end - begin <= 3 << 20 ? 7 : 8;
}

int main(void) {
  if (getenv("LIMITS") != NULL) return next_program();
  files();
  memory();
  others();
  processors();
  shown();
  return 0;
}
