#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include "facts.h"
// pipe, pipe2: order, ends, SIGPIPE, non-blocking, FIONREAD, atomic writes.
static ssize_t read_parts(int fd, char* to, ssize_t size) {
  ssize_t got = 0, n;
  while (got < size && (n = read(fd, to + got, size - got)) > 0) got += n;
  return got;
}
// It is as large as was said, however its content lies in it.
static void large(void) {
  enum { kLarge = 1 << 20 };
  char *out = malloc(kLarge), *in = malloc(kLarge);
  int p[2];
  for (int i = 0; i < kLarge; ++i) out[i] = (char)(i * 2654435761u >> 13);
  pipe2(p, O_NONBLOCK);
  CALL(fcntl(p[1], F_SETPIPE_SZ, kLarge));
  CALL(fcntl(p[0], F_GETPIPE_SZ));
  CALL(write(p[1], out, 4096));
  CALL(read(p[0], in, 4096));
  for (int i = 0; i < 3; ++i) write(p[1], out + i * 4096, 4096);
  CALL(read(p[0], in, 4096));
  for (int i = 3; i < 257; ++i) write(p[1], out + i * 4096 % kLarge, 4096);
  CALL(write(p[1], out, 1));
  CALL(fcntl(p[0], F_SETPIPE_SZ, kLarge / 2));
  CALL(read_parts(p[0], in, kLarge - 4096));
  FACT(memcmp(in, out + 4096, kLarge - 4096));
  CALL(fcntl(p[0], F_SETPIPE_SZ, 4096));
  CALL(read_parts(p[0], in, kLarge));
  FACT(memcmp(in, out, 4096));
  CALL(write(p[1], out, 4096));
  CALL(write(p[1], out, 4096));
  close(p[0]);
  close(p[1]);
}
static int caught;
static void on_pipe(int s) { caught = s; }

// Both ends go while a thread reads or writes: it sees the end, and nothing of the pipe that comes after.
static int ends[2];
static char got[16];
static volatile int begun;
static void* reader(void* unused) {
  begun = 1;
  return (void*)read(ends[0], got, sizeof got);
}
static void* writer(void* unused) {
  static char much[1 << 17];
  begun = 1;
  return (void*)write(ends[1], much, sizeof much);
}
static long closed_during(void* (*call)(void*), int first) {
  pthread_t thread;
  int young[2];
  void* result;
  pipe(ends);
  begun = 0;
  pthread_create(&thread, NULL, call, NULL);
  while (!begun) usleep(1000);
  usleep(20000);
  const int one = ends[first], other = ends[1 - first];
  close(one);
  close(other);
  pipe(young);
  write(young[1], "secret", 6);
  pthread_join(thread, &result);
  close(young[0]);
  close(young[1]);
  return (long)result;
}
static void closed_while_waiting(void) {
  long read_something = 0;
  for (int i = 0; i < 20; ++i) read_something += closed_during(reader, i % 2) != 0;
  FACT(read_something);
  TEXT(got);
  FACT(closed_during(writer, 1));
}

int main(void) {
  int p[2], n = 0;
  char b[70000] = {0};
  CALL(pipe(p));
  FACT(p[0]);
  FACT(p[1]);
  CALL(write(p[1], "abc", 3));
  CALL(ioctl(p[0], FIONREAD, &n));
  FACT(n);
  CALL(read(p[0], b, 2));
  CALL(read(p[0], b, 10));
  CALL(read(p[1], b, 1));
  CALL(write(p[0], b, 1));
  CALL(lseek(p[0], 0, SEEK_CUR));
  CALL(pread(p[0], b, 1, 0));
  CALL(fcntl(p[0], F_SETFL, O_NONBLOCK));
  CALL(read(p[0], b, 1));
  CALL(fcntl(p[1], F_SETFL, O_NONBLOCK));
  CALL(write(p[1], b, 70000));
  CALL(write(p[1], b, 1));
  CALL(fcntl(p[1], F_GETPIPE_SZ));
  CALL(read(p[0], b, 4095));
  CALL(write(p[1], b, 4096));
  CALL(read(p[0], b, 1));
  CALL(write(p[1], b, 4096));
  CALL(close(p[1]));
  int total = 0, k;
  while ((k = read(p[0], b, sizeof b)) > 0) total += k;
  FACT(total);
  CALL(read(p[0], b, 1));
  CALL(pipe2(p, O_CLOEXEC | O_NONBLOCK));
  CALL(fcntl(p[0], F_GETFD));
  CALL(fcntl(p[1], F_GETFL) & O_NONBLOCK);
  CALL(close(p[0]));
  signal(SIGPIPE, on_pipe);
  CALL(write(p[1], "x", 1));
  FACT(caught == SIGPIPE);
  signal(SIGPIPE, SIG_IGN);
  CALL(write(p[1], "x", 1));
  CALL(pipe2(p, 1));
  CALL(pipe((int*)8));
  struct stat s;
  CALL(pipe(p));
  CALL(fstat(p[0], &s));
  FACT(S_ISFIFO(s.st_mode));
  large();
  closed_while_waiting();
  return 0;
}
