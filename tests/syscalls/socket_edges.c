#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "facts.h"
// What sockets do besides carrying bytes: urgent data, how much waits, ends with data that nobody has read,
// opening with data, lingering.
enum { kRoom = 300000 };
static char* b;
static int l, got;
static struct sockaddr_in a = {AF_INET};
static socklen_t n;

static void pair(int s[2]) {
  s[0] = socket(AF_INET, SOCK_STREAM, 0);
  connect(s[0], (struct sockaddr*)&a, sizeof a);
  s[1] = accept(l, NULL, NULL);
}
static void both_closed(int s[2]) {
  close(s[0]);
  close(s[1]);
}
static int wait_in(int fd, int events) {
  struct pollfd p = {fd, events, 0};
  poll(&p, 1, 1000);
  return p.revents;
}

static void urgent(void) {
  int s[2];
  pair(s);
  send(s[0], "ab", 2, 0);
  send(s[0], "!", 1, MSG_OOB);
  send(s[0], "cd", 2, 0);
  FACT(wait_in(s[1], POLLPRI));
  fd_set in, urgent;
  FD_ZERO(&in);
  FD_ZERO(&urgent);
  FD_SET(s[1], &in);
  FD_SET(s[1], &urgent);
  CALL(select(s[1] + 1, &in, NULL, &urgent, NULL));
  FACT(FD_ISSET(s[1], &in) != 0);
  FACT(FD_ISSET(s[1], &urgent) != 0);
  CALL(ioctl(s[1], SIOCATMARK, &got));
  FACT(got);
  CALL(recv(s[1], b, kRoom, 0));
  CALL(ioctl(s[1], SIOCATMARK, &got));
  FACT(got);
  struct iovec v = {b, 10};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  CALL(recvmsg(s[1], &m, MSG_OOB));
  FACT(m.msg_flags);
  FACT(b[0]);
  CALL(recv(s[1], b, 1, MSG_OOB));
  FD_ZERO(&urgent);
  FD_SET(s[1], &urgent);
  struct timeval none = {0, 0};
  CALL(select(s[1] + 1, NULL, NULL, &urgent, &none));
  FACT(FD_ISSET(s[1], &urgent) != 0);
  CALL(recv(s[1], b, kRoom, 0));
  send(s[0], "!", 1,
       MSG_OOB);  // there is one such byte, whatever MSG_WAITALL says, and no error of the stream
  wait_in(s[1], POLLPRI);
  CALL(recv(s[1], b, 100, MSG_OOB | MSG_WAITALL));
  send(s[0], "ef", 2, 0);
  CALL(recv(s[1], b, 100, 0));
  both_closed(s);
}

static void how_much(void) {
  int s[2];
  pair(s);
  CALL(ioctl(l, FIONREAD, &got));
  CALL(ioctl(s[1], FIONREAD, &got));
  FACT(got);
  int size = 1 << 20;
  setsockopt(s[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  send(s[0], b, 200000, 0);
  for (int i = 0; i < 100 && got < 200000; ++i) {
    usleep(10000);
    ioctl(s[1], FIONREAD, &got);
  }
  FACT(got);
  CALL(ioctl(s[0], TIOCOUTQ, &got));
  FACT(got);
  CALL(recv(s[1], NULL, 3, MSG_TRUNC));
  CALL(recv(s[1], b, 100000, MSG_TRUNC | MSG_WAITALL));
  CALL(ioctl(s[1], FIONREAD, &got));
  FACT(got);
  CALL(recv(s[1], b, kRoom, 0));
  both_closed(s);
}

static void* in_two(void* socket) {
  send(*(int*)socket, b, 4, 0);
  usleep(50000);
  send(*(int*)socket, b, 8, 0);
  return NULL;
}
static void low_water(void) {
  int s[2], low = 10;
  pthread_t t;
  pair(s);
  CALL(setsockopt(s[1], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
  pthread_create(&t, NULL, in_two, s);
  CALL(recv(s[1], b, kRoom, 0));
  pthread_join(t, NULL);
  pthread_create(&t, NULL, in_two, s);
  CALL(recv(s[1], b, 6, 0));
  pthread_join(t, NULL);
  CALL(recv(s[1], b, kRoom, MSG_DONTWAIT));
  struct timeval some = {0, 20000};
  CALL(setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &some, sizeof some));
  send(s[0], b, 5, 0);
  CALL(recv(s[1], b, kRoom, 0));
  CALL(recv(s[1], b, kRoom, 0));
  both_closed(s);
}

static void peeked_whole(void) {
  int s[2];
  pthread_t t;
  pair(s);
  pthread_create(&t, NULL, in_two, s);
  CALL(recv(s[1], b, 12, MSG_PEEK | MSG_WAITALL));
  CALL(recv(s[1], b, 5, MSG_PEEK | MSG_WAITALL));
  CALL(recv(s[1], b, 13, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT));
  pthread_join(t, NULL);
  CALL(recv(s[1], b, 3, 0));
  struct timeval some = {0, 20000}, none = {0, 0};
  CALL(setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &some, sizeof some));
  CALL(recv(s[1], b, 100, MSG_PEEK | MSG_WAITALL));
  CALL(setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none));
  CALL(recv(s[1], b, kRoom, 0));
  pthread_create(&t, NULL, in_two, s);
  FACT(wait_in(s[1], POLLIN));
  CALL(recv(s[1], b, kRoom, 0));
  pthread_join(t, NULL);
  shutdown(s[0], SHUT_WR);
  CALL(recv(s[1], b, 100, MSG_PEEK | MSG_WAITALL));
  CALL(recv(s[1], b, kRoom, 0));
  both_closed(s);
}

static void unread_unix(int type) {
  int s[2];
  socketpair(AF_UNIX, type, 0, s);
  send(s[0], "lost", 4, 0);
  send(s[1], "kept", 4, 0);
  CALL(ioctl(s[1], FIONREAD, &got));
  FACT(got);
  close(s[1]);
  FACT(wait_in(s[0], POLLIN | POLLOUT));
  CALL(recv(s[0], b, 10, 0));
  CALL(recv(s[0], b, 10, 0));
  CALL(recv(s[0], b, 10, 0));
  CALL(send(s[0], "x", 1, MSG_NOSIGNAL));
  FACT(wait_in(s[0], POLLIN | POLLOUT));
  close(s[0]);
  socketpair(AF_UNIX, type, 0, s);
  send(s[0], "lost", 4, 0);
  close(s[1]);
  n = sizeof got;
  CALL(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &got, &n));
  FACT(got);
  CALL(recv(s[0], b, 10, 0));
  close(s[0]);
  socketpair(AF_UNIX, type, 0, s);
  close(s[1]);  // nothing lost
  CALL(recv(s[0], b, 10, 0));
  close(s[0]);
}

static void unaccepted(void) {
  struct sockaddr_un u = {AF_UNIX, "\0socket edges"};
  int k = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
  bind(k, (struct sockaddr*)&u, sizeof u);
  listen(k, 4);
  CALL(ioctl(k, FIONREAD, &got));
  CALL(connect(c, (struct sockaddr*)&u, sizeof u));
  close(k);
  CALL(recv(c, b, 10, 0));
  CALL(recv(c, b, 10, 0));
  close(c);
}

static void open_twice(void) {
  int c = socket(AF_INET, SOCK_STREAM, 0), s;
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  close(accept(l, NULL, NULL));
  close(c);
  c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  connect(c, (struct sockaddr*)&a, sizeof a);
  wait_in(c, POLLOUT);
  fcntl(c, F_SETFL, 0);
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  close(accept(l, NULL, NULL));
  close(c);
  struct sockaddr_in nobody = a;
  nobody.sin_port = htons(1);
  c = socket(AF_INET, SOCK_STREAM, 0);
  CALL(connect(c, (struct sockaddr*)&nobody, sizeof nobody));
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  close(accept(l, NULL, NULL));
  close(c);
}

static void open_with_data(void) {
  int c = socket(AF_INET, SOCK_STREAM, 0);
  CALL(sendto(c, "early", 5, MSG_FASTOPEN, (struct sockaddr*)&a, sizeof a));
  int s = accept(l, NULL, NULL);
  CALL(recv(s, b, 5, MSG_WAITALL));
  CALL(sendto(c, "late", 4, MSG_FASTOPEN, (struct sockaddr*)&a, sizeof a));
  close(c);
  close(s);
  c = socket(AF_INET, SOCK_STREAM, 0);
  int on = 1;
  CALL(setsockopt(c, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on));
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  CALL(send(c, "early", 5, 0));
  s = accept(l, NULL, NULL);
  CALL(recv(s, b, 5, MSG_WAITALL));
  close(c);
  close(s);
}

static void options(void) {
  int s[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  for (int i = 0; i < 2; ++i) {
    int size = (int[]){1000, 50000}[i];
    n = sizeof got;
    CALL(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    CALL(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &got, &n));
    FACT(got);
  }
  CALL(setsockopt(s[0], SOL_SOCKET, 9999, &got, sizeof got));
  CALL(setsockopt(s[0], IPPROTO_TCP, TCP_NODELAY, &got, sizeof got));
  CALL(getsockopt(s[0], IPPROTO_TCP, TCP_NODELAY, &got, &n));
  both_closed(s);
}

static void* toucher(void* unused) {
  int64_t start = now_ms();
  usleep(1000);
  for (int i = 0; i < 20; ++i) write(-1, "", 0);
  return (void*)(intptr_t)(now_ms() - start < 1000);
}
// A close that lingers stops nobody else.
static void lingering(void) {
  int s[2], size = 4096;
  pair(s);
  struct linger lag = {1, 2};
  CALL(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &lag, sizeof lag));
  fcntl(s[0], F_SETFL, O_NONBLOCK);
  while (send(s[0], b, kRoom, 0) > 0) {
  }
  pthread_t t;
  void* quick = NULL;
  pthread_create(&t, NULL, toucher, NULL);
  close(s[0]);
  pthread_join(t, &quick);
  FACT(quick != NULL);
  close(s[1]);
  pair(s);
  lag = (struct linger){1, 0};
  CALL(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &lag, sizeof lag));
  close(s[0]);
  wait_in(s[1], POLLIN);
  CALL(recv(s[1], b, 10, 0));
  close(s[1]);
}

int main(void) {
  b = calloc(1, kRoom);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  n = sizeof a;
  l = socket(AF_INET, SOCK_STREAM, 0);
  bind(l, (struct sockaddr*)&a, sizeof a);
  listen(l, 5);
  getsockname(l, (struct sockaddr*)&a, &n);
  urgent();
  how_much();
  low_water();
  peeked_whole();
  unread_unix(SOCK_STREAM);
  unread_unix(SOCK_SEQPACKET);
  unaccepted();
  open_twice();
  open_with_data();
  options();
  lingering();
  return 0;
}
