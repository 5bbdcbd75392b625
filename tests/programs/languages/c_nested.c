// A nested function whose address is taken is code on the stack. Built as a program, as a library (LIBRARY),
// and as a program that loads that library (LATE).
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#ifndef LATE
__attribute__((noinline)) static int twice(int (*f)(int), int n) { return f(f(n)); }
void* count(void* step) {
  int total = 0;
  int add(int n) { return n + (total += *(int*)step); }
  printf("%d %d\n", twice(add, 10), total);
  return NULL;
}
#endif

#ifndef LIBRARY
int main(void) {
  pthread_t thread;
  int step = 3;
#ifdef LATE
  void* library = dlopen("/nested.so", RTLD_NOW);
  if (library == NULL) library = dlopen("./nested.so", RTLD_NOW);
  if (library == NULL) return 1;
  void* (*count)(void*) = (void* (*)(void*))dlsym(library, "count");
#endif
  count(&step);
  pthread_create(&thread, NULL, count, &step);
  pthread_join(thread, NULL);
  return 4;
}
#endif
