// Writes a numbered record into /encryptedOutputs for ever, in the ways programs do, and prints the number
// once fsync or O_DSYNC says that it is safe. Usage: churn FIRST
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_file(const char* path, int flags, const void* data, size_t size) {
  const int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size || fsync(fd) != 0) return -1;
  return close(fd);
}

static int replace_number(const char* text) {
  if (write_file("number.new", O_TRUNC, text, strlen(text)) != 0) return -1;
  if (rename("number.new", "number") != 0) return -1;
  const int folder = open(".", O_RDONLY);
  if (folder < 0 || fsync(folder) != 0) return -1;
  return close(folder);
}
// In place: a number is never shorter than the one before it.
static int rewrite_number(const char* text) {
  const int fd = open("number", O_WRONLY | O_CREAT | O_DSYNC, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) return -1;
  return close(fd);
}

int main(int count, char** words) {
  static char block[200000];
  char text[64];
  long number = count > 1 ? atol(words[1]) : 0;
  if (chdir("/encryptedOutputs") != 0) return 1;
  for (;; ++number) {
    memset(block, (int)('a' + number % 26), sizeof block);
    snprintf(text, sizeof text, "%ld\n", number);
    char name[64];
    snprintf(name, sizeof name, "file-%ld", number % 50);
    if (write_file("log", O_APPEND, text, strlen(text)) != 0) return 1;
    if (write_file(name, O_TRUNC, block, (size_t)(1 + number * 7919 % (long)sizeof block)) != 0) return 1;
    if (number % 7 == 0) unlink("file-3");
    if ((number % 2 == 0 ? replace_number : rewrite_number)(text) != 0) return 1;
    if (write(1, text, strlen(text)) < 0) return 1;
  }
}
