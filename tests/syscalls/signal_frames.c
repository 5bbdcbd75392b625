#include <fenv.h>
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>
#include "facts.h"
// What a signal frame says of the exception, si_code of floating-point exceptions, and queues that are full.
static sigjmp_buf back;
static volatile int number, code;
static volatile long trap, error, address;
static void on_fault(int s, siginfo_t* i, void* context) {
  const greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  number = s;
  code = i->si_code;
  trap = registers[REG_TRAPNO];
  error = registers[REG_ERR];
  address = registers[REG_CR2];
  siglongjmp(back, 1);
}
static void nothing(int s, siginfo_t* i, void* context) {
  (void)s, (void)i;
  trap = ((ucontext_t*)context)->uc_mcontext.gregs[REG_TRAPNO];
}
#define FAULT(what)                \
  do {                             \
    number = code = trap = -1;     \
    if (sigsetjmp(back, 1) == 0) { \
      what;                        \
    }                              \
    FACT(number);                  \
    FACT(code);                    \
    FACT(trap);                    \
  } while (0)

static volatile double zero = 0, one = 1, large = 1e300, sink;
static void floats(void) {
  feclearexcept(FE_ALL_EXCEPT);
  feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
  FAULT(sink = one / zero);
  feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
  FAULT(sink = zero / zero);
  feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
  FAULT(sink = large * large);
  feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
  FAULT(sink = (one / large) * (one / large));
  fedisableexcept(FE_ALL_EXCEPT);
  feenableexcept(FE_INEXACT);
  FAULT(sink = one / 3);
  fedisableexcept(FE_ALL_EXCEPT);
  feclearexcept(FE_ALL_EXCEPT);
  feenableexcept(FE_DIVBYZERO);
  volatile long double wide = 1;
  FAULT(wide = wide / (long double)zero; __asm__ volatile("fwait"));
  fedisableexcept(FE_ALL_EXCEPT);
}

static void full(void) {
  struct rlimit r = {20, 20};
  sigset_t set;
  siginfo_t info;
  int sent = 0, got = 0, sum = 0;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  CALL(setrlimit(RLIMIT_SIGPENDING, &r));
  while (sent < 10000 && sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = sent}) == 0) ++sent;
  FACT(errno == EAGAIN && sent <= 20);
  CALL(kill(getpid(), SIGRTMIN + 1));  // has no information to lose
  while (sigtimedwait(&set, &info, &(struct timespec){0, 0}) > 0) ++got, sum += info.si_value.sival_int;
  FACT(got == sent);
  FACT(sum == sent * (sent - 1) / 2);
  WORKS(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 1}));
}

// Signals with a value, and to one thread, from process to process.
static volatile int value, queued_code, sender;
static void on_value(int s, siginfo_t* i, void* c) {
  (void)s, (void)c;
  value = i->si_value.sival_int, queued_code = i->si_code, sender = i->si_pid;
}
static void between_processes(void) {
  struct sigaction a = {.sa_sigaction = on_value, .sa_flags = SA_SIGINFO};
  const pid_t self = getpid();
  int status = 0;
  siginfo_t info = {.si_code = SI_USER};
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 2);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, &before);
  sigaction(SIGRTMIN + 2, &a, NULL);
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    siginfo_t got;
    union sigval v = {.sival_int = 41};
    sigwaitinfo(&set, &got);
    const int thread_code = got.si_code;
    sigqueue(self, SIGRTMIN + 2, v);
    _exit((got.si_signo == SIGUSR2) + 2 * (thread_code == SI_TKILL) + 4 * (got.si_pid == self));
  }
  CALL(syscall(SYS_tgkill, pid, getpid(), SIGUSR2));
  CALL(syscall(SYS_tgkill, getpid(), pid, SIGUSR2));
  CALL(syscall(SYS_rt_sigqueueinfo, pid, SIGRTMIN + 2, &info));
  CALL(syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGRTMIN + 2, &info));
  CALL(syscall(SYS_tgkill, pid, pid, SIGUSR2));
  waitpid(pid, &status, 0);
  FACT(WEXITSTATUS(status));
  CALL(syscall(SYS_tkill, pid, 0));
  sigprocmask(SIG_SETMASK, &before, NULL);
  FACT(value);
  FACT(queued_code);
  FACT(sender == pid);
  info.si_value.sival_int = 5;
  CALL(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 2, &info));
  FACT(queued_code);
}

int main(void) {
  struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  struct sigaction n = {.sa_sigaction = nothing, .sa_flags = SA_SIGINFO};
  const int faults[] = {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS};
  for (int i = 0; i < 5; ++i) sigaction(faults[i], &a, NULL);
  sigaction(SIGUSR1, &n, NULL);
  FAULT(*(volatile int*)0x20000 = 1);
  FACT(error);
  FACT(address);
  FAULT(sink = *(volatile int*)0x21000);
  FACT(error);
  FAULT(*(volatile int*)0x8000000000000000 = 1);
  FACT(address);  // as it was
  FAULT(__builtin_trap());
  volatile int dividend = 7, divisor = 0;
  FAULT(dividend = dividend / divisor);
  FAULT(__asm__ volatile("int3"));
  trap = -1;
  raise(SIGUSR1);
  FACT(trap);  // the last one
  floats();
  between_processes();
  CALL(become_alone());
  full();
  return 0;
}
