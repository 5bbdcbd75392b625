// Threads that write and fsync files of their own in /encryptedOutputs. Usage: fsyncs THREADS ROUNDS, which
// prints how many fsyncs there were; or fsyncs refused -, which writes once more after a byte of standard
// input and prints what fsync says.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int rounds;
static pthread_barrier_t start;

static int open_file(long number) {
  char name[64];
  snprintf(name, sizeof name, "/encryptedOutputs/of-thread-%ld", number);
  return open(name, O_WRONLY | O_CREAT, 0644);
}

static void* work(void* number) {
  char block[5000];
  const int fd = open_file((long)number);
  pthread_barrier_wait(&start);
  for (int round = 0; round < rounds; ++round) {
    memset(block, 'a' + round % 26, sizeof block);
    if (pwrite(fd, block, sizeof block, 0) != (ssize_t)sizeof block || fsync(fd) != 0) {
      perror("thread");
      exit(1);
    }
  }
  close(fd);
  return NULL;
}

static int refused(void) {
  const int one = open_file(1), two = open_file(2);
  char word;
  if (write(one, "before", 6) != 6 || fsync(one) != 0) return 1;
  puts("ready");
  fflush(stdout);
  if (read(0, &word, 1) != 1 || write(one, "after", 5) != 5) return 1;
  const int first = fsync(one), again = fsync(one), other = fsync(two);
  printf("%d %d %d\n", first, again, other);
  return 0;
}

int main(int count, char** words) {
  if (count != 3) return 2;
  if (strcmp(words[1], "refused") == 0) return refused();
  const long threads = atol(words[1]);
  rounds = atoi(words[2]);
  pthread_barrier_init(&start, NULL, (unsigned)threads);
  pthread_t ids[64];
  for (long i = 0; i < threads; ++i) pthread_create(&ids[i], NULL, work, (void*)i);
  for (long i = 0; i < threads; ++i) pthread_join(ids[i], NULL);
  printf("%ld\n", threads * rounds);
  return 0;
}
