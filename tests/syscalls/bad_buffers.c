#include <arpa/inet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include "facts.h"
// Buffers of which a part is no memory, or none to write to: what was not moved is still there, and files are
// where they were.
enum { kRoom = 16384 };
static char *page, *end;
static char* to;

static void pipes(void) {
  int p[2];
  pipe2(p, O_NONBLOCK);
  CALL(write(p[1], "hello", 5));
  CALL(read(p[0], end, 5));
  CALL(read(p[0], end - 3, 5));
  CALL(readv(p[0], (struct iovec[]){{to, 2}, {end, 3}}, 2));
  CALL(read(p[0], to, 10));
  CALL(write(p[1], end - 3, 5));
  CALL(write(p[1], end - 4096, 8192));
  CALL(write(p[1], "123", 3));
  CALL(read(p[0], to, kRoom));
  CALL(read(p[0], to, 1));
  memset(page, 'p', 4096);
  CALL(write(p[1], page, 4096));
  CALL(write(p[1], page, 10));
  CALL(read(p[0], page, 5000));
  CALL(read(p[0], to, kRoom));
  // Around the end of the buffer's ring, and full.
  for (int i = 0; i < 100; ++i) {
    memset(to, 'a' + i % 26, 1000);
    if (write(p[1], to, 1000) != 1000 || read(p[0], end, 1000) != -1 || read(p[0], to, 1000) != 1000)
      puts("lost");
    if (to[0] != 'a' + i % 26 || to[999] != to[0]) puts("changed");
  }
  while (write(p[1], to, 4096) > 0) {
  }
  CALL(read(p[0], end, 100));
  CALL(write(p[1], to, 1));
  int sum = 0, n;
  while ((n = read(p[0], to, kRoom)) > 0) sum += n;
  FACT(sum);
  close(p[0]);
  close(p[1]);
}

static void files(void) {
  char content[12] = {0};
  put_file("f", "0123456789");
  const int f = open("f", O_RDWR);
  CALL(read(f, end, 5));
  CALL(lseek(f, 0, SEEK_CUR));
  CALL(read(f, end - 3, 10));
  CALL(lseek(f, 0, SEEK_CUR));
  FACT(memcmp(end - 3, "012", 3));
  CALL(lseek(f, 0, SEEK_SET));
  CALL(readv(f, (struct iovec[]){{to, 2}, {end, 4}}, 2));
  CALL(lseek(f, 0, SEEK_CUR));
  CALL(pread(f, end - 2, 5, 4));
  memset(page, 'w', 4096);
  CALL(lseek(f, 1, SEEK_SET));
  CALL(write(f, end - 6, 10));
  CALL(lseek(f, 0, SEEK_CUR));
  CALL(pread(f, content, 11, 0));
  TEXT(content);
  CALL(write(f, end, 10));
  CALL(write(f, page, 8192));
  CALL(lseek(f, 0, SEEK_CUR));
  CALL(pwrite(f, end - 2, 5, 0));
  CALL(writev(f, (struct iovec[]){{"ab", 2}, {end - 1, 4}, {"c", 1}}, 3));
  CALL(lseek(f, 0, SEEK_END));
  // More than is moved at once.
  CALL(ftruncate(f, 1 << 20));
  char* large = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(large + 700000 / 4096 * 4096, 4096);
  CALL(lseek(f, 0, SEEK_SET));
  CALL(read(f, large, 1 << 20));
  CALL(lseek(f, 0, SEEK_CUR));
  CALL(write(f, large, 1 << 20));
  CALL(lseek(f, 0, SEEK_CUR));
  munmap(large, 1 << 20);
  close(f);
}

static void streams(void) {
  int p[2], sent, got = -1;
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p);
  CALL(write(p[1], "hello", 5));
  CALL(read(p[0], end, 5));
  CALL(recv(p[0], end - 3, 5, 0));
  CALL(recv(p[0], end - 3, 5, MSG_PEEK));
  CALL(recv(p[0], to, 2, 0));
  CALL(recv(p[0], end - 1, 3, 0));
  CALL(read(p[0], to, 10));
  CALL(read(p[0], to, 10));
  CALL(write(p[1], end - 4096, 8192));
  CALL(read(p[0], to, 10));
  // Open files come with their bytes.
  sent = open("/dev/null", O_RDONLY);
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec bytes = {"x", 1};
  struct msghdr message = {
      .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* head = CMSG_FIRSTHDR(&message);
  *head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(head), &sent, sizeof sent);
  CALL(sendmsg(p[1], &message, 0));
  bytes.iov_base = end;
  memset(control, 0, sizeof control);
  CALL(recvmsg(p[0], &message, 0));
  bytes.iov_base = to;
  message.msg_controllen = sizeof control;
  CALL(recvmsg(p[0], &message, 0));
  FACT(message.msg_controllen);
  memcpy(&got, CMSG_DATA(head), sizeof got);
  WORKS(fcntl(got, F_GETFL));
  close(got);
  close(sent);
  close(p[0]);
  close(p[1]);
}
// A message that cannot be stored is lost.
static void messages(void) {
  int p[2];
  socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p);
  CALL(write(p[1], "hello", 5));
  CALL(read(p[0], end - 3, 5));
  CALL(read(p[0], to, 10));
  close(p[0]);
  close(p[1]);
}
static void internet_streams(void) {
  int p[2], waiting = 0;
  tcp_pair(p);
  struct pollfd poll_in = {p[0], POLLIN}, poll_out = {p[0], POLLOUT};
  struct epoll_event event = {EPOLLIN | EPOLLOUT, {.u32 = 7}}, got[4];
  const int levels = epoll_create1(0), edges = epoll_create1(0);
  epoll_ctl(levels, EPOLL_CTL_ADD, p[0], &event);
  event.events |= EPOLLET;
  CALL(write(p[1], "hello", 5));
  CALL(poll(&poll_in, 1, 5000));
  CALL(read(p[0], end, 5));
  fcntl(p[0], F_SETFL, O_NONBLOCK);
  CALL(recv(p[0], end - 3, 5, 0));
  CALL(poll(&poll_in, 1, 5000));
  FACT(poll_in.revents);
  CALL(poll(&poll_out, 1, 5000));
  FACT(poll_out.revents);
  epoll_ctl(edges, EPOLL_CTL_ADD, p[0], &event);
  for (int i = 0; i < 2; ++i) {
    CALL(epoll_wait(levels, got, 4, 1000));
    FACT(got[0].events);
  }
  CALL(epoll_wait(edges, got, 4, 1000));
  FACT(got[0].events);
  CALL(epoll_wait(edges, got, 4, 0));
  CALL(ioctl(p[0], FIONREAD, &waiting));
  FACT(waiting);
  CALL(recv(p[0], to, 10, MSG_PEEK));
  CALL(recv(p[0], to, 2, 0));
  CALL(write(p[1], " world", 6));
  usleep(50000);
  fcntl(p[0], F_SETFL, 0);
  CALL(recv(p[0], to, 9, MSG_WAITALL));
  to[9] = 0;
  TEXT(to);
  fcntl(p[0], F_SETFL, O_NONBLOCK);
  CALL(read(p[0], to, 10));
  CALL(poll(&poll_in, 1, 0));
  CALL(epoll_wait(levels, got, 4, 1000));
  FACT(got[0].events);
  CALL(write(p[1], end - 4096, 8192));
  close(levels);
  close(edges);
  close(p[0]);
  close(p[1]);
}

int main(void) {
  scratch();
  to = malloc(kRoom);
  page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  end = page + 4096;
  munmap(end, 4096);
  pipes();
  files();
  streams();
  messages();
  internet_streams();
  return 0;
}
