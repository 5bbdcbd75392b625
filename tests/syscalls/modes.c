#include <sys/time.h>
#include <utime.h>
#include "facts.h"
// chmod, fchmod, fchmodat, chown family, umask, access, utimensat, utimes, futimesat.
int main(void) {
  scratch();
  struct stat s;
  FACT(umask(027));
  FACT(umask(022));
  CALL(open("f", O_RDWR | O_CREAT, 0666));
  CALL(fstat(3, &s));
  FACT(s.st_mode & 07777);
  CALL(chmod("f", 0640));
  CALL(fchmod(3, 04711));
  CALL(stat("f", &s));
  FACT(s.st_mode & 07777);
  CALL(fchmodat(AT_FDCWD, "f", 0400, 0));
  CALL(chmod("none", 0600));
  CALL(fchmod(44, 0600));
  CALL(chown("f", -1, -1));
  CALL(fchown(3, 0, 0));
  CALL(lchown("f", 0, 0));
  CALL(fchownat(AT_FDCWD, "none", 0, 0, 0));
  CALL(access("f", R_OK | W_OK));
  CALL(access("f", X_OK));
  CALL(access("none", F_OK));
  CALL(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
  CALL(access("f", 99));
  struct timespec t[2] = {{1000, 500}, {2000, 999999999}};
  CALL(utimensat(AT_FDCWD, "f", t, 0));
  CALL(stat("f", &s));
  FACT(s.st_mtim.tv_sec);
  FACT(s.st_mtim.tv_nsec);
  FACT(s.st_atim.tv_sec);
  t[0].tv_nsec = UTIME_OMIT;
  t[1].tv_nsec = UTIME_OMIT;
  CALL(utimensat(AT_FDCWD, "f", t, 0));
  CALL(stat("f", &s));
  FACT(s.st_mtim.tv_sec);
  t[1].tv_nsec = UTIME_NOW;
  CALL(futimens(3, t));
  CALL(stat("f", &s));
  FACT(s.st_mtim.tv_sec > 1600000000);
  t[1].tv_nsec = 1000000000;
  CALL(futimens(3, t));
  struct timeval v[2] = {{5, 6}, {7, 8}};
  CALL(utimes("f", v));
  CALL(stat("f", &s));
  FACT(s.st_mtim.tv_sec);
  FACT(s.st_mtim.tv_nsec);
  CALL(futimesat(AT_FDCWD, "f", v));
  struct utimbuf u = {11, 12};
  CALL(syscall(SYS_utime, "f", &u));
  CALL(stat("f", &s));
  FACT(s.st_mtime);
  CALL(utimes("none", v));
  return 0;
}
