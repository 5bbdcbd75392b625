#include "facts.h"

#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
// vfork, posix_spawn, execve, wait4, waitid, SIGCHLD, pipes between processes, kill, process groups. The
// child is this program again, told by CHILD what to do.
extern char** environ;

static int child(const char* what) {
  char b[100];
  if (strcmp(what, "exit") == 0) return 7;
  if (strcmp(what, "copy") == 0) {
    for (int n; (n = read(0, b, sizeof b)) > 0;) write(1, b, n);
    return 0;
  }
  if (strcmp(what, "sleep") == 0) {
    pause();
    return 1;
  }
  if (strcmp(what, "abort") == 0) abort();
  if (strcmp(what, "memory") == 0) {
    char* m = malloc(3000000);
    memset(m, 1, 3000000);
    sbrk(100000);
    return m[2999999];
  }
  if (strcmp(what, "parent") == 0)
    return getppid() == atoi(getenv("PARENT")) && getpid() != getppid() ? 11 : 12;
  return 99;
}

static pid_t spawn(const char* what, posix_spawn_file_actions_t* actions) {
  static char setting[64], parent[64];
  char* words[] = {"cases", "children", NULL};
  char* environment[] = {setting, parent, NULL};
  pid_t pid = -1;
  snprintf(setting, sizeof setting, "CHILD=%s", what);
  snprintf(parent, sizeof parent, "PARENT=%d", getpid());
  const int error = posix_spawn(&pid, "/proc/self/exe", actions, NULL, words, environment);
  if (error != 0) printf("spawn: %s\n", strerrorname_np(error));
  return pid;
}

static volatile int children;
static void on_child(int s, siginfo_t* i, void* c) {
  (void)s;
  (void)c;
  if (i->si_code == CLD_EXITED) children += i->si_status;
}

static void pipeline(void) {
  int in[2], out[2];
  char b[100] = {0};
  posix_spawn_file_actions_t a;
  pipe2(in, O_CLOEXEC);
  pipe2(out, O_CLOEXEC);
  posix_spawn_file_actions_init(&a);
  posix_spawn_file_actions_adddup2(&a, in[0], 0);
  posix_spawn_file_actions_adddup2(&a, out[1], 1);
  const pid_t pid = spawn("copy", &a);
  close(in[0]);
  close(out[1]);
  CALL(write(in[1], "through a child", 15));
  close(in[1]);
  int n = 0, k;
  while ((k = read(out[0], b + n, sizeof b - n)) > 0) n += k;
  TEXT(b);
  int status = -1;
  FACT(waitpid(pid, &status, 0) == pid);
  FACT(status);
}

static void vforks(void) {
  int status = -1;
  volatile int shared = 1;
  pid_t pid = vfork();
  if (pid == 0) {
    shared = 2;
    _exit(3);
  }
  FACT(pid > 0);
  FACT(shared);
  FACT(waitpid(pid, &status, 0) == pid);
  FACT(WEXITSTATUS(status));
  pid = vfork();
  if (pid == 0) {
    execl("/none/such", "x", NULL);
    _exit(errno == ENOENT ? 5 : 6);
  }
  waitpid(pid, &status, 0);
  FACT(WEXITSTATUS(status));
  scratch();
  put_file("script", "#!/cases children\n");
  CALL(chmod("script", 0644));
  CALL(execl("script", "script", NULL));
}

static void signals(void) {
  int status = -1;
  pid_t pid = spawn("sleep", NULL);
  CALL(kill(pid, 0));
  CALL(waitpid(pid, &status, WNOHANG));
  usleep(20000);
  CALL(kill(pid, SIGTERM));
  FACT(waitpid(pid, &status, 0) == pid);
  FACT(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  CALL(kill(pid, 0));
  pid = spawn("abort", NULL);
  FACT(waitpid(pid, &status, 0) == pid);
  FACT(WTERMSIG(status));
  // One that came while it was blocked, and is ignored when that ends, is gone.
  sigset_t child_only;
  sigemptyset(&child_only);
  sigaddset(&child_only, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child_only, NULL);
  FACT(waitpid(spawn("exit", NULL), &status, 0) > 0);
  sigprocmask(SIG_UNBLOCK, &child_only, NULL);
  struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO};
  sigaction(SIGCHLD, &action, NULL);
  usleep(1000);
  FACT(children);
  pid = spawn("exit", NULL);
  for (int i = 0; i < 300 && children == 0; ++i) usleep(10000);
  FACT(children);
  siginfo_t info = {0};
  CALL(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
  FACT(info.si_status);
  CALL(waitid(P_PID, pid, &info, WEXITED));
  FACT(info.si_code == CLD_EXITED && info.si_pid == pid);
  CALL(waitid(P_ALL, 0, &info, WEXITED));
  signal(SIGCHLD, SIG_IGN);
  spawn("exit", NULL);
  CALL(waitpid(-1, &status, 0));
  signal(SIGCHLD, SIG_DFL);
}

int main(void) {
  if (getenv("CHILD") != NULL) return child(getenv("CHILD"));
  int status = -1;
  FACT(waitpid(spawn("exit", NULL), &status, 0) > 0);
  FACT(WEXITSTATUS(status));
  waitpid(spawn("parent", NULL), &status, 0);
  FACT(WEXITSTATUS(status));
  for (int i = 0; i < 5; ++i) waitpid(spawn("memory", NULL), &status, 0);
  FACT(WEXITSTATUS(status));
  pipeline();
  vforks();
  signals();
  CALL(waitpid(-1, &status, WNOHANG));
  posix_spawn_file_actions_t a;
  posix_spawn_file_actions_init(&a);
  posix_spawn_file_actions_addclose(&a, 55);
  pid_t pid;
  CALL(posix_spawn(&pid, "/none/such", NULL, NULL, (char*[]){"x", NULL}, environ));
  return 0;
}
