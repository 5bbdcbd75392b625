#include <pthread.h>
#include <sys/file.h>
#include "facts.h"
// flock, fcntl record locks and locks of open descriptions.
static int two;
static void* unlock_later(void* unused) {
  usleep(20000);
  flock(two, LOCK_UN);
  return unused;
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
  return 0;
}
