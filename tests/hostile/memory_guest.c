// Uses memory in each of the ways in which the kernel asks the host to change pages: added, restricted,
// extended, closed, opened, taken away and added again. Prints "done".
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { kSize = 3 * 4096 };

static int change(unsigned char* pages, int protection) { return mprotect(pages, kSize, protection); }

int main(void) {
  for (int round = 0; round < 3; ++round) {
    unsigned char* pages = mmap(0, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return 1;
    memset(pages, 0xc3, kSize);  // ret
    if (change(pages, PROT_READ) != 0 || pages[kSize - 1] != 0xc3) return 2;
    if (change(pages, PROT_READ | PROT_EXEC) != 0) return 3;
    ((void (*)(void))(uintptr_t)pages)();
    if (change(pages, PROT_NONE) != 0 || change(pages, PROT_READ | PROT_WRITE) != 0) return 4;
    pages[0] = 1;
    if (madvise(pages, kSize, MADV_DONTNEED) != 0 || pages[0] != 0) return 5;
    if (munmap(pages, kSize) != 0) return 6;
  }
  return puts("done") < 0;
}
