// Runs inside of an enclave whose host lies (lying_host.cpp). It fills memory of its own and of the kernel
// with a secret word, then does one thing and says that it has, or what went wrong. Every wait has an end.
// Usage: guest echo|timer|threads|touch|leak
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { kWaitMs = 1500, kSize = 65536, kThreads = 5, kRounds = 6 };

static void fail(const char* what) {
  fprintf(stderr, "guest: %s: %s\n", what, strerror(errno));
  _exit(1);
}

// ---- the secret: in halves here, so that no file has the word

static volatile uint64_t half_a = 0x1122334455667788, half_b = 0x6cb1f6a54a24dfe3;
static uint64_t words[8192];

static void spread_secret(void) {
  for (size_t i = 0; i < sizeof words / sizeof *words; ++i) words[i] = half_a ^ half_b;
  uint64_t* heap = malloc(4 * sizeof words);
  if (heap != NULL) memcpy(heap, words, sizeof words);
  const int file = open("/tmp/secret", O_RDWR | O_CREAT, 0600);
  for (int i = 0; i < 4; ++i) (void)!write(file, words, sizeof words);
  close(file);
  unlink("/tmp/secret");
  int ends[2];
  if (pipe(ends) == 0) {
    (void)!write(ends[1], words, 4096);
    close(ends[0]);
    close(ends[1]);
  }
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0) {
    for (int size = 16; size <= 8192; size *= 2) send(ends[0], words, (size_t)size, MSG_DONTWAIT);
    close(ends[0]);
    close(ends[1]);
  }
  free(heap);
}

// ---- echo: a server and a client over the host's network

// poll and epoll ask the host in different ways.
static int wait_by_epoll(int fd, short events) {
  struct epoll_event event = {(uint32_t)events, {.u64 = 5}}, got[4];
  const int epoll = epoll_create1(0);
  const int added = epoll < 0 ? -1 : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  const int count = added != 0 ? -1 : epoll_wait(epoll, got, 4, kWaitMs);
  const int error = errno;
  if (count > 1 || (count == 1 && got[0].data.u64 != 5)) fail("epoll reports what is not watched");
  close(epoll);
  errno = error;
  return count;
}

static int ready(int fd, short events) {
  static int turn = 0;
  struct pollfd item = {fd, events, 0};
  for (int tries = 0; tries < 300; ++tries) {
    const int way = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % 2;
    const int count = way == 0 ? poll(&item, 1, kWaitMs) : wait_by_epoll(fd, events);
    if (count > 0) return 1;
    if (count == 0) errno = ETIMEDOUT;
    if (count == 0 || (errno != EINTR && errno != EAGAIN)) return 0;
  }
  return 0;
}

static void* serve(void* argument) {
  const int listener = *(int*)argument;
  char buffer[8192];
  if (!ready(listener, POLLIN)) return "waiting for a client";
  const int client = accept(listener, NULL, NULL);
  if (client < 0) return "accept";
  for (size_t done = 0; done < kSize;) {
    if (!ready(client, POLLIN)) return "waiting for data";
    const ssize_t count = recv(client, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count <= 0) return "recv in the server";
    for (ssize_t sent = 0; sent < count;) {
      const ssize_t part = send(client, buffer + sent, (size_t)(count - sent), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (part > 0) sent += part;
      else if (errno != EAGAIN && errno != EINTR) return "send in the server";
      else if (!ready(client, POLLOUT)) return "waiting to send";
    }
    done += (size_t)count;
  }
  close(client);
  return NULL;
}

static void talk(int socket, const char* text) {
  static char back[kSize];
  size_t sent = 0, got = 0;
  while (got < kSize) {
    if (!ready(socket, sent < kSize ? POLLIN | POLLOUT : POLLIN)) fail("waiting for the server");
    if (sent < kSize) {
      const ssize_t count = send(socket, text + sent, kSize - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count > 0) sent += (size_t)count;
      else if (errno != EAGAIN && errno != EINTR) fail("send");
    }
    const ssize_t count = recv(socket, back + got, kSize - got, MSG_DONTWAIT);
    if (count > 0) got += (size_t)count;
    else if (count == 0) fail("the server closed the connection");
    else if (errno != EAGAIN && errno != EINTR) fail("recv");
  }
  errno = 0;
  if (memcmp(text, back, kSize) != 0) fail("other data came back");
}

static void echo(void) {
  static char text[kSize];
  for (int i = 0; i < kSize; ++i) text[i] = (char)(i * 7 + i / 251);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (listener < 0 || client < 0) fail("socket");
  if (bind(listener, (struct sockaddr*)&address, size) != 0 || listen(listener, 1) != 0) fail("listen");
  if (getsockname(listener, (struct sockaddr*)&address, &size) != 0) fail("getsockname");
  fcntl(listener, F_SETFL, O_NONBLOCK);
  pthread_t server;
  if ((errno = pthread_create(&server, NULL, serve, &listener)) != 0) fail("pthread_create");
  if (connect(client, (struct sockaddr*)&address, sizeof address) != 0 && errno != EINPROGRESS)
    fail("connect");
  talk(client, text);
  void* problem;
  pthread_join(server, &problem);
  if (problem != NULL) fail(problem);
  puts("echo 65536");
}

// ---- timer: every way to wait, and a clock that never goes back

static volatile sig_atomic_t rang;
static void on_alarm(int signal) {
  (void)signal;
  ++rang;
}

static int64_t now_ns(void) {
  static int64_t last;
  struct timespec now;
  if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) fail("clock_gettime");
  const int64_t ns = now.tv_sec * 1000000000 + now.tv_nsec;
  if (ns < last || now.tv_nsec < 0 || now.tv_nsec > 999999999) {
    fputs("guest: WRONG: time went back\n", stderr);
    _exit(1);
  }
  return last = ns;
}

static void timer(void) {
  const struct timespec two_ms = {0, 2000000};
  struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  const struct itimerval every = {{0, 3000}, {0, 3000}};
  if (setitimer(ITIMER_REAL, &every, NULL) != 0) fail("setitimer");
  const int file = timerfd_create(CLOCK_MONOTONIC, 0);
  const struct itimerspec beat = {two_ms, two_ms};
  if (file < 0 || timerfd_settime(file, 0, &beat, NULL) != 0) fail("timerfd");
  uint64_t beats = 0;
  for (int i = 0; (beats < 5 || rang < 3) && i < 1000; ++i) {
    uint64_t count = 0;
    now_ns();
    if (read(file, &count, sizeof count) == sizeof count) beats += count;
    else if (errno != EINTR) fail("read of a timerfd");
    const int64_t before = now_ns();
    if (nanosleep(&two_ms, NULL) == 0 && now_ns() - before < 2000000) {
      fputs("guest: WRONG: woke too early\n", stderr);
      _exit(1);
    }
    struct timeval day;
    gettimeofday(&day, NULL);
    if (day.tv_usec < 0 || day.tv_usec > 999999) fail("gettimeofday");
  }
  errno = 0;
  if (beats < 5 || rang < 3) fail("timers that do not ring");
  puts("timer ok");
}

// ---- threads: started, in each other's way, and gone

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t total;

static void* count_up(void* argument) {
  uint64_t mine[256];  // a stack that another thread got would show
  for (int i = 0; i < 256; ++i) mine[i] = (uintptr_t)argument * 1000 + (uint64_t)i;
  for (int i = 0; i < 50; ++i) {
    pthread_mutex_lock(&mutex);
    ++total;
    pthread_mutex_unlock(&mutex);
    if (i % 10 == 0) usleep(100);
  }
  for (int i = 0; i < 256; ++i) {
    if (mine[i] != (uintptr_t)argument * 1000 + (uint64_t)i) {
      fputs("guest: WRONG: a thread's stack changed\n", stderr);
      _exit(1);
    }
  }
  return argument;
}

static void threads(void) {
  uint64_t started = 0;
  for (int round = 0; round < kRounds; ++round) {
    pthread_t thread[kThreads];
    int made = 0;
    while (made < kThreads) {
      const int error = pthread_create(&thread[made], NULL, count_up, (void*)(uintptr_t)(made + 1));
      if (error == EAGAIN) break;  // the host's right
      if (error != 0) {
        errno = error;
        fail("pthread_create");
      }
      ++made;
    }
    for (int i = 0; i < made; ++i) {
      void* back = NULL;
      if (pthread_join(thread[i], &back) != 0 || (uintptr_t)back != (uintptr_t)(i + 1)) fail("pthread_join");
    }
    started += (uint64_t)made;
  }
  if (total != started * 50) {
    fputs("guest: WRONG: a thread ran twice or not at all\n", stderr);
    _exit(1);
  }
  puts("threads ok");
}

// ---- touch: memory that comes when it is used

static void touch(void) {
  const size_t size = 32 << 20;
  char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  for (size_t i = 0; i < size; i += 4096) memory[i] = (char)i;
  puts("touch ok");
}

int main(int count, char** arguments) {
  const char* what = count > 1 ? arguments[1] : "";
  spread_secret();
  if (strcmp(what, "echo") == 0) echo();
  else if (strcmp(what, "timer") == 0) timer();
  else if (strcmp(what, "threads") == 0) threads();
  else if (strcmp(what, "touch") == 0) touch();
  else if (strcmp(what, "leak") == 0) (void)!write(1, words, 64);  // shows that the search finds it
  else return 2;
  if (fflush(stdout) != 0) fail("stdout");
  return 0;
}
