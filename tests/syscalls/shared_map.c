#include <pthread.h>
#include <sys/mman.h>
#include "facts.h"
// Shared and private mappings of files: what msync, fsync, munmap, mprotect, mremap and other mappings make
// of what was stored.
enum { kPage = 4096 };
static void show(int fd, long offset) {
  char b[16] = {0};
  CALL(pread(fd, b, 10, offset));
  TEXT(b);
}

static void stores(int fd) {
  char* m = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  WORKS(m);
  m[0] = 'A';
  CALL(msync(m, kPage, MS_SYNC));
  show(fd, 0);
  m[1] = 'B';
  m[100] = 'z';
  CALL(fsync(fd));
  m[3] = 'D';
  CALL(munmap(m, kPage));
  show(fd, 0);
  CALL(lseek(fd, 0, SEEK_END));
}

// Reserved first and opened later; the content was always there, and stays.
static void protections(int fd) {
  char* m = mmap(NULL, kPage, PROT_NONE, MAP_SHARED, fd, 0);
  WORKS(m);
  CALL(munmap(m, kPage));
  show(fd, 0);
  m = mmap(NULL, kPage, PROT_NONE, MAP_SHARED, fd, 0);
  CALL(mprotect(m, kPage, PROT_READ | PROT_WRITE));
  FACT(m[1]);
  m[2] = 'C';
  CALL(mprotect(m, kPage, PROT_NONE));
  CALL(munmap(m, kPage));
  show(fd, 0);
  m = mmap(NULL, kPage, PROT_NONE, MAP_PRIVATE, fd, 0);
  CALL(mprotect(m, kPage, PROT_READ));
  FACT(m[2]);
  CALL(munmap(m, kPage));
  int reader = open("f", O_RDONLY);
  m = mmap(NULL, kPage, PROT_READ, MAP_SHARED, reader, 0);
  CALL(mprotect(m, kPage, PROT_READ | PROT_WRITE));
  CALL(mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0));
  CALL(munmap(m, kPage));
  CALL(close(reader));
}

static void growth(int fd) {
  CALL(ftruncate(fd, 3 * kPage));
  CALL(pwrite(fd, "second", 6, kPage));
  CALL(pwrite(fd, "third", 5, 2 * kPage));
  char* m = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  m[4] = 'E';
  m = mremap(m, kPage, 2 * kPage, MREMAP_MAYMOVE);
  TEXT(m + kPage);
  FACT(m[4]);
  // Something behind it: the next growth has to move.
  mmap(m + 2 * kPage, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  m[kPage + 6] = '!';
  m = mremap(m, 2 * kPage, 3 * kPage, MREMAP_MAYMOVE);
  TEXT(m + kPage);
  TEXT(m + 2 * kPage);
  m[5] = 'F';
  CALL(munmap(m, 3 * kPage));
  show(fd, 0);
  show(fd, kPage);
  show(fd, 2 * kPage);
}

// What other mappings and descriptors show once a store has been synced.
static void several(int fd) {
  char* one = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char* two = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  one[5000] = 9;
  CALL(msync(one, 2 * kPage, MS_SYNC));
  FACT(two[5000]);
  one[10] = 'x';
  two[11] = 'y';
  CALL(msync(one, 2 * kPage, MS_SYNC));
  CALL(msync(two, 2 * kPage, MS_SYNC));
  FACT(one[11]);
  FACT(two[10]);
  show(fd, 8);
  char* private = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  FACT(private[11]);
  private[11] = 'p';
  one[12] = 'w';
  char* fresh = mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, fd, 0);
  FACT(fresh[12]);
  CALL(munmap(private, kPage));
  show(fd, 8);
  CALL(pwrite(fd, "W", 1, 20));
  FACT(one[20]);
  FACT(two[20]);
  int other = open("f", O_RDONLY);
  CALL(close(fd));
  one[0] = 'Z';
  CALL(munmap(one, 2 * kPage));
  CALL(munmap(two, 2 * kPage));
  show(other, 0);
}

// A thread that stores while another syncs: nothing is lost.
static void* storing(void* at) {
  volatile char* m = at;
  for (int i = 0; i < 200000; ++i) m[i % (4 * kPage)] = (char)i;
  return NULL;
}
static void while_syncing(void) {
  int fd = open("g", O_RDWR | O_CREAT, 0600);
  CALL(ftruncate(fd, 4 * kPage));
  char* m = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  pthread_t thread;
  pthread_create(&thread, NULL, storing, m);
  for (int i = 0; i < 50; ++i) msync(m, 4 * kPage, MS_ASYNC | MS_INVALIDATE);
  for (int i = 0; i < 50; ++i) fsync(fd);
  pthread_join(thread, NULL);
  char* expected = malloc(4 * kPage);
  memcpy(expected, m, 4 * kPage);
  CALL(munmap(m, 4 * kPage));
  char* read_back = malloc(4 * kPage);
  CALL(pread(fd, read_back, 4 * kPage, 0));
  FACT(memcmp(expected, read_back, 4 * kPage));
}

// A store to a clean mapping gets to the file also when others write there, or cut off its end, at that
// moment.
static volatile int stored, cutting;
static void* writing(void* descriptor) {
  for (int i = 0; !stored; ++i) {
    if (cutting)
      ftruncate(*(int*)descriptor, i % 2 == 0 ? kPage : kPage - 100);
    else
      pwrite(*(int*)descriptor, "x", 1, 0);
  }
  return NULL;
}
static void while_writing(void) {
  int fd = open("h", O_RDWR | O_CREAT, 0600), lost = 0;
  CALL(ftruncate(fd, kPage));
  volatile unsigned* m = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  pthread_t thread;
  stored = 0;
  pthread_create(&thread, NULL, writing, &fd);
  const int64_t end = now_ms() + 1000;
  for (unsigned n = 1; now_ms() < end; ++n) {
    unsigned there = 0;
    for (volatile unsigned wait = n * 7919 % 20000; wait > 0; --wait) continue;
    m[100] = n;
    pread(fd, &there, sizeof there, 400);
    lost += there != n;
  }
  stored = 1;
  pthread_join(thread, NULL);
  FACT(lost);
  CALL(munmap((void*)m, kPage));
}

int main(void) {
  scratch();
  put_file("f", "0123456789");
  int fd = open("f", O_RDWR);
  stores(fd);
  protections(fd);
  growth(fd);
  several(fd);
  while_syncing();
  while_writing();
  cutting = 1;
  while_writing();
  char* m = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  m[0] = 4;
  FACT(m[0]);
  return 0;
}
