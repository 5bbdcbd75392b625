#include <sys/mman.h>
#include <sys/wait.h>
#include "facts.h"
// What parts of a family of processes do to memory that the others have, too.
enum { kPage = 4096, kSize = 4 * kPage };

static char* fresh(int flags) {
  char* p = mmap(NULL, kSize, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 4; ++i) sprintf(p + i * kPage, "page%d", i);
  return p;
}
static void show(const char* p) {
  for (int i = 0; i < 4; ++i) printf("%s ", p + i * kPage);
  printf("\n");
}

// Constant while there was a relative, written when it is gone, and forked again.
static void constant_no_more(void) {
  char* p = fresh(MAP_PRIVATE);
  mprotect(p, kSize, PROT_READ);
  if (fork() == 0) _exit(0);
  wait(NULL);
  mprotect(p, kSize, PROT_READ | PROT_WRITE);
  strcpy(p, "mine");
  if (fork() == 0) {
    strcpy(p, "child");
    _exit(0);
  }
  wait(NULL);
  show(p);
  munmap(p, kSize);
}

// A child ends that has divided what it shares.
static void divided(void) {
  char* p = fresh(MAP_SHARED);
  if (fork() == 0) {
    munmap(p + kPage, kPage);
    strcpy(p + 2 * kPage, "child");
    _exit(0);
  }
  wait(NULL);
  show(p);
  munmap(p, kSize);
  p = fresh(MAP_PRIVATE);
  mprotect(p, kSize, PROT_READ);
  if (fork() == 0) {
    mprotect(p + kPage, kPage, PROT_NONE);
    _exit(0);
  }
  wait(NULL);
  show(p);
  munmap(p, kSize);
  scratch();
  const int fd = open("f", O_RDWR | O_CREAT, 0600);
  ftruncate(fd, kSize);
  p = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  for (int i = 0; i < 4; ++i) sprintf(p + i * kPage, "file%d", i);
  if (fork() == 0) {
    munmap(p + kPage, kPage);
    strcpy(p + 2 * kPage, "child");
    _exit(0);
  }
  wait(NULL);
  show(p);
  msync(p, kSize, MS_SYNC);
  munmap(p, kSize);
  char b[16];
  for (int i = 0; i < 4; ++i) {
    pread(fd, b, sizeof b, i * kPage);
    TEXT(b);
  }
  close(fd);
}

// Moved or not, what a child has only a part of stays shared with it.
static void moved_divided(void) {
  char* p = fresh(MAP_SHARED);
  int go[2], ready[2], status = 0;
  char c;
  pipe(go);
  pipe(ready);
  if (fork() == 0) {
    munmap(p, kPage);
    write(ready[1], "x", 1);
    read(go[0], &c, 1);
    _exit(strcmp(p + kPage, "parent") != 0);
  }
  read(ready[0], &c, 1);
  char* to = mmap(NULL, 2 * kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* moved = mremap(p, kSize, 2 * kSize, MREMAP_MAYMOVE | MREMAP_FIXED, to);
  strcpy((moved == MAP_FAILED ? p : moved) + kPage, "parent");
  write(go[1], "x", 1);
  wait(&status);
  FACT(WEXITSTATUS(status));
  if (moved == MAP_FAILED)
    munmap(p, kSize);
  else
    munmap(moved, 2 * kSize);
}

// Replaced by one while it is closed for another.
static void closed(void) {
  char* p = fresh(MAP_PRIVATE);
  mprotect(p, kSize, PROT_READ);
  if (fork() == 0) {
    mprotect(p, kSize, PROT_NONE);
    char* q = mmap(p, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    _exit(q == p && q[0] == 0 && strcpy(q, "child") == q ? 1 : 2);
  }
  int status = 0;
  wait(&status);
  FACT(WEXITSTATUS(status));
  show(p);
  int go[2];
  pipe(go);
  if (fork() == 0) {
    mprotect(p, kSize, PROT_NONE);
    char c;
    read(go[0], &c, 1);
    mprotect(p, kSize, PROT_READ);
    _exit(p[0] == 'p' ? 3 : 4);
  }
  if (fork() == 0) {
    char c;
    read(go[0], &c, 1);
    _exit(p[0] == 'p' ? 3 : 4);
  }
  usleep(20000);
  mmap(p, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  strcpy(p, "new");
  write(go[1], "xx", 2);
  for (int i = 0; i < 2; ++i) {
    wait(&status);
    FACT(WEXITSTATUS(status));
  }
  TEXT(p);
  munmap(p, kSize);
}

// Nothing is lost by the turns: neither what a store took nor what a child opened.
static void nothing_leaks(void) {
  enum { kLarge = 20 << 20 };
  int failed = 0;
  for (int i = 0; i < 12; ++i) {
    char* p = mmap(NULL, kLarge, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const pid_t pid = fork();
    if (pid == 0) {
      failed = mprotect(p, kLarge, PROT_READ | PROT_WRITE) != 0;
      p[kPage] = 1;
      _exit(failed);
    }
    int status = -1;
    wait(&status);
    failed |= pid < 0 || status != 0;
    munmap(p, kLarge);
  }
  FACT(failed);
  char* p = mmap(NULL, kLarge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(p, 1, kLarge);
  if (fork() == 0) _exit(0);
  wait(NULL);
  munmap(p, kLarge);
  p = mmap(NULL, 4 * kLarge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FACT(p != MAP_FAILED);
}

// Shared memory comes to where a child has private pages, or does not; but never do the two mix.
enum { kMapFile, kMapMemory, kMove, kGrow, kWays };
static char* bring_shared(int way, char* p, int fd) {
  const int prot = PROT_READ | PROT_WRITE;
  if (way == kMapFile) return mmap(p, kSize, prot, MAP_SHARED | MAP_FIXED, fd, 0);
  if (way == kMapMemory) return mmap(p, kSize, prot, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  char* from = way == kMove ? mmap(NULL, kSize, prot, MAP_SHARED, fd, 0) : p - kPage;
  if (way == kMove) return mremap(from, kSize, kSize, MREMAP_MAYMOVE | MREMAP_FIXED, p);
  munmap(p, kSize);
  return mremap(from, kPage, kPage + kSize, 0) == from ? p : MAP_FAILED;
}
static void shared_over_private(int way, int protection) {
  int fd = memfd_create("f", 0), go[2], ready[2], status = 0;
  char c, there[16] = {0}, *p = fresh(MAP_PRIVATE);
  ftruncate(fd, kPage + kSize);
  p = mremap(p, kSize, kSize + kPage, MREMAP_MAYMOVE) + kPage;
  if (way == kGrow) mmap(p - kPage, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  strcpy(p + kPage, "private");
  mprotect(p, kSize, protection);
  pipe(go);
  pipe(ready);
  const pid_t pid = fork();
  if (pid == 0) {
    if ((protection & PROT_WRITE) != 0) strcpy(p + kPage, "secret");
    write(ready[1], "x", 1);
    for (int i = 0; i < 3 && read(go[0], &c, 1) == 1; ++i) {
      const char* mine = (protection & PROT_WRITE) != 0 ? "secret" : "private";
      if (strcmp(p + kPage, mine) != 0) _exit(1);
      write(ready[1], "x", 1);
    }
    _exit(0);
  }
  read(ready[0], &c, 1);
  const int mapped = bring_shared(way, p, fd) == p;
  int mixed = 0;
  for (int i = 0; i < 3; ++i) {
    if (mapped) strcpy(p + kPage, "shared");
    write(go[1], "x", 1);
    read(ready[0], &c, 1);
    if (mapped) mixed |= strcmp(p + kPage, "shared") != 0;
    if (mapped) p[0] = i;
    pread(fd, there, 15, way == kGrow ? 2 * kPage : kPage);
    mixed |= there[0] != 0 && strcmp(there, "shared") != 0;
  }
  waitpid(pid, &status, 0);
  printf("way %d: %d %d\n", way, mixed, WEXITSTATUS(status));
  munmap(p - kPage, kPage + kSize);
  close(fd);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  constant_no_more();
  divided();
  moved_divided();
  closed();
  for (int way = 0; way < kWays; ++way) {
    shared_over_private(way, PROT_READ | PROT_WRITE);
    shared_over_private(way, PROT_READ);
  }
  nothing_leaks();
  return 0;
}
