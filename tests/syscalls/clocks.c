#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include "facts.h"
// clock_gettime, clock_getres, clock_nanosleep, gettimeofday, time, times, getrusage.
int main(void) {
  struct timespec a, b;
  CALL(clock_gettime(CLOCK_MONOTONIC, &a));
  CALL(clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 3000000}, NULL));
  CALL(clock_gettime(CLOCK_MONOTONIC, &b));
  FACT((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec >= 3000000);
  b.tv_nsec = (b.tv_nsec + 2000000) % 1000000000;
  CALL(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &a, NULL));
  CALL(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &a, NULL));
  CALL(syscall(SYS_clock_nanosleep, 77, 0, &a, NULL));
  CALL(clock_gettime(CLOCK_REALTIME, &a));
  FACT(a.tv_sec > 1600000000);
  CALL(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a));
  FACT(a.tv_sec < 5);
  CALL(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a));
  CALL(clock_gettime(CLOCK_BOOTTIME, &a));
  CALL(clock_gettime(CLOCK_MONOTONIC_COARSE, &a));
  CALL(clock_gettime(77, &a));
  CALL(clock_getres(CLOCK_MONOTONIC, &a));
  FACT(a.tv_sec == 0 && a.tv_nsec >= 1);
  CALL(clock_getres(77, &a));
  struct timeval v;
  CALL(gettimeofday(&v, NULL));
  FACT(v.tv_sec > 1600000000 && v.tv_usec < 1000000);
  WORKS(time(NULL));
  WORKS(times(NULL));
  struct rusage u;
  CALL(getrusage(RUSAGE_SELF, &u));
  CALL(getrusage(RUSAGE_THREAD, &u));
  CALL(getrusage(77, &u));
  return 0;
}
