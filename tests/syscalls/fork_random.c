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
  unsigned char of_file;                       // shared, always with the same content
} model[kPages];
static struct {
  volatile unsigned steps;
  volatile unsigned char ever[kPages];  // has been of the file for somebody
} * shared;
static int file;
static unsigned char in_file(int page) { return page * 5 + 3; }
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

static void compare_file(void) {
  for (int i = 0; i < kPages; ++i) {
    unsigned char page[kPage];
    if (pread(file, page, kPage, i * kPage) != kPage) fail("short file", i);
    for (int k = 0; k < kPage; ++k) {
      if (page[k] != in_file(i)) fail("another content of the file", i);
    }
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
  for (int i = first; i < first + count; ++i) model[i].wiped = model[i].skipped = model[i].of_file = 0;
}

// Shared memory has one place inside, where nobody has anything else.
static void map_shared(int first, int count) {
  char* at = window + first * kPage;
  for (int i = first; i < first + count; ++i) shared->ever[i] = 1;
  if (mmap(at, count * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, first * kPage) != at) {
    if (errno != ENOMEM) fail("shared mmap", first);
    return;
  }
  fresh(first, count, kWritable);
  for (int i = first; i < first + count; ++i) {
    model[i].value = in_file(i);
    model[i].of_file = 1;
  }
}

static void map_private(int first, int count) {
  char* at = window + first * kPage;
  int ever = 0;
  for (int i = first; i < first + count; ++i) ever |= shared->ever[i];
  if (mmap(at, count * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at)
    return fresh(first, count, kWritable);
  if (errno != ENOMEM || !ever) fail("mmap", first);
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
  int all = 1, writable = 1, private = 1;
  for (int i = first; i < first + count; ++i) {
    all &= model[i].state != kNothing;
    writable &= model[i].state == kWritable;
    private &= !model[i].of_file;
  }
  switch (draw(8)) {
    case 0:
      return draw(4) == 0 ? map_shared(first, count) : map_private(first, count);
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
      if (!writable || !private) return;
      if (madvise(at, count * kPage, MADV_DONTNEED) != 0) fail("madvise", first);
      return each(first, count, kWritable, 0);
    case 5:
      return all && private ? advise(first, count) : (void)0;
    default:
      for (int i = first; i < first + count; ++i) {
        if (model[i].state != kWritable) continue;
        model[i].value = model[i].of_file ? in_file(i) : draw(256);
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
    __atomic_fetch_add(&shared->steps, 1, __ATOMIC_SEQ_CST);
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
  // Far from where mappings go that name no address.
  window = mmap(NULL, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) - (1 << 30);
  map_private(0, kPages);
  file = memfd_create("shared", 0);
  for (int i = 0; i < kPages; ++i) {
    unsigned char page[kPage];
    memset(page, in_file(i), kPage);
    pwrite(file, page, kPage, i * kPage);
  }
  const char* one = getenv("SEED");
  for (int round = one != NULL ? atoi(one) : 1; round <= (one != NULL ? atoi(one) : 25); ++round) {
    memset((void*)shared->ever, 0, kPages);
    // Of every second family the parent has nothing there: what is private to it is in the way of the shared.
    if (round % 2 == 0) munmap(window, kPages * kPage);
    each(0, kPages, round % 2 == 0 ? kNothing : kWritable, 0);
    const pid_t pid = fork();
    if (pid == 0) {
      map_private(0, kPages);
      seed = round * 1000003u;
      live(0);
      _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    if (status != 0) printf("seed %d: %d\n", round, WEXITSTATUS(status));
    compare();
    compare_file();
    map_private(0, kPages);
  }
  FACT(shared->steps > 25 * kSteps);
  return 0;
}
