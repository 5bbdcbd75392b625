#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include "facts.h"
// The longest targets of symbolic links and the largest extended attributes, and what is a byte too large.
enum { kTarget = 4095, kValue = 65536, kNames = 260 };
static char value[kValue + 1], text[100000];
static int able, wrong;

// As CALL; what it must be, -errno, stands there where tmpfs has no attributes at all: before Linux 6.6.
#define LINUX(expression, expected)                                     \
  do {                                                                  \
    errno = 0;                                                          \
    const long long got_ = able ? (long long)(expression) : (expected); \
    const long long result_ = able && got_ == -1 ? -errno : got_;       \
    printf("%s = %lld\n", #expression, result_);                        \
    wrong |= result_ != (expected);                                     \
  } while (0)

static const char* target_of(size_t size, const char* last) {
  static char target[kTarget + 2];
  memset(target, '/', size);
  for (size_t i = 0; i < size; i += 2) target[i] = '.';
  memcpy(target + size - strlen(last), last, strlen(last));
  target[size] = 0;
  return target;
}

static void links(void) {
  static const size_t kSizes[] = {2047, 2048, 2049, 4094, kTarget, kTarget + 1};
  struct stat status;
  put_file("a", "followed");
  for (size_t i = 0; i < 6; ++i) {
    const char* target = target_of(kSizes[i], kSizes[i] % 2 ? "a" : "/a");
    unlink("link");
    CALL(symlink(target, "link"));
    CALL(readlink("link", text, sizeof(text)));
    FACT(memcmp(text, target, strlen(target)) == 0);
  }
  unlink("link");
  CALL(symlinkat(target_of(kTarget, "a"), AT_FDCWD, "link"));
  CALL(lstat("link", &status));
  FACT(status.st_size);
  CALL(readlink("link", text, 100));
  CALL(readlinkat(AT_FDCWD, "link", text, kTarget - 1));
  CALL(readlink("link", text, 1 << 30));
  int fd;
  CALL((fd = open("link", O_RDONLY)) > 0);
  CALL(read(fd, text, 100));
  close(fd);
  CALL(symlink(target_of(kTarget, "."), "folder"));
  CALL(access("folder/a", R_OK));
  CALL(access("folder/folder/folder/link", R_OK));
  CALL(access("folder/b", R_OK));
  CALL(rename("folder/link", "folder/moved"));
  CALL(readlink("moved", text, sizeof(text)));
}

static void values(void) {
  for (size_t i = 0; i < sizeof(value); ++i) value[i] = i * 7 + i / 2016;
  put_file("a", "");
  int fd = open("a", O_RDWR);
  LINUX(setxattr("a", "user.it", value, 2048, 0), 0);
  LINUX(setxattr("a", "user.it", value, 2049, 0), 0);
  LINUX(setxattr("a", "user.it", value, kValue, 0), 0);
  LINUX(setxattr("a", "user.it", value, kValue, XATTR_CREATE), -EEXIST);
  LINUX(setxattr("a", "user.it", value, kValue + 1, XATTR_REPLACE), -E2BIG);
  LINUX(setxattr("a", "user.it", value, 1ull << 40, 0), -E2BIG);
  LINUX(getxattr("a", "user.it", NULL, 0), kValue);
  LINUX(getxattr("a", "user.it", text, 100), -ERANGE);
  LINUX(getxattr("a", "user.it", text, kValue - 1), -ERANGE);
  LINUX(getxattr("a", "user.it", text, kValue), kValue);
  FACT(!able || memcmp(text, value, kValue) == 0);
  LINUX(fgetxattr(fd, "user.it", text, sizeof(text)), kValue);
  LINUX(fsetxattr(fd, "user.other", value + 1, kValue, XATTR_CREATE), 0);
  LINUX(lsetxattr("a", "user.it", value + 1, 40000, XATTR_REPLACE), 0);
  LINUX(lgetxattr("a", "user.it", text, sizeof(text)), 40000);
  FACT(!able || memcmp(text, value + 1, 40000) == 0);
  // The end of the value, or of the buffer, is not there.
  char* pages = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(pages + 61440, 4096);
  LINUX(setxattr("a", "user.other", pages, kValue, 0), -EFAULT);
  LINUX(getxattr("a", "user.other", pages, kValue), -EFAULT);
  LINUX(setxattr("a", "user.it", "small", 5, 0), 0);
  LINUX(getxattr("a", "user.it", text, sizeof(text)), 5);
  LINUX(getxattr("a", "user.other", text, sizeof(text)), kValue);
  FACT(!able || memcmp(text, value + 1, kValue) == 0);
  LINUX(removexattr("a", "user.other"), 0);
  LINUX(getxattr("a", "user.other", text, sizeof(text)), -ENODATA);
  close(fd);
}

// More names than a list may have.
static void names(void) {
  put_file("b", "");
  int fd = open("b", O_RDWR), failed = 0;
  for (int i = 0; i < kNames; ++i) {
    char name[256];
    snprintf(name, sizeof(name), "user.%0250d", i);
    failed += setxattr("b", name, value, 100, 0) != 0;
    if (i == 255) LINUX(listxattr("b", text, kValue), kValue);
    if (i == 256) LINUX(listxattr("b", text, kValue), -E2BIG);
  }
  FACT(able && failed);
  LINUX(listxattr("b", NULL, 0), 66560);
  LINUX(listxattr("b", text, 100), -ERANGE);
  LINUX(listxattr("b", text, kValue - 1), -ERANGE);
  LINUX(llistxattr("b", text, kValue), -E2BIG);
  LINUX(flistxattr(fd, text, sizeof(text)), -E2BIG);
  close(fd);
}

int main(void) {
  static const char* const kMade[] = {"a", "b", "folder", "moved"};
  scratch();
  // Not every file system of a host takes them; those of the enclave say that they are like tmpfs.
  struct statfs space;
  const int memory = statfs(".", &space) == 0 && space.f_type == 0x01021994;
  if (!memory) setenv("TMPDIR", "/dev/shm", 1), scratch();
  able = setxattr(".", "user.it", value, kValue, 0) == 0 || errno != EOPNOTSUPP;
  links();
  values();
  names();
  if (memory) return wrong;
  for (size_t i = 0; i < 4; ++i) unlink(kMade[i]);
  return getcwd(text, sizeof(text)) == NULL || rmdir(text) != 0 || wrong;
}
