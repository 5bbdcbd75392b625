#include <dirent.h>
#include "facts.h"
// link, unlink, symlink, readlink, rename, mkdir, rmdir and their …at forms.
// RENAME_EXCHANGE, with a folder that is worked in.
static int exchange(const char* a, const char* b) {
  return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}
static void exchanges(void) {
  char here[4096], b[32] = {0};
  struct stat s;
  mkdir("x", 0755);
  mkdir("x/in", 0755);
  mkdir("x/in/worked", 0755);
  put_file("plain", "plain");
  CALL(exchange("x/in", "none"));
  CALL(exchange("none", "x/in"));
  CALL(exchange("x", "x/in"));
  CALL(exchange("x/in", "x"));
  CALL(exchange("x/in/", "plain/"));
  CALL(exchange("plain", "plain"));
  CALL(renameat2(AT_FDCWD, "x", AT_FDCWD, "plain", RENAME_EXCHANGE | RENAME_NOREPLACE));
  CALL(chdir("x/in/worked"));
  CALL(exchange("../../../plain", "../../in"));
  TEXT(getcwd(here, sizeof here) == NULL ? "" : strstr(here, "/plain"));
  CALL(stat("../..", &s));
  const ino_t above = s.st_ino;
  CALL(chdir("../.."));
  CALL(stat(".", &s));
  FACT(s.st_ino == above);
  CALL(read(open("x/in", O_RDONLY), b, 31));
  TEXT(b);
  CALL(rmdir("plain/worked"));
  CALL(stat("x", &s));
  FACT(s.st_nlink == 2 || s.st_nlink == 1);  // some file systems do not count
  CALL(exchange("x", "plain"));
  CALL(access("plain/in", F_OK));
}

// A link to a folder with a slash behind it: neither the link nor the folder goes.
static void links_with_slash(void) {
  mkdir("led-to", 0755);
  symlink("led-to", "leads");
  CALL(rename("leads/", "moved"));
  CALL(rmdir("leads/"));
  CALL(unlink("leads/"));
  CALL(unlink("led-to/"));
  CALL(access("led-to", F_OK));
  CALL(rename("led-to/", "moved/"));
  CALL(rmdir("moved/"));
  CALL(unlink("leads"));
}
// The same as the new name, and one that leads nowhere.
static void new_links_with_slash(void) {
  mkdir("goes", 0755);
  mkdir("led-to", 0755);
  symlink("led-to", "leads");
  symlink("nowhere", "dangles");
  put_file("plain-file", "x");
  for (int i = 0; i < 2; ++i) {
    const char* to = i == 0 ? "leads/" : "dangles//";
    CALL(rename("goes", to));
    CALL(renameat2(AT_FDCWD, "goes", AT_FDCWD, to, RENAME_EXCHANGE));
    CALL(renameat2(AT_FDCWD, "goes", AT_FDCWD, to, RENAME_NOREPLACE));
    CALL(rename("plain-file", to));
    CALL(mkdir(to, 0755));
    CALL(link("plain-file", to));
    CALL(symlink("plain-file", to));
    CALL(mknod(to, S_IFREG | 0644, 0));
    CALL(unlink(to));
    CALL(rmdir(to));
  }
  CALL(access("goes", F_OK));
  CALL(access("led-to", F_OK));
  CALL(access("nowhere", F_OK));
  CALL(mkdir("none/", 0755));
  CALL(rmdir("none/"));
  CALL(unlink("none/"));
  CALL(rename("none/", "other"));
  CALL(mkdir("/", 0755));
  CALL(rmdir("goes/"));
  CALL(rmdir("led-to"));
  CALL(unlink("leads"));
  CALL(unlink("dangles"));
  CALL(unlink("plain-file"));
}

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
  exchanges();
  links_with_slash();
  new_links_with_slash();
  return 0;
}
