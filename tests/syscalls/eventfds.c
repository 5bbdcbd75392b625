#include <sys/eventfd.h>
#include "facts.h"
// eventfd, eventfd2.
int main(void) {
  uint64_t v = 5;
  CALL(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
  CALL(fcntl(3, F_GETFD));
  CALL(read(3, &v, 8));
  FACT(v);
  CALL(read(3, &v, 8));
  CALL(read(3, &v, 4));
  v = UINT64_MAX;
  CALL(write(3, &v, 8));
  v = UINT64_MAX - 1;
  CALL(write(3, &v, 8));
  v = 1;
  CALL(write(3, &v, 8));
  CALL(read(3, &v, 8));
  FACT(v == UINT64_MAX - 1);
  CALL(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
  CALL(read(4, &v, 8));
  FACT(v);
  CALL(read(4, &v, 8));
  CALL(read(4, &v, 8));
  CALL(eventfd(0, 12345));
  CALL(lseek(3, 0, SEEK_SET));
  CALL(write(3, &v, 3));
  return 0;
}
