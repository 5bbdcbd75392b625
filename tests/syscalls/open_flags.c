#include "facts.h"
// open, openat, creat, close: flags and errors.
int main(void) {
  scratch();
  CALL(open("missing", O_RDONLY));
  CALL(open("f", O_RDWR | O_CREAT | O_EXCL, 0600));
  CALL(open("f", O_RDWR | O_CREAT | O_EXCL, 0600));
  CALL(mkdir("d", 0755));
  CALL(open("d", O_RDWR));
  CALL(open("d", O_RDONLY | O_DIRECTORY));
  CALL(open("f", O_RDONLY | O_DIRECTORY));
  CALL(open("f/x", O_RDONLY));
  CALL(symlink("f", "l"));
  CALL(open("l", O_RDONLY | O_NOFOLLOW));
  CALL(open("l", O_RDONLY));
  CALL(symlink("loop", "loop"));
  CALL(open("loop", O_RDONLY));
  CALL(symlink("nowhere", "dangling"));
  CALL(open("dangling", O_RDONLY));
  CALL(open("dangling", O_WRONLY | O_CREAT, 0600));
  CALL(access("nowhere", F_OK));
  CALL(openat(4, "inside", O_WRONLY | O_CREAT, 0600));
  CALL(access("d/inside", F_OK));
  CALL(openat(3, "x", O_RDONLY));
  CALL(openat(99, "x", O_RDONLY));
  CALL(open("", O_RDONLY));
  CALL(open("f/", O_RDONLY));
  CALL(open("new/", O_WRONLY | O_CREAT, 0600));
  CALL(close(5));
  CALL(close(5));
  CALL(close(-1));
  CALL(creat("c", 0640));
  CALL(write(5, "abc", 3));
  CALL(open("c", O_WRONLY | O_TRUNC));
  CALL(lseek(5, 0, SEEK_END));
  CALL(open("c", O_PATH));
  char b[4];
  CALL(read(9, b, 1));
  CALL(open((char*)1, O_RDONLY));
  char longname[300];
  memset(longname, 'n', 299);
  longname[299] = 0;
  CALL(open(longname, O_RDONLY));
  CALL(open(".", O_TMPFILE | O_RDWR, 0600));
  return 0;
}
