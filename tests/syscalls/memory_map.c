#include <sys/mman.h>
#include "facts.h"
// mmap, munmap, mprotect, mremap, madvise, mincore, msync, mlock, brk.
// The stack is one line of /proc/self/maps, however much of it has been used.
static void stack_line(void) {
  volatile char large[1000000];
  for (int i = 0; i < 1000000; i += 200000) large[i] = 1;
  FILE* maps = fopen("/proc/self/maps", "r");
  char line[512];
  int lines = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    unsigned long begin, end;
    sscanf(line, "%lx-%lx", &begin, &end);
    if (begin <= (unsigned long)&large[0] && (unsigned long)&large[999999] < end) ++lines;
  }
  fclose(maps);
  FACT(lines);
}

// Code on the first stack, as nested functions need it, once it is asked for as the C library does.
static void code_on_the_stack(void) {
  unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov $42, %eax; ret
  char* page = (char*)((unsigned long)code & ~4095UL);
  const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
  CALL(mprotect(page, 4096, all | PROT_GROWSDOWN | PROT_GROWSUP));
  CALL(mprotect(page, 4096, all | PROT_GROWSUP));
  CALL(mprotect(page + 1, 4096, all | PROT_GROWSDOWN));
  CALL(mprotect(page, 4096, all | PROT_GROWSDOWN));
  FACT(((int (*)(void))code)());
  CALL(mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_GROWSDOWN));
  char* other = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CALL(mprotect(other, 4096, PROT_READ | PROT_GROWSDOWN));
  munmap(other, 8192);
  CALL(mprotect(other, 4096, PROT_READ | PROT_GROWSDOWN));
  CALL(mprotect(other, 0, PROT_READ | PROT_GROWSDOWN));
  CALL(mprotect(page, 4096, 0x1000));
}

int main(void) {
  stack_line();
  code_on_the_stack();
  scratch();
  char* m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  WORKS(m);
  FACT(m[0] + m[8191]);
  m[0] = 1;
  m[4096] = 2;
  WORKS(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  WORKS(mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0));
  WORKS(mmap((void*)1, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  WORKS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 99, 0));
  WORKS(mmap(m, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  CALL(mprotect(m, 4096, PROT_READ));
  CALL(mprotect(m + 1, 4096, PROT_READ));
  CALL(mprotect(m, 4096, PROT_READ | PROT_WRITE));
  CALL(munmap(m + 4096, 4096));
  CALL(mprotect(m, 8192, PROT_READ));
  CALL(madvise(m, 8192, MADV_DONTNEED));
  CALL(munmap(m + 1, 4096));
  CALL(munmap(m, 0));
  char* big = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  big[0] = 5;
  big[8192] = 6;
  CALL(madvise(big, 4096, MADV_DONTNEED));
  FACT(big[0]);
  FACT(big[8192]);
  CALL(madvise(big, 4096, 9999));
  CALL(madvise(big + 1, 4096, MADV_NORMAL));
  char* moved = mremap(big, 16384, 65536, MREMAP_MAYMOVE);
  WORKS(moved);
  FACT(moved[8192]);
  FACT(moved[65535]);
  WORKS(mremap(moved, 65536, 4096, 0));
  WORKS(mremap(moved + 8192, 4096, 8192, 0));
  unsigned char in[4];
  CALL(mincore(moved, 4096, in));
  FACT(in[0] & 1);
  CALL(mincore(moved + 1, 4096, in));
  CALL(mincore((void*)((char*)moved + 40960), 4096, in));
  CALL(mlock(moved, 4096));
  CALL(munlock(moved, 4096));
  CALL(msync(moved, 4096, MS_SYNC));
  CALL(msync(moved, 4096, MS_SYNC | MS_ASYNC));
  put_file("f", "file content");
  CALL(open("f", O_RDONLY));
  char* f = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, 3, 0);
  TEXT(f);
  f[0] = 'F';
  char b[16] = {0};
  pread(3, b, 12, 0);
  TEXT(b);
  WORKS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0));
  WORKS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0));
  WORKS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 17));
  WORKS(sbrk(0));
  char* top = sbrk(10000);
  memset(top, 1, 10000);
  WORKS(sbrk(-10000));
  WORKS(mmap(NULL, (size_t)20 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return 0;
}
