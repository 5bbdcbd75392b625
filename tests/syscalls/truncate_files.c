#include "facts.h"
// truncate, ftruncate, fallocate, fsync, fdatasync, sync, syncfs, sync_file_range, SEEK_DATA.
int main(void) {
  scratch();
  char b[8] = "xxxxxxx";
  put_file("f", "0123456789");
  CALL(truncate("f", 4));
  CALL(open("f", O_RDWR));
  CALL(lseek(3, 0, SEEK_END));
  CALL(ftruncate(3, 8));
  CALL(pread(3, b, 8, 0));
  FACT(b[3]);
  FACT(b[4]);
  CALL(ftruncate(3, -1));
  CALL(truncate("none", 0));
  CALL(truncate(".", 0));
  CALL(open("f", O_RDONLY));
  CALL(ftruncate(4, 0));
  CALL(fallocate(3, 0, 0, 100));
  CALL(lseek(3, 0, SEEK_END));
  CALL(fallocate(3, 0, 0, 0));
  CALL(fallocate(3, 0, -1, 10));
  CALL(fallocate(4, 0, 0, 10));
  CALL(fsync(3));
  CALL(fdatasync(3));
  CALL(fsync(33));
  CALL(sync_file_range(3, 0, 0, 0));
  CALL(syncfs(3));
  sync();
  CALL(lseek(3, 0, SEEK_DATA));
  CALL(lseek(3, 100, SEEK_DATA));
  CALL(lseek(3, 100, SEEK_HOLE));
  CALL(fallocate(3, FALLOC_FL_KEEP_SIZE, 0, 4096));
  CALL(lseek(3, 0, SEEK_END));
  CALL(fallocate(3, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2));
  CALL(pread(3, b, 4, 0));
  FACT(b[0]);
  FACT(b[2]);
  return 0;
}
