#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include "facts.h"
// uid and gid family, groups, priorities, scheduling, uname, sysinfo, prctl, limits.
int main(void) {
  FACT(getpid() > 1);
  FACT(getppid() > 0);
  FACT(syscall(SYS_gettid) == getpid());
  FACT(getpgrp() > 0);
  FACT(getuid() + geteuid() + getgid() + getegid());
  CALL(setpriority(PRIO_PROCESS, 0, 5));
  CALL(getpriority(PRIO_PROCESS, 0));
  CALL(getpriority(9, 0));
  CALL(sched_getscheduler(0));
  CALL(sched_getscheduler(-1));
  struct sched_param p = {1};
  CALL(sched_getparam(0, &p));
  FACT(p.sched_priority);
  CALL(sched_setparam(0, &p));
  CALL(sched_get_priority_max(SCHED_FIFO));
  CALL(sched_get_priority_min(SCHED_RR));
  CALL(sched_get_priority_max(SCHED_OTHER));
  CALL(sched_get_priority_max(77));
  CALL(sched_yield());
  cpu_set_t set;
  WORKS(sched_getaffinity(0, sizeof set, &set));
  FACT(CPU_COUNT(&set) > 0);
  struct utsname u;
  CALL(uname(&u));
  TEXT(u.sysname);
  TEXT(u.machine);
  struct sysinfo s;
  CALL(sysinfo(&s));
  FACT(s.totalram > 0);
  char name[16];
  CALL(prctl(PR_SET_NAME, "a-rather-long-name"));
  CALL(prctl(PR_GET_NAME, name));
  TEXT(name);
  CALL(prctl(9999));
  struct rlimit r;
  CALL(getrlimit(RLIMIT_NOFILE, &r));
  FACT(r.rlim_cur > 10);
  CALL(getrlimit(99, &r));
  CALL(prlimit(0, RLIMIT_STACK, NULL, &r));
  r.rlim_cur = 10;
  r.rlim_max = 5;
  CALL(setrlimit(RLIMIT_NOFILE, &r));
  gid_t g[3] = {7, 5, 6}, got[8];
  CALL(setgroups(3, g));
  CALL(getgroups(0, NULL));
  CALL(getgroups(8, got));
  FACT(got[0] + got[1] * 10 + got[2] * 100);
  CALL(getgroups(1, got));
  uid_t a, b, c;
  CALL(setresgid(-1, 44, -1));
  CALL(getresgid(&a, &b, &c));
  FACT(a * 10000 + b * 100 + c);
  CALL(setgid(33));
  CALL(getresgid(&a, &b, &c));
  FACT(a * 10000 + b * 100 + c);
  CALL(syscall(SYS_setreuid, -1, 21));
  CALL(getresuid(&a, &b, &c));
  FACT(a * 10000 + b * 100 + c);
  CALL(syscall(SYS_setuid, 0));
  CALL(syscall(SYS_setuid, 33));
  CALL(getresuid(&a, &b, &c));
  FACT(a * 10000 + b * 100 + c);
  CALL(syscall(SYS_setuid, 0));
  CALL(syscall(SYS_setresuid, 33, 33, 33));
  CALL(syscall(SYS_setuid, 44));
  CALL(setgroups(0, NULL));
  CALL(syscall(SYS_setfsuid, 5));
  return 0;
}
