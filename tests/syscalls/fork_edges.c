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

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  constant_no_more();
  divided();
  closed();
  nothing_leaks();
  return 0;
}
