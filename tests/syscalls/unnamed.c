#include <sys/inotify.h>
#include <sys/xattr.h>
#include "facts.h"
// Files without a name that get one (O_TMPFILE, linkat), and what else goes by a descriptor in place of a
// path.
static char proc[64];
static const char* path_of(int fd) {
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  return proc;
}
static void temporary(void) {
  struct stat s;
  int t = open(".", O_TMPFILE | O_RDWR, 0600);
  CALL(write(t, "x", 1));
  CALL(linkat(AT_FDCWD, path_of(t), AT_FDCWD, "a", AT_SYMLINK_FOLLOW));
  CALL(linkat(AT_FDCWD, path_of(t), AT_FDCWD, "a", AT_SYMLINK_FOLLOW));
  CALL(linkat(t, "", AT_FDCWD, "b", AT_EMPTY_PATH));
  CALL(fstat(t, &s));
  FACT(s.st_nlink);
  CALL(stat("a", &s));
  FACT(s.st_size);
  t = open(".", O_TMPFILE | O_RDWR, 0600);
  CALL(linkat(t, "", AT_FDCWD, "c", AT_EMPTY_PATH));
  CALL(linkat(t, "", AT_FDCWD, "d", 0));
  CALL(unlink("c"));
  CALL(open("c", O_RDONLY));
  FACT((fcntl(t, F_GETFL) & O_TMPFILE) == O_TMPFILE);
  CALL(linkat(t, "", AT_FDCWD, "c", AT_EMPTY_PATH));  // it has had its name
  CALL(linkat(AT_FDCWD, path_of(t), AT_FDCWD, "c", AT_SYMLINK_FOLLOW));
  for (int i = 0; i < 64; ++i) {
    snprintf(proc, sizeof proc, ".unnamed-%d", i);
    put_file(proc, "");
  }
  FACT(open(".", O_TMPFILE | O_RDWR, 0600) >= 0);
  t = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
  CALL(linkat(AT_FDCWD, path_of(t), AT_FDCWD, "e", AT_SYMLINK_FOLLOW));
  CALL(linkat(AT_FDCWD, path_of(t), AT_FDCWD, "e", 0));
}

static void removed(void) {
  put_file("f", "");
  const int f = open("f", O_RDONLY);
  CALL(linkat(AT_FDCWD, path_of(f), AT_FDCWD, "g", AT_SYMLINK_FOLLOW));
  CALL(unlink("f"));
  CALL(linkat(AT_FDCWD, path_of(f), AT_FDCWD, "f", AT_SYMLINK_FOLLOW));
  CALL(unlink("g"));
  CALL(unlink("f"));
  CALL(linkat(AT_FDCWD, path_of(f), AT_FDCWD, "f", AT_SYMLINK_FOLLOW));
  CALL(linkat(f, "", AT_FDCWD, "f", AT_EMPTY_PATH));
  CALL(linkat(open(".", O_RDONLY), "", AT_FDCWD, "f", AT_EMPTY_PATH));
}

// Opened anew by /proc: like any other name.
static void reopened(void) {
  char b[8] = {0};
  put_file("again", "text");
  const int f = open("again", O_RDONLY), p = open("again", O_PATH);
  unlink("again");
  const int g = open(path_of(p), O_RDWR);
  CALL(read(g, b, 7));
  CALL(open(path_of(f), O_WRONLY | O_TRUNC) >= 0);
  CALL(lseek(f, 0, SEEK_END));
  CALL(open(path_of(f), O_RDONLY | O_DIRECTORY));
  CALL(open(path_of(open(".", O_RDONLY)), O_WRONLY));
  FACT(fcntl(open(path_of(f), O_WRONLY | O_APPEND | O_CREAT), F_GETFL) & (O_ACCMODE | O_APPEND | O_CREAT));
  CALL(open(path_of(f), O_RDONLY | O_NOFOLLOW));
}

// What is below a link of /proc, or goes by it in other calls, is in the folder that it stands for.
static const char* below(int fd, const char* rest) {
  snprintf(proc, sizeof proc, "/proc/self/fd/%d%s", fd, rest);
  return proc;
}
static void folders(void) {
  char b[256];
  mkdir("w", 0755);
  const int w = open("w", O_RDONLY);
  chdir("w");
  CALL(rmdir("../w"));
  memset(b, 0, sizeof b);
  readlink("/proc/self/cwd", b, sizeof b - 1);
  TEXT(strrchr(b, '/'));
  CALL(mkdir("../w", 0755));
  put_file("../w/file", "");
  CALL(open("/proc/self/cwd/file", O_RDONLY));
  CALL(open(below(w, "/file"), O_RDONLY));
  CALL(open(below(w, "/new"), O_RDWR | O_CREAT, 0600));
  CALL(mkdir(below(w, "/new"), 0700));
  FACT(open(below(w, "/../w/file"), O_RDONLY) >= 0);
  CALL(chdir(".."));
  CALL(chdir(path_of(w)));
  FACT(getcwd(b, sizeof b) == NULL);
  CALL(chdir(".."));
  const int other = open("w", O_RDONLY);
  CALL(rename("w", "v"));
  CALL(access(below(other, "/file"), F_OK));
  CALL(access(path_of(other), W_OK));
  FACT(open(path_of(other), O_TMPFILE | O_RDWR, 0600) >= 0);
  CALL(setxattr(path_of(other), "user.x", "y", 1, 0));
  CALL(getxattr("v", "user.x", b, sizeof b));
  CALL(rmdir(below(other, "/")));
  CALL(chdir(path_of(other)));
  CALL(access("file", F_OK));
  CALL(chdir(".."));
}
static void pipes(void) {
  int p[2];
  struct stat s;
  pipe(p);
  char value[8];
  CALL(setxattr(path_of(p[0]), "user.x", "y", 1, 0));
  CALL(fgetxattr(p[1], "user.x", value, sizeof value));
  CALL(removexattr(path_of(p[0]), "user.x"));
  CALL(flistxattr(p[0], value, sizeof value));
  CALL(stat(below(p[0], "/x"), &s));
  CALL(stat(below(p[0], "/"), &s));
  CALL(stat(path_of(p[0]), &s));
  CALL(access(path_of(p[0]), W_OK));
  CALL(chdir(path_of(p[0])));
  CALL(open(path_of(p[0]), O_TMPFILE | O_RDWR, 0600));
  CALL(open(path_of(p[0]), O_RDONLY | O_DIRECTORY));
}
// Asking is no use: nothing is opened or closed.
static void unnoticed(void) {
  char b[4096];
  struct stat s;
  put_file("watched", "");
  const int f = open("watched", O_RDONLY), in = inotify_init1(IN_NONBLOCK);
  FACT(inotify_add_watch(in, path_of(f), IN_CLOSE | IN_OPEN) >= 0);
  CALL(stat(path_of(f), &s));
  CALL(read(in, b, sizeof b));
  close(open("watched", O_RDONLY));
  CALL(read(in, b, sizeof b));
}

static void links(void) {
  char b[32] = {0};
  symlink("target", "l");
  const int l = open("l", O_PATH | O_NOFOLLOW);
  CALL(readlinkat(l, "", b, 31));
  TEXT(b);
  CALL(readlinkat(open(".", O_PATH), "", b, 31));
  CALL(readlinkat(AT_FDCWD, "", b, 31));
  CALL(readlinkat(99, "", b, 31));
}

static int fchmodat2(int folder, const char* path, int mode, int flags) {  // Linux 6.6
  const int result = syscall(452, folder, path, mode, flags);
  return result == 0 || errno == ENOSYS ? 0 : errno;
}
static void modes(void) {
  struct stat s;
  put_file("p", "");
  const int p = open("p", O_PATH);
  FACT(fchmodat2(AT_FDCWD, "p", 0600, 0));
  FACT(fchmodat2(AT_FDCWD, "p", 0600, AT_SYMLINK_NOFOLLOW));
  FACT(fchmodat2(p, "", 0600, AT_EMPTY_PATH));
  CALL(chmod("p", 06755));
  CALL(chown("p", -1, -1));
  CALL(stat("p", &s));
  FACT(s.st_mode);
  CALL(chmod("p", 06745));
  CALL(chown("p", -1, getgid()));
  CALL(stat("p", &s));
  FACT(s.st_mode & 04777);
  CALL(mkdir("m", 0755));
  CALL(chmod("m", 06755));
  CALL(chown("m", -1, -1));
  CALL(stat("m", &s));
  FACT(s.st_mode);
}

int main(void) {
  scratch();
  temporary();
  removed();
  reopened();
  folders();
  pipes();
  unnoticed();
  links();
  modes();
  return 0;
}
