#include <linux/openat2.h>
#include "facts.h"
// openat2: what it refuses, and where paths may not lead.
static int folder;
static long openat2(int from, const char* path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {flags, mode, resolve};
  const long fd = syscall(SYS_openat2, from, path, &how, sizeof how);
  if (fd < 0) return -1;
  close(fd);
  return 0;
}

static void arguments(void) {
  struct {
    struct open_how how;
    uint64_t more;
  } large = {{O_RDONLY}};
  CALL(openat2(AT_FDCWD, "f", O_RDONLY, 0, 0));
  CALL(openat2(AT_FDCWD, "f", O_RDONLY, 0600, 0));
  CALL(openat2(AT_FDCWD, "f", O_RDONLY | 1ull << 40, 0, 0));
  CALL(openat2(AT_FDCWD, "f", O_RDONLY | O_PATH | O_APPEND, 0, 0));
  CALL(openat2(AT_FDCWD, "f", O_PATH | O_CLOEXEC, 0, 0));
  CALL(openat2(AT_FDCWD, "new", O_RDWR | O_CREAT, 0600, 0));
  CALL(openat2(AT_FDCWD, "new", O_RDWR | O_CREAT, 0100600, 0));
  CALL(openat2(AT_FDCWD, "f", O_RDONLY, 0, 0x100));
  CALL(openat2(AT_FDCWD, "f", O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT));
  FACT(openat2(AT_FDCWD, "f", O_RDONLY, 0, RESOLVE_CACHED) == 0 || errno == EAGAIN);
  CALL(openat2(AT_FDCWD, "f", O_RDWR | O_CREAT, 0600, RESOLVE_CACHED));
  CALL(syscall(SYS_openat2, AT_FDCWD, "f", &large, 8));
  WORKS(syscall(SYS_openat2, AT_FDCWD, "f", &large, sizeof large));
  large.more = 1;
  CALL(syscall(SYS_openat2, AT_FDCWD, "f", &large, sizeof large));
  CALL(syscall(SYS_openat2, AT_FDCWD, "f", &large, 5000));
  CALL(syscall(SYS_openat2, AT_FDCWD, "f", NULL, 24));
}

static void paths(uint64_t resolve) {
  static const char* const names[] = {
      "in",   "sub/in", "sub/..",    "..",          "sub/../in",      "sub/../../f",
      "/in",  "to_in",  "to_f",      "absolute",    "to_in",          ".",
      "none", "loop",   "sub/up/in", "magic/stdin", "magic/self/fd/0"};
  printf("resolve %d\n", (int)resolve);
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
    if (resolve == RESOLVE_NO_XDEV && strcmp(names[i], "absolute") == 0)
      continue;  // where is this folder mounted?
    errno = 0;
    const long result = openat2(folder, names[i], O_RDONLY, 0, resolve);
    printf("%s: %ld %s\n", names[i], result, result < 0 ? strerrorname_np(errno) : "");
  }
}

int main(void) {
  scratch();
  put_file("f", "");
  mkdir("d", 0755);
  mkdir("d/sub", 0755);
  put_file("d/in", "");
  put_file("d/sub/in", "");
  symlink("sub/in", "d/to_in");
  symlink("../f", "d/to_f");
  symlink("/in", "d/absolute");
  symlink("loop", "d/loop");
  symlink("..", "d/sub/up");
  symlink("/proc", "d/magic");
  folder = open("d", O_PATH);
  arguments();
  for (uint64_t resolve = 0; resolve <= RESOLVE_IN_ROOT; resolve = resolve == 0 ? 1 : 2 * resolve)
    paths(resolve);
  CALL(openat2(AT_FDCWD, "/proc/self/fd/0", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
  CALL(openat2(AT_FDCWD, "/proc/self/fd", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
  CALL(openat2(AT_FDCWD, "/proc/self/fd", O_RDONLY, 0, RESOLVE_NO_XDEV));
  CALL(openat2(folder, "to_in", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS));
  CALL(openat2(folder, "made", O_RDWR | O_CREAT, 0600, RESOLVE_BENEATH));
  CALL(access("d/made", F_OK));
  CALL(openat2(folder, "../made", O_RDWR | O_CREAT, 0600, RESOLVE_BENEATH));
  CALL(openat2(folder, "../made", O_RDWR | O_CREAT | O_EXCL, 0600, RESOLVE_IN_ROOT));
  return 0;
}
