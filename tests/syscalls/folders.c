#include <dirent.h>
#include <limits.h>
#include "facts.h"
// getdents64, chdir, fchdir, getcwd.
static int by_name(const void* a, const void* b) { return strcmp(a, b); }
static void list(const char* path) {
  char names[100][64];
  int count = 0;
  DIR* d = opendir(path);
  struct dirent* e;
  while (d != NULL && (e = readdir(d)) != NULL && count < 100)
    snprintf(names[count++], 64, "%s %d", e->d_name, e->d_type);
  qsort(names, count, 64, by_name);
  for (int i = 0; i < count; ++i) puts(names[i]);
  if (d != NULL) {
    rewinddir(d);
    int again = 0;
    while (readdir(d) != NULL) ++again;
    FACT(again == count);
    closedir(d);
  }
}
int main(void) {
  scratch();
  char b[PATH_MAX];
  mkdir("d", 0755);
  put_file("d/file", "");
  mkdir("d/sub", 0755);
  symlink("file", "d/link");
  list("d");
  CALL(chdir("d"));
  WORKS(syscall(SYS_getcwd, b, sizeof b));
  TEXT(strrchr(b, '/'));
  CALL(syscall(SYS_getcwd, b, 2));
  CALL(chdir("file"));
  CALL(chdir("none"));
  CALL(open("sub", O_RDONLY));
  CALL(fchdir(3));
  getcwd(b, sizeof b);
  TEXT(strrchr(b, '/'));
  CALL(chdir("../.."));
  CALL(open("d/file", O_RDONLY));
  CALL(fchdir(4));
  CALL(syscall(SYS_getdents64, 4, b, sizeof b));
  CALL(syscall(SYS_getdents64, 3, b, 8));
  WORKS(syscall(SYS_getdents64, 3, b, sizeof b));
  CALL(syscall(SYS_getdents64, 3, b, sizeof b));
  CALL(chdir("d/sub"));
  CALL(rmdir("../sub"));
  CALL(open("x", O_CREAT | O_WRONLY, 0600));
  return 0;
}
