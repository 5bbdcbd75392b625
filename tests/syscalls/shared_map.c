#include <sys/mman.h>
#include "facts.h"
// Writable shared file mappings: seen through other mappings and read(2) after msync; msync, munmap and
// close.
int main(void) {
  scratch();
  char b[16] = {0};
  put_file("f", "0123456789");
  CALL(open("f", O_RDWR));
  char* m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
  WORKS(m);
  m[0] = 'A';
  CALL(msync(m, 4096, MS_SYNC));
  CALL(pread(3, b, 10, 0));
  TEXT(b);
  m[1] = 'B';
  m[100] = 'z';
  CALL(munmap(m, 4096));
  CALL(pread(3, b, 15, 0));
  TEXT(b);
  CALL(lseek(3, 0, SEEK_END));
  m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0);
  FACT(m[1]);
  CALL(mprotect(m, 4096, PROT_READ | PROT_WRITE));
  m[2] = 'C';
  CALL(close(3));
  CALL(munmap(m, 4096));
  CALL(open("f", O_RDONLY));
  CALL(pread(3, b, 10, 0));
  TEXT(b);
  // Two mappings of one file are the same memory.
  CALL(open("f", O_RDWR));
  CALL(ftruncate(4, 8192));
  char* one = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 4, 0);
  one[5000] = 9;
  CALL(msync(one, 8192, MS_SYNC));
  CALL(pread(3, b, 1, 5000));
  FACT(b[0]);
  m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  m[0] = 4;
  FACT(m[0]);
  return 0;
}
