#include <pthread.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <sys/wait.h>
#include "facts.h"
// CPU time of threads, of processes and of children: each its own.
static int64_t ns_of(clockid_t clock) {
  struct timespec t = {0, 0};
  return clock_gettime(clock, &t) == 0 ? t.tv_sec * 1000000000L + t.tv_nsec : -1;
}
static void burn(int64_t ns) {
  const int64_t end = ns_of(CLOCK_THREAD_CPUTIME_ID) + ns;
  while (ns_of(CLOCK_THREAD_CPUTIME_ID) < end) {
  }
}
static volatile int done, leave;
static void* worker(void* unused) {
  burn(60000000);
  for (done = 1; !leave;) usleep(1000);
  return unused;
}
static int64_t cpu_of(const struct rusage* u) {
  return (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000L + u->ru_utime.tv_usec + u->ru_stime.tv_usec;
}

static void threads(void) {
  pthread_t thread;
  clockid_t clock;
  const int64_t own = ns_of(CLOCK_THREAD_CPUTIME_ID), all = ns_of(CLOCK_PROCESS_CPUTIME_ID);
  pthread_create(&thread, NULL, worker, NULL);
  CALL(pthread_getcpuclockid(thread, &clock));
  while (!done) usleep(1000);
  FACT(ns_of(clock) >= 60000000);
  FACT(ns_of(CLOCK_THREAD_CPUTIME_ID) - own < 50000000);
  FACT(ns_of(CLOCK_PROCESS_CPUTIME_ID) - all >= 60000000);
  leave = 1;
  pthread_join(thread, NULL);
  FACT(ns_of(CLOCK_PROCESS_CPUTIME_ID) - all >= 60000000);
}

static void children(void) {
  int status = 0, ends[2];
  clockid_t clock;
  struct rusage u, before;
  struct tms t;
  pipe(ends);
  getrusage(RUSAGE_CHILDREN, &before);
  const int64_t all = ns_of(CLOCK_PROCESS_CPUTIME_ID);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    burn(80000000);
    write(ends[1], "b", 1);
    for (;;) pause();
  }
  char c;
  read(ends[0], &c, 1);
  CALL(clock_getcpuclockid(pid, &clock));
  FACT(ns_of(clock) >= 80000000);
  FACT(ns_of(CLOCK_PROCESS_CPUTIME_ID) - all < 60000000);
  kill(pid, SIGSTOP);
  FACT(wait4(pid, &status, WUNTRACED, &u) == pid && WIFSTOPPED(status));
  FACT(cpu_of(&u) >= 70000);
  kill(pid, SIGKILL);
  FACT(wait4(pid, &status, 0, &u) == pid);
  FACT(cpu_of(&u) >= 70000);
  getrusage(RUSAGE_CHILDREN, &u);
  FACT(cpu_of(&u) - cpu_of(&before) >= 70000);
  times(&t);
  FACT(t.tms_cutime + t.tms_cstime >= 6);
  FACT(t.tms_utime + t.tms_stime < 100);
  siginfo_t info;
  pid = fork();
  if (pid == 0) {
    burn(50000000);
    _exit(0);
  }
  FACT(syscall(SYS_waitid, P_PID, pid, &info, WEXITED, &u));
  FACT(cpu_of(&u) >= 40000);
  pid = fork();
  if (pid == 0) _exit(0);
  FACT(wait4(pid, &status, 0, (struct rusage*)8) == -1 && errno == EFAULT);
  FACT(wait4(pid, &status, 0, NULL) == -1 && errno == ECHILD);  // it has been reaped all the same
}

int main(void) {
  struct timespec t;
  threads();
  children();
  const int gone = 99999999;
  CALL(clock_gettime((~gone << 3) | 2, &t));  // of a process
  CALL(clock_gettime((~gone << 3) | 6, &t));  // of a thread
  CALL(clock_getres((~gone << 3) | 6, &t));
  CALL(clock_gettime((~getpid() << 3) | 3, &t));  // of a descriptor
  CALL(clock_gettime((~getpid() << 3) | 2, &t));
  CALL(clock_gettime((~gettid() << 3) | 6, &t));
  CALL(clock_gettime((~0 << 3) | 6, &t));
  clockid_t clock;
  FACT(clock_getcpuclockid(gone, &clock) == ESRCH);
  return 0;
}
