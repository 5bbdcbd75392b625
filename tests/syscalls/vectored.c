#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "facts.h"
// readv and writev where the kernel may not look at one buffer after the other: messages, atomic pipe writes.
static char first[2], second[10], whole[100];
static struct iovec out[2] = {{"ab", 2}, {"cd", 2}}, in[2] = {{first, 2}, {second, 10}};

static void messages(int a, int b) {
  CALL(writev(a, out, 2));
  CALL(recv(b, whole, 100, 0));
  CALL(recv(b, whole, 100, MSG_DONTWAIT));
  CALL(send(a, "abcdef", 6, 0));
  CALL(readv(b, in, 2));
  printf("%.2s %.4s\n", first, second);
  CALL(recv(b, whole, 100, MSG_DONTWAIT));
  struct iovec bad[2] = {{"ab", 2}, {(void*)8, 2}};
  CALL(writev(a, bad, 2));
  CALL(recv(b, whole, 100, MSG_DONTWAIT));
}

static void internet(void) {
  const int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  CALL(bind(b, (struct sockaddr*)&address, size));
  CALL(getsockname(b, (struct sockaddr*)&address, &size));
  CALL(connect(a, (struct sockaddr*)&address, size));
  messages(a, b);
}

static void pipes(void) {
  static char big[65536];
  int p[2];
  CALL(pipe2(p, O_NONBLOCK));
  CALL(writev(p[1], out, 2));
  CALL(readv(p[0], in, 2));
  printf("%.2s %.2s\n", first, second);
  CALL(write(p[1], big, sizeof big));
  CALL(read(p[0], big, 4096));
  struct iovec most[2] = {{big, 2000}, {big, 2000}}, rest[2] = {{big, 50}, {big, 50}};
  CALL(writev(p[1], most, 2));
  CALL(writev(p[1], rest, 2));  // does not fit as a whole
}

static void files(void) {
  const int f = open("f", O_RDWR | O_CREAT, 0600);
  struct iovec some[4] = {{"one", 3}, {NULL, 0}, {"two", 3}, {(void*)8, 4}};
  CALL(writev(f, some, 3));
  CALL(writev(f, some, 4));
  CALL(pwritev(f, out, 2, 1));
  CALL(lseek(f, 0, SEEK_SET));
  CALL(readv(f, in, 2));
  printf("%.2s %.10s\n", first, second);
  CALL(preadv(f, in, 2, 11));
  CALL(writev(f, some, 0));
  CALL(writev(f, some, -1));
  CALL(preadv(f, in, 2, -1));
  struct iovec endless = {"x", -1};
  CALL(writev(f, &endless, 1));
}

// What counts takes one number after the other.
static void counters(void) {
  uint64_t one = 1, got = 0;
  struct iovec twice[2] = {{&one, 8}, {&one, 8}};
  const int e = eventfd(0, EFD_NONBLOCK);
  CALL(writev(e, twice, 2));
  CALL(read(e, &got, 8));
  FACT(got);
}

int main(void) {
  scratch();
  const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  for (int i = 0; i < 3; ++i) {
    int pair[2];
    CALL(socketpair(AF_UNIX, types[i], 0, pair));
    messages(pair[0], pair[1]);
  }
  internet();
  pipes();
  files();
  counters();
  return 0;
}
