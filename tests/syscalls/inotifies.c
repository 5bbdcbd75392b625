#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include "facts.h"
// inotify: every event that Linux gives, in its order and with its bits, cookies as equal or not.
static int in;

// Cookies differ between runs: shown is which number they are of those seen.
static int cookie_number(uint32_t cookie) {
  static uint32_t seen[100];
  static int count = 0;
  if (cookie == 0) return 0;
  for (int i = 0; i < count; ++i) {
    if (seen[i] == cookie) return i + 1;
  }
  seen[count++] = cookie;
  return count;
}
static void show(const char* what) {
  static char buffer[65536] __attribute__((aligned(8)));
  printf("%s:", what);
  for (;;) {
    const ssize_t size = read(in, buffer, sizeof(buffer));
    if (size <= 0) break;
    for (ssize_t at = 0; at < size;) {
      const struct inotify_event* e = (void*)(buffer + at);
      printf(" [%d %x c%d l%u %s]", e->wd, e->mask, cookie_number(e->cookie), e->len, e->len ? e->name : "");
      at += (ssize_t)(sizeof(*e) + e->len);
    }
  }
  printf("\n");
}
#define DO(expression) \
  do {                 \
    CALL(expression);  \
    show("  events");  \
  } while (0)

static void errors(void) {
  char small[20];
  struct inotify_event* e = (void*)small;
  CALL(inotify_init1(12345));
  CALL(inotify_init());
  CALL(fcntl(3, F_GETFD));
  close(3);
  CALL(in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  CALL(fcntl(in, F_GETFD));
  CALL(read(in, small, sizeof(small)));
  CALL(inotify_add_watch(in, "nothing", IN_ALL_EVENTS));
  CALL(inotify_add_watch(in, ".", 0));
  CALL(inotify_add_watch(99, ".", IN_OPEN));
  CALL(inotify_add_watch(1, ".", IN_OPEN));
  CALL(inotify_add_watch(in, NULL, IN_OPEN));
  put_file("plain", "text");
  CALL(inotify_add_watch(in, "plain", IN_OPEN | IN_ONLYDIR));
  CALL(inotify_add_watch(in, ".", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE));
  CALL(inotify_rm_watch(in, 5));
  CALL(inotify_rm_watch(1, 5));
  CALL(inotify_rm_watch(99, 5));
  CALL(inotify_add_watch(in, "plain", IN_OPEN));
  CALL(inotify_add_watch(in, "plain", IN_OPEN | IN_MASK_CREATE));
  CALL(inotify_add_watch(in, "plain", IN_MODIFY));
  close(open("plain", O_RDONLY));
  show("open is not asked for any more");
  CALL(inotify_add_watch(in, "plain", IN_OPEN | IN_MASK_ADD));
  put_file("plain", "text");
  int waiting = 0;
  CALL(ioctl(in, FIONREAD, &waiting));
  FACT(waiting);
  show("open and modify");
  DO(inotify_rm_watch(in, 1));
  CALL(inotify_rm_watch(in, 1));
  CALL(inotify_add_watch(in, "plain", IN_OPEN | IN_ONESHOT));
  close(open("plain", O_RDONLY));
  close(open("plain", O_RDONLY));
  show("one shot");
  CALL(inotify_add_watch(in, ".", IN_CREATE));
  put_file("a-name-of-16-byt", "");
  put_file("a-name-of-15-by", "");
  CALL(read(in, small, sizeof(small)));
  FACT(e->wd <= 0);
  show("names are padded");
  CALL(lseek(in, 0, SEEK_SET));
  CALL(write(in, small, 1));
  close(in);
}

static void files(void) {
  char text[100];
  struct timespec times[2] = {{1, 0}, {0, UTIME_OMIT}};
  in = inotify_init1(IN_NONBLOCK);
  CALL(inotify_add_watch(in, ".", IN_ALL_EVENTS));
  int fd;
  DO(fd = open("new", O_CREAT | O_RDWR, 0644));
  DO(write(fd, "0123456789", 10));
  DO(write(fd, "", 0));
  write(fd, "a", 1);
  write(fd, "b", 1);
  show("equal ones are one");
  DO(pread(fd, text, 5, 0));
  DO(pread(fd, text, 5, 1000));
  DO(ftruncate(fd, 3));
  DO(fchmod(fd, 0600));
  DO(fchown(fd, -1, -1));
  DO(fallocate(fd, 0, 0, 4096));
  DO(fsync(fd));
  DO(close(fd));
  CALL(inotify_add_watch(in, "new", IN_ALL_EVENTS));
  DO(fd = open("new", O_RDONLY));
  int twin = dup(fd);
  DO(read(fd, text, 3));
  DO(close(fd));
  DO(close(twin));
  DO(close(open("new", O_PATH)));
  DO(access("new", R_OK));
  DO(stat("new", &(struct stat){0}));
  DO(truncate("new", 1));
  DO(chmod("new", 0644));
  DO(chown("new", getuid(), -1));
  DO(utimensat(AT_FDCWD, "new", NULL, 0));
  DO(utimensat(AT_FDCWD, "new", times, 0));
  times[0].tv_nsec = UTIME_OMIT, times[1].tv_nsec = 5;
  DO(utimensat(AT_FDCWD, "new", times, 0));
  DO(close(open("new", O_WRONLY | O_TRUNC)));
  DO(link("new", "second"));
  DO(unlink("second"));
  DO(rename("new", "newer"));
  put_file("target", "");
  show("target");
  CALL(inotify_add_watch(in, "target", IN_ALL_EVENTS));
  DO(rename("newer", "target"));
  DO(symlink("target", "link"));
  DO(readlink("link", text, sizeof(text)));
  CALL(inotify_add_watch(in, "link", IN_ALL_EVENTS | IN_DONT_FOLLOW));
  DO(mknod("node", S_IFREG | 0600, 0));
  fd = open("target", O_RDWR);
  int other = open("node", O_RDWR);
  show("two are open");
  write(fd, "some text", 9);
  lseek(fd, 0, SEEK_SET);
  show("written");
  DO(sendfile(other, fd, NULL, 4));
  DO(copy_file_range(fd, NULL, other, NULL, 4, 0));
  DO(unlink("target"));
  DO(write(fd, "x", 1));
  DO(close(fd));
  void* map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, other, 0);
  show("mapped");
  DO(close(other));
  DO(munmap(map, 4096));
  DO(unlink("node"));
  close(in);
}

static void folders(void) {
  char text[2000];
  in = inotify_init1(IN_NONBLOCK);
  CALL(inotify_add_watch(in, ".", IN_ALL_EVENTS));
  DO(mkdir("one", 0755));
  DO(mkdir("two", 0755));
  CALL(inotify_add_watch(in, "one", IN_ALL_EVENTS | IN_ONLYDIR));
  CALL(inotify_add_watch(in, "two", IN_ALL_EVENTS));
  put_file("one/file", "x");
  show("below");
  DO(rename("one/file", "two/moved"));
  int fd;
  DO(fd = open("two", O_RDONLY | O_DIRECTORY));
  FACT(syscall(SYS_getdents64, fd, text, sizeof(text)) > 0);
  show("listed");
  DO(close(fd));
  DO(mkdir("one/sub", 0755));
  DO(rename("one/sub", "two/sub"));
  DO(rename("one", "three"));
  DO(chmod("three", 0700));
  fd = open("two/moved", O_WRONLY);
  show("opened");
  rename("two/moved", "three/back");
  show("moved while open");
  DO(write(fd, "y", 1));
  DO(close(fd));
  DO(rmdir("two/sub"));
  DO(rmdir("two"));
  DO(unlink("three/back"));
  DO(rmdir("three"));
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un name = {AF_UNIX, "socket"};
  if (getenv("NO_SOCKET_FILES") == NULL) DO(bind(s, (struct sockaddr*)&name, sizeof(name)));
  close(s);
  CALL(inotify_add_watch(in, ".", IN_ALL_EVENTS | IN_EXCL_UNLINK));
  fd = open("gone", O_CREAT | O_WRONLY, 0644);
  unlink("gone");
  show("created and removed");
  DO(write(fd, "z", 1));
  DO(close(fd));
  close(in);
}

// Many parts are one use; what a file is called is known even if nobody watched when it changed.
static void uses(void) {
  char a[4], b[4];
  struct iovec parts[3] = {{a, 3}, {b, 3}, {a, 1}};
  int fd = open("vectors", O_CREAT | O_RDWR, 0644), old = open("old", O_CREAT | O_WRONLY, 0644);
  int twin = open("vectors", O_WRONLY), lost = open("lost", O_CREAT | O_WRONLY, 0644);
  write(fd, "0123456789", 10);
  unlink("lost");
  rename("old", "named anew");
  mkdir("deep", 0755);
  rename("vectors", "deep/vectors");
  in = inotify_init1(IN_NONBLOCK);
  CALL(inotify_add_watch(in, "deep", IN_ALL_EVENTS));
  DO(preadv(fd, parts, 3, 0));
  DO(pwritev(fd, parts, 3, 0));
  lseek(fd, 0, SEEK_SET);
  DO(readv(fd, parts, 2));
  DO(writev(fd, parts, 2));
  DO(readv(fd, parts, 2));
  DO(close(twin));
  parts[1].iov_base = (void*)8;
  DO(pwritev(fd, parts, 2, 0));
  CALL(inotify_add_watch(in, ".", IN_ALL_EVENTS));
  DO(write(old, "x", 1));
  DO(write(lost, "x", 1));
  DO(rename("deep/vectors", "vectors"));
  DO(close(fd));
  CALL(inotify_add_watch(in, ".", IN_ALL_EVENTS | IN_EXCL_UNLINK));
  DO(close(lost));
  DO(close(old));
  close(in);
  unlink("vectors");
  unlink("named anew");
  rmdir("deep");
}

// The kernel's own files are the same ones whenever they are looked up.
static void kernels_own(void) {
  struct stat first, second;
  in = inotify_init1(IN_NONBLOCK);
  CALL(inotify_add_watch(in, "/proc/self/stat", IN_OPEN | IN_CLOSE));
  CALL(inotify_add_watch(in, "/proc/self/maps", IN_OPEN));
  CALL(inotify_add_watch(in, "/proc/sys/kernel/ostype", IN_OPEN));
  CALL(inotify_add_watch(in, "/proc/sys/kernel/osrelease", IN_ACCESS));
  CALL(inotify_add_watch(in, "/dev/full", IN_OPEN));  // which nobody else opens meanwhile
  int fd;
  DO(fd = open("/proc/self/stat", O_RDONLY));
  DO(close(fd));
  DO(close(open("/proc/self/maps", O_RDONLY)));
  DO(close(open("/proc/sys/kernel/ostype", O_RDONLY)));
  DO(close(open("/proc/sys/vm/overcommit_memory", O_RDONLY)));
  DO(close(open("/dev/full", O_RDONLY)));
  const char* names[] = {"/proc",           "/proc/stat",      "/proc/self/",
                         "/proc/self/stat", "/proc/self/fd/0", "/proc/sys"};
  ino_t seen[6];
  for (int i = 0; i < 6; ++i) {
    lstat(names[i], &first);
    lstat(names[i], &second);
    seen[i] = first.st_ino;
    FACT(first.st_ino == second.st_ino);
    for (int j = 0; j < i; ++j) {
      if (seen[j] == seen[i]) printf("%s is %s\n", names[j], names[i]);
    }
  }
  close(in);
}

static void* later(void* unused) {
  usleep(30000);
  put_file("late", "");
  return unused;
}

static void waiting(void) {
  char buffer[4096];
  struct epoll_event e = {EPOLLIN | EPOLLET, {0}}, out;
  pthread_t t;
  in = inotify_init1(0);
  CALL(inotify_add_watch(in, ".", IN_CREATE | IN_CLOSE_WRITE));
  int ep = epoll_create1(0);
  CALL(epoll_ctl(ep, EPOLL_CTL_ADD, in, &e));
  CALL(epoll_wait(ep, &out, 1, 0));
  pthread_create(&t, NULL, later, NULL);
  CALL(epoll_wait(ep, &out, 1, 5000));
  pthread_join(t, NULL);
  struct pollfd p = {in, POLLIN, 0};
  CALL(poll(&p, 1, 0));
  FACT(p.revents);
  FACT(read(in, buffer, sizeof(buffer)) > 0);
  unlink("late");
  fcntl(in, F_SETFL, O_NONBLOCK);
  read(in, buffer, sizeof(buffer));
  fcntl(in, F_SETFL, 0);
  CALL(poll(&p, 1, 0));
  pthread_create(&t, NULL, later, NULL);
  FACT(read(in, buffer, sizeof(buffer)) > 0);
  pthread_join(t, NULL);
  close(ep);
  close(in);
  // Two that watch one file, and a full queue.
  in = inotify_init1(IN_NONBLOCK);
  int other = inotify_init1(IN_NONBLOCK);
  CALL(inotify_add_watch(other, ".", IN_CREATE));
  CALL(inotify_add_watch(in, ".", IN_CREATE));
  put_file("both", "");
  FACT(read(other, buffer, sizeof(buffer)));
  close(other);
  show("both");
  CALL(inotify_add_watch(in, "both", IN_OPEN | IN_CLOSE));
  for (int i = 0; i < 9000; ++i) close(open("both", O_RDONLY));
  int events = 0, last = 0;
  for (ssize_t size; (size = read(in, buffer, sizeof(buffer))) > 0;) {
    for (ssize_t at = 0; at < size; at += (ssize_t)sizeof(struct inotify_event)) {
      const struct inotify_event* event = (void*)(buffer + at);
      ++events;
      last = event->mask == IN_Q_OVERFLOW && event->wd == -1;
    }
  }
  FACT(events);
  FACT(last);
  close(open("both", O_RDONLY));
  show("room again");
  close(in);
}

int main(void) {
  close_range(3, ~0u, 0);
  scratch();
  errors();
  files();
  folders();
  uses();
  kernels_own();
  waiting();
  return 0;
}
