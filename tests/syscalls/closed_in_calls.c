#include <poll.h>
#include <pthread.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "facts.h"
// A descriptor is closed while another thread is in a call on it: what it names stays open until the call is
// done, and who polls is told that the descriptor is none any more.
enum { kMuch = 400000 };
static int ends[2];
static char* much;  // allocated: what is static is copied by the forks of every case
static volatile int broken, begun;
static void on_broken(int s) { ++broken; }
static void make_ends(int as_sockets) {
  if (as_sockets) {
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  } else {
    pipe(ends);
  }
}

static void* writer(void* unused) {
  begun = 1;
  return (void*)write(ends[1], much, kMuch);
}
static void* reader(void* unused) {
  char to[16];
  begun = 1;
  return (void*)read(ends[0], to, sizeof to);
}
static void* receiver(void* unused) {
  char to[16];
  begun = 1;
  return (void*)recv(ends[0], to, sizeof to, 0);
}
static void* sender(void* unused) {
  begun = 1;
  return (void*)send(ends[1], much, kMuch, 0);
}
static pthread_t begin(void* (*call)(void*)) {
  pthread_t thread;
  begun = 0;
  pthread_create(&thread, NULL, call, NULL);
  while (!begun) usleep(1000);
  usleep(50000);  // now it is in its call
  return thread;
}
static long end(pthread_t thread) {
  void* result;
  pthread_join(thread, &result);
  return (long)result;
}
static long read_all(void) {
  char* to = malloc(kMuch);
  long sum = 0, n;
  while ((n = read(ends[0], to, 100000)) > 0) sum += n;
  free(to);
  return n < 0 ? n : sum;
}

static void writers(void* (*call)(void*), int as_sockets) {
  make_ends(as_sockets);
  pthread_t thread = begin(call);
  close(ends[1]);
  FACT(read_all());
  FACT(end(thread));
  close(ends[0]);
}
static void readers(void* (*call)(void*), int as_sockets) {
  make_ends(as_sockets);
  pthread_t thread = begin(call);
  close(ends[0]);
  CALL(write(ends[1], "abc", 3));
  FACT(end(thread));
  CALL(write(ends[1], "abc", 3));
  FACT(broken);
  close(ends[1]);
}
// dup2 onto it closes it, too.
static void replaced(void) {
  make_ends(0);
  pthread_t thread = begin(writer);
  const int other = open("/dev/null", O_WRONLY);
  dup2(other, ends[1]);
  FACT(read_all());
  FACT(end(thread));
  close(other);
  close(ends[0]);
  close(ends[1]);
}
// A child has the descriptor, too, and keeps the end open.
static void in_child(void) {
  make_ends(0);
  pthread_t thread = begin(writer);
  const pid_t child = fork();
  if (child == 0) {
    usleep(50000);
    write(ends[1], "child", 5);
    _exit(0);
  }
  close(ends[1]);
  FACT(read_all());
  FACT(end(thread));
  waitpid(child, NULL, 0);
  close(ends[0]);
}
// The end of a write that has moved some bytes: those, and the signal for a pipe.
static void* closer(void* unused) {
  begun = 1;
  usleep(150000);
  close(ends[0]);
  return NULL;
}
static void partly(int as_sockets) {
  make_ends(as_sockets);
  broken = 0;
  pthread_t thread = begin(closer);
  WORKS(write(ends[1], much, kMuch));
  FACT(broken);
  end(thread);
  close(ends[1]);
}

static int polled;
static short polled_for;
static void* poller(void* unused) {
  struct pollfd fd = {ends[polled], polled_for};
  begun = 1;
  const int count = poll(&fd, 1, 5000);
  return (void*)(long)(count * 1000 + fd.revents);
}
static void* selecter(void* unused) {
  fd_set set;
  struct timeval most = {5, 0};
  FD_ZERO(&set);
  FD_SET(ends[0], &set);
  begun = 1;
  return (void*)(long)select(ends[0] + 1, &set, NULL, NULL, &most);
}
static void polls(int as_sockets) {
  polled = 0, polled_for = POLLIN;
  make_ends(as_sockets);
  pthread_t thread = begin(poller);
  close(ends[0]);
  usleep(20000);
  close(ends[1]);
  FACT(end(thread));
  make_ends(as_sockets);
  thread = begin(poller);
  close(ends[0]);
  CALL(write(ends[1], "x", 1));
  FACT(end(thread));
  close(ends[1]);
  make_ends(as_sockets);
  thread = begin(selecter);
  close(ends[0]);
  close(ends[1]);
  WORKS(end(thread));
  // Another file has the number.
  make_ends(as_sockets);
  thread = begin(poller);
  const int other = open("/dev/null", O_RDONLY);
  dup2(other, ends[0]);
  close(other);
  close(ends[1]);
  FACT(end(thread));
  close(ends[0]);
  polled = 1, polled_for = POLLOUT;
  make_ends(as_sockets);
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  while (write(ends[1], much, kMuch) > 0) {
  }
  thread = begin(poller);
  close(ends[1]);
  usleep(20000);
  close(ends[0]);
  FACT(end(thread));
}

int main(void) {
  signal(SIGPIPE, on_broken);
  much = calloc(1, kMuch);
  writers(writer, 0);
  writers(writer, 1);
  writers(sender, 1);
  readers(reader, 0);
  readers(reader, 1);
  readers(receiver, 1);
  replaced();
  in_child();
  partly(0);
  partly(1);
  polls(0);
  polls(1);
  return 0;
}
