#include <sys/uio.h>
#include "facts.h"
// readv, writev, preadv, pwritev, preadv2, pwritev2.
int main(void) {
  scratch();
  char a[4] = {0}, b[8] = {0};
  struct iovec out[3] = {{"one", 3}, {"", 0}, {"three", 5}}, in[2] = {{a, 3}, {b, 7}};
  CALL(open("f", O_RDWR | O_CREAT, 0600));
  CALL(writev(3, out, 3));
  CALL(lseek(3, 0, SEEK_SET));
  CALL(readv(3, in, 2));
  TEXT(a);
  TEXT(b);
  CALL(pwritev(3, out, 3, 100));
  CALL(preadv(3, in, 2, 100));
  TEXT(b);
  CALL(preadv(3, in, 2, -5));
  CALL(readv(3, in, -1));
  CALL(readv(3, in, 1025));
  CALL(readv(3, in, 0));
  CALL(pwritev2(3, out, 3, 0, 0));
  CALL(preadv2(3, in, 2, 0, 0));
  CALL(preadv2(3, in, 2, -1, 0));
  CALL(pwritev2(3, out, 3, 0, RWF_SYNC));
  CALL(pwritev2(3, out, 1, 0, RWF_APPEND));
  CALL(lseek(3, 0, SEEK_END));
  CALL(preadv2(3, in, 2, 0, 0x4000));
  struct iovec bad[1] = {{a, (size_t)-1}};
  CALL(readv(3, bad, 1));
  return 0;
}
