#include <sys/sendfile.h>
#include <sys/uio.h>
#include "facts.h"
// Where O_APPEND puts what is written by offset; copies within one file; flags that ask for durable writes.
static void show(const char* name) {
  char text[64] = {0};
  const int f = open(name, O_RDONLY);
  printf("%s: %zd %s\n", name, read(f, text, 63), text);
  close(f);
}

static void positioned(void) {
  const int f = open("f", O_RDWR | O_CREAT | O_APPEND, 0644);
  struct iovec two[2] = {{"5", 1}, {"6", 1}};
  CALL(write(f, "12", 2));
  CALL(pwrite(f, "34", 2, 0));
  CALL(pwritev(f, two, 2, 1));
  CALL(pwritev2(f, two, 2, 0, RWF_DSYNC));
  CALL(lseek(f, 0, SEEK_CUR));
  CALL(pwritev2(f, two, 2, -1, RWF_SYNC));
  CALL(lseek(f, 0, SEEK_CUR));
  show("f");
  put_file("g", "0123456789");
  const int g = open("g", O_RDWR);
  CALL(pwritev2(g, two, 2, 0, RWF_APPEND));
  CALL(lseek(g, 0, SEEK_CUR));
  CALL(sendfile(f, g, NULL, 3));
  CALL(copy_file_range(g, NULL, f, NULL, 3, 0));
  show("f");
}

static void copies(void) {
  const int g = open("g", O_RDWR | O_TRUNC);
  loff_t from = 0, to = 2;
  CALL(write(g, "0123456789", 10));
  CALL(copy_file_range(g, &from, g, &to, 5, 0));
  to = 5;
  CALL(copy_file_range(g, &from, g, &to, 5, 0));
  FACT(from);
  show("g");
  from = 8, to = 10;  // only two bytes are left
  CALL(copy_file_range(g, &from, g, &to, 100, 0));
  show("g");
  from = 20, to = 20;
  CALL(copy_file_range(g, &from, g, &to, 10, 0));
  from = 0;
  CALL(copy_file_range(g, &from, g, &to, 10, 1));
  CALL(copy_file_range(g, &from, g, &to, -1, 0));
}

static int kept(int flag) {
  const int f = open("f", O_RDWR | flag);
  const int flags = fcntl(f, F_GETFL);
  close(f);
  return f < 0 || (flags & flag) == flag;  // not every file system takes O_DIRECT
}

int main(void) {
  scratch();
  positioned();
  copies();
  FACT(kept(O_SYNC));
  FACT(kept(O_DSYNC));
  FACT(kept(O_NOATIME));
  FACT(kept(O_DIRECT));
  const int f = open("f", O_WRONLY | O_DSYNC);
  FACT((fcntl(f, F_GETFL) & O_SYNC) == O_DSYNC);
  CALL(write(f, "durable", 7));
  CALL(fcntl(f, F_SETFL, O_NOATIME));
  FACT((fcntl(f, F_GETFL) & (O_NOATIME | O_SYNC)) == (O_NOATIME | O_DSYNC));
  CALL(open("f", O_RDONLY | O_TRUNC));
  show("f");
  CALL(open(".", O_RDONLY | O_TRUNC));
  return 0;
}
