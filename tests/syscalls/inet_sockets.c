#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "facts.h"
// TCP and UDP over the loopback interface: options, flags, non-blocking connect, epoll edges, timeouts,
// errors.
static struct sockaddr_in a = {AF_INET};
static void* client(void* unused) {
  int c = socket(AF_INET, SOCK_STREAM, 0);
  connect(c, (struct sockaddr*)&a, sizeof a);
  for (int i = 0; i < 20; ++i) {
    send(c, "0123456789", 10, MSG_NOSIGNAL);
    usleep(2000);
  }
  close(c);
  return unused;
}
static char b[4096];
static int on = 1, got, l;
static socklen_t n;
static struct sockaddr_in peer;

static void connections(void) {
  n = sizeof a;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FACT(l);
  CALL(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  CALL(bind(l, (struct sockaddr*)&a, sizeof a));
  CALL(getsockname(l, (struct sockaddr*)&a, &n));
  FACT(n);
  FACT(ntohs(a.sin_port) > 0);
  CALL(bind(l, (struct sockaddr*)&a, sizeof a));
  CALL(listen(l, 10));
  int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  connect(c, (struct sockaddr*)&a, sizeof a);
  struct pollfd f = {c, POLLOUT, 0};
  CALL(poll(&f, 1, 1000));
  n = sizeof got;
  CALL(getsockopt(c, SOL_SOCKET, SO_ERROR, &got, &n));
  FACT(got);
  n = sizeof peer;
  int s = accept4(l, (struct sockaddr*)&peer, &n, SOCK_NONBLOCK);
  FACT(s);
  FACT(ntohl(peer.sin_addr.s_addr) == INADDR_LOOPBACK);
  CALL(recv(s, b, 10, 0));
  CALL(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  CALL(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &got, &n));
  CALL(setsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
  CALL(setsockopt(c, SOL_SOCKET, 9999, &on, sizeof on));
  CALL(send(c, "hello", 5, 0));
  f.fd = s;
  f.events = POLLIN;
  CALL(poll(&f, 1, 1000));
  CALL(recv(s, b, 3, MSG_PEEK));
  CALL(recv(s, b, 100, 0));
  CALL(fcntl(s, F_SETFL, 0));
  struct timeval tv = {0, 30000};
  CALL(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  CALL(recv(s, b, 100, 0));
  struct iovec v[2] = {{"ab", 2}, {"cd", 2}};
  CALL(writev(c, v, 2));
  CALL(recv(s, b, 4, MSG_WAITALL));
  CALL(shutdown(c, SHUT_WR));
  CALL(recv(s, b, 4, 0));
  CALL(send(c, "x", 1, MSG_NOSIGNAL));
  CALL(shutdown(l, 9));
  CALL(close(c));
  CALL(close(s));
}

static void edges(void) {
  // Edge-triggered: everything arrives although each report is read to EAGAIN only.
  int e = epoll_create1(0), total = 0, reports = 0;
  pthread_t t;
  pthread_create(&t, NULL, client, NULL);
  int s = accept4(l, NULL, NULL, SOCK_NONBLOCK);
  struct epoll_event ev = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.fd = s}};
  CALL(epoll_ctl(e, EPOLL_CTL_ADD, s, &ev));
  int k = -1;
  while (k != 0 && epoll_wait(e, &ev, 1, 3000) == 1 && ++reports < 1000)
    while ((k = recv(s, b, sizeof b, 0)) > 0) total += k;
  FACT(total);
  FACT(reports < 60);
  pthread_join(t, NULL);
  close(s);
  close(l);
}

// An error behind the bytes of a call is the next call's, and poll knows of it.
static int broken[2];
static void* break_later(void* unused) {
  const struct linger reset = {1, 0};
  usleep(100000);
  setsockopt(broken[1], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(broken[1]);
  return unused;
}
static void late_error(void) {
  pthread_t thread;
  enum { kMuch = 100000 };
  char* much = malloc(kMuch);
  tcp_pair(broken);
  struct epoll_event event = {EPOLLIN | EPOLLOUT, {.u32 = 7}}, events[4];
  const int levels = epoll_create1(0);
  epoll_ctl(levels, EPOLL_CTL_ADD, broken[0], &event);
  send(broken[1], "hello", 5, 0);
  send(broken[0], "unread", 6, 0);
  usleep(50000);
  pthread_create(&thread, NULL, break_later, NULL);
  CALL(recv(broken[0], much, kMuch, MSG_WAITALL));
  pthread_join(thread, NULL);
  struct pollfd in = {broken[0], POLLIN}, none = {broken[0], 0};
  CALL(poll(&in, 1, 1000));
  FACT(in.revents);
  CALL(poll(&none, 1, 1000));
  FACT(none.revents);
  for (int i = 0; i < 2; ++i) {
    CALL(epoll_wait(levels, events, 4, 1000));
    FACT(events[0].events);
  }
  CALL(recv(broken[0], much, 100, 0));
  CALL(poll(&in, 1, 1000));
  FACT(in.revents);
  CALL(epoll_wait(levels, events, 4, 1000));
  FACT(events[0].events);
  CALL(recv(broken[0], much, 100, 0));
  free(much);
  close(broken[0]);
  close(levels);
}

static void errors_and_datagrams(void) {
  int c = socket(AF_INET, SOCK_STREAM, 0);
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  CALL(getpeername(c, (struct sockaddr*)&peer, &n));
  CALL(listen(99, 1));
  CALL(listen(1, 1));
  int u = socket(AF_INET, SOCK_DGRAM, 0), w = socket(AF_INET, SOCK_DGRAM, 0);
  a.sin_port = 0;
  CALL(bind(u, (struct sockaddr*)&a, sizeof a));
  n = sizeof a;
  getsockname(u, (struct sockaddr*)&a, &n);
  CALL(sendto(w, "datagram", 8, 0, (struct sockaddr*)&a, sizeof a));
  n = sizeof peer;
  CALL(recvfrom(u, b, 4, MSG_TRUNC, (struct sockaddr*)&peer, &n));
  FACT(n);
  CALL(connect(w, (struct sockaddr*)&a, sizeof a));
  CALL(send(w, "more", 4, 0));
  CALL(recv(u, b, 100, 0));
  CALL(recv(u, b, 100, MSG_DONTWAIT));
  CALL(sendto(w, "x", 1, 0, (struct sockaddr*)&a, 3));
  CALL(socket(AF_INET6, SOCK_STREAM, 0) > 0);
}

int main(void) {
  connections();
  edges();
  errors_and_datagrams();
  late_error();
  return 0;
}
