// The tutorial's DApp: copies everything below /encryptedInputs to /encryptedOutputs, with modes, times and
// symbolic links. A plain C program that knows nothing of enclaves, volumes or keys. Try it on two folders:
//   gcc -O2 -o copy_files copy_files.c && ./copy_files FROM TO
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long files, folders, links;
static unsigned long long bytes;

static int fail(const char *what, const char *path) {
  fprintf(stderr, "copy_files: cannot %s %s: %s\n", what, path, strerror(errno));
  return -1;
}

static int copy_content(int from, int to, const char *path) {
  static char buffer[1 << 20];
  ssize_t got;
  while ((got = read(from, buffer, sizeof(buffer))) > 0) {
    for (ssize_t done = 0; done < got;) {
      const ssize_t put = write(to, buffer + done, (size_t)(got - done));
      if (put < 0) return fail("write the copy of", path);
      done += put;
    }
    bytes += (unsigned long long)got;
  }
  return got < 0 ? fail("read", path) : 0;
}

static int copy_file(int from_folder, int to_folder, const char *name, const struct stat *status) {
  const int from = openat(from_folder, name, O_RDONLY | O_NOFOLLOW);
  if (from < 0) return fail("open", name);
  const int to = openat(to_folder, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  int result = to < 0 ? fail("create", name) : copy_content(from, to, name);
  const struct timespec times[2] = {status->st_mtim, status->st_mtim};
  if (result == 0 && (fchmod(to, status->st_mode & 0777) != 0 || futimens(to, times) != 0))
    result = fail("set mode and time of", name);
  if (to >= 0 && close(to) != 0 && result == 0) result = fail("close", name);
  close(from);
  ++files;
  return result;
}

static int copy_link(int from_folder, int to_folder, const char *name, const struct stat *status) {
  char target[PATH_MAX];
  const ssize_t size = readlinkat(from_folder, name, target, sizeof(target) - 1);
  if (size < 0) return fail("read the link", name);
  target[size] = 0;
  if (symlinkat(target, to_folder, name) != 0) return fail("create the link", name);
  const struct timespec times[2] = {status->st_mtim, status->st_mtim};
  if (utimensat(to_folder, name, times, AT_SYMLINK_NOFOLLOW) != 0) return fail("set the time of", name);
  ++links;
  return 0;
}

static int copy_folder(int from, int to);

static int copy_entry(int from, int to, const char *name) {
  struct stat status;
  if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return fail("look at", name);
  if (S_ISREG(status.st_mode)) return copy_file(from, to, name, &status);
  if (S_ISLNK(status.st_mode)) return copy_link(from, to, name, &status);
  if (!S_ISDIR(status.st_mode)) return 0;
  if (mkdirat(to, name, 0700) != 0 && errno != EEXIST) return fail("create the folder", name);
  const int inner_from = openat(from, name, O_RDONLY | O_DIRECTORY);
  const int inner_to = openat(to, name, O_RDONLY | O_DIRECTORY);
  const int opened = inner_from >= 0 && inner_to >= 0;
  int result = opened ? copy_folder(inner_from, inner_to) : fail("open the folder", name);
  const struct timespec times[2] = {status.st_mtim, status.st_mtim};
  if (result == 0 && (fchmod(inner_to, status.st_mode & 0777) != 0 || futimens(inner_to, times) != 0))
    result = fail("set mode and time of", name);
  if (inner_to >= 0) close(inner_to);
  ++folders;
  return result;
}

// Takes `from`.
static int copy_folder(int from, int to) {
  DIR *entries = fdopendir(from);
  if (entries == NULL) return fail("list", "a folder");
  int result = 0;
  struct dirent *entry;
  while (result == 0 && (errno = 0, entry = readdir(entries)) != NULL) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      result = copy_entry(from, to, entry->d_name);
  }
  if (result == 0 && errno != 0) result = fail("list", "a folder");
  closedir(entries);
  return result;
}

int main(int argc, char **argv) {
  const char *from = argc > 2 ? argv[1] : "/encryptedInputs";
  const char *to = argc > 2 ? argv[2] : "/encryptedOutputs";
  const int from_fd = open(from, O_RDONLY | O_DIRECTORY);
  if (from_fd < 0) return fail("open", from), 1;
  const int to_fd = open(to, O_RDONLY | O_DIRECTORY);
  if (to_fd < 0) return fail("open", to), 1;
  if (copy_folder(from_fd, to_fd) != 0) return 1;
  printf("copied %lu files, %lu folders, %lu links, %llu bytes\n", files, folders, links, bytes);
  return 0;
}
