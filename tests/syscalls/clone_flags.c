#include <linux/sched.h>
#include <sys/wait.h>
#include "facts.h"
// What clone and clone3 say beyond threads and fork: handlers that a child does not get, the signal for its
// end, and what is refused.
struct Arguments {  // as clone_args, and more than any kernel knows yet
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
      cgroup, more[8];
};

static volatile int ends;
static void handler(int signal) { ends = signal; }
static long clone3(struct Arguments* arguments, size_t size) {
  fflush(stdout);
  return syscall(SYS_clone3, arguments, size);
}

static void handlers(void) {
  struct Arguments a = {.flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
  int status = 0;
  signal(SIGUSR1, handler);
  signal(SIGUSR2, SIG_IGN);
  pid_t pid = clone3(&a, 88);
  if (pid == 0) {
    struct sigaction one, two;
    sigaction(SIGUSR1, NULL, &one);
    sigaction(SIGUSR2, NULL, &two);
    _exit(one.sa_handler == SIG_DFL && two.sa_handler == SIG_IGN ? 3 : 4);
  }
  FACT(waitpid(pid, &status, 0) == pid);
  FACT(WEXITSTATUS(status));
  struct sigaction still;
  sigaction(SIGUSR1, NULL, &still);
  FACT(still.sa_handler == handler);
  a.flags = CLONE_CLEAR_SIGHAND | CLONE_SIGHAND | CLONE_VM;
  CALL(clone3(&a, 88));
}

static void exit_signals(void) {
  struct Arguments a = {.exit_signal = SIGUSR1};
  int status = 0;
  ends = 0;
  pid_t pid = clone3(&a, 64);
  if (pid == 0) _exit(5);
  CALL(waitpid(pid, &status, 0));
  CALL(waitpid(pid, &status, WNOHANG | __WALL) >= 0);
  for (int i = 0; i < 300 && ends == 0; ++i) usleep(10000);
  FACT(ends);
  a.exit_signal = 0;
  ends = 0;
  signal(SIGCHLD, handler);
  pid = clone3(&a, 64);
  if (pid == 0) _exit(6);
  CALL(waitpid(pid, &status, 0));
  FACT(waitpid(pid, &status, __WCLONE) == pid);
  FACT(WEXITSTATUS(status));
  FACT(ends);
  pid = syscall(SYS_clone, SIGUSR1, NULL, NULL, NULL, 0L);
  if (pid == 0) {
    execl("/proc/self/exe", "cases", "processes_none", NULL);
    _exit(1);
  }
  // execve makes it an ordinary child.
  int code;
  while ((code = waitpid(pid, &status, 0)) == -1 && (errno == ECHILD || errno == EINTR)) usleep(1000);
  FACT(code == pid);
  for (int i = 0; i < 300 && ends == 0; ++i) usleep(10000);
  FACT(ends);
}

int main(void) {
  struct Arguments a = {.exit_signal = SIGCHLD};
  CALL(clone3(&a, 63));
  CALL(clone3(&a, 5000));
  a.more[0] = 1;
  CALL(clone3(&a, 96));
  a.more[0] = 0;
  int status = 0;
  pid_t pid = clone3(&a, sizeof a);
  if (pid == 0) _exit(2);
  FACT(waitpid(pid, &status, 0) == pid);
  a.exit_signal = 65;
  CALL(clone3(&a, 88));
  a.exit_signal = 0x100 | SIGCHLD;
  CALL(clone3(&a, 88));
  a.exit_signal = SIGCHLD, a.flags = SIGCHLD;
  CALL(clone3(&a, 88));
  a.flags = 0, a.stack = 4096;
  CALL(clone3(&a, 88));
  a.stack = 0, a.stack_size = 4096;
  CALL(clone3(&a, 88));
  a.stack_size = 0, a.set_tid_size = 1;
  CALL(clone3(&a, 88));
  a.set_tid_size = 33, a.set_tid = (uint64_t)&a;
  CALL(clone3(&a, 88));
  a.set_tid_size = 0;
  CALL(clone3(&a, 88));
  CALL(syscall(SYS_clone3, 8L, 88L));
  handlers();
  exit_signals();
  return 0;
}
