#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "facts.h"
// SIGIO: F_SETOWN, F_GETOWN, O_ASYNC, FIOASYNC; and the size of a pipe.
static volatile int signals, code;
static void on_io(int s, siginfo_t* i, void* c) {
  (void)s, (void)c;
  ++signals;
  code = i->si_code;
}
static int after(long result) {  // how many signals a call has brought
  const int before = signals;
  (void)result;
  usleep(1000);
  signals = 0;
  return before;
}

static void with(int reader, int writer) {
  char b[10];
  int on = 1;
  CALL(fcntl(reader, F_GETOWN));
  CALL(fcntl(reader, F_SETOWN, 99999999));
  CALL(fcntl(reader, F_SETOWN, -99999999));
  CALL(fcntl(reader, F_SETOWN, getpid()));
  FACT(fcntl(reader, F_GETOWN) == getpid());
  FACT(after(write(writer, "a", 1)));
  CALL(fcntl(reader, F_SETFL, O_ASYNC));
  FACT(fcntl(reader, F_GETFL) & O_ASYNC);
  FACT(after(write(writer, "b", 1)));
  FACT(code == SI_KERNEL);
  FACT(after(read(reader, b, 1)));
  FACT(after(write(writer, "c", 1)));
  CALL(fcntl(reader, F_SETFL, 0));
  FACT(after(write(writer, "d", 1)));
  CALL(ioctl(reader, FIOASYNC, &on));
  FACT(fcntl(reader, F_GETFL) & O_ASYNC);
  FACT(after(write(writer, "e", 1)));
  CALL(fcntl(reader, F_SETOWN, 0));
  FACT(after(write(writer, "f", 1)));
  CALL(fcntl(reader, F_SETOWN, -getpgrp()));
  FACT(fcntl(reader, F_GETOWN) == -getpgrp());
  struct f_owner_ex owner = {F_OWNER_PID, getpid()};
  CALL(fcntl(reader, F_SETOWN_EX, &owner));
  FACT(fcntl(reader, F_GETOWN) == getpid());
  owner.type = 9;
  CALL(fcntl(reader, F_SETOWN_EX, &owner));
  signal(SIGIO, SIG_IGN);
  write(writer, "g", 1);
  struct sigaction a = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
  sigaction(SIGIO, &a, NULL);
  on = 0;
  CALL(ioctl(reader, FIOASYNC, &on));
  FACT(after(write(writer, "h", 1)));
}

static void pipe_sizes(void) {
  int ends[2];
  static char data[20000];
  pipe2(ends, O_NONBLOCK);
  CALL(fcntl(ends[0], F_GETPIPE_SZ));
  CALL(fcntl(ends[1], F_SETPIPE_SZ, 100000));
  CALL(fcntl(ends[0], F_GETPIPE_SZ));
  for (int i = 0; i < 20000; ++i) data[i] = i;
  CALL(write(ends[1], data, 20000));
  CALL(fcntl(ends[1], F_SETPIPE_SZ, 4096));
  CALL(fcntl(ends[1], F_SETPIPE_SZ, 32768));
  memset(data, 0, sizeof data);
  CALL(read(ends[0], data, 20000));
  FACT(data[1] == 1 && data[19999] == (char)19999);
  CALL(fcntl(ends[1], F_SETPIPE_SZ, 0));
  CALL(write(ends[1], data, 4096));
  CALL(write(ends[1], data, 1));
  CALL(fcntl(ends[1], F_SETPIPE_SZ, -1));
  CALL(fcntl(open("/dev/null", O_RDONLY), F_GETPIPE_SZ));
}

int main(void) {
  struct sigaction a = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
  int ends[2], on = 1;
  setpgid(0, 0);
  sigaction(SIGIO, &a, NULL);
  pipe(ends);
  with(ends[0], ends[1]);
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  with(ends[0], ends[1]);
  scratch();
  put_file("f", "text");
  int fd = open("f", O_RDWR);
  CALL(ioctl(fd, FIOASYNC, &on));
  CALL(fcntl(fd, F_SETFL, O_ASYNC));
  FACT(fcntl(fd, F_GETFL) & O_ASYNC);
  CALL(fcntl(fd, F_SETOWN, getpid()));
  fd = eventfd(0, 0);
  CALL(ioctl(fd, FIOASYNC, &on));
  CALL(ioctl(fd, FIOASYNC, 8L));
  CALL(fcntl(fd, F_SETOWN, (int)0x80000000));
  pipe_sizes();
  return 0;
}
