#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "facts.h"
// Scheduling, affinity, memory locks, capabilities: as far as a program can see them.
static void priorities_of_others(void) {
  int ends[2], status = 0;
  pipe(ends);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    char c;
    setpgid(0, 0);
    close(ends[1]);
    read(ends[0], &c, 1);
    _exit(getpriority(PRIO_PROCESS, 0));
  }
  setpgid(child, child);
  CALL(setpriority(PRIO_PROCESS, child, 10));
  CALL(getpriority(PRIO_PROCESS, child));
  CALL(setpriority(PRIO_PGRP, child, 12));
  CALL(getpriority(PRIO_PGRP, child));
  CALL(getpriority(PRIO_PROCESS, 99999999));
  CALL(setpriority(PRIO_PGRP, 99999999, 12));
  CALL(getpriority(PRIO_USER, 99999999));
  close(ends[1]);
  waitpid(child, &status, 0);
  FACT(WEXITSTATUS(status));
}

static void locks(void) {
  char* page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CALL(mlock(page, 8192));
  CALL(munlock(page, 8192));
  CALL(syscall(SYS_mlock2, page, 4096L, 0));
  CALL(syscall(SYS_mlock2, page, 4096L, MLOCK_ONFAULT));
  CALL(syscall(SYS_mlock2, page, 4096L, 2));
  CALL(munlock(page, 8192));
  CALL(mlockall(0));
  CALL(mlockall(8));
  CALL(mlockall(MCL_ONFAULT));
  CALL(munlockall());
  munmap(page + 4096, 4096);
  CALL(mlock(page, 8192));
  CALL(munlock(page, 8192));
}

int main(void) {
  struct sched_param p = {0};
  CALL(sched_getscheduler(0));
  CALL(sched_setscheduler(0, SCHED_OTHER, &p));
  CALL(sched_setscheduler(0, SCHED_BATCH, &p));
  CALL(sched_getscheduler(0));
  CALL(sched_setscheduler(0, SCHED_OTHER, &p));
  CALL(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &p));
  CALL(sched_getscheduler(0));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(sched_getscheduler(0) == SCHED_OTHER ? 3 : 4);
  int status = 0;
  waitpid(child, &status, 0);
  FACT(WEXITSTATUS(status));
  CALL(sched_setscheduler(0, SCHED_BATCH, &p));
  child = fork();
  if (child == 0) _exit(sched_getscheduler(0) == SCHED_BATCH ? 3 : 4);
  waitpid(child, &status, 0);
  FACT(WEXITSTATUS(status));
  CALL(sched_setscheduler(0, SCHED_OTHER, &p));
  CALL(sched_setscheduler(0, 77, &p));
  CALL(sched_setscheduler(0, SCHED_OTHER, NULL));
  CALL(sched_setscheduler(-1, SCHED_OTHER, &p));
  p.sched_priority = 5;
  CALL(sched_setscheduler(0, SCHED_OTHER, &p));
  CALL(sched_setparam(0, &p));
  p.sched_priority = 0;
  CALL(sched_setparam(0, &p));
  CALL(sched_getparam(0, &p));
  FACT(p.sched_priority);
  CALL(sched_getparam(99999999, &p));
  CALL(sched_get_priority_max(SCHED_FIFO));
  CALL(sched_get_priority_min(SCHED_FIFO));
  CALL(sched_get_priority_max(SCHED_OTHER));
  CALL(sched_get_priority_min(77));
  cpu_set_t set;
  FACT(syscall(SYS_sched_getaffinity, 0, sizeof(set), &set) > 0);
  const int processors =
      CPU_COUNT(&set) < 4 ? CPU_COUNT(&set) : 4;  // the enclave has no more than it has threads
  FACT(processors);
  CALL(sched_getaffinity(99999999, sizeof(set), &set));
  sched_getaffinity(0, sizeof(set), &set);
  CALL(sched_setaffinity(0, sizeof(set), &set));
  CALL(sched_setaffinity(99999999, sizeof(set), &set));
  CALL(sched_setaffinity(0, sizeof(set), NULL));
  CPU_ZERO(&set);
  CALL(sched_setaffinity(0, sizeof(set), &set));
  CALL(syscall(SYS_sched_getaffinity, 0, 3, &set));
  CALL(sched_yield());
  unsigned cpu = 99999, node = 99999;
  CALL(syscall(SYS_getcpu, &cpu, &node, NULL));
  FACT(cpu < 99999 && node < 99999);
  CALL(syscall(SYS_getcpu, NULL, NULL, NULL));
  CALL(syscall(SYS_getcpu, 1L, NULL, NULL));
  const int nice_before = getpriority(PRIO_PROCESS, 0);  // the tests may have been started with any
  FACT(nice_before >= -20 && nice_before <= 19);
  CALL(getpriority(9, 0));
  CALL(setpriority(PRIO_PROCESS, 0, 19));
  CALL(getpriority(PRIO_PROCESS, 0));
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  CALL(syscall(SYS_capget, &head, data));
  CALL(syscall(SYS_capget, &head, NULL));
  head.version = 1;
  CALL(syscall(SYS_capget, &head, data));
  FACT(head.version == _LINUX_CAPABILITY_VERSION_3);
  CALL(syscall(SYS_capget, NULL, data));
  return locks(), priorities_of_others(), 0;
}
