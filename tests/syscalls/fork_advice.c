#include <setjmp.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "facts.h"
// What madvise says about fork (WIPEONFORK, DONTFORK) and about pages to be given back (REMOVE,
// DONTNEED_LOCKED); and which timers outlive an execve.
enum { kPage = 4096 };
static char* map(int flags) {
  char* m = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  memset(m, 7, 4 * kPage);
  return m;
}
static int in_child(int (*what)(char*), char* argument) {
  int status = -1;
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) _exit(what(argument));
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
static int read_all(char* m) { return m[0] + m[kPage] + m[2 * kPage] + m[3 * kPage]; }
static int write_and_fork(char* m) {
  m[kPage] = 5;  // wiped for the grandchild, too
  return 100 + in_child(read_all, m);
}

static void wiping(void) {
  char* m = map(MAP_PRIVATE);
  CALL(madvise(m + kPage, kPage, MADV_WIPEONFORK));
  FACT(in_child(read_all, m));
  FACT(read_all(m));
  FACT(in_child(write_and_fork, m));
  FACT(read_all(m));
  mprotect(m + kPage, kPage, PROT_READ);
  FACT(in_child(read_all, m));
  FACT(read_all(m));
  mprotect(m + kPage, kPage, PROT_READ | PROT_WRITE);
  char* moved = mremap(m + kPage, kPage, 4 * kPage, MREMAP_MAYMOVE);
  memset(moved, 7, 4 * kPage);
  FACT(in_child(read_all, moved));
  CALL(madvise(moved, 4 * kPage, MADV_WIPEONFORK));
  FACT(in_child(read_all, moved));
  CALL(madvise(moved, 4 * kPage, MADV_KEEPONFORK));
  FACT(in_child(read_all, moved));
  // Read-only, and the same pages as in a child that is still there.
  char* constant = map(MAP_PRIVATE);
  int ends[2];
  mprotect(constant, 4 * kPage, PROT_READ);
  pipe(ends);
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    char c;
    close(ends[1]);
    read(ends[0], &c, 1);
    _exit(read_all(constant));
  }
  close(ends[0]);
  CALL(madvise(constant, kPage, MADV_WIPEONFORK));
  FACT(in_child(read_all, constant));
  FACT(read_all(constant));
  close(ends[1]);
  int status = 0;
  waitpid(pid, &status, 0);
  FACT(WEXITSTATUS(status));
  char* shared = map(MAP_SHARED);
  CALL(madvise(shared, kPage, MADV_WIPEONFORK));
  CALL(madvise(shared, kPage, MADV_FREE));
  put_file("f", "content");
  const int fd = open("f", O_RDWR);
  char* file = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CALL(madvise(file, kPage, MADV_WIPEONFORK));
  CALL(madvise(file, kPage, MADV_REMOVE));
  close(fd);
}

static int map_there(char* m) {
  return mmap(m, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == m ? 20 + m[0]
                                                                                                  : 1;
}
static void skipping(void) {
  char* m = map(MAP_PRIVATE);
  CALL(madvise(m + kPage, kPage, MADV_DONTFORK));
  FACT(in_child(read_all, m));
  FACT(in_child(map_there, m));
  FACT(in_child(map_there, m + kPage));
  FACT(read_all(m));
  CALL(madvise(m + kPage, kPage, MADV_DOFORK));
  FACT(in_child(read_all, m));
  char* shared = map(MAP_SHARED);
  CALL(madvise(shared, kPage, MADV_DONTFORK));
  FACT(in_child(read_all, shared));
  FACT(read_all(shared));
}

static int read_first(char* m) { return m[0]; }
// Where an older child still has what the advice is about: all of it or a part, in a place of its own or not.
static void skipping_late(int flags, int kept, int advice) {
  char* m = map(flags);
  if (fork_to_meet() == 0) {
    munmap(m + kept * kPage, (4 - kept) * kPage);
    meet_parent();
    printf("older child: %d\n", m[0]);
    fflush(stdout);
    _exit(0);
  }
  meet_child();
  CALL(madvise(m, 4 * kPage, advice));
  memset(m, 9, 4 * kPage);
  for (int i = 0; i < 4; ++i) FACT(in_child(read_first, m + i * kPage));
  FACT(read_all(m));
  let_child_go();
  FACT(read_all(m));
  munmap(m, 4 * kPage);
}

// Nowhere near it is a copy, either.
static sigjmp_buf back;
static void fault(int signal) { siglongjmp(back, signal); }
static int search(char* m) {
  int found = 0;
  char wanted[] = "?ecret of the parent";
  wanted[0] = 's';
  signal(SIGSEGV, fault);
  signal(SIGBUS, fault);
  for (char* volatile at = m - (16 << 20); at < m + (16 << 20); at += kPage) {
    if (sigsetjmp(back, 1) == 0) found += memcmp(at + 1024, wanted, sizeof wanted) == 0;
  }
  return found;
}
static void copies(int advice) {
  char* m = map(MAP_PRIVATE);
  int ends[2];
  char c;
  pipe(ends);
  fflush(stdout);
  if (fork() == 0) {
    close(ends[1]);
    read(ends[0], &c, 1);
    _exit(0);
  }
  CALL(madvise(m, kPage, advice));
  strcpy(m + 1024, "secret of the parent");
  FACT(in_child(search, m));
  m[1024] = 'S';
  FACT(in_child(search, m));
  close(ends[1]);
  wait(NULL);
  TEXT(m + 1024);
}

static void giving_back(void) {
  char* shared = map(MAP_SHARED);
  CALL(madvise(shared + kPage, kPage, MADV_REMOVE));
  FACT(read_all(shared));
  mprotect(shared, kPage, PROT_READ);
  CALL(madvise(shared, kPage, MADV_REMOVE));
  FACT(read_all(shared));
  FACT(in_child(read_first, shared));
  char* own = map(MAP_PRIVATE);
  CALL(madvise(own, kPage, MADV_REMOVE));
  CALL(madvise(own, kPage, MADV_DONTNEED_LOCKED));
  FACT(read_all(own));
}

static void timers(void) {
  int status = -1;
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    const struct itimerspec soon = {{0, 0}, {0, 50000000}};
    const struct itimerval later = {{0, 0}, {0, 300000}};
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &soon, NULL);  // gone with the program
    setitimer(ITIMER_REAL, &later, NULL);  // stays
    setenv("WAITING", "1", 1);
    execl("/proc/self/exe", "cases", "fork_advice", NULL);
  }
  waitpid(pid, &status, 0);
  FACT(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
}

int main(void) {
  if (getenv("WAITING") != NULL) return sleep(5);
  scratch();
  wiping();
  skipping();
  skipping_late(MAP_PRIVATE, 4, MADV_DONTFORK);
  skipping_late(MAP_PRIVATE, 1, MADV_DONTFORK);
  skipping_late(MAP_SHARED, 4, MADV_DONTFORK);
  skipping_late(MAP_SHARED, 1, MADV_DONTFORK);
  skipping_late(MAP_PRIVATE, 1, MADV_WIPEONFORK);
  copies(MADV_WIPEONFORK);
  copies(MADV_DONTFORK);
  giving_back();
  timers();
  return 0;
}
