#include <sys/mman.h>
#include <sys/wait.h>
#include "facts.h"
// Seals of memfd_create: what they refuse, and what keeps them from being set.
static int sealed(int seals) {
  const int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
  write(fd, "0123456789", 10);
  CALL(fcntl(fd, F_ADD_SEALS, seals));
  CALL(fcntl(fd, F_GET_SEALS));
  return fd;
}
static void tried(int fd) {
  lseek(fd, 0, SEEK_SET);
  CALL(write(fd, "abc", 3));
  CALL(pwrite(fd, "abc", 3, 9));
  CALL(write(fd, "", 0));
  CALL(ftruncate(fd, 10));
  CALL(ftruncate(fd, 9));
  CALL(ftruncate(fd, 11));
  CALL(fallocate(fd, 0, 0, 20));
  CALL(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 5));
  WORKS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  WORKS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  char* m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  FACT(m != MAP_FAILED);
  CALL(mprotect(m, 4096, PROT_READ | PROT_WRITE));
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
  close(fd);
}

static void grown(void) {
  static char page[8192];
  const int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
  ftruncate(fd, 8192);
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
  CALL(pwrite(fd, page, 4096, 4096));
  CALL(pwrite(fd, page, 1, 8192));
  CALL(pwrite(fd, page, 20, 8190));
  CALL(lseek(fd, 0, SEEK_END));
}

static void when(void) {
  char path[32];
  int plain = memfd_create("plain", 0), fd = memfd_create("open", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  CALL(fcntl(plain, F_GET_SEALS));
  CALL(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW));
  CALL(fcntl(fd, F_GETFD));
  CALL(fcntl(fd, F_GET_SEALS));
  CALL(fcntl(fd, F_ADD_SEALS, 0x1000));
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const int reader = open(path, O_RDONLY);
  CALL(fcntl(reader, F_GET_SEALS));
  CALL(fcntl(reader, F_ADD_SEALS, F_SEAL_WRITE));
  CALL(open(path, O_RDWR | O_TRUNC));
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
  int p[2];
  pipe(p);
  CALL(fcntl(p[1], F_GET_SEALS));
  CALL(fcntl(p[1], F_ADD_SEALS, F_SEAL_WRITE));
  CALL(fcntl(99, F_GET_SEALS));
  CALL(memfd_create("huge name", 0x40000000));
}

static void mapped(void) {
  const int fd = memfd_create("mapped", MFD_ALLOW_SEALING);
  int status = 0;
  ftruncate(fd, 4096);
  char* m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
  strcpy(m, "who had it goes on");
  char back[20] = "";
  CALL(pread(fd, back, 19, 0));
  TEXT(back);
  CALL(write(fd, "x", 1));
  CALL(mprotect(m, 4096, PROT_READ));
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
  CALL(mprotect(m, 4096, PROT_READ | PROT_WRITE));
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    pause();
    _exit(0);
  }
  munmap(m, 4096);
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));  // the child's is left
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
  CALL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
  CALL(fcntl(fd, F_GET_SEALS));
}

int main(void) {
  when();
  tried(sealed(0));
  tried(sealed(F_SEAL_SHRINK));
  tried(sealed(F_SEAL_GROW));
  tried(sealed(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  tried(sealed(F_SEAL_WRITE));
  tried(sealed(F_SEAL_FUTURE_WRITE));
  grown();
  mapped();
  return 0;
}
