// One program of all cases: `cases NAME`. Every case's main is renamed by the driver; CASES comes from it
// too.
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CASE(name) int case_##name(void);
CASES
#undef CASE

int main(int count, char** words) {
  close_range(3, ~0u, 0);  // what the caller had open
  setvbuf(stdout, NULL, _IOLBF, 0);
#define CASE(name) \
  if (count > 1 && strcmp(words[1], #name) == 0) return case_##name();
  CASES
#undef CASE
  fprintf(stderr, "no such case\n");
  return 2;
}
