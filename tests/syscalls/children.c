#include "facts.h"

#include <dlfcn.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
// vfork, posix_spawn, execve, wait4, waitid, SIGCHLD, pipes between processes, kill, process groups. The
// child is this program again, told by CHILD what to do.
extern char** environ;

enum { kPart = 32 << 10 };

// This program's file as text that the kernel may have kept from the program before.
static int text_is_the_file(void) {
  const int fd = open("/proc/self/exe", O_RDONLY);
  char byte = 0;
  pread(fd, &byte, 1, 0);
  char* whole = mmap(NULL, 4 * kPart, PROT_READ, MAP_PRIVATE, fd, 0);
  char* text = mmap(whole, 2 * kPart, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0);
  return text == whole && text[0] == byte && text[1] == 'E' ? 21 : 22;
}
// Leaves a changed copy of its file beside text of it, both protected alike, to the next program.
static int change_text(void) {
  const int fd = open("/proc/self/exe", O_RDONLY);
  char* room = mmap(NULL, 512 * kPart, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mmap(room, kPart, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
  room[0] = 0x5a, room[1] = 0x5a;
  mmap(room + kPart, kPart, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, kPart);
  mprotect(room, kPart, PROT_READ | PROT_EXEC);
  munmap(room + 2 * kPart, 510 * kPart);
  setenv("CHILD", "text", 1);
  execl("/proc/self/exe", "cases", "children", NULL);
  return 23;
}
static int say_text(void) {
  FILE* maps = fopen("/proc/self/maps", "r");
  char line[512];
  while (fgets(line, sizeof line, maps) != NULL) {
    if (strstr(line, "libc.so") != NULL && strstr(line, "r-xp") != NULL) fputs(line, stdout);
  }
  return 0;
}

// The C library's text without its last page, left behind and then mapped again and run.
static int part_of_text(int again) {
  FILE* maps = fopen("/proc/self/maps", "r");
  char line[512], path[256] = "";
  unsigned long begin = 0, end = 0, offset = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (strstr(line, "libc.so") != NULL && strstr(line, "r-xp") != NULL)
      sscanf(line, "%lx-%lx %*s %lx %*s %*s %255s", &begin, &end, &offset, path);
  }
  const int fd = open(path, O_RDONLY), protection = PROT_READ | PROT_EXEC;
  if (!again) {
    for (int i = 0; i < 2; ++i) {  // one for the loader of the next program, one for that itself
      char* text = mmap(NULL, end - begin, protection, MAP_PRIVATE, fd, offset);
      munmap(text + (end - begin) - 4096, 4096);
    }
    return 24;
  }
  char* whole = mmap(NULL, offset + (end - begin), PROT_READ, MAP_PRIVATE, fd, 0);
  char* text = mmap(whole + offset, end - begin - 4096, protection, MAP_PRIVATE | MAP_FIXED, fd, offset);
  int (*call)(void) = (int (*)(void))(text + ((unsigned long)dlsym(RTLD_DEFAULT, "getppid") - begin));
  return call() == getppid() ? 25 : 26;
}

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
  if (strcmp(what, "change") == 0) return change_text();
  if (strcmp(what, "text") == 0) return text_is_the_file();
  if (strcmp(what, "part") == 0) return part_of_text(0);
  if (strcmp(what, "again") == 0) return part_of_text(1);
  if (strcmp(what, "say") == 0) return say_text();
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

// What a program leaves behind is in nobody's way, and is not what the next one gets.
static void leftovers(void) {
  int out[2], status = -1;
  char line[1000] = {0};
  posix_spawn_file_actions_t a;
  pipe2(out, O_CLOEXEC);
  posix_spawn_file_actions_init(&a);
  posix_spawn_file_actions_adddup2(&a, out[1], 1);
  FACT(waitpid(spawn("say", &a), &status, 0) > 0);
  read(out[0], line, sizeof line - 1);
  char* text = (char*)strtoul(line, NULL, 16);
  const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  FACT(text != NULL);
  FACT(mmap(text - 4096, 4096, protection, flags | MAP_FIXED_NOREPLACE, -1, 0) == text - 4096);
  FACT(mmap(text - 4096, 8192, protection, flags, -1, 0) == text - 4096);
  text[-4096] = text[4095] = 1;
  FACT(mmap(text, 8192, protection, flags, -1, 0) == text);
  FACT(text[0]);
  FACT(munmap(text - 4096, 12288));
  close(out[0]);
  close(out[1]);
  for (int i = 0; i < 3; ++i) {
    FACT(waitpid(spawn((const char*[]){"change", "part", "again"}[i], NULL), &status, 0) > 0);
    FACT(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
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
  CALL(chmod("script", 0755));
  const int writer = open("script", O_WRONLY);
  CALL(execl("script", "script", NULL));  // somebody writes it
  close(writer);
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
  leftovers();
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
