#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include "facts.h"
// What calls on files refuse: flags that they do not know, ranges that do not fit, descriptors of O_PATH.
static void flags(void) {
  char b[512];
  struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  CALL(linkat(AT_FDCWD, "g", AT_FDCWD, "g2", 0x8000));
  CALL(fchownat(AT_FDCWD, "g", -1, -1, 0x8000));
  CALL(syscall(SYS_utimensat, AT_FDCWD, "g", NULL, 0x8000));
  CALL(syscall(SYS_utimensat, 3, NULL, NULL, AT_SYMLINK_NOFOLLOW));
  CALL(syscall(SYS_utimensat, AT_FDCWD, NULL, NULL, 0));
  CALL(syscall(SYS_utimensat, AT_FDCWD, "none", omit, 0x8000));
  CALL(syscall(SYS_newfstatat, AT_FDCWD, "g", b, 0x8000));
  CALL(syscall(SYS_newfstatat, AT_FDCWD, "g", b, AT_NO_AUTOMOUNT));
  CALL(syscall(SYS_statx, AT_FDCWD, "g", 0x8000, 0x7ff, b));
  CALL(syscall(SYS_statx, AT_FDCWD, "g", 0, 0x80000000u, b));
  CALL(syscall(SYS_statx, AT_FDCWD, "g", AT_STATX_SYNC_TYPE, 0x7ff, b));
  CALL(syscall(SYS_statx, AT_FDCWD, "g", AT_STATX_DONT_SYNC, 0x7ff, b));
  CALL(unlinkat(AT_FDCWD, "g", 1));
  CALL(renameat2(AT_FDCWD, "none", AT_FDCWD, "g3", 0x100));
  CALL(faccessat(AT_FDCWD, "g", F_OK, 0x8000));
}

static void ranges(int g, int pipe) {
  CALL(sync_file_range(g, 0, 0, 0x80));
  CALL(sync_file_range(g, -1, 1, 1));
  CALL(sync_file_range(g, 1, INT64_MAX, 1));
  CALL(sync_file_range(g, 0, 0, SYNC_FILE_RANGE_WRITE));
  CALL(sync_file_range(pipe, 0, 0, SYNC_FILE_RANGE_WRITE));
  CALL(sync_file_range(pipe, 0, 0, 0x80));
  FACT(posix_fadvise(g, 0, 0, 99));
  FACT(posix_fadvise(g, 0, -1, POSIX_FADV_NORMAL));
  FACT(posix_fadvise(g, 0, 0, POSIX_FADV_DONTNEED));
  FACT(posix_fadvise(pipe, 0, 0, 0));
  CALL(readahead(g, 0, 10));
  CALL(readahead(pipe, 0, 10));
  CALL(readahead(open("g", O_WRONLY), 0, 10));
  CALL(readahead(open(".", O_RDONLY), 0, 10));
  CALL(syncfs(pipe));
  CALL(fsync(pipe));
}

static void lock(int g, int whence, off_t start, off_t length) {
  struct flock k = {F_WRLCK, whence, start, length};
  CALL(fcntl(g, F_SETLK, &k));
}
static void locks(int g) {
  lock(g, SEEK_SET, 0x7ffffffffffffff0, 100);
  lock(g, SEEK_END, 0x7fffffffffffffff, 0);
  lock(g, SEEK_SET, 5, -6);
  lock(g, SEEK_SET, -1, 1);
  lock(g, SEEK_SET, 5, -5);
  lock(g, SEEK_SET, INT64_MAX, 1);
  lock(g, 3, 0, 1);
}

static void path_only(void) {
  char b[512];
  struct flock k = {F_RDLCK};
  int n;
  const int p = open("g", O_PATH | O_RDWR | O_APPEND | O_TRUNC);
  FACT(fcntl(p, F_GETFL) == O_PATH || fcntl(p, F_GETFL) == (O_PATH | 0100000));
  CALL(fchmod(p, 0600));
  CALL(fchown(p, -1, -1));
  CALL(futimens(p, NULL));
  CALL(fsync(p));
  CALL(syncfs(p));
  CALL(ftruncate(p, 0));
  CALL(fallocate(p, 0, 0, 1));
  CALL(lseek(p, 0, 0));
  CALL(read(p, b, 1));
  CALL(write(p, b, 1));
  CALL(flock(p, LOCK_SH));
  CALL(ioctl(p, FIONREAD, &n));
  CALL(ioctl(p, FIOCLEX));
  CALL(fcntl(p, F_SETFL, 0));
  CALL(fcntl(p, F_GETLK, &k));
  CALL(fcntl(p, F_GETFD));
  CALL(fcntl(p, F_SETFD, 1));
  FACT((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, p, 0));
  FACT(errno == EBADF);
  CALL(fgetxattr(p, "user.x", b, 1));
  CALL(posix_fadvise(p, 0, 0, 0));
  CALL(fstat(p, (struct stat*)b));
  CALL(fstatfs(p, (struct statfs*)b));
  CALL(fchownat(p, "", -1, -1, AT_EMPTY_PATH));
  CALL(dup(p) >= 0);
  const int d = open(".", O_PATH);
  CALL(syscall(SYS_getdents64, d, b, sizeof b));
  CALL(openat(d, "g", O_RDONLY) >= 0);
  CALL(fchdir(d));
}

int main(void) {
  int p[2];
  scratch();
  put_file("g", "0123456789");
  const int g = open("g", O_RDWR);
  pipe(p);
  flags();
  ranges(g, p[0]);
  locks(g);
  path_only();
  return 0;
}
