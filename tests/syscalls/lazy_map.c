#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "facts.h"
// Private mappings of a large file, whose pages come when they are touched: by the program, by calls that
// read or write its memory, after fork, mremap and mprotect. They show the file, and what is stored stays
// private.
enum { kSize = 1000 * 1000 };
static char* content;  // allocated: cases that fork carry all that is static
static int fd;

static char* map(int protection) {
  char* at = mmap(NULL, kSize, protection, MAP_PRIVATE, fd, 0);
  if (at == MAP_FAILED) abort();
  return at;
}
static int equal(const char* at, size_t from, size_t size) {
  return memcmp(at + from, content + from, size) == 0;
}

static void by_calls(void) {
  static char back[300000];
  char* m = map(PROT_READ | PROT_WRITE);
  int out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0644);
  CALL(write(out, m + 100001, 300000));
  CALL(pread(out, back, 300000, 0));
  FACT(memcmp(back, content + 100001, 300000));
  CALL(pread(fd, m + 600000, 1000, 0));  // into pages that have not come
  FACT(memcmp(m + 600000, content, 1000));
  FACT(equal(m, 601000, 399000));
  FACT(equal(m, 500000, 100000));
  struct iovec parts[2] = {{m + 990000, 5000}, {m + 700000, 5000}};
  CALL(pwritev(out, parts, 2, 0));
  CALL(pread(out, back, 10000, 0));
  FACT(memcmp(back, content + 990000, 5000));
  FACT(memcmp(back + 5000, content + 700000, 5000));
  FACT(m[kSize]);  // the rest of the last page is zero
  CALL(munmap(m, kSize));
  close(out);
}

static void* toucher(void* argument) {
  char* m = argument;
  long sum = 0;
  for (int i = 0; i < kSize; i += 4096) sum += m[i] == content[i];
  return (void*)sum;
}

static void by_threads(void) {
  char* m = map(PROT_READ);
  pthread_t t[4];
  long sum = 0;
  for (int i = 0; i < 4; ++i) pthread_create(&t[i], NULL, toucher, m);
  for (int i = 0; i < 4; ++i) {
    void* part;
    pthread_join(t[i], &part);
    sum += (long)part;
  }
  FACT(sum);
  munmap(m, kSize);
}

static void protection(void) {
  char* m = map(PROT_NONE);
  CALL(mprotect(m, kSize, PROT_READ));
  FACT(equal(m, 400000, 1000));
  CALL(mprotect(m + 409600, 8192, PROT_READ | PROT_WRITE));
  m[409600] = 'x', m[409601] = 'y';
  FACT(equal(m, 409602, 100000));
  CALL(mprotect(m, kSize, PROT_READ));
  FACT(m[409600] == 'x' && m[409601] == 'y');
  CALL(munmap(m + 204800, 4096));
  FACT(equal(m, 0, 204800));
  FACT(equal(m, 208896, 100000));
  munmap(m, kSize);
}

static void moving(void) {
  char* m = map(PROT_READ | PROT_WRITE);
  m[300000] = 'z';
  char* n = mremap(m, kSize, 3 * kSize, MREMAP_MAYMOVE);
  FACT(n != MAP_FAILED);
  FACT(n[300000] == 'z');
  FACT(equal(n, 300001, 600000));
  FACT(equal(n, 0, 300000));
  munmap(n, 3 * kSize);
}

// A mapping that was lazy before there were threads, made larger while they look.
enum { kStep = 128 << 10, kLarge = 16 << 20 };
static char* volatile large;
static volatile int reached[kLarge / kStep];
static void* looker(void* argument) {
  long bad = 0;
  for (int i = 1; i < kLarge / kStep; ++i) {
    while (!__atomic_load_n(&reached[i], __ATOMIC_ACQUIRE)) {
    }
    for (int again = 0; again < 3000 && bad == 0; ++again)
      bad = large[(long)i * kStep + kStep / 2 + (long)argument * 4096] != 'A';
  }
  return (void*)bad;
}
static void moving_with_threads(void) {
  enum { kBlock = 1 << 20 };
  char* block = malloc(kBlock);
  memset(block, 'A', kBlock);
  int file = open("large", O_RDWR | O_CREAT, 0600);
  for (int i = 0; i < kLarge; i += kBlock) write(file, block, kBlock);
  free(block);
  for (int way = 0; way < 2; ++way) {
    char* m = mmap(NULL, kStep, PROT_READ, MAP_PRIVATE, file, 0);
    pthread_t t[2];
    memset((void*)reached, 0, sizeof(reached));
    for (long i = 0; i < 2; ++i) pthread_create(&t[i], NULL, looker, (void*)i);
    // Behind it there is no room the second time.
    if (way == 1) mmap(m + kStep, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    large = mremap(m, kStep, kLarge, MREMAP_MAYMOVE);
    long wrong = 0;
    for (int i = 0; i < kLarge / kStep; ++i) {
      __atomic_store_n(&reached[i], 1, __ATOMIC_RELEASE);
      wrong += large[(long)i * kStep] != 'A';
    }
    for (int i = 0; i < 2; ++i) {
      void* bad;
      pthread_join(t[i], &bad);
      wrong += (long)bad;
    }
    FACT(wrong);
    munmap(large, kLarge);
  }
  close(file);
  unlink("large");
}

static void forked(void) {
  char* m = map(PROT_READ | PROT_WRITE);
  m[0] = 'p';
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int good = m[0] == 'p' && equal(m, 1, 200000);
    m[500000] = 'c';
    usleep(20000);
    good = good && m[0] == 'p' && equal(m, 600000, 400000) && m[500000] == 'c';
    _exit(good ? 5 : 6);
  }
  m[700000] = 'P', m[0] = 'q';
  usleep(10000);
  FACT(equal(m, 100000, 600000));
  int status = 0;
  waitpid(child, &status, 0);
  FACT(WEXITSTATUS(status));
  FACT(m[0] == 'q' && m[700000] == 'P');
  FACT(equal(m, 700001, 299999));
  munmap(m, kSize);
}

int main(void) {
  scratch();
  unsigned state = 1;
  content = malloc(kSize);
  for (int i = 0; i < kSize; ++i) content[i] = (char)((state = state * 1103515245 + 12345) >> 16);
  int w = open("file", O_WRONLY | O_CREAT, 0644);
  CALL(write(w, content, kSize));
  close(w);
  fd = open("file", O_RDONLY);
  by_calls();
  by_threads();
  protection();
  moving();
  moving_with_threads();
  forked();
  // The mapping outlives the descriptor and the name.
  char* m = map(PROT_READ);
  close(fd);
  unlink("file");
  FACT(equal(m, 0, kSize));
  return 0;
}
