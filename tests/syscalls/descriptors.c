#include <sys/ioctl.h>
#include "facts.h"
// dup, dup2, dup3, fcntl, close_range, ioctl FIONBIO.
int main(void) {
  scratch();
  CALL(open("f", O_RDWR | O_CREAT, 0600));
  CALL(dup(3));
  CALL(dup2(3, 10));
  CALL(dup2(3, 3));
  CALL(dup2(77, 77));
  CALL(dup2(77, 5));
  CALL(dup2(3, -1));
  CALL(dup3(3, 11, O_CLOEXEC));
  CALL(dup3(3, 3, 0));
  CALL(dup3(3, 12, 1));
  CALL(fcntl(11, F_GETFD));
  CALL(fcntl(10, F_GETFD));
  CALL(fcntl(10, F_SETFD, FD_CLOEXEC));
  CALL(fcntl(10, F_GETFD));
  CALL(fcntl(3, F_DUPFD, 20));
  CALL(fcntl(3, F_DUPFD_CLOEXEC, 20));
  CALL(fcntl(21, F_GETFD));
  CALL(fcntl(3, F_DUPFD, -1));
  CALL(fcntl(3, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
  CALL(fcntl(3, F_SETFL, O_APPEND | O_NONBLOCK));
  CALL(fcntl(4, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
  CALL(fcntl(3, 9999));
  CALL(fcntl(99, F_GETFD));
  CALL(write(3, "abc", 3));
  CALL(lseek(10, 0, SEEK_CUR));
  int on = 0;
  CALL(ioctl(3, FIONBIO, &on));
  CALL(fcntl(3, F_GETFL) & O_NONBLOCK);
  CALL(ioctl(3, FIOCLEX));
  CALL(fcntl(3, F_GETFD));
  CALL(ioctl(3, FIONCLEX));
  CALL(ioctl(3, TIOCGWINSZ, &on));
  CALL(ioctl(66, FIONREAD, &on));
  CALL(ioctl(3, FIONREAD, &on));
  CALL(close_range(10, 30, 0));
  CALL(fcntl(21, F_GETFD));
  CALL(close_range(5, 4, 0));
  CALL(close_range(3, 4, CLOSE_RANGE_CLOEXEC));
  CALL(fcntl(4, F_GETFD));
  CALL(isatty(3));
  return 0;
}
