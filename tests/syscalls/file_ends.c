#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "facts.h"
// Mappings of files behind the file's end: SIGBUS until it grows, again when it shrinks. And mmap's flags.
enum { kPage = 4096 };
static sigjmp_buf back;
static volatile uintptr_t where;
static volatile int code;
static void fault(int signal, siginfo_t* info, void* context) {
  where = (uintptr_t)info->si_addr;
  code = info->si_code;
  siglongjmp(back, signal);
}
static void touch(volatile char* at) {  // its value, or the signal
  const int signal = sigsetjmp(back, 1);
  if (signal == 0)
    printf("%d\n", *at);
  else
    printf("%s %d %d\n", sigabbrev_np(signal), where == (uintptr_t)at, code);
}
static void store(volatile char* at, char value) {
  const int signal = sigsetjmp(back, 1);
  if (signal == 0) *at = value;
  printf("store %s\n", signal == 0 ? "works" : sigabbrev_np(signal));
}

static void shared(int fd) {
  puts("shared");
  char* m = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  touch(m + 1);
  touch(m + 100);
  touch(m + kPage);
  store(m + 3 * kPage, 1);
  char b[4];
  CALL(pread(fd, m + 2 * kPage, 4, 0));
  CALL(ftruncate(fd, 2 * kPage));
  touch(m + kPage);
  store(m + kPage + 5, 'g');
  touch(m + 2 * kPage);
  CALL(pwrite(fd, "grown", 5, 2 * kPage));
  touch(m + 2 * kPage + 4);
  touch(m + 2 * kPage + 5);
  touch(m + 3 * kPage);
  CALL(msync(m, 4 * kPage, MS_SYNC));
  CALL(pread(fd, b, 1, kPage + 5));
  FACT(b[0]);
  CALL(ftruncate(fd, 50));
  touch(m + 49);
  touch(m + kPage);
  store(m + kPage, 1);
  CALL(ftruncate(fd, 4 * kPage));
  touch(m + 50);
  touch(m + kPage + 5);
  touch(m + 2 * kPage);
  CALL(mprotect(m, 4 * kPage, PROT_NONE));
  touch(m);
  CALL(ftruncate(fd, 0));
  touch(m);
  CALL(mprotect(m, 4 * kPage, PROT_READ));
  touch(m);
  store(m, 1);
  CALL(munmap(m, 4 * kPage));
}

static void private(int fd, size_t pages) {
  printf("private %zu\n", pages);
  CALL(ftruncate(fd, 0));
  CALL(pwrite(fd, "private", 7, kPage));
  char* m = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  touch(m + kPage);
  touch(m + 2 * kPage);
  touch(m + (pages - 1) * kPage);
  store(m + kPage, 'P');
  CALL(ftruncate(fd, pages * kPage));
  touch(m + 2 * kPage);
  store(m + (pages - 1) * kPage, 'L');
  touch(m + (pages - 1) * kPage);
  if (fork() == 0) {
    touch(m + kPage);
    touch(m + (pages - 1) * kPage);
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  CALL(ftruncate(fd, 1));
  touch(m + kPage);
  touch(m);
  CALL(munmap(m, pages * kPage));
}

static void moved(int fd) {
  puts("moved");
  CALL(ftruncate(fd, 0));
  CALL(pwrite(fd, "moved", 5, 0));
  char* m = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  m[0] = 'M';
  m = mremap(m, kPage, 3 * kPage, MREMAP_MAYMOVE);
  touch(m);
  touch(m + kPage);
  CALL(ftruncate(fd, 3 * kPage));
  touch(m + kPage);
  if (fork() == 0) {
    store(m + 2 * kPage, 'c');
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  touch(m + 2 * kPage);
  CALL(munmap(m, 3 * kPage));
}

static void moved_private(int fd) {
  puts("moved private");
  CALL(ftruncate(fd, 2 * kPage));
  CALL(pwrite(fd, "moved", 5, kPage));
  char* m = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  m[1] = 'P';
  m = mremap(m, 4 * kPage, 16 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, m + 1024 * kPage);
  touch(m + 1);
  touch(m + kPage);
  touch(m + 3 * kPage);
  touch(m + 12 * kPage);
  CALL(ftruncate(fd, 8 * kPage));
  CALL(pwrite(fd, "more", 4, 7 * kPage));
  touch(m + 7 * kPage);
  touch(m + 8 * kPage);
  CALL(munmap(m, 16 * kPage));
  // Not from its begin on.
  for (int i = 0; i < 2; ++i) {
    m = mmap(NULL, 8 * kPage, PROT_READ | PROT_WRITE, i == 0 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
    char* part = mremap(m + kPage, kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, m + 1024 * kPage);
    touch(part);
    touch(part + 6 * kPage);
    touch(part + 7 * kPage);
    touch(m + 7 * kPage);
    CALL(munmap(part, 8 * kPage));
    CALL(munmap(m, 8 * kPage));
  }
}

// Threads that look once the write has returned see its content.
enum { kRounds = 60 };
static char* volatile grown;
static volatile int rounds, seen, wrong;
static void* look(void* unused) {
  for (int i = 1; i <= kRounds; ++i) {
    while (rounds < i) sched_yield();
    if (grown[30 * kPage + 100] != 'x') __sync_fetch_and_add(&wrong, 1);
    __sync_fetch_and_add(&seen, 1);
  }
  return NULL;
}
static void threads(int flags) {
  static char content[32 * kPage];
  pthread_t t[2];
  memset(content, 'x', sizeof content);
  rounds = seen = 0;
  for (int i = 0; i < 2; ++i) pthread_create(&t[i], NULL, look, NULL);
  for (int i = 1; i <= kRounds; ++i) {
    const int fd = memfd_create("f", 0);
    ftruncate(fd, 2 * kPage);
    grown = mmap(NULL, 32 * kPage, PROT_READ | PROT_WRITE, flags, fd, 0);
    pwrite(fd, content, sizeof content, 0);
    rounds = i;
    while (seen < 2 * i) sched_yield();
    munmap(grown, 32 * kPage);
    close(fd);
  }
  for (int i = 0; i < 2; ++i) pthread_join(t[i], NULL);
  FACT(wrong);
}

static void executable(void) {
  puts("executable");
  const int fd = memfd_create("f", 0);
  CALL(ftruncate(fd, 2 * kPage));
  CALL(pwrite(fd, "x", 1, 200));
  char* m = mmap(NULL, 2 * kPage, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  touch(m + 200);
  CALL(ftruncate(fd, 100));
  touch(m + 200);
  touch(m + kPage);
  CALL(ftruncate(fd, 2 * kPage));
  touch(m + 200);
  touch(m + kPage);
  CALL(munmap(m, 2 * kPage));
}

// Several have the pages that go, and not all of them the same.
static void together(int fd) {
  puts("together");
  CALL(ftruncate(fd, 8 * kPage));
  char* m = mmap(NULL, 8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  memset(m, 5, 8 * kPage);
  if (fork_to_meet() == 0) {
    munmap(m, 4 * kPage);
    meet_parent();
    touch(m + 4 * kPage);
    touch(m + 6 * kPage);
    CALL(ftruncate(fd, 7 * kPage));
    store(m + 6 * kPage, 3);
    touch(m + 7 * kPage);
    fflush(stdout);
    _exit(0);
  }
  meet_child();
  CALL(ftruncate(fd, 2 * kPage));
  touch(m + kPage);
  touch(m + 3 * kPage);
  touch(m + 6 * kPage);
  let_child_go();
  touch(m + 3 * kPage);
  touch(m + 6 * kPage);
  touch(m + 7 * kPage);
  CALL(munmap(m, 8 * kPage));
}

// The same of a private mapping that nobody can write, which several have: of its pages, and of a part of
// them.
static void constant_together(int fd, int part) {
  printf("constant together, %d\n", part);
  CALL(ftruncate(fd, 0));
  CALL(pwrite(fd, "a", 1, 0));
  CALL(pwrite(fd, "b", 1, kPage));
  CALL(pwrite(fd, "c", 1, 2 * kPage));
  char* m = mmap(NULL, 3 * kPage, PROT_READ, MAP_PRIVATE, fd, 0);
  touch(m + kPage);
  touch(m + 2 * kPage);
  int ends[2][2], ready[2];
  char c;
  pipe(ends[0]);
  pipe(ends[1]);
  pipe(ready);
  for (int i = 0; i < 2; ++i) {
    fflush(stdout);
    if (fork() != 0) continue;
    if (part != 0) munmap(m + i * part * kPage, kPage);
    write(ready[1], "x", 1);
    read(ends[i][0], &c, 1);
    if (i == 1 && part == 0) touch(m + kPage);
    touch(m + 2 * kPage);
    if (i == 0) CALL(ftruncate(fd, 2 * kPage + 1));
    if (i == 0) touch(m + 2 * kPage);
    fflush(stdout);
    _exit(0);
  }
  for (int i = 0; i < 2; ++i) read(ready[0], &c, 1);
  CALL(ftruncate(fd, 1));
  touch(m);
  touch(m + kPage);
  touch(m + 2 * kPage);
  for (int i = 0; i < 2; ++i) {
    fflush(stdout);
    write(ends[i][1], "x", 1);
    wait(NULL);
    touch(m + kPage);
    touch(m + 2 * kPage);
  }
  CALL(munmap(m, 3 * kPage));
}

// What a child writes and cuts, which has unmapped it, shows in the parent's mapping and stays in the file.
static void changed_by_child(int fd) {
  puts("changed by child");
  CALL(ftruncate(fd, 0));
  CALL(ftruncate(fd, 4 * kPage));
  char *m = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), b[2];
  memset(m, 5, 4 * kPage);
  fflush(stdout);
  if (fork() == 0) {
    munmap(m, 4 * kPage);
    CALL(pwrite(fd, "c", 1, 10));
    CALL(pwrite(fd, "d", 1, 2 * kPage + 50));
    CALL(ftruncate(fd, kPage + 100));
    CALL(ftruncate(fd, 2 * kPage + 100));
    CALL(pwrite(fd, "e", 1, 2 * kPage + 10));
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  const int places[] = {0, 10, kPage + 99, kPage + 100, 2 * kPage + 10, 2 * kPage + 50, 2 * kPage + 100};
  for (size_t i = 0; i < sizeof places / sizeof *places; ++i) {
    touch(m + places[i]);
    b[0] = 0;
    CALL(pread(fd, b, 1, places[i]));
    FACT(b[0]);
  }
  touch(m + 3 * kPage);
  CALL(munmap(m, 4 * kPage));
}

static int fails_with(void* mapped, int wanted) { return mapped == MAP_FAILED && errno == wanted; }
static void flags(int fd) {
  const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  char* low = mmap(NULL, kPage, PROT_READ | PROT_WRITE, anonymous | MAP_32BIT, -1, 0);
  FACT((uintptr_t)low >> 31);
  low[0] = 1;
  low = mmap(NULL, kPage, PROT_READ, MAP_SHARED | MAP_32BIT, fd, 0);
  FACT((uintptr_t)low >> 31);
  void* huge = mmap(NULL, 2 << 20, PROT_READ, anonymous | MAP_HUGETLB, -1, 0);
  FACT(huge != MAP_FAILED || errno == ENOMEM);  // a machine may have some
  FACT(fails_with(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE | MAP_HUGETLB, fd, 0), EINVAL));
  FACT(fails_with(mmap(NULL, kPage, PROT_READ, MAP_SHARED_VALIDATE | 1 << 25, fd, 0), EOPNOTSUPP));
  FACT(fails_with(mmap(NULL, kPage, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0), EOPNOTSUPP));
  FACT(fails_with(mmap(NULL, kPage, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0), EINVAL));
  WORKS(mmap(NULL, kPage, PROT_READ, MAP_SHARED_VALIDATE | MAP_POPULATE, fd, 0));
  WORKS(mmap(NULL, kPage, PROT_READ, MAP_SHARED | 1 << 25, fd, 0));
}

// What has no end, and what cannot be mapped.
static void others(void) {
  const int zero = open("/dev/zero", O_RDWR);
  char* m = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
  store(m + kPage, 7);
  touch(m + kPage);
  touch(m + 1);
  FACT(fails_with(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, open("/proc/self/maps", O_RDONLY), 0), ENODEV));
  FACT(fails_with(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, open(".", O_RDONLY), 0), ENODEV));
}

int main(void) {
  scratch();
  struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGBUS, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  const int fd = open("f", O_RDWR | O_CREAT, 0600);
  CALL(pwrite(fd, "content", 7, 0));
  shared(fd);
  private(fd, 4);
  private(fd, 100);
  moved(fd);
  moved_private(fd);
  executable();
  together(fd);
  changed_by_child(fd);
  constant_together(fd, 0);
  constant_together(fd, 1);
  threads(MAP_PRIVATE);
  threads(MAP_SHARED);
  flags(fd);
  others();
  return 0;
}
