#include <poll.h>
#include <pthread.h>
#include <sys/select.h>
#include "facts.h"
// poll, ppoll, select, pselect6.
static int p[2];
static void* later(void* unused) {
  usleep(30000);
  write(p[1], "x", 1);
  return unused;
}
static void on_signal(int s) { (void)s; }
int main(void) {
  char c;
  pipe(p);
  struct pollfd f[3] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {-1, POLLIN, 7}};
  CALL(poll(f, 3, 0));
  FACT(f[0].revents);
  FACT(f[1].revents);
  FACT(f[2].revents);
  CALL(poll(f, 1, 10));
  f[2].fd = 99;
  CALL(poll(f, 3, 0));
  FACT(f[2].revents);
  pthread_t t;
  pthread_create(&t, NULL, later, NULL);
  CALL(poll(f, 1, -1));
  FACT(f[0].revents);
  pthread_join(t, NULL);
  struct timespec zero = {0, 0}, bad = {0, -1}, some = {0, 20000000};
  CALL(ppoll(f, 1, &zero, NULL));
  CALL(ppoll(f, 1, &bad, NULL));
  CALL(read(p[0], &c, 1));
  CALL(ppoll(f, 1, &some, NULL));
  fd_set r, w;
  FD_ZERO(&r);
  FD_ZERO(&w);
  FD_SET(p[0], &r);
  FD_SET(p[1], &w);
  struct timeval tv = {0, 10000};
  CALL(select(p[1] + 1, &r, &w, NULL, &tv));
  FACT(FD_ISSET(p[0], &r));
  FACT(FD_ISSET(p[1], &w));
  FD_ZERO(&r);
  FD_SET(p[0], &r);
  tv.tv_usec = 10000;
  CALL(select(p[0] + 1, &r, NULL, NULL, &tv));
  FACT(FD_ISSET(p[0], &r));
  FACT(tv.tv_sec == 0 && tv.tv_usec == 0);
  CALL(select(-1, NULL, NULL, NULL, &tv));
  // A signal that is blocked outside arrives during ppoll.
  sigset_t block, none;
  sigemptyset(&none);
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  signal(SIGUSR1, on_signal);
  sigprocmask(SIG_BLOCK, &block, NULL);
  raise(SIGUSR1);
  CALL(ppoll(f, 1, NULL, &none));
  raise(SIGUSR1);
  FD_ZERO(&r);
  CALL(pselect(0, NULL, NULL, NULL, NULL, &none));
  close(p[1]);
  CALL(poll(f, 1, 0));
  FACT(f[0].revents);
  CALL(poll((void*)8, 1, 0));
  CALL(poll(NULL, 0, 5));
  return 0;
}
