#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include "facts.h"
// epoll's edges: every arrival is one, read or not, for whatever file; what re-arms; who is woken.
static struct epoll_event out[8];
static int ep;

static int add(int epoll, int fd, uint32_t events, uint64_t data) {
  struct epoll_event e = {events, {.u64 = data}};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}
static int change(int epoll, int fd, uint32_t events) {
  struct epoll_event e = {events, {.u64 = 77}};
  return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e);
}
// What a wait gives, sorted by data, as the order is nobody's promise.
static void show(const char* what, int epoll, int ms) {
  int n = epoll_wait(epoll, out, 8, ms);
  printf("%s:", what);
  for (uint64_t data = 0; data < 100; ++data) {
    for (int i = 0; i < n; ++i) {
      if (out[i].data.u64 == data) printf(" %llu=%x", (unsigned long long)data, out[i].events);
    }
  }
  printf(" (%d)\n", n);
}

// The same for any pair of ends: what goes into `in` comes out at `watched`.
static void arrivals(const char* name, int watched, int in, uint32_t more) {
  char byte[4096];
  printf("-- %s\n", name);
  ep = epoll_create1(0);
  CALL(add(ep, watched, EPOLLIN | EPOLLET | more, 1));
  show("nothing yet", ep, 0);
  write(in, "abc", 3);
  show("first", ep, 1000);
  show("no second", ep, 20);
  write(in, "def", 3);
  show("unread, again", ep, 1000);
  show("once", ep, 20);
  read(watched, byte, 2);
  show("a read is none", ep, 20);
  write(in, "g", 1);
  show("partly read, again", ep, 1000);
  read(watched, byte, sizeof(byte));
  write(in, "h", 1);
  show("all read, again", ep, 1000);
  CALL(change(ep, watched, EPOLLIN | EPOLLET | more));
  show("modified", ep, 1000);
  CALL(change(ep, watched, EPOLLIN | EPOLLONESHOT | more));
  show("one shot", ep, 1000);
  write(in, "i", 1);
  show("spent", ep, 20);
  CALL(change(ep, watched, EPOLLIN | EPOLLONESHOT | more));
  show("armed again", ep, 1000);
  CALL(change(ep, watched, EPOLLIN | more));
  show("level", ep, 1000);
  show("level still", ep, 1000);
  read(watched, byte, sizeof(byte));
  show("level, read", ep, 20);
  CALL(change(ep, watched, 0));
  write(in, "j", 1);
  show("nothing asked", ep, 20);
  int twin = dup(watched);
  CALL(add(ep, twin, EPOLLIN, 2));
  CALL(change(ep, watched, EPOLLIN));
  show("both names", ep, 1000);
  close(watched);
  show("the name is gone, the file is not", ep, 1000);
  CALL(epoll_ctl(ep, EPOLL_CTL_DEL, watched, NULL));
  read(twin, byte, sizeof(byte));
  show("read by the other name", ep, 20);
  close(in);
  show("the end", ep, 1000);
  close(twin);
  show("nothing is watched", ep, 20);
  close(ep);
}

static void room(const char* name, int writer, int reader) {
  static char bytes[1 << 16];
  printf("-- room in %s\n", name);
  ep = epoll_create1(0);
  fcntl(writer, F_SETFL, O_NONBLOCK);
  fcntl(reader, F_SETFL, O_NONBLOCK);
  add(ep, writer, EPOLLOUT | EPOLLET, 3);
  show("room", ep, 0);
  show("once", ep, 0);
  while (write(writer, bytes, sizeof(bytes)) > 0) {
  }
  FACT(errno == EAGAIN);
  show("full", ep, 20);
  while (read(reader, bytes, sizeof(bytes)) > 0) {
  }
  show("emptied", ep, 1000);
  FACT(epoll_wait(ep, out, 8, 20) <= 1);
  close(reader);
  epoll_wait(ep, out, 8, 1000);
  FACT((out[0].events & (EPOLLERR | EPOLLHUP)) != 0);
  close(writer);
  close(ep);
}

static void counters(void) {
  uint64_t one = 1;
  printf("-- counters\n");
  ep = epoll_create1(0);
  int e = eventfd(0, EFD_NONBLOCK);
  add(ep, e, EPOLLIN | EPOLLOUT | EPOLLET, 4);
  show("writable", ep, 0);
  write(e, &one, 8);
  show("one", ep, 0);
  write(e, &one, 8);
  show("two", ep, 0);
  read(e, &one, 8);
  show("read", ep, 0);
  show("nothing", ep, 0);
  int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct itimerspec time = {{0, 10000000}, {0, 10000000}};
  add(ep, t, EPOLLIN | EPOLLET, 5);
  timerfd_settime(t, 0, &time, NULL);
  show("timer", ep, 1000);
  show("unread: no edge", ep, 50);
  read(t, &one, 8);
  show("read: the next", ep, 1000);
  time = (struct itimerspec){{0, 0}, {0, 10000000}};
  timerfd_settime(t, 0, &time, NULL);
  change(ep, t, EPOLLIN);
  show("level timer", ep, 1000);
  show("still", ep, 0);
  int outer = epoll_create1(0);
  add(outer, ep, EPOLLIN, 6);
  show("outer sees the timer", outer, 0);
  time = (struct itimerspec){{0, 0}, {0, 0}};
  timerfd_settime(t, 0, &time, NULL);
  show("disarmed", outer, 0);
  time = (struct itimerspec){{0, 0}, {0, 10000000}};
  timerfd_settime(t, 0, &time, NULL);
  show("outer waits for the timer", outer, 1000);
  close(t);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int s = signalfd(-1, &set, SFD_NONBLOCK);
  add(ep, s, EPOLLIN | EPOLLET, 7);
  show("no signal", ep, 0);
  kill(getpid(), SIGUSR1);
  show("signal", ep, 100);
  show("unread", ep, 0);
  show("outer: an unread edge is none", outer, 0);
  kill(getpid(), SIGUSR1);
  show("signal again", ep, 100);
  struct signalfd_siginfo info;
  FACT(read(s, &info, sizeof(info)) == sizeof(info));
  show("taken", ep, 0);
  close(outer);
  close(e);
  close(s);
  close(ep);
}

static void set_timer(int t, int flags, struct timespec first, long interval_ns) {
  struct itimerspec s = {{0, interval_ns}, first};
  if (timerfd_settime(t, flags, &s, NULL) != 0) abort();
}

// Timers that are due by the time anybody looks.
static void due_at_once(void) {
  uint64_t n;
  printf("-- due at once\n");
  ep = epoll_create1(0);
  int outer = epoll_create1(0), t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  add(ep, t, EPOLLIN, 1);
  add(outer, ep, EPOLLIN, 2);
  set_timer(t, 0, (struct timespec){0, 1}, 0);
  show("one nanosecond", ep, 1000);
  read(t, &n, 8);
  show("read", ep, 0);
  set_timer(t, TFD_TIMER_ABSTIME, (struct timespec){0, 1}, 0);
  show("outer, long ago", outer, 1000);
  show("long ago", ep, 1000);
  read(t, &n, 8);
  set_timer(t, 0, (struct timespec){0, 1000}, 1000);
  int rounds = 0;
  while (rounds < 500 && epoll_wait(ep, out, 1, 500) == 1 && read(t, &n, 8) == 8) ++rounds;
  FACT(rounds);
  change(ep, t, EPOLLIN | EPOLLET);
  set_timer(t, 0, (struct timespec){0, 20000}, 20000);
  for (rounds = 0; rounds < 500 && epoll_wait(ep, out, 1, 500) == 1; ++rounds) read(t, &n, 8);
  FACT(rounds);
  set_timer(t, TFD_TIMER_ABSTIME, (struct timespec){0, 1}, 0);
  show("one edge", ep, 1000);
  show("unread, no other", ep, 20);
  struct pollfd p = {t, POLLOUT, 0};  // nothing that a timer ever is
  CALL(poll(&p, 1, 20));
  p.events = POLLIN;
  CALL(poll(&p, 1, 20));
  int r = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  add(ep, r, EPOLLIN, 3);
  set_timer(r, TFD_TIMER_ABSTIME, (struct timespec){1, 0}, 0);
  show("of the wall clock", ep, 1000);
  close(r);
  close(t);
  close(outer);
  close(ep);
}

static void nested(const char* name, int watched, int in) {
  char byte[64];
  printf("-- nested, %s\n", name);
  int inner = epoll_create1(0), outer = epoll_create1(0), edge = epoll_create1(0);
  add(outer, inner, EPOLLIN, 8);
  add(edge, inner, EPOLLIN | EPOLLET, 9);
  add(inner, watched, EPOLLIN | EPOLLET, 10);
  show("nothing", outer, 0);
  write(in, "a", 1);
  show("outer", outer, 1000);
  show("outer still", outer, 1000);
  show("edge", edge, 1000);
  show("edge once", edge, 20);
  write(in, "b", 1);
  show("edge again", edge, 1000);
  show("inner", inner, 1000);
  show("inner once", inner, 20);
  show("outer empty", outer, 20);
  write(in, "c", 1);
  show("outer again", outer, 1000);
  CALL(change(outer, inner, EPOLLIN | EPOLLONESHOT));
  epoll_wait(outer, out, 8, 1000);
  show("outer spent", outer, 20);
  epoll_ctl(inner, EPOLL_CTL_DEL, watched, NULL);
  show("inner without", inner, 20);
  read(watched, byte, sizeof(byte));
  add(inner, watched, EPOLLIN, 11);
  CALL(change(outer, inner, EPOLLIN));
  show("quiet", outer, 20);
  write(in, "d", 1);
  show("level below", outer, 1000);
  close(inner);
  show("closed below", outer, 20);
  close(outer);
  close(edge);
}

static int woken, gate;
static void* waiter(void* argument) {
  struct epoll_event e;
  if (epoll_wait((int)(long)argument, &e, 1, 400) == 1) __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
  return NULL;
}
static void* sender(void* argument) {
  usleep(30000);
  write((int)(long)argument, "x", 1);
  return NULL;
}

// One arrival wakes one of several that wait for one epoll; a level stays for the next.
static void several(const char* name, int watched, int in) {
  pthread_t t[4];
  char byte[64];
  printf("-- several, %s\n", name);
  ep = epoll_create1(0);
  add(ep, watched, EPOLLIN | EPOLLET, 12);
  woken = 0;
  for (int i = 0; i < 3; ++i) pthread_create(&t[i], NULL, waiter, (void*)(long)ep);
  pthread_create(&t[3], NULL, sender, (void*)(long)in);
  for (int i = 0; i < 4; ++i) pthread_join(t[i], NULL);
  FACT(woken);
  CALL(change(ep, watched, EPOLLIN));
  woken = 0;
  for (int i = 0; i < 3; ++i) pthread_create(&t[i], NULL, waiter, (void*)(long)ep);
  for (int i = 0; i < 3; ++i) pthread_join(t[i], NULL);
  FACT(woken);
  read(watched, byte, sizeof(byte));
  // A member that comes while somebody waits.
  epoll_ctl(ep, EPOLL_CTL_DEL, watched, NULL);
  pthread_create(&t[0], NULL, waiter, (void*)(long)ep);
  woken = 0;
  usleep(50000);
  write(in, "y", 1);
  CALL(add(ep, watched, EPOLLIN, 13));
  pthread_join(t[0], NULL);
  FACT(woken);
  close(ep);
}

static void exclusive(void) {
  int p[2];
  struct epoll_event e = {EPOLLIN | EPOLLEXCLUSIVE, {.u64 = 1}};
  printf("-- exclusive\n");
  pipe(p);
  int a = epoll_create1(0), b = epoll_create1(0);
  CALL(add(a, p[0], EPOLLIN | EPOLLEXCLUSIVE, 14));
  CALL(add(b, p[0], EPOLLIN | EPOLLEXCLUSIVE, 15));
  CALL(epoll_ctl(a, EPOLL_CTL_MOD, p[0], &e));
  CALL(change(a, p[0], EPOLLIN));
  CALL(add(a, p[1], EPOLLIN | EPOLLRDHUP | EPOLLEXCLUSIVE, 1));
  CALL(add(a, p[1], EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE, 1));
  CALL(add(a, p[1], EPOLLOUT | EPOLLET | EPOLLEXCLUSIVE, 1));
  CALL(epoll_ctl(a, EPOLL_CTL_DEL, p[1], NULL));
  CALL(add(a, b, EPOLLIN | EPOLLEXCLUSIVE, 1));
  pthread_t t[3];
  woken = 0;
  pthread_create(&t[0], NULL, waiter, (void*)(long)a);
  pthread_create(&t[1], NULL, waiter, (void*)(long)b);
  pthread_create(&t[2], NULL, sender, (void*)(long)p[1]);
  for (int i = 0; i < 3; ++i) pthread_join(t[i], NULL);
  FACT(woken);
  close(a);
  close(b);
  close(p[0]);
  close(p[1]);
}

// Room that comes without a whole message being read, or by another peer.
static void partial_room(void) {
  static char bytes[1 << 16];
  int s[2];
  printf("-- partial room\n");
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
  ep = epoll_create1(0);
  long left = -10;
  for (long n; (n = write(s[0], bytes, sizeof(bytes))) > 0;) left += n;
  add(ep, s[0], EPOLLOUT, 1);
  show("full", ep, 20);
  for (long n; left > 0 && (n = read(s[1], bytes, left < 60000 ? left : 60000)) > 0;) left -= n;
  show("all but ten bytes", ep, 1000);
  close(s[0]);
  close(s[1]);
  struct sockaddr_un full = {AF_UNIX, "\0full"}, empty = {AF_UNIX, "\0empty"}, none = {AF_UNSPEC, ""};
  int a = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  s[0] = socket(AF_UNIX, SOCK_DGRAM, 0);
  s[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
  bind(s[0], (struct sockaddr*)&full, 7);
  bind(s[1], (struct sockaddr*)&empty, 8);
  connect(a, (struct sockaddr*)&full, 7);
  add(ep, a, EPOLLOUT, 2);
  while (send(a, "", 0, 0) == 0) {
  }
  FACT(errno == EAGAIN);
  show("full of empty ones", ep, 20);
  struct pollfd p = {a, POLLOUT, 0};
  CALL(poll(&p, 1, 0));
  CALL(connect(a, (struct sockaddr*)&empty, 8));
  show("another peer", ep, 1000);
  CALL(connect(a, (struct sockaddr*)&full, 7));
  show("the full one", ep, 20);
  recv(s[0], bytes, 1, 0);
  show("one is read", ep, 1000);
  while (send(a, "", 0, 0) == 0) {
  }
  show("full again", ep, 20);
  CALL(connect(a, (struct sockaddr*)&none, sizeof(none.sun_family)));
  show("no peer", ep, 1000);
  close(a);
  close(s[0]);
  close(s[1]);
  close(ep);
}

// An event that cannot be stored is not lost.
static void bad_buffers(const char* name, int watched, int in, uint32_t ways) {
  printf("-- bad buffers, %s %x\n", name, ways);
  const int once = (ways & (EPOLLET | EPOLLONESHOT)) != 0;
  ep = epoll_create1(0);
  add(ep, watched, EPOLLIN | ways, 1);
  CALL(epoll_wait(ep, (void*)-4096L, 1, 20));
  CALL(epoll_wait(ep, (void*)8, 1, 0));
  write(in, "x", 1);
  CALL(epoll_wait(ep, (void*)8, 1, 1000));
  CALL(epoll_wait(ep, NULL, 8, 1000));
  show("kept", ep, 1000);
  if (once) show("once", ep, 20);
  uint64_t one = 1;
  int e = eventfd(1, 0);
  add(ep, e, EPOLLIN | ways, 2);
  change(ep, watched, EPOLLIN | ways);
  char* page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(page + 4096, 4096, PROT_READ);
  usleep(10000);
  struct epoll_event* last = (void*)(page + 4096 - sizeof(*last));
  int sum = 0;
  for (int i = 0; i < 2; ++i) {  // room for one, whatever is said
    CALL(epoll_wait(ep, last, 8, 1000));
    if (once) sum += (int)last->data.u64;
  }
  FACT(sum);
  if (once) show("both are told", ep, 20);
  munmap(page, 8192);
  read(e, &one, 8);
  close(e);
  close(watched);
  close(in);
  close(ep);
}

// poll and select see what is ready below an epoll, on either side.
static void polled(const char* name, int watched, int in) {
  char byte[8];
  printf("-- polled, %s\n", name);
  int inner = epoll_create1(0), e = eventfd(0, 0);
  uint64_t one = 1;
  ep = epoll_create1(0);
  add(inner, watched, EPOLLIN, 1);
  add(ep, inner, EPOLLIN, 1);
  add(ep, e, EPOLLIN, 2);
  struct pollfd p[2] = {{ep, POLLIN, 0}, {inner, POLLIN | POLLOUT, 0}};
  CALL(poll(p, 2, 0));
  CALL(poll(p, 2, 20));
  write(in, "x", 1);
  usleep(20000);
  CALL(poll(p, 2, 1000));
  FACT(p[0].revents | p[1].revents << 8);
  p[0].events = POLLOUT;
  CALL(poll(p, 1, 20));
  p[0].events = POLLIN;
  read(watched, byte, sizeof(byte));
  CALL(poll(p, 2, 0));
  write(e, &one, 8);
  CALL(poll(p, 2, 1000));
  FACT(p[0].revents | p[1].revents << 8);
  close(e);
  close(inner);
  close(ep);
  close(watched);
  close(in);
}

static void refusals(void) {
  struct timespec bad = {0, 1000000000}, zero = {0, 0};
  printf("-- refusals\n");
  ep = epoll_create1(0);
  int null = open("/dev/null", O_RDWR), file = open("/proc/self/exe", O_RDONLY);
  int random = open("/dev/random", O_RDONLY), urandom = open("/dev/urandom", O_RDONLY);
  CALL(add(ep, null, EPOLLIN, 1));
  CALL(add(ep, random, EPOLLIN, 1));
  CALL(add(ep, urandom, EPOLLIN, 1));
  CALL(add(ep, file, EPOLLIN, 1));
  CALL(add(null, file, EPOLLIN, 1));
  int folder = open("/tmp", O_PATH);
  CALL(add(ep, folder, EPOLLIN, 1));
  CALL(add(folder, ep, EPOLLIN, 1));
  CALL(epoll_wait(folder, out, 1, 0));
  close(folder);
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, random, NULL));
  CALL(epoll_ctl(ep, EPOLL_CTL_MOD, random, NULL));
  CALL(epoll_ctl(ep, EPOLL_CTL_DEL, random, NULL));
  CALL(epoll_wait(ep, NULL, 1, 0));
  CALL(epoll_wait(ep, out, -1, 0));
  CALL(epoll_wait(99, out, 1, 0));
  CALL(syscall(SYS_epoll_pwait2, ep, out, 1, &bad, NULL, 8));
  CALL(syscall(SYS_epoll_pwait2, ep, out, 1, &zero, NULL, 8));
  sigset_t none;
  sigemptyset(&none);
  CALL(syscall(SYS_epoll_pwait2, ep, out, 1, &zero, &none, 7));
  struct timespec soon = {0, 5000000};
  int64_t begin = now_ms();
  CALL(epoll_pwait2(ep, out, 1, &soon, &none));
  FACT(now_ms() - begin >= 5);
  close(null);
  close(random);
  close(file);
  close(ep);
}

static void on_signal(int unused) {}

static void interrupted(void) {
  printf("-- interrupted\n");
  ep = epoll_create1(0);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  ualarm(20000, 0);
  CALL(epoll_wait(ep, out, 1, -1));
  sigprocmask(SIG_BLOCK, &set, NULL);
  ualarm(1000, 0);
  usleep(20000);
  sigemptyset(&set);
  struct timespec zero = {0, 0};
  int e = eventfd(1, 0);
  CALL(epoll_pwait2(ep, out, 1, NULL, &set));
  add(ep, e, EPOLLIN, 1);
  ualarm(1000, 0);
  usleep(20000);
  CALL(epoll_pwait(ep, out, 1, -1, &set));
  close(e);
  close(ep);
}

static void many(void) {
  printf("-- many\n");
  ep = epoll_create1(0);
  int fds[300], seen[300] = {0}, total = 0;
  uint64_t one = 1;
  for (int i = 0; i < 300; ++i) add(ep, fds[i] = eventfd(0, 0), EPOLLIN, (uint64_t)i);
  for (int i = 0; i < 300; i += 3) write(fds[i], &one, 8);
  for (int round = 0; round < 13; ++round) {  // 8 at a time, all get their turn
    int n = epoll_wait(ep, out, 8, 0);
    total += n;
    for (int i = 0; i < n; ++i) seen[out[i].data.u64]++;
  }
  int good = 1;
  for (int i = 0; i < 300; ++i) good = good && (i % 3 == 0 ? seen[i] >= 1 : seen[i] == 0);
  FACT(total);
  FACT(good);
  for (int i = 0; i < 300; ++i) close(fds[i]);
  show("all closed", ep, 0);
  close(ep);
}

int main(void) {
  int s[2];
  signal(SIGPIPE, SIG_IGN);
  pipe(s);
  arrivals("pipe", s[0], s[1], 0);
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  arrivals("unix stream", s[0], s[1], EPOLLRDHUP);
  socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
  arrivals("unix datagrams", s[0], s[1], 0);
  tcp_pair(s);
  arrivals("tcp", s[0], s[1], EPOLLRDHUP);
  tcp_pair(s);
  arrivals("tcp, readable and writable", s[1], s[0], EPOLLOUT | EPOLLRDNORM);
  pipe(s);
  room("a pipe", s[1], s[0]);
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  room("a unix stream", s[0], s[1]);
  tcp_pair(s);
  room("tcp", s[0], s[1]);
  counters();
  pipe(s);
  nested("pipe", s[0], s[1]);
  tcp_pair(s);
  nested("tcp", s[0], s[1]);
  pipe(s);
  several("pipe", s[0], s[1]);
  tcp_pair(s);
  several("tcp", s[0], s[1]);
  exclusive();
  due_at_once();
  partial_room();
  const uint32_t ways[] = {0, EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE, EPOLLET | EPOLLEXCLUSIVE};
  for (size_t way = 0; way < sizeof ways / sizeof *ways; ++way) {
    pipe(s);
    bad_buffers("pipe", s[0], s[1], ways[way]);
    tcp_pair(s);
    bad_buffers("tcp", s[0], s[1], ways[way]);
  }
  pipe(s);
  polled("pipe", s[0], s[1]);
  tcp_pair(s);
  polled("tcp", s[0], s[1]);
  refusals();
  interrupted();
  many();
  return 0;
}
