#include "facts.h"
// read, write, pread64, pwrite64, lseek: positions, ends, bad descriptors, bad addresses.
int main(void) {
  scratch();
  char b[64] = {0};
  CALL(open("f", O_RDWR | O_CREAT | O_EXCL, 0600));
  CALL(write(3, "hello world", 11));
  CALL(lseek(3, 0, SEEK_SET));
  CALL(read(3, b, 5));
  TEXT(b);
  CALL(read(3, b, 64));
  CALL(read(3, b, 64));
  CALL(lseek(3, 0, SEEK_SET));
  CALL(read(3, (void*)8, 4));
  CALL(write(3, (void*)8, 4));
  CALL(pread(3, b, 5, 6));
  CALL(pread(3, b, 5, 600));
  CALL(pread(3, b, 5, -1));
  CALL(pwrite(3, "W", 1, 6));
  CALL(pwrite(3, "end", 3, 20));
  CALL(lseek(3, 0, SEEK_END));
  CALL(lseek(3, -24, SEEK_END));
  CALL(lseek(3, -1, SEEK_CUR));
  CALL(lseek(3, 1, 77));
  CALL(pread(3, b, 64, 0));
  FACT(b[6]);
  FACT(b[15]);
  CALL(read(77, b, 1));
  CALL(write(-1, b, 1));
  CALL(open("f", O_RDONLY));
  CALL(write(4, "x", 1));
  CALL(open("f", O_WRONLY));
  CALL(read(5, b, 1));
  CALL(read(3, b, 0));
  CALL(open(".", O_RDONLY));
  CALL(read(6, b, 1));
  CALL(open("f", O_WRONLY | O_APPEND));
  CALL(write(7, "A", 1));
  CALL(lseek(7, 0, SEEK_CUR));
  CALL(write(3, b, 0));
  CALL(lseek(3, 100000, SEEK_SET));
  CALL(read(3, b, 4));
  return 0;
}
