#include <pthread.h>
#include <sys/file.h>
#include <sys/wait.h>
#include "facts.h"
// flock, fcntl record locks and locks of open descriptions.
static int two;
static void* unlock_later(void* unused) {
  usleep(20000);
  flock(two, LOCK_UN);
  return unused;
}

// A descriptor is closed while a thread waits for a lock through it: nothing may stay locked.
static int waiting_fd, lock_command;
static volatile int begun;
static int lock(int fd, int command, int type) {
  struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
  return fcntl(fd, command, &l) == 0 ? 0 : errno;
}
static void* wait_for_it(void* unused) {
  begun = 1;
  if (lock_command == 0) return (void*)(long)flock(waiting_fd, LOCK_EX);
  return (void*)(long)lock(waiting_fd, lock_command, F_WRLCK);
}
static void closed_while_waiting(int command) {
  int up[2], down[2], status;
  char c;
  pthread_t t;
  const int mine = open("raced", O_RDWR);
  pipe(up);
  pipe(down);
  lock_command = command;
  printf("command %d\n", command);
  if (command == 0) CALL(flock(mine, LOCK_EX));
  if (command != 0) FACT(lock(mine, F_OFD_SETLK, F_WRLCK));
  const int child = fork();
  if (child == 0) {
    void* result;
    waiting_fd = open("raced", O_RDWR);
    close(mine);
    pthread_create(&t, NULL, wait_for_it, NULL);
    while (!begun) usleep(1000);
    usleep(50000);
    close(waiting_fd);
    write(up[1], "x", 1);
    pthread_join(t, &result);
    write(up[1], "y", 1);
    read(down[0], &c, 1);
    _exit((long)result);
  }
  read(up[0], &c, 1);
  if (command == 0) CALL(flock(mine, LOCK_UN));
  if (command != 0) FACT(lock(mine, F_OFD_SETLK, F_UNLCK));
  read(up[0], &c, 1);
  if (command == 0) CALL(flock(mine, LOCK_EX | LOCK_NB));
  if (command != 0) FACT(lock(mine, F_OFD_SETLK, F_WRLCK));
  write(down[1], "x", 1);
  waitpid(child, &status, 0);
  FACT(WEXITSTATUS(status));
  close(mine);
}

int main(void) {
  scratch();
  put_file("f", "0123456789");
  int one = open("f", O_RDWR);
  two = open("f", O_RDWR);
  int ro = open("f", O_RDONLY);
  CALL(flock(one, LOCK_SH));
  CALL(flock(two, LOCK_SH));
  CALL(flock(two, LOCK_EX | LOCK_NB));
  CALL(flock(one, LOCK_UN));
  CALL(flock(two, LOCK_EX | LOCK_NB));
  CALL(flock(one, LOCK_SH | LOCK_NB));
  CALL(flock(one, 16));
  pthread_t t;
  pthread_create(&t, NULL, unlock_later, NULL);
  CALL(flock(one, LOCK_EX));
  pthread_join(t, NULL);
  CALL(close(one));
  CALL(flock(two, LOCK_EX | LOCK_NB));
  one = open("f", O_RDWR);
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 4};
  CALL(fcntl(one, F_SETLK, &l));
  CALL(fcntl(two, F_SETLK, &l));
  CALL(fcntl(two, F_GETLK, &l));
  FACT(l.l_type);
  l.l_type = F_WRLCK;
  CALL(fcntl(ro, F_SETLK, &l));
  l.l_pid = 0;
  CALL(fcntl(two, F_OFD_SETLK, &l));
  l.l_type = F_RDLCK;
  CALL(fcntl(two, F_OFD_GETLK, &l));
  FACT(l.l_type);
  FACT(l.l_start);
  FACT(l.l_len);
  FACT(l.l_pid == getpid());
  l.l_type = F_UNLCK;
  l.l_pid = 0;
  l.l_start = 0;
  l.l_len = 0;
  CALL(fcntl(one, F_SETLK, &l));
  l.l_type = F_WRLCK;
  l.l_start = -3;
  l.l_len = 3;
  l.l_whence = SEEK_END;
  CALL(fcntl(two, F_OFD_SETLK, &l));
  l.l_whence = SEEK_SET;
  l.l_start = 8;
  l.l_len = 1;
  CALL(fcntl(one, F_OFD_SETLK, &l));
  l.l_start = 0;
  l.l_len = 7;
  CALL(fcntl(one, F_OFD_SETLK, &l));
  l.l_type = 44;
  CALL(fcntl(one, F_SETLK, &l));
  l.l_type = F_WRLCK;
  l.l_whence = 9;
  CALL(fcntl(one, F_SETLK, &l));
  CALL(close(two));
  l.l_whence = SEEK_SET;
  l.l_start = 7;
  CALL(fcntl(one, F_OFD_SETLK, &l));
  put_file("raced", "");
  closed_while_waiting(F_SETLKW);
  closed_while_waiting(F_OFD_SETLKW);
  closed_while_waiting(0);
  return 0;
}
