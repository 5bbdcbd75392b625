#include <dirent.h>
#include <sys/wait.h>
#include "facts.h"
// Working folders and folder descriptors whose names change or go: they stay the same folders.
static char home[256], here[4096];
static const char* place(void) {  // below the scratch folder
  if (getcwd(here, sizeof here) == NULL) return strerrorname_np(errno);
  return here + strlen(home);
}
static int same(int fd, const char* relative, const char* path) {
  struct stat a, b;
  if (fstatat(fd, relative, &a, 0) != 0 || stat(path, &b) != 0) return -errno;
  return a.st_ino == b.st_ino;
}
static uint64_t number_of(int folder, const char* name) {  // d_ino
  const int fd = openat(folder, ".", O_RDONLY);
  DIR* d = fdopendir(fd);
  struct dirent* e;
  uint64_t number = 0;
  while ((e = readdir(d)) != NULL)
    if (strcmp(e->d_name, name) == 0) number = e->d_ino;
  closedir(d);
  return number;
}

static void renamed(void) {
  mkdir("a", 0755);
  mkdir("a/below", 0755);
  chdir("a");
  put_file("in", "in");
  const int below = open("below", O_RDONLY);
  CALL(rename("../a", "../b"));
  TEXT(place());
  CALL(open("in", O_RDONLY) >= 0);
  CALL(mkdir("../a", 0755));
  put_file("new", "");
  CALL(access("../a/new", F_OK));
  CALL(access("../b/new", F_OK));
  FACT(same(below, "..", "../b"));
  // Within another one that moves, and with a link on the way.
  CALL(mkdir("../outer", 0755));
  CALL(rename("../b", "../outer/c"));
  CALL(symlink("outer", "../../link"));
  CALL(symlink("outer", "../link"));
  CALL(chdir("../link/c/below"));
  CALL(chdir(home));
  CALL(chdir("link/c/below"));
  TEXT(place());
  CALL(rename("../../../outer", "../../../moved"));
  TEXT(place());
  FACT(same(below, "../..", "../../../moved"));
  FACT(same(AT_FDCWD, "../..", "../../../moved"));
  FACT(number_of(below, "..") == number_of(open("../..", O_RDONLY), "c"));
  CALL(chdir(home));
  CALL(fchdir(below));
  TEXT(place());
  CALL(chdir(home));
}

static void removed(void) {
  struct stat s;
  mkdir("r", 0755);
  chdir("r");
  const int fd = open(".", O_RDONLY);
  CALL(rmdir("../r"));
  TEXT(place());
  CALL(mkdir("../r", 0755));
  TEXT(place());
  CALL(open("file", O_CREAT | O_WRONLY, 0600));
  CALL(mkdir("folder", 0755));
  CALL(symlink("x", "link"));
  put_file("../plain", "");
  CALL(link("../plain", "hard"));
  CALL(rename("../plain", "moved"));
  CALL(stat(".", &s));
  FACT(s.st_nlink);
  CALL(access("../r", F_OK));
  FACT(same(AT_FDCWD, "..", home));
  CALL(syscall(SYS_getdents64, fd, here, sizeof here));
  CALL(open(".", O_RDONLY) >= 0);
  CALL(chdir(home));
  CALL(fchdir(fd));
  TEXT(place());
  CALL(rename("../r", "../q"));  // the other one
  TEXT(place());
  FACT(same(AT_FDCWD, "..", home));
  CALL(chdir(".."));
  TEXT(place());
}

static void replaced(void) {
  mkdir("old", 0755);
  mkdir("young", 0755);
  put_file("young/file", "");
  chdir("old");
  CALL(rename("../young", "../old"));
  TEXT(place());
  CALL(access("file", F_OK));
  chdir(home);
}

// What a child renames moves its parent's folder, too.
static void by_a_child(void) {
  mkdir("shared", 0755);
  chdir("shared");
  if (fork() == 0) _exit(rename("../shared", "../given") != 0);
  int status;
  wait(&status);
  FACT(status);
  TEXT(place());
  if (fork() == 0) {
    chdir("..");
    _exit(rmdir("given") != 0);
  }
  wait(&status);
  FACT(status);
  TEXT(place());
  chdir(home);
}

static void refused(void) {
  mkdir("d", 0755);
  mkdir("d/e", 0755);
  CALL(rmdir("d/e/.."));
  CALL(rmdir("d/e/../"));
  CALL(rmdir("d/e/."));
  CALL(rmdir("/"));
  CALL(unlink("d/e/.."));
  CALL(unlink("d/."));
  CALL(rename("d/.", "x"));
  CALL(rename("d/e/..", "x"));
  CALL(rename("d", "e/.."));
  CALL(rename("d", "d/.."));
}

int main(void) {
  scratch();
  getcwd(home, sizeof home);
  renamed();
  removed();
  replaced();
  by_a_child();
  refused();
  return 0;
}
