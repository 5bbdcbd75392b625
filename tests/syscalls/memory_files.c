#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include "facts.h"
// memfd_create, sendfile, copy_file_range, statfs, fstatfs, readahead, posix_fadvise, getrandom.

// Without a place in a file system, it is not in one that takes no writes.
static void by_proc(void) {
  char path[32];
  const int m = memfd_create("mm", 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", m);
  FACT(open(path, O_RDWR) >= 0);
  FACT(open(path, O_RDONLY | O_TRUNC) >= 0);
  CALL(fchmod(m, 0600));
  CALL(chmod(path, 0640));
  CALL(truncate(path, 10));
  CALL(lseek(m, 0, SEEK_END));
  CALL(access(path, W_OK));
  CALL(faccessat(m, "", W_OK, AT_EMPTY_PATH));
}

int main(void) {
  scratch();
  char b[64] = {0};
  CALL(memfd_create("name", MFD_CLOEXEC));
  CALL(ftruncate(3, 8192));
  char* m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
  strcpy(m + 4096, "in memory");
  CALL(pread(3, b, 10, 4096));
  TEXT(b);
  CALL(pwrite(3, "OUT", 3, 4096));
  TEXT(m + 4096);
  CALL(memfd_create("name", 0x8000));
  put_file("f", "0123456789");
  CALL(open("f", O_RDWR));
  CALL(open("g", O_RDWR | O_CREAT, 0600));
  off_t offset = 3;
  CALL(sendfile(5, 4, &offset, 4));
  FACT(offset);
  CALL(sendfile(5, 4, NULL, 100));
  CALL(lseek(5, 0, SEEK_CUR));
  CALL(sendfile(5, 99, NULL, 1));
  loff_t in = 0, out = 100;
  CALL(copy_file_range(4, &in, 5, &out, 5, 0));
  CALL(lseek(5, 0, SEEK_END));
  CALL(copy_file_range(4, &in, 5, &out, 5, 1));
  struct statfs s;
  CALL(statfs("/tmp", &s));
  FACT(s.f_bsize > 0);
  CALL(fstatfs(4, &s));
  CALL(statfs("none", &s));
  CALL(readahead(4, 0, 10));
  CALL(posix_fadvise(4, 0, 0, POSIX_FADV_SEQUENTIAL));
  CALL(syscall(SYS_getrandom, b, 32, 0));
  CALL(syscall(SYS_getrandom, b, 32, 99));
  CALL(syscall(SYS_getrandom, b, 32, 6));  // GRND_RANDOM | GRND_INSECURE
  CALL(syscall(SYS_getrandom, b, 32, 4));
  by_proc();
  return 0;
}
