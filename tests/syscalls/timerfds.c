#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include "facts.h"
// timerfd_create, timerfd_settime, timerfd_gettime.
int main(void) {
  uint64_t v = 0;
  struct itimerspec s = {{0, 0}, {0, 20000000}}, old;
  CALL(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  CALL(timerfd_create(99, 0));
  CALL(timerfd_create(CLOCK_MONOTONIC, 7));
  CALL(read(3, &v, 8));
  CALL(timerfd_settime(3, 0, &s, &old));
  FACT(old.it_value.tv_nsec);
  CALL(timerfd_gettime(3, &old));
  FACT(old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 20000000);
  struct pollfd p = {3, POLLIN, 0};
  CALL(poll(&p, 1, 0));
  CALL(poll(&p, 1, 2000));
  FACT(p.revents);
  CALL(read(3, &v, 4));
  CALL(read(3, &v, 8));
  FACT(v);
  CALL(read(3, &v, 8));
  s.it_interval.tv_nsec = 5000000;
  s.it_value.tv_nsec = 5000000;
  CALL(timerfd_settime(3, 0, &s, NULL));
  usleep(52000);
  CALL(read(3, &v, 8));
  FACT(v >= 9 && v < 200);
  int e = epoll_create1(0);
  struct epoll_event ev = {EPOLLIN, {.u64 = 3}};
  CALL(epoll_ctl(e, EPOLL_CTL_ADD, 3, &ev));
  CALL(epoll_wait(e, &ev, 1, 2000));
  CALL(fcntl(3, F_SETFL, 0));
  CALL(read(3, &v, 8));
  s.it_value.tv_nsec = 0;
  CALL(timerfd_settime(3, 0, &s, &old));
  FACT(old.it_interval.tv_nsec);
  s.it_value.tv_nsec = 1000000000;
  CALL(timerfd_settime(3, 0, &s, NULL));
  CALL(timerfd_settime(0, 0, &old, NULL));
  // An interval that never comes again.
  struct itimerspec endless = {{INT64_MAX / 2, 0}, {0, 1}};
  CALL(timerfd_settime(3, 0, &endless, NULL));
  CALL(read(3, &v, 8));
  FACT(v);
  CALL(timerfd_gettime(3, &old));
  FACT(old.it_value.tv_sec > 1000000);
  CALL(timerfd_settime(3, 0, &s, NULL));
  CALL(timerfd_create(CLOCK_REALTIME, 0));
  struct itimerspec a = {{0, 0}, {1, 0}};
  CALL(timerfd_settime(5, TFD_TIMER_ABSTIME, &a, NULL));
  CALL(read(5, &v, 8));
  FACT(v);
  return 0;
}
