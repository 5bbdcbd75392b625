#include <setjmp.h>
#include <ucontext.h>
#include "facts.h"
// rt_sigaction, rt_sigprocmask, rt_sigpending, rt_sigsuspend, sigaltstack, kill, tgkill, tkill, pause,
// sigtimedwait, queue.
static volatile int caught, code, value, on_stack;
static char stack[65536];
static void handler(int s, siginfo_t* i, void* c) {
  (void)c;
  char here;
  caught = s;
  code = i->si_code;
  value = i->si_value.sival_int;
  on_stack = &here > stack && &here < stack + sizeof stack;
}
static sigjmp_buf back;
static void on_segv(int s, siginfo_t* i, void* c) {
  (void)c;
  caught = s;
  code = i->si_code;
  siglongjmp(back, 1);
}
int main(void) {
  struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO}, old;
  CALL(sigaction(SIGUSR1, &a, &old));
  FACT(old.sa_handler == SIG_DFL);
  CALL(sigaction(SIGKILL, &a, NULL));
  CALL(sigaction(65, &a, NULL));
  CALL(kill(getpid(), SIGUSR1));
  FACT(caught);
  FACT(code);
  CALL(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1));
  FACT(code);
  CALL(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1));
  CALL(syscall(SYS_tgkill, getpid(), 1 << 22, SIGUSR1));
  CALL(kill(1 << 22, 0));
  CALL(kill(getpid(), 65));
  CALL(kill(getpid(), 0));
  sigset_t m, pending;
  sigemptyset(&m);
  sigaddset(&m, SIGUSR1);
  CALL(sigprocmask(SIG_BLOCK, &m, NULL));
  CALL(sigprocmask(99, &m, NULL));
  caught = 0;
  raise(SIGUSR1);
  raise(SIGUSR1);
  FACT(caught);
  CALL(sigpending(&pending));
  FACT(sigismember(&pending, SIGUSR1));
  siginfo_t info;
  struct timespec zero = {0, 0}, short_time = {0, 5000000};
  CALL(sigtimedwait(&m, &info, &zero));
  FACT(info.si_signo);
  CALL(sigtimedwait(&m, &info, &short_time));
  raise(SIGUSR1);
  sigset_t none;
  sigemptyset(&none);
  CALL(sigsuspend(&none));
  FACT(caught);
  union sigval v = {.sival_int = 77};
  CALL(sigqueue(getpid(), SIGUSR1, v));
  CALL(sigprocmask(SIG_UNBLOCK, &m, NULL));
  FACT(value);
  FACT(code);
  stack_t st = {.ss_sp = stack, .ss_size = sizeof stack};
  CALL(sigaltstack(&st, NULL));
  a.sa_flags |= SA_ONSTACK | SA_RESETHAND;
  sigaction(SIGUSR2, &a, NULL);
  raise(SIGUSR2);
  FACT(on_stack);
  CALL(sigaction(SIGUSR2, NULL, &old));
  FACT(old.sa_handler == SIG_DFL);
  st.ss_size = 10;
  CALL(sigaltstack(&st, NULL));
  st.ss_flags = SS_DISABLE;
  CALL(sigaltstack(&st, NULL));
  struct sigaction s = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &s, NULL);
  sigaction(SIGFPE, &s, NULL);
  if (sigsetjmp(back, 1) == 0) *(volatile int*)0x100000 = 1;
  FACT(caught == SIGSEGV && code == SEGV_MAPERR);
  if (sigsetjmp(back, 1) == 0) {
    volatile int z = 0;
    z = 1 / z;
  }
  FACT(caught);
  FACT(code);
  return 0;
}
