#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "facts.h"
// splice, tee, vmsplice, and sendfile into a pipe; large reads of pipes.
enum { kBig = 1 << 20 };
static char *big, *back;  // only here: every case that forks carries what is static in any
static volatile int g_pipe_signals;
static void on_pipe(int signal) { ++g_pipe_signals; }

static const char* content(int fd) {
  static char text[4096];
  const ssize_t count = pread(fd, text, sizeof text - 1, 0);
  text[count > 0 ? count : 0] = 0;
  return text;
}
static const char* taken(int fd) {
  static char text[4096];
  const ssize_t count = read(fd, text, sizeof text - 1);
  if (count < 0) return strerrorname_np(errno);
  text[count] = 0;
  return text;
}

static void pipe_and_file(void) {
  int p[2];
  pipe(p);
  put_file("in", "0123456789");
  const int in = open("in", O_RDONLY), out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0644);
  CALL(splice(in, NULL, p[1], NULL, 4, 0));
  loff_t at = 6, to = 3;
  CALL(splice(in, &at, p[1], NULL, 100, SPLICE_F_MOVE | SPLICE_F_MORE));
  FACT(at);
  FACT(lseek(in, 0, SEEK_CUR));
  CALL(splice(in, &at, p[1], NULL, 100, 0));  // its end
  CALL(splice(p[0], NULL, out, NULL, 5, 0));
  CALL(splice(p[0], NULL, out, &to, 100, 0));  // what there is
  FACT(to);
  FACT(lseek(out, 0, SEEK_CUR));
  TEXT(content(out));
  CALL(splice(p[0], NULL, out, NULL, 5, SPLICE_F_NONBLOCK));
  CALL(splice(p[0], NULL, open("/dev/null", O_WRONLY), NULL, 5, SPLICE_F_NONBLOCK));
  write(p[1], "to null", 7);
  CALL(splice(p[0], NULL, open("/dev/null", O_WRONLY), NULL, 5, 0));
  TEXT(taken(p[0]));
  close(p[1]);
  CALL(splice(p[0], NULL, out, NULL, 5, 0));
  CALL(sendfile(out, in, NULL, 3));
}

static void refused(void) {
  int p[2], q[2];
  pipe(p);
  pipe(q);
  write(p[1], "abc", 3);
  const int in = open("in", O_RDONLY), out = open("out", O_RDWR), end = open("out", O_WRONLY | O_APPEND);
  loff_t at = 0, negative = -1;
  CALL(splice(-1, NULL, -1, NULL, 0, 99));
  CALL(splice(-1, NULL, -1, NULL, 1, 99));
  CALL(splice(-1, NULL, p[1], NULL, 1, 0));
  CALL(splice(p[0], NULL, -1, NULL, 1, 0));
  CALL(splice(in, NULL, out, NULL, 1, 0));
  CALL(splice(p[1], NULL, out, NULL, 1, 0));
  CALL(splice(p[0], NULL, in, NULL, 1, 0));
  CALL(splice(p[0], &at, out, NULL, 1, 0));
  CALL(splice(in, NULL, p[1], &at, 1, 0));
  CALL(splice(p[0], NULL, q[1], &at, 1, 0));
  CALL(splice(p[0], NULL, p[1], NULL, 1, 0));
  CALL(splice(in, &negative, p[1], NULL, 1, 0));
  CALL(splice(p[0], NULL, out, &negative, 1, 0));
  CALL(splice(in, (loff_t*)8, p[1], NULL, 1, 0));
  CALL(splice(p[0], NULL, end, NULL, 1, 0));
  CALL(splice(open(".", O_RDONLY), NULL, p[1], NULL, 1, 0));
  CALL(splice(open("in", O_PATH), NULL, p[1], NULL, 1, 0));
  CALL(tee(p[0], p[1], 1, 0));
  CALL(tee(p[0], out, 1, 0));
  CALL(tee(p[0], q[1], 1, 99));
  CALL(tee(p[0], q[1], 0, 0));
  CALL(tee(p[1], q[1], 1, 0));
  CALL(tee(p[0], q[0], 1, 0));
  TEXT(taken(p[0]));  // nothing of it is lost
  const struct iovec one = {big, 1}, bad = {(void*)8, 1};
  CALL(vmsplice(out, &one, 1, 0));
  CALL(vmsplice(-1, &one, 1, 0));
  CALL(vmsplice(p[1], &one, 1, 99));
  CALL(vmsplice(p[1], &one, 2000, 0));
  CALL(vmsplice(p[1], &one, 0, 0));
  CALL(vmsplice(p[1], &bad, 1, 0));
}

static void pipes_only(void) {
  int p[2], q[2];
  pipe(p);
  pipe(q);
  write(p[1], "hello", 5);
  CALL(tee(p[0], q[1], 3, 0));
  CALL(splice(p[0], NULL, q[1], NULL, 4, 0));
  TEXT(taken(p[0]));
  TEXT(taken(q[0]));
  CALL(splice(p[0], NULL, q[1], NULL, 4, SPLICE_F_NONBLOCK));
  CALL(tee(p[0], q[1], 4, SPLICE_F_NONBLOCK));
  fcntl(q[1], F_SETFL, O_NONBLOCK);
  CALL(splice(p[0], NULL, q[1], NULL, 4, 0));  // either one's
  while (write(q[1], big, 4096) > 0) continue;
  write(p[1], "x", 1);
  CALL(splice(p[0], NULL, q[1], NULL, 4, 0));
  CALL(tee(p[0], q[1], 4, 0));
  CALL(splice(open("in", O_RDONLY), NULL, q[1], NULL, 4, 0));
  const struct iovec one = {big, 10};
  CALL(vmsplice(q[1], &one, 1, SPLICE_F_NONBLOCK));
  close(q[0]);
  CALL(splice(p[0], NULL, q[1], NULL, 4, 0));
  FACT(g_pipe_signals);
  CALL(splice(open("in", O_RDONLY), NULL, q[1], NULL, 4, 0));
  FACT(g_pipe_signals);
  TEXT(taken(p[0]));
  close(p[1]);
  pipe(q);
  CALL(splice(p[0], NULL, q[1], NULL, 4, 0));
  CALL(tee(p[0], q[1], 4, 0));
}

static void user_memory(void) {
  int p[2];
  pipe(p);
  char first[4] = "ab", second[8] = "cdefg";
  const struct iovec out[2] = {{first, 2}, {second, 5}}, in[2] = {{back, 3}, {back + 100, 50}};
  CALL(vmsplice(p[1], out, 2, SPLICE_F_GIFT));
  CALL(vmsplice(p[0], in, 2, 0));
  FACT(memcmp(back, "abc", 3) + memcmp(back + 100, "defg", 4));
  CALL(vmsplice(p[0], in, 2, SPLICE_F_NONBLOCK));
  const struct iovec much = {big, kBig};
  CALL(vmsplice(p[1], &much, 1, 0));  // what has room
  close(p[1]);
  const struct iovec all = {back, kBig};
  CALL(vmsplice(p[0], &all, 1, 0));
  CALL(vmsplice(p[0], &all, 1, 0));
  FACT(memcmp(big, back, 65536));
}

static void sockets(void) {
  int p[2], s[2];
  pipe(p);
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  loff_t at = 0;
  write(p[1], "into a socket", 13);
  CALL(splice(p[0], NULL, s[0], &at, 5, 0) == -1 && (errno == EINVAL || errno == ESPIPE));
  CALL(splice(p[0], NULL, s[0], NULL, 100, 0));
  CALL(splice(s[1], NULL, p[1], NULL, 4, 0));
  CALL(splice(s[1], NULL, p[1], NULL, 100, 0));
  TEXT(taken(p[0]));
  CALL(splice(s[1], NULL, p[1], NULL, 4, SPLICE_F_NONBLOCK));
  fcntl(s[1], F_SETFL, O_NONBLOCK);
  CALL(splice(s[1], NULL, p[1], NULL, 4, 0));
  fcntl(s[0], F_SETFL, O_NONBLOCK);
  while (write(s[0], big, 4096) > 0) continue;
  write(p[1], "kept", 4);
  CALL(splice(p[0], NULL, s[0], NULL, 4, 0));
  TEXT(taken(p[0]));
  close(s[1]);
  write(p[1], "kept, too", 9);
  CALL(splice(p[0], NULL, s[0], NULL, 4, 0));
  FACT(g_pipe_signals);
  TEXT(taken(p[0]));
}

// A process that forwards everything, as a proxy does.
static int g_from[2], g_to[2], g_middle[2];
static void* forwarder(void* nothing) {
  long all = 0;
  for (ssize_t n; (n = splice(g_from[0], NULL, g_middle[1], NULL, 1 << 17, 0)) > 0; all += n)
    for (ssize_t left = n; left > 0;) left -= splice(g_middle[0], NULL, g_to[0], NULL, left, 0);
  shutdown(g_to[0], SHUT_WR);
  return (void*)all;
}
static void* writer(void* nothing) {
  for (long done = 0; done < kBig;) done += write(g_from[1], big + done, kBig - done);
  close(g_from[1]);
  return NULL;
}
static void forwarded(void) {
  pthread_t forward, write;
  void* all = NULL;
  pipe(g_from);
  pipe(g_middle);
  socketpair(AF_UNIX, SOCK_STREAM, 0, g_to);
  pthread_create(&forward, NULL, forwarder, NULL);
  pthread_create(&write, NULL, writer, NULL);
  long got = 0;
  for (ssize_t n; (n = read(g_to[1], back + got, kBig - got)) > 0;) got += n;
  pthread_join(write, NULL);
  pthread_join(forward, &all);
  FACT(got);
  FACT((long)all);
  FACT(memcmp(big, back, kBig));
}

// A pipe's room, its owner's signal and its readiness follow what splice moves.
static void readiness(void) {
  int p[2], q[2];
  pipe(p);
  pipe(q);
  put_file("large", "");
  const int file = open("large", O_RDWR);
  write(file, big, 300000);
  lseek(file, 0, SEEK_SET);
  struct pollfd polled = {p[1], POLLOUT};
  CALL(splice(file, NULL, p[1], NULL, 300000, 0));
  FACT(poll(&polled, 1, 0));
  CALL(splice(p[0], NULL, q[1], NULL, 300000, 0));
  FACT(poll(&polled, 1, 0));
  CALL(sendfile(p[1], file, NULL, 300000));
  FACT(lseek(file, 0, SEEK_CUR));
  fcntl(p[1], F_SETFL, O_NONBLOCK);
  CALL(sendfile(p[1], file, NULL, 300000));
  const int copy = open("copy", O_RDWR | O_CREAT, 0644);
  CALL(splice(q[0], NULL, copy, NULL, 300000, 0));
  CALL(splice(p[0], NULL, copy, NULL, 300000, 0));
  FACT(lseek(copy, 0, SEEK_CUR));
  pread(copy, back, 131072, 0);
  FACT(memcmp(big, back, 131072));
  struct rlimit limit = {4, RLIM_INFINITY};
  int status = 0;
  fflush(stdout);
  if (fork() == 0) {
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    loff_t at = 0;
    write(p[1], "123456", 6);
    const int moved = splice(p[0], NULL, copy, &at, 6, 0);
    const int error = splice(p[0], NULL, copy, &at, 6, 0) == -1 ? errno : 0;
    _exit(moved + 10 * (error == EFBIG) + 100 * (read(p[0], back, 10) == 2));
  }
  wait(&status);
  FACT(WEXITSTATUS(status));
}

static void large_read(void) {
  int p[2];
  pipe(p);
  fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
  write(p[1], big, 600000);
  CALL(read(p[0], back, kBig));
  FACT(memcmp(big, back, 600000));
  write(p[1], big, 1 << 19);
  struct iovec parts[2] = {{back, 1 << 18}, {back + (1 << 19), 1 << 18}};
  CALL(readv(p[0], parts, 2));
  write(p[1], big, 1 << 18);
  CALL(read(p[0], back, kBig));  // and does not wait for more
}

int main(void) {
  scratch();
  signal(SIGPIPE, on_pipe);
  big = aligned_alloc(4096, kBig);
  back = malloc(kBig);
  for (size_t i = 0; i < kBig; ++i) big[i] = (char)(i * 2654435761u >> 13);
  pipe_and_file();
  refused();
  pipes_only();
  user_memory();
  sockets();
  forwarded();
  readiness();
  large_read();
  return 0;
}
