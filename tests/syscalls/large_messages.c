#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "facts.h"
// Calls that move more than a socket or the kernel holds at once: whole when they may wait, and what was
// moved before the time is up, a signal comes or the peer goes.
enum { kSize = 3 << 20, kPart = 300000 };
static char *out, *in;
static int s[2];
static volatile int pipes;
static void on_pipe(int n) { ++pipes; }
static void on_alarm(int n) {}

static void unix_pair(int pair[2]) { socketpair(AF_UNIX, SOCK_STREAM, 0, pair); }

static void* reader(void* unused) {
  size_t got = 0;
  ssize_t n;
  while (got < kSize && (n = recv(s[1], in + got, kSize - got, 0)) > 0) got += n;
  return (void*)got;
}
static void* writer(void* unused) {
  for (size_t sent = 0; sent < kSize;) {
    const ssize_t n = send(s[0], out + sent, 100000 < kSize - sent ? 100000 : kSize - sent, 0);
    if (n <= 0) break;
    sent += n;
  }
  return NULL;
}
static void* closer(void* unused) {
  usleep(50000);
  close(s[1]);
  return NULL;
}
static void* part_writer(void* unused) {
  send(s[0], out, kPart, 0);
  usleep(20000);
  shutdown(s[0], SHUT_WR);
  return NULL;
}

static void whole(void) {
  pthread_t t;
  void* got;
  memset(in, 0, kSize);
  pthread_create(&t, NULL, reader, NULL);
  CALL(send(s[0], out, kSize, 0));
  pthread_join(t, &got);
  FACT((size_t)got);
  FACT(memcmp(in, out, kSize));
  struct iovec v[3] = {{out, 1000000}, {out + 1000000, 7}, {out + 1000007, kSize - 1000007}};
  struct msghdr m = {.msg_iov = v, .msg_iovlen = 3};
  memset(in, 0, kSize);
  pthread_create(&t, NULL, reader, NULL);
  CALL(sendmsg(s[0], &m, 0));
  pthread_join(t, NULL);
  FACT(memcmp(in, out, kSize));
  memset(in, 0, kSize);
  pthread_create(&t, NULL, writer, NULL);
  CALL(recv(s[1], in, kSize, MSG_WAITALL));
  pthread_join(t, NULL);
  FACT(memcmp(in, out, kSize));
  v[0].iov_base = in;
  v[1].iov_base = in + 1000000;
  v[2].iov_base = in + 1000007;
  memset(in, 0, kSize);
  pthread_create(&t, NULL, writer, NULL);
  CALL(recvmsg(s[1], &m, MSG_WAITALL));
  FACT(m.msg_flags);
  pthread_join(t, NULL);
  FACT(memcmp(in, out, kSize));
}

static void* write_whole(void* unused) { return (void*)write(s[0], out, kSize); }
static void by_write(void) {
  pthread_t t;
  void* sent;
  size_t got = 0;
  ssize_t n;
  memset(in, 0, kSize);
  pthread_create(&t, NULL, write_whole, NULL);
  while (got < kSize && (n = read(s[1], in + got, kSize - got)) > 0) got += n;
  pthread_join(t, &sent);
  FACT((size_t)sent);
  FACT(memcmp(in, out, kSize));
  CALL(read(s[1], in, 0));
}

static void drain(void) {
  while (recv(s[1], in, kSize, MSG_DONTWAIT) > 0 ||
         (usleep(30000), recv(s[1], in, kSize, MSG_DONTWAIT)) > 0) {
  }
}

static void cut_short(void) {
  const struct timeval some = {0, 60000}, none = {0, 0};
  setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &some, sizeof some);
  setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &some, sizeof some);
  int64_t start = now_ms();
  ssize_t n = send(s[0], out, kSize << 3, 0);
  FACT(n > 0 && n < kSize << 3);
  FACT(now_ms() - start >= 50 && now_ms() - start < 1000);
  while ((n = send(s[0], out, kSize, 0)) > 0) {
  }
  FACT(errno == EAGAIN);
  drain();
  send(s[0], out, 100, 0);
  CALL(recv(s[1], in, kSize, MSG_WAITALL));
  CALL(recv(s[1], in, kSize, MSG_WAITALL));
  setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
  setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
  struct sigaction again = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}, stop = {.sa_handler = on_alarm};
  for (int i = 0; i < 2; ++i) {  // a part is a result, whatever SA_RESTART says
    sigaction(SIGALRM, i == 0 ? &again : &stop, NULL);
    ualarm(50000, 0);
    n = send(s[0], out, kSize << 3, 0);
    FACT(n > 0 && n < kSize << 3);
    drain();
    send(s[0], out, 300, 0);
    ualarm(50000, 0);
    CALL(recv(s[1], in, kSize, MSG_WAITALL));
  }
  ualarm(50000, 0);
  CALL(recv(s[1], in, kSize, MSG_WAITALL));
}

static void gone(void) {
  pthread_t t;
  pthread_create(&t, NULL, part_writer, NULL);
  CALL(recv(s[1], in, kSize, MSG_WAITALL));
  CALL(recv(s[1], in, kSize, MSG_WAITALL));
  pthread_join(t, NULL);
  close(s[0]);
  close(s[1]);
}
static void gone_reader(void) {
  pthread_t t;
  pthread_create(&t, NULL, closer, NULL);
  const ssize_t n = send(s[0], out, kSize << 3, 0);
  FACT(n > 0 && n < kSize << 3);
  pthread_join(t, NULL);
  FACT(pipes);
  WORKS(send(s[0], out, kSize, MSG_NOSIGNAL));
  CALL(send(s[0], out, kSize, 0));
  FACT(pipes);
  pipes = 0;
  close(s[0]);
}

static void* resetter(void* unused) {
  const struct linger now = {1, 0};
  for (ssize_t n, sent = 0; sent < 256 << 10 && (n = send(s[0], out, (256 << 10) - sent, 0)) > 0;) sent += n;
  usleep(200000);
  setsockopt(s[0], SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(s[0]);
  return unused;
}
// What a stream lost must not look like its end, wherever the connection broke.
static void reset(void) {
  pthread_t t;
  tcp_pair(s);
  pthread_create(&t, NULL, resetter, NULL);
  CALL(recv(s[1], in, 1 << 20, MSG_WAITALL));
  CALL(recv(s[1], in, 1 << 20, 0));
  CALL(recv(s[1], in, 1 << 20, 0));
  pthread_join(t, NULL);
  close(s[1]);
}

// unix(7): files are a border behind the bytes they came with, not before them.
static void files_among_bytes(void) {
  char room[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {out, 5};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &s[0], sizeof(int));
  send(s[0], out, 4, 0);
  CALL(sendmsg(s[0], &m, 0));
  send(s[0], out, 6, 0);
  v.iov_base = in;
  v.iov_len = kSize;
  CALL(recvmsg(s[1], &m, 0));
  FACT(m.msg_controllen);
  CALL(recvmsg(s[1], &m, 0));
  FACT(m.msg_controllen);
}

// Natively one call takes all that has arrived.
static void all_that_is_there(void) {
  int size = 4 << 20;
  setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  setsockopt(s[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  CALL(send(s[0], out, 150000, 0));
  CALL(recv(s[1], in, 150000, MSG_WAITALL | MSG_PEEK));
  CALL(recv(s[1], in, kSize, 0));
  CALL(recv(s[1], in, kSize, MSG_DONTWAIT));
  CALL(send(s[0], out, 0, 0));
  CALL(send(s[0], (void*)8, 10, 0));
  CALL(send(s[0], out, 10, 0));
  CALL(recv(s[1], (void*)8, 10, 0));
  CALL(recv(s[1], in, kSize, 0));
}

int main(void) {
  out = malloc(kSize << 3);
  in = malloc(kSize);
  for (size_t i = 0; i < kSize << 3; ++i) out[i] = (char)(i * 2654435761u >> 13);
  signal(SIGPIPE, on_pipe);
  for (int family = 0; family < 2; ++family) {
    void (*const pair)(int[2]) = family == 0 ? tcp_pair : unix_pair;
    pair(s);
    whole();
    by_write();
    cut_short();
    gone();
    pair(s);
    gone_reader();
    pair(s);
    all_that_is_there();
    if (family == 1) files_among_bytes();
  }
  reset();
  return 0;
}
