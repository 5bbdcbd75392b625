#include <sys/time.h>
#include "facts.h"
// alarm, setitimer, getitimer, timer_create and its relatives.
static volatile int count, code, value;
static void handler(int s, siginfo_t* i, void* c) {
  (void)s;
  (void)c;
  ++count;
  code = i->si_code;
  value = i->si_value.sival_int;
}
static void for_a_thread(void) {
  struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
  timer_t t;
  CALL(timer_create(55, &e, &t));
  e._sigev_un._tid = 99999999;
  CALL(timer_create(CLOCK_MONOTONIC, &e, &t));
  e._sigev_un._tid = gettid();
  CALL(timer_create(CLOCK_MONOTONIC, &e, &t));
  CALL(timer_delete(t));
}

int main(void) {
  struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  for_a_thread();
  sigaction(SIGALRM, &a, NULL);
  sigaction(SIGUSR1, &a, NULL);
  CALL(alarm(100));
  CALL(alarm(0));
  struct itimerval v = {{0, 0}, {100, 0}}, old;
  CALL(setitimer(ITIMER_REAL, &v, NULL));
  CALL(getitimer(ITIMER_REAL, &old));
  FACT(old.it_value.tv_sec >= 90 && old.it_value.tv_sec <= 100);
  v.it_value.tv_sec = 0;
  v.it_value.tv_usec = 20000;
  sigset_t alarm_only, none;
  sigemptyset(&none);
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  sigprocmask(SIG_BLOCK, &alarm_only, NULL);
  CALL(setitimer(ITIMER_REAL, &v, NULL));
  CALL(sigsuspend(&none));
  sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
  FACT(count);
  FACT(code);
  CALL(setitimer(9, &v, NULL));
  v.it_value.tv_usec = 1000000;
  CALL(setitimer(ITIMER_REAL, &v, NULL));
  // Rings while the program computes.
  v.it_value.tv_usec = 10000;
  v.it_interval.tv_usec = 10000;
  count = 0;
  CALL(setitimer(ITIMER_REAL, &v, NULL));
  int64_t end = now_ms() + 3000;
  while (count < 3 && now_ms() < end) {
  }
  FACT(count >= 3);
  memset(&v, 0, sizeof v);
  CALL(setitimer(ITIMER_REAL, &v, &old));
  FACT(old.it_interval.tv_usec);
  timer_t t;
  struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 9};
  CALL(timer_create(CLOCK_MONOTONIC, &e, &t));
  struct itimerspec s = {{0, 0}, {100, 0}}, was;
  count = 0;
  CALL(timer_settime(t, 0, &s, NULL));
  CALL(timer_gettime(t, &was));
  FACT(was.it_value.tv_sec >= 90);
  s.it_value.tv_sec = 0;
  s.it_value.tv_nsec = 10000000;
  CALL(timer_settime(t, 0, &s, NULL));
  end = now_ms() + 3000;
  while (count == 0 && now_ms() < end) usleep(1000);
  FACT(count);
  FACT(code);
  FACT(value);
  CALL(timer_getoverrun(t));
  CALL(timer_delete(t));
  e.sigev_notify = SIGEV_NONE;
  CALL(timer_create(CLOCK_REALTIME, &e, &t));
  CALL(timer_settime(t, 0, &s, NULL));
  CALL(timer_delete(t));
  struct timespec sleep_time = {0, 5000000}, left;
  CALL(nanosleep(&sleep_time, NULL));
  sleep_time.tv_nsec = 1000000000;
  CALL(nanosleep(&sleep_time, NULL));
  alarm(1);
  sleep_time.tv_sec = 5;
  sleep_time.tv_nsec = 0;
  CALL(nanosleep(&sleep_time, &left));
  FACT(left.tv_sec == 3 || left.tv_sec == 4);
  return 0;
}
