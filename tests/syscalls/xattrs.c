#include <sys/inotify.h>
#include <sys/xattr.h>
#include "facts.h"
// The twelve calls for extended attributes: by path, by link, by descriptor.
static char text[70000];

static int sorted(const char* list, ssize_t size) {
  // The order of names is the file system's: count and sum tell enough.
  int names = 0, sum = 0;
  for (ssize_t i = 0; i < size; ++i) names += list[i] == 0, sum += list[i];
  return names * 100000 + sum;
}

static void moved(int fd) {
  CALL(setxattr("folder", "user.on-folder", "yes", 3, 0));
  CALL(getxattr("folder", "user.on-folder", text, sizeof(text)));
  rename("file", "renamed");
  CALL(getxattr("renamed", "user.first", text, sizeof(text)));
  link("renamed", "hard");
  CALL(getxattr("hard", "user.first", text, sizeof(text)));
  close(fd);
  fd = open("renamed", O_RDONLY);
  CALL(fsetxattr(fd, "user.read-only-descriptor", "x", 1, 0));
  close(fd);
  fd = open("renamed", O_PATH);
  CALL(fgetxattr(fd, "user.first", text, sizeof(text)));
}

int main(void) {
  scratch();
  put_file("file", "content");
  mkdir("folder", 0755);
  symlink("file", "link");
  int fd = open("file", O_RDWR);
  CALL(setxattr("file", "user.first", "value", 5, 0));
  CALL(getxattr("file", "user.first", text, sizeof(text)));
  FACT(memcmp(text, "value", 5));
  CALL(getxattr("file", "user.first", NULL, 0));
  CALL(getxattr("file", "user.first", text, 3));
  CALL(getxattr("file", "user.none", text, 3));
  CALL(getxattr("nothing", "user.none", text, 3));
  CALL(setxattr("file", "user.first", "other", 5, XATTR_CREATE));
  CALL(setxattr("file", "user.second", "x", 1, XATTR_REPLACE));
  CALL(setxattr("file", "user.first", "longer than before", 18, XATTR_REPLACE));
  CALL(setxattr("file", "user.second", "", 0, XATTR_CREATE));
  CALL(setxattr("file", "user.third", "x", 1, XATTR_CREATE | XATTR_REPLACE));
  CALL(setxattr("file", "user.third", "x", 1, 4));
  CALL(setxattr("file", "user.", "x", 1, 0));
  CALL(setxattr("file", "", "x", 1, 0));
  CALL(setxattr("file", "plain", "x", 1, 0));
  CALL(setxattr("file", "other.name", "x", 1, 0));
  CALL(setxattr("file", "user.large", text, 65537, 0));
  memset(text, 'n', 300);
  memcpy(text, "user.", 5);
  text[300] = 0;
  CALL(setxattr("file", text, "x", 1, 0));
  text[255] = 0;
  CALL(setxattr("file", text, "x", 1, 0));
  CALL(removexattr("file", text));
  CALL(setxattr("file", "user.null", NULL, 3, 0));
  CALL(getxattr("link", "user.first", text, sizeof(text)));
  CALL(lgetxattr("link", "user.first", text, sizeof(text)));
  CALL(lsetxattr("link", "user.first", "x", 1, 0));
  CALL(lsetxattr("file", "user.l", "by link", 7, 0));
  CALL(fgetxattr(fd, "user.l", text, sizeof(text)));
  CALL(fsetxattr(fd, "user.f", "by descriptor", 13, 0));
  CALL(lgetxattr("file", "user.f", text, sizeof(text)));
  CALL(fsetxattr(99, "user.f", "x", 1, 0));
  CALL(fgetxattr(99, "user.f", text, 1));
  CALL(flistxattr(99, text, 1));
  CALL(fremovexattr(99, "user.f"));
  ssize_t size;
  CALL(size = listxattr("file", text, sizeof(text)));
  FACT(sorted(text, size));
  CALL(listxattr("file", NULL, 0));
  CALL(listxattr("file", text, 5));
  CALL(flistxattr(fd, NULL, 0));
  CALL(llistxattr("link", text, sizeof(text)));
  CALL(llistxattr("file", NULL, 0));
  CALL(listxattr("nothing", NULL, 0));
  CALL(lremovexattr("link", "user.first"));
  CALL(lremovexattr("file", "user.l"));
  CALL(fremovexattr(fd, "user.f"));
  CALL(fremovexattr(fd, "user.f"));
  CALL(removexattr("file", "user.second"));
  CALL(removexattr("nothing", "user.second"));
  CALL(listxattr("file", NULL, 0));
  moved(fd);
  return 0;
}
