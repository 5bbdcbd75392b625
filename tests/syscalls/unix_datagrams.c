#include <sys/socket.h>
#include <sys/un.h>
#include "facts.h"
// AF_UNIX datagrams and sequenced packets; sendmmsg, recvmmsg; truncation.
int main(void) {
  scratch();
  struct sockaddr_un a = {AF_UNIX, "a"}, b = {AF_UNIX, "b"}, from;
  char buffer[100] = {0};
  socklen_t n = sizeof from;
  int s = socket(AF_UNIX, SOCK_DGRAM, 0), t = socket(AF_UNIX, SOCK_DGRAM, 0);
  CALL(bind(s, (struct sockaddr*)&a, sizeof a));
  CALL(bind(t, (struct sockaddr*)&b, sizeof b));
  CALL(bind(t, (struct sockaddr*)&b, sizeof b));
  CALL(send(s, "x", 1, 0));
  CALL(sendto(s, "one", 3, 0, (struct sockaddr*)&b, sizeof b));
  CALL(sendto(s, "second", 6, 0, (struct sockaddr*)&b, sizeof b));
  CALL(recvfrom(t, buffer, 100, 0, (struct sockaddr*)&from, &n));
  TEXT(from.sun_path);
  FACT(n);
  CALL(recv(t, buffer, 3, MSG_PEEK | MSG_TRUNC));
  struct iovec v = {buffer, 4};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  CALL(recvmsg(t, &m, 0));
  FACT(m.msg_flags == MSG_TRUNC);
  CALL(recv(t, buffer, 3, MSG_DONTWAIT));
  CALL(connect(s, (struct sockaddr*)&b, sizeof b));
  CALL(send(s, "", 0, 0));
  CALL(recv(t, buffer, 3, 0));
  CALL(close(t));
  CALL(send(s, "x", 1, 0));
  struct sockaddr_un none = {AF_UNIX, "none"};
  CALL(sendto(s, "x", 1, 0, (struct sockaddr*)&none, sizeof none));
  int p[2];
  CALL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p));
  CALL(send(p[0], "packet one", 10, 0));
  CALL(send(p[0], "two", 3, 0));
  CALL(recv(p[1], buffer, 4, 0));
  CALL(recv(p[1], buffer, 100, 0));
  struct iovec w[2] = {{"aa", 2}, {"bbb", 3}}, r[3] = {{buffer, 10}, {buffer + 10, 10}, {buffer + 20, 10}};
  struct mmsghdr out[2] = {{{.msg_iov = &w[0], .msg_iovlen = 1}}, {{.msg_iov = &w[1], .msg_iovlen = 1}}};
  struct mmsghdr in[3] = {{{.msg_iov = &r[0], .msg_iovlen = 1}},
                          {{.msg_iov = &r[1], .msg_iovlen = 1}},
                          {{.msg_iov = &r[2], .msg_iovlen = 1}}};
  CALL(sendmmsg(p[0], out, 2, 0));
  FACT(out[1].msg_len);
  CALL(recvmmsg(p[1], in, 3, MSG_WAITFORONE, NULL));
  FACT(in[0].msg_len * 10 + in[1].msg_len);
  CALL(close(p[0]));
  CALL(recv(p[1], buffer, 4, 0));
  // Who has chosen a peer hears that one alone, and nothing more of the one before.
  struct sockaddr_un c = {AF_UNIX, "c"}, d = {AF_UNIX, "d"}, e = {AF_UNIX, "e"};
  int x = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), y = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0),
      z = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  CALL(bind(x, (struct sockaddr*)&c, sizeof c));
  CALL(bind(y, (struct sockaddr*)&d, sizeof d));
  CALL(bind(z, (struct sockaddr*)&e, sizeof e));
  CALL(sendto(z, "early", 5, 0, (struct sockaddr*)&c, sizeof c));
  CALL(connect(x, (struct sockaddr*)&d, sizeof d));
  CALL(recv(x, buffer, 100, 0));
  CALL(sendto(z, "late", 4, 0, (struct sockaddr*)&c, sizeof c));
  CALL(connect(z, (struct sockaddr*)&c, sizeof c));
  CALL(sendto(y, "yes", 3, 0, (struct sockaddr*)&c, sizeof c));
  CALL(connect(x, (struct sockaddr*)&e, sizeof e));
  CALL(recv(x, buffer, 100, 0));
  CALL(sendto(y, "no", 2, 0, (struct sockaddr*)&c, sizeof c));
  CALL(connect(z, (struct sockaddr*)&c, sizeof c));
  CALL(send(z, "both", 4, 0));
  CALL(recv(x, buffer, 100, 0));
  // Empty messages take room, too.
  CALL(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p));
  int sent = 0;
  while (sent < 100000 && send(p[0], "", 0, 0) == 0) ++sent;
  FACT(sent > 5 && sent < 100000 && errno == EAGAIN);
  return 0;
}
