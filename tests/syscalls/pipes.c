#include <poll.h>
#include <sys/ioctl.h>
#include "facts.h"
// pipe, pipe2: order, ends, SIGPIPE, non-blocking, FIONREAD, atomic writes.
static int caught;
static void on_pipe(int s) { caught = s; }
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
  return 0;
}
