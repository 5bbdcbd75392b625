#include <sys/file.h>
#include <sys/wait.h>
#include "facts.h"
// Record locks that processes wait for in a circle: the last one is refused.
static int file, ready[2];
static int lock(int start, int command) {
  struct flock k = {F_WRLCK, SEEK_SET, start, 1};
  return fcntl(file, command, &k) == 0 ? 0 : errno;
}
static void unlock(int start) {
  struct flock k = {F_UNLCK, SEEK_SET, start, 1};
  fcntl(file, F_SETLK, &k);
}
// Holds one byte and wants the next one; says when it holds it.
static pid_t link_of_chain(int mine, int next) {
  const pid_t child = fork();
  if (child != 0) return child;
  lock(mine, F_SETLK);
  write(ready[1], "x", 1);
  _exit(lock(next, F_SETLKW));
}
static void wait_ready(void) {
  char b;
  read(ready[0], &b, 1);
  usleep(100000);  // until it waits
}

static void circle(int length) {
  int status;
  pid_t children[8];
  CALL(lock(0, F_SETLK));
  for (int i = length - 1; i > 0; --i) {
    children[i] = link_of_chain(i, (i + 1) % length);
    wait_ready();
    FACT(lock(i, F_SETLK) == EAGAIN);
  }
  // Child i waits for i + 1, and the last one for us.
  FACT(lock(1, F_SETLKW) == EDEADLK);
  unlock(0);
  for (int i = length - 1; i > 0; --i) {  // each one's end lets the one before it go on
    waitpid(children[i], &status, 0);
    FACT(status);
  }
}

int main(void) {
  scratch();
  pipe(ready);
  file = open("f", O_RDWR | O_CREAT, 0600);
  circle(2);
  circle(4);
  // Waiting without a circle, and for oneself, are none.
  int status;
  lock(0, F_SETLK);
  const pid_t child = link_of_chain(5, 0);
  wait_ready();
  FACT(lock(0, F_SETLKW));
  FACT(lock(7, F_SETLKW));
  unlock(0);
  waitpid(child, &status, 0);
  FACT(status);
  return 0;
}
