#include <sys/sysmacros.h>
#include "facts.h"
// stat, lstat, fstat, newfstatat, statx: types, modes, sizes, links.
static void show(const char* what, int result, struct stat* s) {
  printf("%s: %d %o %ld %ld %d %d\n", what, result, s->st_mode, S_ISDIR(s->st_mode) ? 0 : (long)s->st_size,
         S_ISDIR(s->st_mode) ? 0 : (long)s->st_nlink, s->st_uid, s->st_gid);
}
int main(void) {
  scratch();
  struct stat s = {0};
  umask(022);
  put_file("f", "12345");
  CALL(mkdir("d", 0751));
  CALL(symlink("f", "l"));
  CALL(link("f", "h"));
  show("file", stat("f", &s), &s);
  show("folder", stat("d", &s), &s);
  show("link", lstat("l", &s), &s);
  show("followed", stat("l", &s), &s);
  int fd = open("f", O_RDONLY);
  show("open", fstat(fd, &s), &s);
  FACT(s.st_blksize > 0);
  show("at", fstatat(AT_FDCWD, "l", &s, AT_SYMLINK_NOFOLLOW), &s);
  CALL(fstatat(fd, "", &s, AT_EMPTY_PATH));
  CALL(fstatat(fd, "", &s, 0));
  CALL(stat("none", &s));
  CALL(stat("f/none", &s));
  CALL(fstat(55, &s));
  CALL(stat("f", (struct stat*)8));
  struct statx x = {0};
  CALL(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &x));
  FACT(x.stx_size);
  FACT(x.stx_mode);
  FACT(x.stx_nlink);
  FACT((x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
  CALL(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
  CALL(stat("/dev/null", &s));
  FACT(S_ISCHR(s.st_mode));
  FACT(major(s.st_rdev));
  FACT(minor(s.st_rdev));
  struct stat other;
  CALL(stat("h", &s));
  CALL(stat("f", &other));
  FACT(s.st_ino == other.st_ino && s.st_dev == other.st_dev);
  return 0;
}
