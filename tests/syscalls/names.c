#include <dirent.h>
#include "facts.h"
// link, unlink, symlink, readlink, rename, mkdir, rmdir and their …at forms.
int main(void) {
  scratch();
  char b[32] = {0};
  put_file("f", "x");
  CALL(link("f", "g"));
  CALL(link("f", "g"));
  CALL(link("none", "h"));
  CALL(mkdir("d", 0755));
  CALL(link("d", "e"));
  CALL(unlink("d"));
  CALL(rmdir("f"));
  CALL(rmdir("."));
  CALL(mkdir("d", 0755));
  CALL(mkdir("d/e", 0700));
  CALL(rmdir("d"));
  CALL(unlink("none"));
  CALL(symlink("target", "s"));
  CALL(symlink("target", "s"));
  CALL(readlink("s", b, 3));
  TEXT(b);
  CALL(readlink("s", b, 31));
  CALL(readlink("f", b, 31));
  CALL(readlink("s", b, 0));
  CALL(rename("f", "d/f"));
  CALL(rename("none", "x"));
  CALL(rename("d", "d/e/x"));
  CALL(rename("g", "d/f"));
  CALL(rename("d/f", "d"));
  CALL(rename("d", "s"));
  CALL(mkdir("empty", 0755));
  CALL(rename("d", "empty"));
  CALL(access("empty/f", F_OK));
  put_file("a", "a");
  put_file("b", "b");
  CALL(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
  CALL(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
  CALL(rename("a", "b"));
  CALL(rename("c", "c"));
  CALL(mkdirat(AT_FDCWD, "m", 0755));
  CALL(open("m", O_RDONLY | O_DIRECTORY));
  CALL(symlinkat("../b", 3, "up"));
  CALL(readlinkat(3, "up", b, 31));
  CALL(linkat(AT_FDCWD, "b", 3, "b", 0));
  CALL(renameat(3, "b", AT_FDCWD, "bb"));
  CALL(unlinkat(3, "up", 0));
  CALL(unlinkat(AT_FDCWD, "m", 0));
  CALL(unlinkat(AT_FDCWD, "m", AT_REMOVEDIR));
  CALL(unlinkat(AT_FDCWD, "bb", AT_REMOVEDIR));
  CALL(mknod("node", S_IFREG | 0600, 0));
  CALL(mkdir("", 0755));
  return 0;
}
