#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "facts.h"
// Network interfaces and their addresses: getifaddrs, its netlink socket, ioctls, and what names resolve to.
static void addresses(void) {
  struct ifaddrs *list = NULL, *i;
  CALL(getifaddrs(&list));
  for (i = list; i != NULL; i = i->ifa_next) {
    char text[INET6_ADDRSTRLEN] = "", mask[INET6_ADDRSTRLEN] = "";
    if (i->ifa_addr == NULL) continue;
    const int family = i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const size_t at =
        family == AF_INET ? offsetof(struct sockaddr_in, sin_addr) : offsetof(struct sockaddr_in6, sin6_addr);
    inet_ntop(family, (char*)i->ifa_addr + at, text, sizeof text);
    inet_ntop(family, (char*)i->ifa_netmask + at, mask, sizeof mask);
    printf("%s %d %x %s %s\n", i->ifa_name, family, i->ifa_flags, text, mask);
  }
  freeifaddrs(list);
}

static int by_text(const void* left, const void* right) { return strcmp(left, right); }
static void table(void) {  // in any order
  static char lines[64][80];
  char address[40], name[20], line[200];
  unsigned index, prefix, scope, flags;
  int count = 0;
  FILE* f = fopen("/proc/net/if_inet6", "r");
  FACT(f != NULL);
  while (f != NULL && count < 64 && fgets(line, sizeof line, f) != NULL) {
    FACT(sscanf(line, "%32s %x %x %x %x %16s", address, &index, &prefix, &scope, &flags, name));
    snprintf(lines[count++], sizeof lines[0], "%s %u %u %x %s", address, index, prefix, scope, name);
  }
  qsort(lines, count, sizeof lines[0], by_text);
  for (int i = 0; i < count; ++i) TEXT(lines[i]);
}

static void questions(void) {
  char name[IF_NAMESIZE] = "";
  const int s = socket(AF_INET, SOCK_DGRAM, 0);
  const unsigned index = if_nametoindex("lo");
  FACT(index > 0);
  TEXT(if_indextoname(index, name));
  FACT(if_nametoindex("no such one"));
  struct if_nameindex* all = if_nameindex();
  FACT(all != NULL);
  for (struct if_nameindex* i = all; i->if_index != 0; ++i) printf("%u %s\n", i->if_index, i->if_name);
  struct ifreq r = {0};
  strcpy(r.ifr_name, "lo");
  CALL(ioctl(s, SIOCGIFFLAGS, &r));
  FACT(r.ifr_flags & (IFF_UP | IFF_LOOPBACK));
  CALL(ioctl(s, SIOCGIFMTU, &r));
  FACT(r.ifr_mtu);
  CALL(ioctl(s, SIOCGIFADDR, &r));
  TEXT(inet_ntoa(((struct sockaddr_in*)&r.ifr_addr)->sin_addr));
  CALL(ioctl(s, SIOCGIFNETMASK, &r));
  TEXT(inet_ntoa(((struct sockaddr_in*)&r.ifr_addr)->sin_addr));
  CALL(ioctl(s, SIOCGIFHWADDR, &r));
  FACT(r.ifr_hwaddr.sa_family);
  strcpy(r.ifr_name, "none");
  CALL(ioctl(s, SIOCGIFFLAGS, &r));
  struct ifreq found[50];
  struct ifconf c = {.ifc_len = sizeof found, .ifc_req = found};
  CALL(ioctl(s, SIOCGIFCONF, &c));
  FACT(c.ifc_len % sizeof *found);
  for (int i = 0; i < c.ifc_len / (int)sizeof *found; ++i)
    printf("%s %s\n", found[i].ifr_name, inet_ntoa(((struct sockaddr_in*)&found[i].ifr_addr)->sin_addr));
  c = (struct ifconf){.ifc_len = 0, .ifc_req = NULL};
  CALL(ioctl(s, SIOCGIFCONF, &c));
  FACT(c.ifc_len > 0);
  CALL(ioctl(s, 0x1234, &c));
  close(s);
}

static void netlink(void) {
  char b[8192];
  struct sockaddr_nl a = {AF_NETLINK}, from;
  socklen_t n = sizeof a;
  const int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  FACT(s > 0);
  CALL(bind(s, (struct sockaddr*)&a, sizeof a));
  CALL(getsockname(s, (struct sockaddr*)&a, &n));
  FACT(n);
  FACT(a.nl_family);
  FACT(a.nl_pid != 0);
  const unsigned port = a.nl_pid;
  struct {
    struct nlmsghdr head;
    struct ifaddrmsg body;
  } q = {{sizeof q, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 42}, {AF_INET}};
  CALL(recv(s, b, sizeof b, MSG_DONTWAIT));
  a.nl_pid = 0;
  CALL(sendto(s, &q, sizeof q, 0, (struct sockaddr*)&a, sizeof a));
  FACT(recv(s, b, 1, MSG_PEEK | MSG_TRUNC) > 16);
  n = sizeof from;
  ssize_t got = recvfrom(s, b, sizeof b, 0, (struct sockaddr*)&from, &n);
  FACT(n);
  FACT(from.nl_family);
  FACT(from.nl_pid);
  struct nlmsghdr* h = (void*)b;
  FACT(h->nlmsg_type);
  FACT(h->nlmsg_seq);
  FACT(h->nlmsg_pid == port);
  int done = 0;
  do {
    for (h = (void*)b; NLMSG_OK(h, got); h = NLMSG_NEXT(h, got)) done |= h->nlmsg_type == NLMSG_DONE;
  } while (!done && (got = recv(s, b, sizeof b, 0)) > 0);
  FACT(done);
  CALL(recv(s, b, sizeof b, MSG_DONTWAIT));
  q.head.nlmsg_type = 9999;  // nobody knows it
  q.head.nlmsg_flags = NLM_F_REQUEST;
  CALL(send(s, &q, sizeof q, 0));
  FACT(recv(s, b, sizeof b, 0) > 0);
  FACT(((struct nlmsghdr*)b)->nlmsg_type);
  FACT(((struct nlmsgerr*)NLMSG_DATA(b))->error);
  q.head.nlmsg_type = NLMSG_NOOP;
  q.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  CALL(send(s, &q, sizeof q, 0));
  CALL(recv(s, b, sizeof b, 0));
  FACT(((struct nlmsghdr*)b)->nlmsg_type);
  FACT(((struct nlmsgerr*)NLMSG_DATA(b))->error);
  CALL(listen(s, 1));
  CALL(accept(s, NULL, NULL));
  CALL(bind(s, (struct sockaddr*)&a, 3));
  CALL(socket(AF_NETLINK, SOCK_STREAM, 0));
  CALL(socket(AF_NETLINK, SOCK_DGRAM, 99));
  close(s);
}

static void* reader(void* socket) {
  char b[8192];
  ssize_t n;
  while ((n = recv(*(int*)socket, b, sizeof b, 0)) < 0 && errno == ENOBUFS) {
  }
  return (void*)n;
}
// More requests than answers have room: whoever waits gets the first all the same; the rest is bounded.
static void many_requests(void) {
  enum { kMany = 300, kLarge = 200 << 10 };
  static struct nlmsghdr all[kMany];
  for (int i = 0; i < kMany; ++i)
    all[i] = (struct nlmsghdr){.nlmsg_len = sizeof all[i], .nlmsg_type = 9999, .nlmsg_flags = NLM_F_REQUEST};
  int s = socket(AF_NETLINK, SOCK_RAW, 0), answers = 0;
  pthread_t t;
  void* got;
  pthread_create(&t, NULL, reader, &s);
  usleep(50000);
  CALL(send(s, all, sizeof all, 0));
  pthread_join(t, &got);
  FACT((ssize_t)got > 0);
  close(s);
  struct nlmsghdr* large = calloc(1, 213000);
  *large = all[0];
  large->nlmsg_len = kLarge;
  s = socket(AF_NETLINK, SOCK_RAW, 0);
  const int room = 212992 / 2;  // what most machines give by default, which the system doubles
  setsockopt(s, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  CALL(send(s, large, 212961, 0));
  CALL(send(s, large, kLarge, 0));
  for (int i = 0; i < kMany; ++i) send(s, large, kLarge, 0);
  CALL(recv(s, large, kLarge, MSG_DONTWAIT));
  while (recv(s, large, kLarge, MSG_DONTWAIT) > 0) ++answers;
  FACT(answers);
  CALL(send(s, all, sizeof all[0], 0));
  FACT(recv(s, large, kLarge, MSG_DONTWAIT) > 0);
  free(large);
  close(s);
}

// Whether it asks for addresses of a family depends on the addresses of this machine.
static void names(void) {
  for (int family = 0; family < 2; ++family) {
    struct addrinfo hints = {.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM},
                    *found = NULL;
    hints.ai_family = family == 0 ? AF_UNSPEC : AF_INET;
    const int result = getaddrinfo("127.0.0.1", "80", &hints, &found);
    FACT(result);
    if (result == 0) freeaddrinfo(found);
  }
}

int main(void) {
  addresses();
  table();
  questions();
  netlink();
  many_requests();
  names();
  return 0;
}
