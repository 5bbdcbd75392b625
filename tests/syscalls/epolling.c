#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "facts.h"
// epoll: levels, edges, one-shot, errors, closing, timeouts, nesting.
static int fd;
static void* later(void* unused) {
  usleep(30000);
  uint64_t one = 1;
  write(fd, &one, 8);
  return unused;
}
static struct epoll_event e = {EPOLLIN, {.u64 = 7}}, out[8];
static void levels_and_edges(void) {
  int p[2];
  CALL(epoll_create1(EPOLL_CLOEXEC));
  CALL(epoll_create1(1));
  CALL(epoll_create(0));
  pipe(p);
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, p[0], &e));
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, p[0], &e));
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, 3, &e));
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, 99, &e));
  CALL(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
  CALL(epoll_ctl(3, EPOLL_CTL_MOD, p[1], &e));
  CALL(epoll_ctl(3, EPOLL_CTL_DEL, p[1], &e));
  CALL(epoll_ctl(3, 17, p[0], &e));
  int file = open("/tmp", O_RDONLY);
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, file, &e));
  CALL(epoll_wait(3, out, 8, 0));
  CALL(epoll_wait(3, out, 0, 0));
  CALL(epoll_wait(p[0], out, 8, 0));
  write(p[1], "abc", 3);
  CALL(epoll_wait(3, out, 8, 0));
  FACT(out[0].events);
  FACT(out[0].data.u64);
  CALL(epoll_wait(3, out, 8, -1));
  e.events = EPOLLIN | EPOLLET;
  CALL(epoll_ctl(3, EPOLL_CTL_MOD, p[0], &e));
  CALL(epoll_wait(3, out, 8, 0));
  CALL(epoll_wait(3, out, 8, 0));
  write(p[1], "d", 1);
  CALL(epoll_wait(3, out, 8, 0));
  CALL(epoll_wait(3, out, 8, 5));
  e.events = EPOLLIN | EPOLLONESHOT;
  CALL(epoll_ctl(3, EPOLL_CTL_MOD, p[0], &e));
  CALL(epoll_wait(3, out, 8, 0));
  CALL(epoll_wait(3, out, 8, 0));
  CALL(epoll_ctl(3, EPOLL_CTL_MOD, p[0], &e));
  CALL(epoll_wait(3, out, 8, 0));
  e.events = EPOLLOUT;
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, p[1], &e));
  CALL(epoll_wait(3, out, 8, 0));
  FACT(out[0].events);
  CALL(close(p[0]));
  CALL(epoll_wait(3, out, 8, 0));
  FACT(out[0].events);
  CALL(close(p[1]));
  CALL(epoll_wait(3, out, 8, 10));
}

static void counters_and_nesting(void) {
  fd = eventfd(0, 0);
  e.events = EPOLLIN | EPOLLET;
  e.data.fd = fd;
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, fd, &e));
  pthread_t t;
  pthread_create(&t, NULL, later, NULL);
  CALL(epoll_wait(3, out, 8, -1));
  FACT(out[0].events);
  pthread_join(t, NULL);
  CALL(epoll_wait(3, out, 8, 0));
  uint64_t one = 1;
  write(fd, &one, 8);
  CALL(epoll_wait(3, out, 8, 0));
  int outer = epoll_create1(0);
  e.events = EPOLLIN;
  CALL(epoll_ctl(outer, EPOLL_CTL_ADD, 3, &e));
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, outer, &e));
  CALL(epoll_wait(outer, out, 8, 0));
  write(fd, &one, 8);
  CALL(epoll_wait(outer, out, 8, 0));
  CALL(epoll_pwait(3, out, 8, 0, NULL));
  struct timespec zero = {0, 1000000};
  CALL(epoll_pwait2(3, out, 8, &zero, NULL));
}

// However a chain of epolls is built, its length is limited.
static void chains(void) {
  int chain[10];
  for (int i = 0; i < 10; ++i) chain[i] = epoll_create1(0);
  e.events = EPOLLIN;
  for (int i = 0; i + 1 < 10; ++i) CALL(epoll_ctl(chain[i], EPOLL_CTL_ADD, chain[i + 1], &e));
  for (int i = 0; i < 10; ++i) close(chain[i]);
  for (int i = 0; i < 10; ++i) chain[i] = epoll_create1(0);
  for (int i = 0; i + 1 < 10; ++i) CALL(epoll_ctl(chain[i + 1], EPOLL_CTL_ADD, chain[i], &e));
  for (int i = 0; i < 10; ++i) close(chain[i]);
}

static void sockets(void) {
  int s[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  e.data.u64 = 1;
  CALL(epoll_ctl(3, EPOLL_CTL_ADD, s[0], &e));
  CALL(epoll_wait(3, out, 8, 0));
  FACT(out[0].events);
  CALL(epoll_wait(3, out, 8, 0));
  shutdown(s[1], SHUT_WR);
  CALL(epoll_wait(3, out, 8, 0));
  FACT(out[0].events);
  close(s[1]);
  CALL(epoll_wait(3, out, 8, 0));
  FACT(out[0].events & EPOLLHUP);
}

int main(void) {
  levels_and_edges();
  counters_and_nesting();
  chains();
  sockets();
  return 0;
}
