#include <sched.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "facts.h"
// Processes that map a file, each by itself after the fork, see what the others store there at once.
enum { kPage = 4096 };
static volatile int* map(const char* name, int pages, long offset) {
  const int fd = open(name, O_RDWR | O_CREAT, 0600);
  if (ftruncate(fd, 4 * kPage) != 0) abort();
  volatile int* m = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  close(fd);
  return m;
}
static void await(volatile int* word, int value) {
  while (*word != value) sched_yield();
}
static void done(void) {
  int status = -1;
  wait(&status);
  FACT(status);
}

static void words(void) {
  if (fork() == 0) {
    volatile int* mine = map("f", 1, 0);
    await(mine, 1);
    *mine = 2;
    await(mine, 3);
    munmap((void*)mine, kPage);
    mine = map("f", 1, 0);
    *mine = 4;
    _exit(0);
  }
  volatile int* m = map("f", 1, 0);
  *m = 1;
  await(m, 2);
  *m = 3;
  await(m, 4);
  FACT(*m);
  done();
  // A part of what the other one has; and a page that only the file gives.
  m[kPage / 4 - 1] = 9;
  volatile int* all = map("f", 4, 0);
  if (fork() == 0) {
    volatile int* part = map("f", 2, 2 * kPage);
    await(part, 5);
    part[kPage / 4] = 6;
    _exit(0);
  }
  all[2 * kPage / 4] = 5;
  await(all + 3 * kPage / 4, 6);
  done();
}

static void semaphores(void) {
  char one[64], two[64];
  snprintf(one, sizeof one, "/case-one-%d", getpid());
  snprintf(two, sizeof two, "/case-two-%d", getpid());
  if (fork() == 0) {
    sem_t* a = sem_open(one, O_CREAT, 0600, 0);
    sem_t* b = sem_open(two, O_CREAT, 0600, 0);
    for (int i = 0; i < 10; ++i) {
      sem_wait(a);
      sem_post(b);
    }
    _exit(0);
  }
  sem_t* a = sem_open(one, O_CREAT, 0600, 0);
  sem_t* b = sem_open(two, O_CREAT, 0600, 0);
  int turns = 0;
  for (; turns < 10; ++turns) {
    sem_post(a);
    sem_wait(b);
  }
  FACT(turns);
  done();
  CALL(sem_unlink(one));
  CALL(sem_unlink(two));
}

// What changes a file while only a waiting process maps it.
static char* map_file(int fd, int pages) {
  char* m = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  m[0] = 'a';
  return m;
}
static char byte_of(int fd, long at) {
  char c = 1;
  return pread(fd, &c, 1, at) == 1 ? c : -1;
}
static int new_file(int pages) {
  const int fd = memfd_create("f", 0);
  if (ftruncate(fd, pages * kPage) != 0) abort();
  fflush(stdout);
  return fd;
}
static void child_ends(void) {
  fflush(stdout);
  _exit(0);
}
static void changed_by_others(void) {
  int fd = new_file(4);
  char* m = map_file(fd, 4);
  if (fork() == 0) {
    munmap(m, 4 * kPage);
    pwrite(fd, "NEW", 3, 100);
    char* q = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FACT(q[0]);
    FACT(q[100]);
    q[1] = 'z';
    msync(q, 4 * kPage, MS_SYNC);
    FACT(byte_of(fd, 100));
    child_ends();
  }
  done();
  FACT(m[1]);
  FACT(m[100]);
  fflush(stdout);
  if (fork() == 0) {
    munmap(m, 4 * kPage);
    pwrite(fd, "OTHER", 5, 200);
    child_ends();
  }
  done();
  m[2] = 'b';
  msync(m, 4 * kPage, MS_SYNC);
  FACT(byte_of(fd, 200));
  FACT(m[200]);
  // Stored through another mapping of it.
  fflush(stdout);
  if (fork() == 0) {
    munmap(m, 4 * kPage);
    char* q = mmap((char*)m + (1 << 20), 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    q[300] = 's';
    child_ends();
  }
  done();
  m[3] = 'c';
  FACT(m[300]);
  FACT(byte_of(fd, 300));
}
static void resized_by_others(void) {
  const int fd = new_file(8);
  char* m = map_file(fd, 8);
  memset(m, 5, 8 * kPage);
  if (fork() == 0) {
    munmap(m, 8 * kPage);
    ftruncate(fd, 2 * kPage + 1);
    ftruncate(fd, 8 * kPage);
    child_ends();
  }
  done();
  FACT(m[2 * kPage]);
  FACT(m[2 * kPage + 1]);
  FACT(m[6 * kPage]);
  m[6 * kPage + 1] = 1;
  msync(m, 8 * kPage, MS_SYNC);
  FACT(byte_of(fd, 6 * kPage));
  FACT(byte_of(fd, kPage));
  // Grown: the first page behind the old end is for both.
  ftruncate(fd, 2 * kPage);
  fflush(stdout);
  int ends[2];
  pipe(ends);
  if (fork() == 0) {
    char c;
    close(ends[1]);
    read(ends[0], &c, 1);
    FACT(m[5 * kPage]);
    m[5 * kPage + 1] = 8;
    child_ends();
  }
  if (fork() == 0) {
    munmap(m, 8 * kPage);
    ftruncate(fd, 8 * kPage);
    pwrite(fd, "x", 1, 5 * kPage);
    child_ends();
  }
  done();
  FACT(m[5 * kPage]);
  m[5 * kPage] = 6;
  close(ends[1]);
  done();
  FACT(m[5 * kPage + 1]);
}

int main(void) {
  scratch();
  words();
  changed_by_others();
  resized_by_others();
  semaphores();
  return 0;
}
