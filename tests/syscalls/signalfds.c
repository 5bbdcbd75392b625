#include <poll.h>
#include <sys/signalfd.h>
#include "facts.h"
// signalfd, signalfd4.
int main(void) {
  sigset_t m;
  sigemptyset(&m);
  sigaddset(&m, SIGUSR1);
  sigaddset(&m, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &m, NULL);
  CALL(signalfd(-1, &m, SFD_NONBLOCK | SFD_CLOEXEC));
  CALL(signalfd(-1, &m, 5));
  CALL(signalfd(0, &m, 0));
  struct signalfd_siginfo s;
  CALL(read(3, &s, sizeof s));
  CALL(read(3, &s, 10));
  struct pollfd p = {3, POLLIN, 0};
  CALL(poll(&p, 1, 0));
  CALL(kill(getpid(), SIGUSR1));
  CALL(poll(&p, 1, 1000));
  CALL(read(3, &s, sizeof s));
  FACT(s.ssi_signo);
  FACT(s.ssi_code);
  FACT(s.ssi_pid == getpid());
  CALL(read(3, &s, sizeof s));
  union sigval v = {.sival_int = 42};
  CALL(sigqueue(getpid(), SIGRTMIN, v));
  v.sival_int = 43;
  CALL(sigqueue(getpid(), SIGRTMIN, v));
  struct signalfd_siginfo two[4];
  CALL(read(3, two, sizeof two));
  FACT(two[0].ssi_int);
  FACT(two[1].ssi_int);
  FACT(two[1].ssi_code);
  sigdelset(&m, SIGRTMIN);
  CALL(signalfd(3, &m, 0));
  raise(SIGRTMIN);
  CALL(read(3, &s, sizeof s));
  return 0;
}
