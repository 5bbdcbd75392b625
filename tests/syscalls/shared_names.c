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

int main(void) {
  scratch();
  words();
  semaphores();
  return 0;
}
