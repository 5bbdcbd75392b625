// N threads count under one mutex, and each in its own thread-local variable. Usage: threads THREADS ROUNDS
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static long total, rounds;
static __thread long mine;

static void* work(void* unused) {
  (void)unused;
  pthread_barrier_wait(&barrier);
  for (long i = 0; i < rounds; ++i) {
    ++mine;
    pthread_mutex_lock(&mutex);
    ++total;
    pthread_mutex_unlock(&mutex);
  }
  return (void*)mine;
}

int main(int count, char** words) {
  static pthread_t threads[1024];
  const int wanted = count > 1 ? atoi(words[1]) : 8;
  rounds = count > 2 ? atol(words[2]) : 1000;
  if (wanted > 1024) return 2;
  pthread_barrier_init(&barrier, NULL, (unsigned)wanted);
  for (int i = 0; i < wanted; ++i) {
    if (pthread_create(&threads[i], NULL, work, NULL) != 0) {
      perror("pthread_create");
      exit(1);
    }
  }
  long sum = 0;
  for (int i = 0; i < wanted; ++i) {
    void* result;
    pthread_join(threads[i], &result);
    sum += (long)result;
  }
  printf("total %ld %ld\n", total, sum);
  return 0;
}
