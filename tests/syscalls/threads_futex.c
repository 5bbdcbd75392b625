#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include "facts.h"
// clone, futex, set_tid_address, robust lists, exit: through pthreads and raw.
static int word;
static long woken;
static void* waker(void* unused) {
  usleep(20000);
  __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
  woken = syscall(SYS_futex, &word, FUTEX_WAKE, 10, NULL, NULL, 0);  // told after the join: in one order only
  return unused;
}
static pthread_mutex_t robust;
static void* die_holding(void* unused) {
  pthread_mutex_lock(&robust);
  return unused;
}
static void* adder(void* p) {
  for (int i = 0; i < 10000; ++i) __atomic_add_fetch((int*)p, 1, __ATOMIC_SEQ_CST);
  return p;
}
int main(void) {
  struct timespec t = {0, 5000000}, bad = {0, -1};
  CALL(syscall(SYS_futex, &word, FUTEX_WAIT, 7, NULL, NULL, 0));
  CALL(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &t, NULL, 0));
  CALL(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &bad, NULL, 0));
  CALL(syscall(SYS_futex, (char*)&word + 1, FUTEX_WAIT, 0, &t, NULL, 0));
  CALL(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0));
  CALL(syscall(SYS_futex, &word, 99, 1, NULL, NULL, 0));
  CALL(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
  pthread_t a, many[6];
  pthread_create(&a, NULL, waker, NULL);
  CALL(syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0));
  pthread_join(a, NULL);
  FACT(woken);
  int sum = 0;
  for (int i = 0; i < 6; ++i) pthread_create(&many[i], NULL, adder, &sum);
  for (int i = 0; i < 6; ++i) pthread_join(many[i], NULL);
  FACT(sum);
  pthread_mutexattr_t at;
  pthread_mutexattr_init(&at);
  pthread_mutexattr_setrobust(&at, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robust, &at);
  pthread_create(&a, NULL, die_holding, NULL);
  pthread_join(a, NULL);
  FACT(pthread_mutex_lock(&robust) == EOWNERDEAD);
  FACT(pthread_mutex_consistent(&robust));
  sem_t s;
  sem_init(&s, 0, 0);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  CALL(sem_timedwait(&s, &now));
  CALL(syscall(SYS_set_robust_list, NULL, 5));
  fflush(stdout);
  syscall(SYS_exit_group, 7);
}
