#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include "facts.h"
// Who waits in vfork can be killed; the child goes on in the memory that is now its own.
static int g_ready[2], g_told[2];
static volatile int g_before;  // in memory that the child has from its parent

static const char* told(int patience_ms) {
  static char text[16];
  struct pollfd polled = {g_told[0], POLLIN};
  memset(text, 0, sizeof text);
  if (poll(&polled, 1, patience_ms) != 1) return "nothing";
  read(g_told[0], text, sizeof text - 1);
  return text;
}

static void in_child(int executes) {
  write(g_ready[1], "r", 1);
  usleep(400000);
  g_before += 1;
  char* const memory = malloc(100000);
  memset(memory, 1, 100000);
  if (executes) execl("/proc/self/exe", "cases", "vfork_killed", NULL);
  write(g_told[1], g_before == 8 ? "alive" : "wrong", 5);
  _exit(0);
}
static void* ends_all(void* ends) {
  usleep(200000);
  if (ends != NULL) _exit(4);
  return NULL;
}
static pid_t parent(int executes, int thread_ends) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  pthread_t thread;
  if (thread_ends) pthread_create(&thread, NULL, ends_all, &g_before);
  g_before = 7;
  if (vfork() == 0) in_child(executes);
  write(g_told[1], "returned", 8);
  _exit(0);
}

static void killed(int executes, int signal) {
  char byte;
  int status = 0;
  const pid_t pid = parent(executes, 0);
  read(g_ready[0], &byte, 1);
  TEXT(told(0));
  kill(pid, signal);
  CALL(waitpid(pid, &status, 0) == pid);
  FACT(WTERMSIG(status));
  TEXT(told(0));
  TEXT(told(10000));
  TEXT(told(0));
}

static void undisturbed(void) {
  int status = 0;
  char byte;
  const pid_t pid = parent(0, 0);
  read(g_ready[0], &byte, 1);
  waitpid(pid, &status, 0);
  TEXT(told(0));
  FACT(WEXITSTATUS(status));
}

static void ended_by_thread(void) {
  int status = 0;
  char byte;
  const pid_t pid = parent(1, 1);
  read(g_ready[0], &byte, 1);
  waitpid(pid, &status, 0);
  FACT(WEXITSTATUS(status));
  TEXT(told(0));
  TEXT(told(10000));
}

int main(void) {
  if (getenv("TOLD") != NULL) {
    write(atoi(getenv("TOLD")), "program", 7);
    return 0;
  }
  char number[16];
  pipe(g_ready);
  pipe(g_told);
  snprintf(number, sizeof number, "%d", g_told[1]);
  setenv("TOLD", number, 1);
  killed(0, SIGKILL);
  killed(1, SIGKILL);
  killed(0, SIGTERM);
  ended_by_thread();
  unsetenv("TOLD");
  undisturbed();
  return 0;
}
