#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "facts.h"
// AF_UNIX streams: pairs, names, backlog, shutdown, peeking, SCM_RIGHTS, credentials, options, timeouts.
static struct sockaddr_un name_of(const char* text) {
  struct sockaddr_un a = {AF_UNIX};
  strcpy(a.sun_path, text);
  return a;
}
static int send_fd(int s, int fd) {
  char c = 'F', control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {&c, 1};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_SOCKET;
  h->cmsg_type = SCM_RIGHTS;
  h->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(h), &fd, sizeof fd);
  return sendmsg(s, &m, 0);
}
static int receive_fd(int s) {
  char c, control[256];
  struct iovec v = {&c, 1};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  int fd = -1;
  CALL(recvmsg(s, &m, MSG_CMSG_CLOEXEC));
  for (struct cmsghdr* h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
    if (h->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(h), sizeof fd);
    if (h->cmsg_type == SCM_CREDENTIALS) FACT(((struct ucred*)CMSG_DATA(h))->pid == getpid());
  }
  return fd;
}
static void* client(void* unused) {
  usleep(20000);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un a = name_of("socket");
  connect(s, (struct sockaddr*)&a, sizeof a);
  send(s, "hello", 5, 0);
  close(s);
  return unused;
}
static char b[100];
static struct sockaddr_un a, from;
static socklen_t n;

static void pairs(void) {
  int p[2], q[2];
  CALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p));
  CALL(socketpair(AF_INET, SOCK_STREAM, 0, q));
  CALL(socketpair(AF_UNIX, 77, 0, q));
  CALL(send(p[0], "abcdef", 6, 0));
  CALL(recv(p[1], b, 3, MSG_PEEK));
  CALL(recv(p[1], b, 2, 0));
  CALL(recv(p[1], b, 50, MSG_DONTWAIT));
  CALL(recv(p[1], b, 50, MSG_DONTWAIT));
  CALL(write(p[1], "xy", 2));
  CALL(read(p[0], b, 1));
  int on = 1;
  CALL(setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  int file = open("f", O_RDWR | O_CREAT, 0600);
  write(file, "in the file", 11);
  CALL(send_fd(p[0], file));
  CALL(close(file));
  int got = receive_fd(p[1]);
  FACT(got);
  CALL(fcntl(got, F_GETFD));
  CALL(pread(got, b, 11, 0));
  CALL(shutdown(p[0], SHUT_WR));
  CALL(recv(p[1], b, 10, 0));
  CALL(send(p[0], "x", 1, MSG_NOSIGNAL));
  CALL(send(p[1], "z", 1, 0));
  struct ucred u;
  n = sizeof u;
  CALL(getsockopt(p[0], SOL_SOCKET, SO_PEERCRED, &u, &n));
  FACT(u.pid == getpid());
  CALL(close(p[1]));
  struct pollfd f = {p[0], POLLIN | POLLOUT | POLLRDHUP, 0};
  CALL(poll(&f, 1, 0));
  FACT(f.revents);
  a = name_of("socket");
  CALL(connect(p[0], (struct sockaddr*)&a, sizeof a));
}

static void names(void) {
  int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  CALL(listen(l, 5));
  CALL(bind(l, (struct sockaddr*)&a, sizeof a));
  CALL(bind(c, (struct sockaddr*)&a, sizeof a));
  CALL(open(a.sun_path, O_RDWR));
  WORKS(open(a.sun_path, O_PATH));
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  CALL(accept(l, NULL, NULL));
  CALL(listen(l, 5));
  struct stat st;
  CALL(stat("socket", &st));
  FACT(S_ISSOCK(st.st_mode));
  n = sizeof from;
  CALL(getsockname(l, (struct sockaddr*)&from, &n));
  FACT(n);
  TEXT(from.sun_path);
  CALL(fcntl(l, F_SETFL, O_NONBLOCK));
  CALL(accept(l, NULL, NULL));
  CALL(fcntl(l, F_SETFL, 0));
  pthread_t t;
  pthread_create(&t, NULL, client, NULL);
  n = sizeof from;
  int s = accept4(l, (struct sockaddr*)&from, &n, SOCK_CLOEXEC);
  FACT(s > 0);
  FACT(n);
  CALL(recv(s, b, 5, MSG_WAITALL));
  CALL(recv(s, b, 5, 0));
  pthread_join(t, NULL);
  struct timeval tv = {0, 20000};
  CALL(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  CALL(accept(l, NULL, NULL));
  int type = 0;
  n = sizeof type;
  CALL(getsockopt(l, SOL_SOCKET, SO_TYPE, &type, &n));
  FACT(type);
  CALL(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &type, &n));
  FACT(type);
  CALL(getsockopt(l, SOL_SOCKET, SO_DOMAIN, &type, &n));
  FACT(type);
  CALL(getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &n));
  CALL(close(l));
  CALL(connect(c, (struct sockaddr*)&a, sizeof a));
  CALL(unlink("socket"));
  struct sockaddr_un abstract = {AF_UNIX, "\0abstract name of this test"};
  socklen_t size = offsetof(struct sockaddr_un, sun_path) + 28;
  l = socket(AF_UNIX, SOCK_STREAM, 0);
  CALL(bind(l, (struct sockaddr*)&abstract, size));
  CALL(listen(l, 1));
  CALL(connect(c, (struct sockaddr*)&abstract, size));
  n = sizeof from;
  CALL(getpeername(c, (struct sockaddr*)&from, &n));
  FACT(n);
  TEXT(from.sun_path + 1);
  CALL(socket(AF_UNIX, 99, 0));
  CALL(socket(AF_UNIX, SOCK_STREAM, 99));
  CALL(socket(999, SOCK_STREAM, 0));
}

static void empty_writes(void) {
  int s[2];
  char b[4];
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
  CALL(write(s[0], "", 0));
  CALL(send(s[0], "", 0, 0));
  CALL(read(s[1], b, 4));
  CALL(write(s[0], "x", 1));
  CALL(read(s[1], b, 4));
  close(s[0]);
  close(s[1]);
}

// Descriptors on their way are not without bound, and poll says what write does.
static void many_descriptors(void) {
  int s[2], sent = 0;
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
  char byte = 'x', room[CMSG_SPACE(sizeof(int))];
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &s[0], sizeof(int));
  while (sent < 2000 && sendmsg(s[0], &m, 0) == 1) ++sent;
  FACT(sent > 100 && sent < 2000);
  struct pollfd p = {s[0], POLLOUT, 0};
  CALL(poll(&p, 1, 0));
  CALL(sendmsg(s[0], &m, 0));
  for (int i = 0; i < sent; ++i) {
    m.msg_controllen = sizeof room;
    if (recvmsg(s[1], &m, 0) != 1) break;
    int fd = -1;
    if (m.msg_controllen != 0) memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
    close(fd);
  }
  CALL(poll(&p, 1, 0));
  CALL(write(s[0], "y", 1));
  close(s[0]);
  close(s[1]);
}

// unix(7): with SO_PASSCRED the bytes of one sender are not taken together with those of another.
static void two_senders(void) {
  int s[2], on = 1;
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    write(s[0], "abcd", 4);
    _exit(0);
  }
  for (int i = 0; i < 2; ++i) {
    char b[8], room[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec v = {b, sizeof b};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct ucred from = {0};
    if (i == 0) {
      waitpid(child, NULL, 0);
      write(s[0], "efgh", 4);
      write(s[0], "ijkl", 4);
    }
    CALL(recvmsg(s[1], &m, MSG_WAITALL));
    memcpy(&from, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof from);
    FACT(from.pid == (i == 0 ? child : getpid()) && from.uid == getuid() && from.gid == getgid());
  }
  close(s[0]);
  close(s[1]);
}

// SCM_MAX_FD is of a message, however many headers it has.
static void many_rights(int first, int second) {
  static char control[4096];
  int p[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, p);
  memset(control, 0, sizeof control);
  struct iovec v = {"x", 1};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* h = CMSG_FIRSTHDR(&m);
  size_t size = 0;
  for (int i = 0; i < 2; ++i) {
    const int count = i == 0 ? first : second;
    if (count == 0) break;
    *h = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    for (int j = 0; j < count; ++j) memcpy(CMSG_DATA(h) + j * sizeof(int), &p[0], sizeof(int));
    size += CMSG_SPACE(count * sizeof(int));
    h = (struct cmsghdr*)(control + size);
  }
  m.msg_controllen = size;
  CALL(sendmsg(p[1], &m, 0));
  close(p[0]);
  close(p[1]);
}

int main(void) {
  many_rights(253, 0);
  many_rights(254, 0);
  many_rights(200, 53);
  many_rights(200, 54);
  many_rights(1, 253);

  scratch();
  pairs();
  empty_writes();
  many_descriptors();
  two_senders();
  names();
  return 0;
}
