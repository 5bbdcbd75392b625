#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "facts.h"
// fork: two programs with the same addresses, each with its own content.
static int global = 1;
static int status_of(pid_t pid) {
  int status = -1;
  if (waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void own_content(void) {
  volatile int local = 1;
  int* heap = malloc(sizeof *heap);
  *heap = 1;
  pid_t pid = fork();
  if (pid == 0) {
    global = local = *heap = 2;
    _exit(getpid() != getppid() ? 9 : 1);
  }
  FACT(status_of(pid));
  FACT(global * 100 + local * 10 + *heap);
  pid = fork();
  if (pid == 0) {
    free(heap);
    for (int i = 0; i < 1000; ++i) memset(malloc(5000), i, 5000);
    _exit(global);
  }
  FACT(status_of(pid));
  FACT(*heap);
}

// Both go on at once and talk.
static void talk(void) {
  int down[2], up[2];
  pipe(down);
  pipe(up);
  const pid_t pid = fork();
  char line[32];
  if (pid == 0) {
    for (int i = 0; i < 20; ++i) {
      read(down[0], line, sizeof line);
      global += line[0];
      line[0] = global;
      write(up[1], line, 1);
    }
    _exit(0);
  }
  int sum = 0;
  for (int i = 0; i < 20; ++i) {
    line[0] = 1;
    write(down[1], line, 1);
    read(up[0], line, sizeof line);
    sum += line[0];
    global = 1000 + i;
  }
  FACT(sum);
  FACT(global);
  FACT(status_of(pid));
  global = 1;
  close(down[0]), close(down[1]), close(up[0]), close(up[1]);
}

// What is mapped, unmapped and protected after the fork concerns one of them.
static void mappings(void) {
  enum { kSize = 1 << 16 };
  char* shared = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char* private = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* constant = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(private, 'p', kSize);
  memset(constant, 'c', kSize);
  mprotect(constant, kSize, PROT_READ);
  int go[2], done[2];
  pipe(go);
  pipe(done);
  char c;
  const pid_t pid = fork();
  if (pid == 0) {
    shared[0] = 's';
    munmap(private, kSize / 2);
    mprotect(constant, kSize / 2, PROT_READ | PROT_WRITE);
    constant[1] = 'x';
    char* more = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    more[5] = 'm';
    mmap(private, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    private[0] = 'n';
    write(done[1], "", 1);
    read(go[0], &c, 1);
    const int ok = shared[1] == 'S' && private[0] == 'n' && private[kSize / 2] == 'p' && constant[1] == 'x' &&
                   constant[kSize / 2] == 'c' && more[5] == 'm';
    shared[2] = 'd';
    _exit(ok ? 5 : 6);
  }
  read(done[0], &c, 1);
  FACT(shared[0]);
  FACT(private[0]);
  FACT(constant[1]);
  char* mine = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mine[7] = 'q';
  mprotect(constant, kSize, PROT_READ | PROT_WRITE);
  constant[2] = 'y';
  shared[1] = 'S';
  CALL(munmap(private + kSize / 2, kSize / 2));
  write(go[1], "", 1);
  FACT(status_of(pid));
  FACT(shared[2]);
  FACT(private[100]);
  FACT(constant[1]);
  FACT(constant[2]);
  FACT(mine[7]);
  munmap(shared, kSize), munmap(private, kSize / 2), munmap(constant, kSize), munmap(mine, kSize);
  close(go[0]), close(go[1]), close(done[0]), close(done[1]);
}

// Shared memory whose pages come when they are touched.
static void reserved(void) {
  enum { kLarge = 512 << 20 };
  char* shared =
      mmap(NULL, kLarge, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  shared[0] = 'a';
  const pid_t pid = fork();
  if (pid == 0) {
    shared[kLarge / 2] = 'b';
    _exit(shared[0] == 'a' ? 3 : 4);
  }
  FACT(status_of(pid));
  FACT(shared[kLarge / 2]);
  CALL(munmap(shared, kLarge));
  char* fresh =
      mmap(shared, kLarge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  FACT(fresh == shared);
  FACT(fresh[kLarge / 2] + fresh[0]);
  munmap(fresh, kLarge);
}

// A child that computes does not keep the parent from going on, nor the other way round.
static void turns(void) {
  volatile int* flags = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const pid_t pid = fork();
  if (pid == 0) {
    while (flags[0] == 0) ++flags[2];
    flags[1] = 1;
    while (flags[0] == 1) ++flags[3];
    _exit(4);
  }
  while (flags[2] == 0) {
  }
  flags[0] = 1;
  while (flags[1] == 0 || flags[3] == 0) {
  }
  flags[0] = 2;
  FACT(status_of(pid));
  munmap((void*)flags, 4096);
}

// Children of children, several at once, killed ones, and ones that start another program.
static void families(void) {
  pid_t pids[4];
  int p[2];
  pipe(p);
  for (int i = 0; i < 4; ++i) {
    pids[i] = fork();
    if (pids[i] == 0) {
      global = 10 + i;
      const pid_t inner = fork();
      if (inner == 0) {
        global += 100;
        usleep(1000 * (4 - i));
        _exit(global);
      }
      const int status = status_of(inner);
      write(p[1], "", 1);
      if (i == 3) execl("/proc/self/exe", "cases", "no such case", NULL);
      _exit(status - 100 == global ? i : 99);
    }
  }
  for (int i = 0; i < 4; ++i) FACT(status_of(pids[i]));
  char four[8];
  FACT(read(p[0], four, sizeof four));
  const pid_t pid = fork();
  if (pid == 0)
    for (;;) pause();
  usleep(5000);
  CALL(kill(pid, SIGTERM));
  FACT(status_of(pid));
  FACT(global);
  CALL(waitpid(-1, NULL, 0));
  close(p[0]), close(p[1]);
}

// Threads of both; futexes at the same address.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static void* counting(void* arg) {
  for (int i = 0; i < 1000; ++i) {
    pthread_mutex_lock(&lock);
    ++global;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&lock);
  }
  return arg;
}
static int count_with_threads(void) {
  pthread_t t[2];
  global = 0;
  for (int i = 0; i < 2; ++i) pthread_create(&t[i], NULL, counting, NULL);
  pthread_mutex_lock(&lock);
  while (global < 2000) pthread_cond_wait(&cond, &lock);
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < 2; ++i) pthread_join(t[i], NULL);
  return global / 100;
}
static void with_threads(void) {
  const pid_t pid = fork();
  if (pid == 0) _exit(count_with_threads());
  FACT(count_with_threads());
  FACT(status_of(pid));
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  own_content();
  talk();
  mappings();
  reserved();
  turns();
  families();
  with_threads();
  return 0;
}
