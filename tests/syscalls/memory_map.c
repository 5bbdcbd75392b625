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

enum { kPage = 4096 };
static char* pages(int count, int protection) {
  return mmap(NULL, count * kPage, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// Several mappings do not grow or move as one, and what they have stays.
static void moved_together(void) {
  const int open_pages = PROT_READ | PROT_WRITE;
  char *m = pages(8, PROT_NONE), *to = pages(8, PROT_NONE);
  mprotect(m + kPage, kPage, open_pages);
  strcpy(m + kPage, "data");
  WORKS(mremap(m, 2 * kPage, 3 * kPage, MREMAP_MAYMOVE));
  WORKS(mremap(m, 2 * kPage, 3 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to));
  TEXT(m + kPage);
  const int fd = memfd_create("f", 0);
  ftruncate(fd, 4 * kPage);
  m = pages(8, open_pages);
  mmap(m, kPage, open_pages, MAP_SHARED | MAP_FIXED, fd, 0);
  strcpy(m + kPage, "anonymous");
  WORKS(mremap(m, 2 * kPage, 9 * kPage, MREMAP_MAYMOVE));
  TEXT(m + kPage);
  mmap(m + kPage, kPage, open_pages, MAP_SHARED | MAP_FIXED, fd, 2 * kPage);
  WORKS(mremap(m, 2 * kPage, 9 * kPage, MREMAP_MAYMOVE));
  m = pages(8, open_pages);
  madvise(m + kPage, kPage, MADV_DONTFORK);
  WORKS(mremap(m, 8 * kPage, 9 * kPage, MREMAP_MAYMOVE));
  FACT(mremap(m, 8 * kPage, 3 * kPage, 0) == m);
  CALL(madvise(m + 3 * kPage, kPage, MADV_NORMAL));
  // Pages that come and go do not divide one.
  m = pages(8, open_pages);
  memset(m, 7, 8 * kPage);
  madvise(m + 2 * kPage, kPage, MADV_DONTNEED);
  m = mremap(m, 8 * kPage, 9 * kPage, MREMAP_MAYMOVE);
  FACT(m[kPage] + m[2 * kPage] + m[8 * kPage - 1] + m[8 * kPage]);
  m = mmap(NULL, 4 * kPage, open_pages, MAP_SHARED, fd, 0);
  m[0] = 1;
  to = mremap(m, 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to);
  FACT(to[0] + to[3 * kPage]);
  close(fd);
}

int main(void) {
  stack_line();
  moved_together();
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
