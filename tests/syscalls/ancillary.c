#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "facts.h"
// Ancillary data of internet sockets: what comes with a datagram, what goes with one, and the queue of
// errors.
static char b[100], room[256];
static int on = 1;
static struct sockaddr_in to = {AF_INET};
static struct iovec v = {b, sizeof b};
static struct msghdr m;

static void fresh(size_t control) {
  memset(room, 0, sizeof room);
  m = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = control};
}

static void show(void) {
  FACT(m.msg_flags);
  FACT(m.msg_controllen);
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    printf("level %d type %d size %zu", c->cmsg_level, c->cmsg_type, c->cmsg_len);
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo* info = (void*)CMSG_DATA(c);
      printf(" to %s", inet_ntoa(info->ipi_addr));
    }
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) printf(" %d", *(int*)CMSG_DATA(c));
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) printf(" %d", *CMSG_DATA(c));
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMP) {
      struct timeval* t = (void*)CMSG_DATA(c);
      printf(" %d", t->tv_sec > time(NULL) - 100 && t->tv_sec < time(NULL) + 100);
    }
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) {
      struct sock_extended_err* e = (void*)CMSG_DATA(c);
      printf(" %u %u %u %u", e->ee_errno, e->ee_origin, e->ee_type, e->ee_code);
    }
    printf("\n");
  }
}

static void add(int level, int type, const void* data, size_t size) {
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (c == NULL) return;
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(c), data, size);
}

static void send_with(int w, int level, int type, const void* data, size_t size) {
  fresh(CMSG_SPACE(size));
  m.msg_name = &to;
  m.msg_namelen = sizeof to;
  v.iov_len = 4;
  add(level, type, data, size);
  CALL(sendmsg(w, &m, 0));
  v.iov_len = sizeof b;
}

static void with_datagrams(void) {
  int u = socket(AF_INET, SOCK_DGRAM, 0), w = socket(AF_INET, SOCK_DGRAM, 0);
  socklen_t n = sizeof to;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(u, (struct sockaddr*)&to, sizeof to);
  getsockname(u, (struct sockaddr*)&to, &n);
  CALL(setsockopt(u, IPPROTO_IP, IP_PKTINFO, &on, sizeof on));
  CALL(setsockopt(u, IPPROTO_IP, IP_RECVTTL, &on, sizeof on));
  CALL(setsockopt(u, IPPROTO_IP, IP_RECVTOS, &on, sizeof on));
  CALL(sendto(w, "data", 4, 0, (struct sockaddr*)&to, sizeof to));
  fresh(sizeof room);
  CALL(recvmsg(u, &m, 0));
  show();
  CALL(setsockopt(u, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
  int ttl = 9, tos = 16;
  send_with(w, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
  fresh(sizeof room);
  CALL(recvmsg(u, &m, 0));
  show();
  send_with(w, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
  fresh(CMSG_SPACE(16) + 20);  // the second is cut
  CALL(recvmsg(u, &m, 0));
  show();
  struct in_pktinfo from = {0, {htonl(0x7f000009)}, {0}};
  send_with(w, IPPROTO_IP, IP_PKTINFO, &from, sizeof from);
  struct sockaddr_in peer;
  fresh(0);  // no room at all
  m.msg_name = &peer;
  m.msg_namelen = sizeof peer;
  CALL(recvmsg(u, &m, 0));
  show();
  TEXT(inet_ntoa(peer.sin_addr));
  send_with(w, IPPROTO_IP, 77, &ttl, sizeof ttl);
  send_with(w, IPPROTO_IP, IP_TTL, &ttl, 1);
  CALL(recv(u, b, sizeof b, MSG_DONTWAIT));
  close(u);
  close(w);
}

static void error_queue(void) {
  int w = socket(AF_INET, SOCK_DGRAM, 0);  // the port of `to` is closed by now
  fresh(sizeof room);
  CALL(recvmsg(w, &m, MSG_ERRQUEUE));
  CALL(recv(w, b, sizeof b, MSG_ERRQUEUE));
  CALL(setsockopt(w, IPPROTO_IP, IP_RECVERR, &on, sizeof on));
  CALL(sendto(w, "lost", 4, 0, (struct sockaddr*)&to, sizeof to));
  struct pollfd p = {w, POLLIN, 0};
  CALL(poll(&p, 1, 1000));
  FACT(p.revents);
  CALL(recv(w, b, sizeof b, MSG_DONTWAIT));
  fresh(sizeof room);
  struct sockaddr_in where = {0};
  m.msg_name = &where;
  m.msg_namelen = sizeof where;
  CALL(recvmsg(w, &m, MSG_ERRQUEUE));
  show();
  FACT(where.sin_port == to.sin_port);
  FACT(memcmp(b, "lost", 4));
  CALL(recvmsg(w, &m, MSG_ERRQUEUE));
  close(w);
}

static void version_6(void) {
  struct sockaddr_in6 a = {AF_INET6};
  socklen_t n = sizeof a;
  int u = socket(AF_INET6, SOCK_DGRAM, 0), w = socket(AF_INET6, SOCK_DGRAM, 0);
  a.sin6_addr = in6addr_loopback;
  if (bind(u, (struct sockaddr*)&a, sizeof a) != 0) return;  // a machine without IPv6
  getsockname(u, (struct sockaddr*)&a, &n);
  CALL(setsockopt(u, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on));
  CALL(setsockopt(u, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on));
  CALL(sendto(w, "data", 4, 0, (struct sockaddr*)&a, sizeof a));
  fresh(sizeof room);
  CALL(recvmsg(u, &m, 0));
  show();
}

int main(void) {
  with_datagrams();
  error_queue();
  version_6();
  return 0;
}
