// A thread that makes no system call, not even to begin, waits for SIGUSR1. Prints "signal"; ends with 3 when
// none has come.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t came;
static volatile int in_time = -1;
static char stack[65536] __attribute__((aligned(16)));

static void on_signal(int number) { came = number; }

static int wait_for_it(void* nothing) {
  (void)nothing;
  for (uint64_t i = 0; i < 1000000000 && !came; ++i) {
  }
  in_time = came != 0;
  return 0;
}

int main(void) {
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  sigset_t all;
  signal(SIGUSR1, on_signal);
  for (size_t i = 0; i < sizeof(stack); i += 4096) stack[i] = 1;
  if (clone(wait_for_it, stack + sizeof(stack), flags, 0) < 0) return 1;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, 0);  // the other thread gets it
  while (in_time < 0) usleep(1000);
  if (!in_time) return 3;
  return puts("signal") < 0;
}
