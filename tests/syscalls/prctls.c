#include <sys/prctl.h>
#include <sys/wait.h>
#include "facts.h"
// prctl: what is kept, what is inherited, and which arguments are refused. Death signals and subreapers:
// job_control.c.
static int in_child(int (*what)(void)) {
  int status = 0;
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) _exit(what());
  waitpid(pid, &status, 0);
  return WEXITSTATUS(status);
}
static int of_child(void) {
  int signal = 0;
  prctl(PR_GET_PDEATHSIG, &signal);
  return signal * 64 + prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) + 2 * prctl(PR_GET_DUMPABLE) +
         4 * (prctl(PR_GET_TIMERSLACK) == 70000);
}
static int next_program(void) {
  char* words[] = {"cases", "prctls", NULL};
  setenv("PRCTLS", "1", 1);
  execv("/proc/self/exe", words);
  return 99;
}

int main(void) {
  if (getenv("PRCTLS") != NULL) return of_child();
  int value = 9;
  CALL(prctl(PR_GET_PDEATHSIG, &value));
  FACT(value);
  CALL(prctl(PR_SET_PDEATHSIG, 65));
  CALL(prctl(PR_SET_PDEATHSIG, SIGUSR1));
  CALL(prctl(PR_GET_PDEATHSIG, &value));
  FACT(value);
  CALL(prctl(PR_GET_PDEATHSIG, 8L));
  CALL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CALL(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
  CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CALL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CALL(prctl(PR_GET_DUMPABLE));
  CALL(prctl(PR_SET_DUMPABLE, 3));
  CALL(prctl(PR_SET_DUMPABLE, 0));
  CALL(prctl(PR_GET_DUMPABLE));
  CALL(prctl(PR_GET_CHILD_SUBREAPER, &value));
  FACT(value);
  CALL(prctl(PR_SET_CHILD_SUBREAPER, 5));
  CALL(prctl(PR_GET_CHILD_SUBREAPER, &value));
  FACT(value);
  CALL(prctl(PR_GET_KEEPCAPS));
  CALL(prctl(PR_CAPBSET_READ, 99));
  CALL(prctl(PR_GET_SECCOMP));
  FACT(prctl(PR_GET_TIMERSLACK) > 0);
  CALL(prctl(PR_SET_TIMERSLACK, 70000));
  CALL(prctl(PR_GET_TIMERSLACK));
  FACT(in_child(of_child));
  FACT(in_child(next_program));
  CALL(prctl(PR_SET_NAME, 8L));
  return 0;
}
