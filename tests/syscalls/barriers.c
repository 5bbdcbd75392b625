#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include "facts.h"
// membarrier: what is served, and that the fast side of a lock may go without a barrier of its own;
// sched_getattr, sched_rr_get_interval.
static int barrier(int command, unsigned flags) { return syscall(SYS_membarrier, command, flags, 0); }

// Dekker's: each says that it wants in, then looks at the other. Only the slow side has a barrier.
enum { kRounds = 300 };
static volatile int fast, slow, round_, arrived, both, stop;
static void* fast_side(void* unused) {
  int seen = 0;
  while (!stop) {
    if (round_ == seen) continue;
    seen = round_;
    fast = 1;
    __asm__ volatile("" ::: "memory");
    const int other = slow;
    if (other == 0) __atomic_fetch_add(&both, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&arrived, seen, __ATOMIC_SEQ_CST);
  }
  return unused;
}
static void* sleeper(void* fd) {
  char c;
  read((int)(long)fd, &c, 1);
  return NULL;
}

static void fences(void) {
  pthread_t thread, sleeping;
  int failures = 0, ends[2];
  pipe(ends);
  pthread_create(&thread, NULL, fast_side, NULL);
  pthread_create(&sleeping, NULL, sleeper, (void*)(long)ends[0]);
  for (int i = 1; i <= kRounds; ++i) {
    fast = slow = both = 0;
    __atomic_store_n(&round_, i, __ATOMIC_SEQ_CST);
    slow = 1;
    if (barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) != 0) ++failures;
    const int other = fast;
    while (arrived != i) sched_yield();
    if (other == 0 && both == 1) ++failures;  // both have seen nobody
  }
  FACT(failures);
  stop = 1;
  write(ends[1], "e", 1);
  pthread_join(thread, NULL);
  pthread_join(sleeping, NULL);
}

static void attributes(void) {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t times[3], more[8];
  } a;
  struct timespec t = {9, 9};
  CALL(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0));
  FACT(a.size >= 48);
  FACT(a.policy);
  FACT(a.flags);
  FACT(a.priority);
  CALL(syscall(SYS_sched_getattr, 0, &a, 47, 0));
  CALL(syscall(SYS_sched_getattr, 0, &a, 48, 1));
  CALL(syscall(SYS_sched_getattr, 0, NULL, 48, 0));
  CALL(syscall(SYS_sched_getattr, -1, &a, 48, 0));
  CALL(syscall(SYS_sched_getattr, 99999999, &a, 48, 0));
  CALL(syscall(SYS_sched_getattr, 0, &a, 48, 0));
  FACT(a.size);
  CALL(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &(struct sched_param){0}));
  CALL(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0));
  FACT(a.policy);
  FACT(a.flags);
  CALL(sched_rr_get_interval(0, &t));
  FACT(t.tv_sec);
  CALL(sched_rr_get_interval(99999999, &t));
  CALL(sched_rr_get_interval(-1, &t));
  CALL(sched_rr_get_interval(0, (void*)8));
}

int main(void) {
  const int served = MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
  FACT((barrier(MEMBARRIER_CMD_QUERY, 0) & served) == served);
  CALL(barrier(MEMBARRIER_CMD_QUERY, 1));
  CALL(barrier(9999, 0));
  CALL(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
  CALL(barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
  CALL(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
  fences();
  attributes();
  return 0;
}
