#include <sys/mman.h>
#include <sys/wait.h>
#include "facts.h"
// Random mappings in one window of addresses by a random family of processes. Each keeps a model of what its
// own pages must hold and compares after every step, so whatever another one does shows at once.
enum { kPages = 48, kPage = 4096, kSteps = 120, kDeepest = 4 };
enum { kNothing, kWritable, kConstant, kClosed };

static char* window;
static struct {
  unsigned char state, value, wiped, skipped;  // by fork
} model[kPages];
static volatile unsigned* shared;
static uint64_t seed;
static unsigned draw(unsigned below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(seed >> 33) % below;
}

static void fail(const char* what, int page) {
  fprintf(stderr, "page %d: %s (process %d)\n", page, what, getpid());
  _exit(99);
}

static void compare(void) {
  for (int i = 0; i < kPages; ++i) {
    if (model[i].state != kWritable && model[i].state != kConstant) continue;
    const unsigned char* page = (unsigned char*)window + i * kPage;
    if (page[0] != model[i].value || page[kPage - 1] != model[i].value || page[1000] != model[i].value)
      fail("another content", i);
  }
}

static void each(int first, int count, int state, int value) {
  for (int i = first; i < first + count; ++i) {
    model[i].state = state;
    if (value >= 0) model[i].value = value;
  }
}

static void fresh(int first, int count, int state) {
  each(first, count, state, 0);
  for (int i = first; i < first + count; ++i) model[i].wiped = model[i].skipped = 0;
}

static void advise(int first, int count) {
  const int advice[] = {MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_DONTFORK, MADV_DOFORK};
  const int which = draw(4);
  if (madvise(window + first * kPage, count * kPage, advice[which]) != 0) fail("madvise for fork", first);
  for (int i = first; i < first + count; ++i) {
    if (which < 2) model[i].wiped = which == 0;
    if (which >= 2) model[i].skipped = which == 2;
  }
}

// What a child finds.
static void forked(void) {
  for (int i = 0; i < kPages; ++i) {
    if (model[i].skipped) fresh(i, 1, kNothing);
    if (model[i].wiped) model[i].value = 0;
  }
}

static void change(void) {
  const int first = draw(kPages), count = 1 + draw(kPages - first < 12 ? kPages - first : 12);
  char* at = window + first * kPage;
  int all = 1, writable = 1;
  for (int i = first; i < first + count; ++i) {
    all &= model[i].state != kNothing;
    writable &= model[i].state == kWritable;
  }
  switch (draw(8)) {
    case 0:
      if (mmap(at, count * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
          at)
        fail("mmap", first);
      return fresh(first, count, kWritable);
    case 1:
      if (munmap(at, count * kPage) != 0) fail("munmap", first);
      return fresh(first, count, kNothing);
    case 2:
    case 3:
      if (!all) return;
      const int state = kWritable + draw(3);
      const int protection = state == kWritable ? PROT_READ | PROT_WRITE : state == kConstant ? PROT_READ : 0;
      if (mprotect(at, count * kPage, protection) != 0) fail("mprotect", first);
      return each(first, count, state, -1);
    case 4:
      if (!writable) return;
      if (madvise(at, count * kPage, MADV_DONTNEED) != 0) fail("madvise", first);
      return each(first, count, kWritable, 0);
    case 5:
      return all ? advise(first, count) : (void)0;
    default:
      for (int i = first; i < first + count; ++i) {
        if (model[i].state != kWritable) continue;
        model[i].value = draw(256);
        memset(window + i * kPage, model[i].value, kPage);
      }
  }
}

static void live(int depth) {
  pid_t children[8];
  int count = 0;
  for (int step = 0; step < kSteps; ++step) {
    change();
    compare();
    __atomic_fetch_add(shared, 1, __ATOMIC_SEQ_CST);
    if (draw(4) == 0) usleep(0);
    compare();
    if (depth < kDeepest && count < 3 && draw(40) == 0) {
      const pid_t pid = fork();
      if (pid < 0) continue;  // the family is as large as the threads of the image
      if (pid == 0) {
        seed += 77 * (depth + 1) + count;
        forked();
        compare();
        live(depth + 1);
        _exit(0);
      }
      children[count++] = pid;
    }
  }
  for (int i = 0; i < count; ++i) {
    int status = -1;
    if (waitpid(children[i], &status, 0) != children[i] || status != 0) _exit(98);
    compare();
  }
}

int main(void) {
  shared = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  window = mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const char* one = getenv("SEED");
  for (int round = one != NULL ? atoi(one) : 1; round <= (one != NULL ? atoi(one) : 25); ++round) {
    const pid_t pid = fork();
    if (pid == 0) {
      seed = round * 1000003u;
      each(0, kPages, kWritable, 0);
      live(0);
      _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    if (status != 0) printf("seed %d: %d\n", round, WEXITSTATUS(status));
    compare();
  }
  FACT(*shared > 25 * kSteps);
  return 0;
}
